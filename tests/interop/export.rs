//! The Rust side of `onnx_runtime.py`: `export FOLDER` writes models as ONNX files, with inputs and the outputs to expect.

use std::path::Path;

use layerwise::prelude::*;

type Done<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Every layer that ONNX knows, by itself or among few others.
fn models() -> Result<Vec<(&'static str, Sequential)>> {
    let image = || Sequential::builder([4, 9, 10]).seed(5);
    let flat = || Sequential::builder([12]).seed(6);
    let models: Vec<(&str, layerwise::SequentialBuilder)> = vec![
        ("linear", flat().add(Linear::new(5)).add(Linear::new(3).bias(false))),
        ("conv", image().add(Conv2d::new(6, (3, 2)).stride((2, 1)).padding((1, 2)))),
        ("conv_groups", image().add(Conv2d::new(8, 3).groups(4).dilation(2).bias(false))),
        ("max_pool", image().add(MaxPool2d::new(3).stride(2).padding(1))),
        ("max_pool_ceil", image().add(MaxPool2d::new((2, 3)).ceil_mode(true))),
        ("avg_pool", image().add(AvgPool2d::new(3).stride(2).padding(1))),
        ("avg_pool_exclude", image().add(AvgPool2d::new(3).padding(1).count_include_pad(false))),
        ("global_avg_pool", image().add(GlobalAvgPool).add(Linear::new(2))),
        ("batch_norm", image().add(BatchNorm::new()).add(BatchNorm::new().affine(false).eps(1e-3))),
        ("batch_norm_flat", flat().add(BatchNorm::new())),
        ("softmax", flat().add(Softmax::new())),
        ("log_softmax_channels", image().add(LogSoftmax::new().axis(0))),
        ("relu", flat().add(Relu)),
        ("relu6", flat().add(Relu6)),
        ("leaky_relu", flat().add(LeakyRelu::new(0.2))),
        ("elu", flat().add(Elu::new(0.7))),
        ("selu", flat().add(Selu)),
        ("gelu", flat().add(Gelu)),
        ("gelu_tanh", flat().add(GeluTanh)),
        ("silu", flat().add(Silu)),
        ("mish", flat().add(Mish)),
        ("softplus", flat().add(Softplus::new(0.5))),
        ("sigmoid", flat().add(Sigmoid)),
        ("tanh", flat().add(Tanh)),
        ("softsign", flat().add(Softsign)),
        ("hard_sigmoid", flat().add(HardSigmoid)),
        ("hard_swish", flat().add(HardSwish)),
        ("maxout", flat().add(Maxout::new(4, 3)).add(MaxoutChannels::new(2))),
        ("maxout_conv", image().add(MaxoutConv2d::new(4, 3, 2)).add(MaxoutChannels::new(2))),
        ("dropout_vanilla", flat().add(Dropout::new(0.25).vanilla(true))),
        (
            "noise",
            flat()
                .add(GaussianNoise::new(0.3))
                .add(AlphaDropout::new(0.2))
                .add(GaussianDropout::new(0.3)),
        ),
        ("layer_norm", flat().add(LayerNorm::new()).add(LayerNorm::new().affine(false))),
        ("layer_norm_last", image().add(LayerNorm::new().last_axes(1))),
        ("group_norm", image().add(GroupNorm::new(2)).add(InstanceNorm::new())),
        ("response_norm", image().add(LocalResponseNorm::new(3).alpha(0.5))),
        (
            "conv1d",
            Sequential::builder([4, 11]).add(Conv1d::new(6, 3).stride(2).padding(1).groups(2)),
        ),
        (
            "conv_transpose",
            image()
                .add(ConvTranspose2d::new(6, 3).stride(2).padding(1).output_padding(1).groups(2)),
        ),
        ("zero_pad", image().add(ZeroPad::new((1, 2)))),
        ("upsample", image().add(Upsample::new((2, 3))).add(Upsample::new(2).bilinear())),
        ("upsample_corners", image().add(Upsample::to((13, 7)).bilinear().align_corners(true))),
        (
            "adaptive",
            Sequential::builder([4, 8, 12])
                .add(AdaptiveAvgPool2d::new((4, 3)))
                .add(AdaptiveMaxPool2d::new(1)),
        ),
        ("global_max_pool", image().add(GlobalMaxPool)),
        ("reshape", image().add(Reshape::new([10, 36])).add(Permute::new([1, 0]))),
        (
            "residual",
            image()
                .add(Residual::new(
                    Block::new().add(Conv2d::new(4, 3).padding(1)).add(BatchNorm::new()).add(Relu),
                ))
                .add(
                    Residual::new(Block::new().add(Conv2d::new(6, 3).stride(2).padding(1)))
                        .projection(Block::new().add(Conv2d::new(6, 1).stride(2))),
                ),
        ),
        (
            "stochastic_depth",
            flat().add(
                StochasticDepth::new(Block::new().add(Linear::new(12)).add(Relu)).survival(0.7),
            ),
        ),
        (
            "parallel",
            image()
                .add(
                    Parallel::concat()
                        .branch(Block::new().add(Conv2d::new(3, 1)))
                        .branch(Block::new().add(Conv2d::new(5, 3).padding(1))),
                )
                .add(Parallel::sum().branch(Block::new().add(Relu)).branch(Block::new().add(Tanh))),
        ),
        ("prelu_shared", image().add(PRelu::shared())),
        ("prelu", image().add(PRelu::new())),
        ("dropout_alone", flat().add(Dropout::new(0.5))),
        (
            "nested",
            image()
                .add(
                    Block::new()
                        .add(Conv2d::new(8, 3).padding(1).bias(false))
                        .add(BatchNorm::new())
                        .add(Relu),
                )
                .add(MaxPool2d::new(2))
                .add(Flatten)
                .add(Dropout::new(0.3))
                .add_named("head", Linear::new(7)),
        ),
    ];
    models.into_iter().map(|(name, builder)| Ok((name, builder.build()?))).collect()
}

fn main() -> Done {
    let folder = std::env::args().nth(1).ok_or("usage: export FOLDER")?;
    let folder = Path::new(&folder);
    let mut rng = Seed::new(1).rng();
    for (name, mut model) in models()? {
        let shape = [&[3], model.input_shape().dims()].concat();
        let x = ArrayD::from_shape_simple_fn(ndarray::IxDyn(&shape), || 2.0 * rng.normal() as f32);
        // Running statistics of its own.
        model.forward(&x)?;
        model.save_onnx(folder.join(format!("{name}.onnx")))?;
        write(&x, &model.predict(&x)?, &folder.join(format!("{name}.safetensors")))?;
        let model = model.into_inference()?;
        model.save_onnx(folder.join(format!("{name}_inference.onnx")))?;
        write(&x, &model.predict(&x)?, &folder.join(format!("{name}_inference.safetensors")))?;
    }
    Ok(())
}

/// Input and output, as the tensors `x` and `y` of a file.
fn write(x: &ArrayD<f32>, y: &ArrayD<f32>, path: &Path) -> Done {
    let bytes = |a: &ArrayD<f32>| a.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (x_bytes, y_bytes) = (bytes(x), bytes(y));
    let view = |a: &ArrayD<f32>, bytes| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, a.shape().into(), bytes)
    };
    let tensors = [("x", view(x, &x_bytes)?), ("y", view(y, &y_bytes)?)];
    std::fs::write(path, safetensors::serialize(tensors, None)?)?;
    Ok(())
}
