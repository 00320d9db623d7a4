//! Specs of the layers that most libraries have.

use layerwise::layers::{
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, Conv1d, ConvTranspose2d, Embedding, GlobalMaxPool,
    GroupNorm, Gru, InstanceNorm, LayerNorm, LocalResponseNorm, Lstm, Permute, Reshape, Rnn,
    Upsample, ZeroPad,
};
use layerwise::{LayerSpec, Scalar};

use super::cases::Config;
use super::specs::affine;

/// The spec for a kind of layer, or `None` if it is not one of these.
pub(super) fn spec<F: Scalar>(
    kind: &str,
    config: Config<'_>,
) -> Result<Option<Box<dyn LayerSpec<F>>>, String> {
    Ok(Some(match kind {
        "conv1d" => {
            let conv = Conv1d::new(config.whole("out_channels")?, config.whole("kernel")?)
                .stride(config.whole("stride")?)
                .padding(config.whole("padding")?)
                .dilation(config.whole("dilation")?);
            Box::new(conv.groups(config.whole("groups")?).bias(config.flag("bias")?))
        }
        "conv_transpose2d" => Box::new(conv_transpose2d(config)?),
        "embedding" => Box::new(embedding(config)?),
        "rnn" => {
            let rnn = Rnn::new(config.whole("hidden")?);
            let rnn = if config.text("nonlinearity")? == "relu" { rnn.relu() } else { rnn };
            let rnn = rnn.bias(config.flag("bias")?).sequences(config.flag("sequence")?);
            Box::new(if let Some(steps) = truncate(config)? { rnn.truncate(steps) } else { rnn })
        }
        "lstm" => {
            let lstm = Lstm::new(config.whole("hidden")?).bias(config.flag("bias")?);
            let lstm = lstm.sequences(config.flag("sequence")?);
            Box::new(if let Some(steps) = truncate(config)? { lstm.truncate(steps) } else { lstm })
        }
        "gru" => {
            let gru = Gru::new(config.whole("hidden")?).bias(config.flag("bias")?);
            let gru = gru.sequences(config.flag("sequence")?);
            Box::new(if let Some(steps) = truncate(config)? { gru.truncate(steps) } else { gru })
        }
        "layernorm" => {
            let axes = config.sizes("normalized_shape")?.len();
            let norm = LayerNorm::new().last_axes(axes).eps(config.number("eps")?);
            Box::new(norm.affine(affine(config)?))
        }
        "groupnorm" => {
            let norm = GroupNorm::new(config.whole("groups")?).eps(config.number("eps")?);
            Box::new(norm.affine(affine(config)?))
        }
        "instancenorm2d" => {
            Box::new(InstanceNorm::new().eps(config.number("eps")?).affine(affine(config)?))
        }
        "local_response_norm" => {
            let norm = LocalResponseNorm::new(config.whole("size")?).alpha(config.number("alpha")?);
            Box::new(norm.beta(config.number("beta")?).k(config.number("k")?))
        }
        "adaptive_avgpool2d" => Box::new(AdaptiveAvgPool2d::new(config.pair("output_size")?)),
        "adaptive_maxpool2d" => Box::new(AdaptiveMaxPool2d::new(config.pair("output_size")?)),
        "global_maxpool2d" => Box::new(GlobalMaxPool),
        "upsample_nearest" => Box::new(Upsample::to(config.pair("output_size")?)),
        "upsample_bilinear" => {
            let upsample = Upsample::to(config.pair("output_size")?).bilinear();
            Box::new(upsample.align_corners(config.flag("align_corners")?))
        }
        "zero_pad" => {
            let sides = <[usize; 4]>::try_from(config.sizes("sides")?);
            let [top, bottom, left, right] = sides.map_err(|sides| format!("sides {sides:?}"))?;
            Box::new(ZeroPad::sides(top, bottom, left, right))
        }
        "permute" => Box::new(Permute::new(config.sizes("order")?)),
        "reshape" => Box::new(Reshape::new(config.sizes("shape")?)),
        _ => return Ok(None),
    }))
}

fn conv_transpose2d(config: Config<'_>) -> Result<ConvTranspose2d, String> {
    let conv = ConvTranspose2d::new(config.whole("out_channels")?, config.pair("kernel")?)
        .stride(config.pair("stride")?)
        .padding(config.pair("padding")?)
        .output_padding(config.pair("output_padding")?)
        .dilation(config.pair("dilation")?);
    Ok(conv.groups(config.whole("groups")?).bias(config.flag("bias")?))
}

fn embedding(config: Config<'_>) -> Result<Embedding, String> {
    let embedding = Embedding::new(config.whole("num_embeddings")?, config.whole("dim")?);
    match config.get("padding_idx") {
        Some(_) => Ok(embedding.padding(config.whole("padding_idx")?)),
        None => Ok(embedding),
    }
}

fn truncate(config: Config<'_>) -> Result<Option<usize>, String> {
    config.get("truncate").map(|_| config.whole("truncate")).transpose()
}
