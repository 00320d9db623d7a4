//! From a case's settings to a layer's spec.

use layerwise::layers::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, LogSoftmax, MaxPool2d,
    Maxout, MaxoutChannels, PRelu, Softmax,
};
use layerwise::prelude::{
    Elu, Gelu, GeluTanh, HardSwish, LeakyRelu, Mish, Relu, Selu, Sigmoid, Silu, Softplus, Tanh,
};
use layerwise::{Init, Layer, LayerSpec, Result, Scalar, Shape};

use super::cases::Config;
use super::standard;

/// A spec that is chosen at run time.
#[derive(Debug)]
pub(super) struct AnySpec<F: Scalar>(Box<dyn LayerSpec<F>>);

impl<F: Scalar> LayerSpec<F> for AnySpec<F> {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.0.build(input, init)
    }
}

/// The spec for a kind of layer, or `None` if the crate has no such kind.
pub(super) fn spec<F: Scalar>(
    kind: &str,
    config: Config<'_>,
) -> Result<Option<AnySpec<F>>, String> {
    let spec: Box<dyn LayerSpec<F>> = match kind {
        "linear" => {
            Box::new(Linear::new(either(config, "out_features", "out")?).bias(config.flag("bias")?))
        }
        "conv2d" => Box::new(conv2d(config)?),
        "maxpool2d" => Box::new(max_pool(config)?),
        "avgpool2d" => Box::new(avg_pool(config)?),
        "global_avgpool2d" => Box::new(GlobalAvgPool),
        "batchnorm1d" | "batchnorm2d" => Box::new(batch_norm(config)?),
        "flatten" => Box::new(Flatten),
        "dropout_given_mask" => Box::new(Dropout::new(config.number("p")?)),
        "relu" => Box::new(Relu),
        "leaky_relu" => Box::new(LeakyRelu::new(config.number("negative_slope")?)),
        "sigmoid" => Box::new(Sigmoid),
        "tanh" => Box::new(Tanh),
        "elu" => Box::new(Elu::new(config.number("alpha")?)),
        "selu" => Box::new(Selu),
        "gelu_erf" => Box::new(Gelu),
        "gelu_tanh" => Box::new(GeluTanh),
        "silu" => Box::new(Silu),
        "mish" => Box::new(Mish),
        "softplus" => Box::new(Softplus::new(config.number("beta")?)),
        "hardswish" => Box::new(HardSwish),
        // Adjacent channels are the crate's only form.
        "maxout_channels" if config.whole("channel_axis")? == 1 => {
            Box::new(MaxoutChannels::new(config.whole("pieces")?))
        }
        "maxout" => Box::new(Maxout::new(config.whole("out_features")?, config.whole("pieces")?)),
        "prelu" => Box::new(prelu(config)?),
        // The last axis is the default.
        "softmax" if last_axis(config)? => Box::new(Softmax::new()),
        "log_softmax" if last_axis(config)? => Box::new(LogSoftmax::new()),
        _ => return Ok(standard::spec(kind, config)?.map(AnySpec)),
    };
    Ok(Some(AnySpec(spec)))
}

fn conv2d(config: Config<'_>) -> Result<Conv2d, String> {
    expect(config, "padding_mode", "zeros")?;
    let mut conv = Conv2d::new(either(config, "out_channels", "out")?, config.pair("kernel")?)
        .stride(config.pair("stride")?)
        .padding(config.pair("padding")?)
        .bias(config.flag("bias")?);
    // Networks leave these two out.
    if config.get("dilation").is_some() {
        conv = conv.dilation(config.pair("dilation")?);
    }
    if config.get("groups").is_some() {
        conv = conv.groups(config.whole("groups")?);
    }
    Ok(conv)
}

fn max_pool(config: Config<'_>) -> Result<MaxPool2d, String> {
    let mut pool = MaxPool2d::new(config.pair("kernel")?)
        .stride(config.pair("stride")?)
        .padding(config.pair("padding")?);
    if config.get("dilation").is_some() {
        pool = pool.dilation(config.pair("dilation")?);
    }
    if config.get("ceil_mode").is_some() {
        pool = pool.ceil_mode(config.flag("ceil_mode")?);
    }
    Ok(pool)
}

fn avg_pool(config: Config<'_>) -> Result<AvgPool2d, String> {
    Ok(AvgPool2d::new(config.pair("kernel")?)
        .stride(config.pair("stride")?)
        .padding(config.pair("padding")?)
        .ceil_mode(config.flag("ceil_mode")?)
        .count_include_pad(config.flag("count_include_pad")?))
}

fn batch_norm(config: Config<'_>) -> Result<BatchNorm, String> {
    expect(config, "running_var_estimator", "unbiased")?;
    let norm = BatchNorm::new().eps(config.number("eps")?).momentum(config.number("momentum")?);
    Ok(norm.affine(affine(config)?))
}

/// Networks leave it out.
pub(super) fn affine(config: Config<'_>) -> Result<bool, String> {
    if config.get("affine").is_some() { config.flag("affine") } else { Ok(true) }
}

fn prelu(config: Config<'_>) -> Result<PRelu, String> {
    let prelu = if config.whole("num_parameters")? == 1 { PRelu::shared() } else { PRelu::new() };
    // A case of its own gives the slopes.
    let start = config.get("init").map(|_| config.number("init")).transpose()?;
    Ok(start.map_or(prelu, |start| prelu.start(start)))
}

fn last_axis(config: Config<'_>) -> Result<bool, String> {
    Ok(config.number("axis")? == -1.0)
}

/// The only value of a setting that the crate knows; networks leave such settings out.
fn expect(config: Config<'_>, key: &str, only: &str) -> Result<(), String> {
    match config.get(key).map(|_| config.text(key)).transpose()? {
        Some(other) if other != only => Err(format!("{key} {other}")),
        _ => Ok(()),
    }
}

/// Cases of one layer and of networks spell some keys differently.
fn either(config: Config<'_>, key: &str, or: &str) -> Result<usize, String> {
    if config.get(key).is_some() { config.whole(key) } else { config.whole(or) }
}
