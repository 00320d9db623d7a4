//! Single layers, to be measured here and in PyTorch (`pytorch_layers.py` has the same list), at batch 64.

use layerwise::prelude::*;

pub(crate) const BATCH: usize = 64;

/// A layer by itself.
pub(crate) struct Single {
    pub(crate) name: &'static str,
    pub(crate) sample: &'static [usize],
    pub(crate) add: fn(SequentialBuilder) -> SequentialBuilder,
}

/// Ids of the embedding's vocabulary.
const WORDS: usize = 5000;

const fn single(
    name: &'static str,
    sample: &'static [usize],
    add: fn(SequentialBuilder) -> SequentialBuilder,
) -> Single {
    Single { name, sample, add }
}

pub(crate) const LAYERS: &[Single] = &[
    single("layer_norm", &[1024], |b| b.add(LayerNorm::new())),
    single("layer_norm_steps", &[64, 128], |b| b.add(LayerNorm::new().last_axes(1))),
    single("group_norm", &[64, 16, 16], |b| b.add(GroupNorm::new(8))),
    single("group_norm_small", &[256, 4, 4], |b| b.add(GroupNorm::new(32))),
    single("instance_norm", &[64, 16, 16], |b| b.add(InstanceNorm::new().affine(true))),
    single("local_response_norm", &[64, 16, 16], |b| b.add(LocalResponseNorm::new(5))),
    single("adaptive_avg_pool", &[64, 16, 16], |b| b.add(AdaptiveAvgPool2d::new(5))),
    single("adaptive_max_pool", &[64, 16, 16], |b| b.add(AdaptiveMaxPool2d::new(5))),
    single("global_max_pool", &[64, 16, 16], |b| b.add(GlobalMaxPool)),
    single("upsample_nearest", &[32, 16, 16], |b| b.add(Upsample::new(2))),
    single("upsample_bilinear", &[32, 16, 16], |b| b.add(Upsample::new(2).bilinear())),
    single("upsample_odd", &[32, 16, 16], |b| b.add(Upsample::to((25, 27)).bilinear())),
    single("zero_pad", &[64, 16, 16], |b| b.add(ZeroPad::new(1))),
    single("permute", &[64, 16, 16], |b| b.add(Permute::new([1, 2, 0]))),
    single("conv1d", &[64, 128], |b| b.add(Conv1d::new(64, 5).padding(2))),
    single("conv_transpose", &[64, 8, 8], |b| {
        b.add(ConvTranspose2d::new(32, 4).stride(2).padding(1))
    }),
    single("conv_transpose_stride_1", &[32, 16, 16], |b| {
        b.add(ConvTranspose2d::new(32, 3).padding(1))
    }),
    single("depthwise", &[64, 16, 16], |b| b.add(Conv2d::new(64, 3).padding(1).groups(64))),
    single("depthwise_large", &[32, 32, 32], |b| b.add(Conv2d::new(32, 3).padding(1).groups(32))),
    single("depthwise_stride_2", &[64, 16, 16], |b| {
        b.add(Conv2d::new(64, 3).stride(2).padding(1).groups(64))
    }),
    single("grouped", &[64, 16, 16], |b| b.add(Conv2d::new(64, 3).padding(1).groups(4))),
    single("embedding", &[64], |b| b.add(Embedding::new(WORDS, 128))),
    single("rnn", &[32, 64], |b| b.add(Rnn::new(128))),
    single("lstm", &[32, 64], |b| b.add(Lstm::new(128))),
    single("gru", &[32, 64], |b| b.add(Gru::new(128))),
];

impl Single {
    pub(crate) fn model(&self) -> layerwise::Result<Sequential> {
        (self.add)(SequentialBuilder::new(self.sample)).build()
    }

    pub(crate) fn input(&self) -> ArrayD<f32> {
        let mut rng = Seed::new(1).rng();
        let shape = [&[BATCH], self.sample].concat();
        ArrayD::from_shape_simple_fn(shape, || {
            if self.name == "embedding" { rng.below(WORDS) as f32 } else { rng.normal() as f32 }
        })
    }
}

/// Forward in train mode, and backward to parameters and input.
pub(crate) struct Training {
    model: Sequential,
    input: ArrayD<f32>,
    grad: ArrayD<f32>,
}

impl Training {
    pub(crate) fn new(layer: &Single) -> layerwise::Result<Self> {
        let (mut model, input) = (layer.model()?, layer.input());
        let mut grad = model.forward(&input)?.to_owned();
        let mut rng = Seed::new(2).rng();
        grad.map_inplace(|grad| *grad = rng.normal() as f32);
        Ok(Self { model, input, grad })
    }

    pub(crate) fn step(&mut self) -> layerwise::Result<f32> {
        self.model.forward(&self.input)?;
        Ok(self.model.backward_to_input(&self.grad)?.first().copied().unwrap_or(0.0))
    }
}

/// Forward in eval mode.
pub(crate) struct Inference {
    model: Sequential,
    input: ArrayD<f32>,
    workspace: Workspace,
}

impl Inference {
    pub(crate) fn new(layer: &Single) -> layerwise::Result<Self> {
        Ok(Self { model: layer.model()?, input: layer.input(), workspace: Workspace::new() })
    }

    pub(crate) fn predict(&mut self) -> layerwise::Result<f32> {
        let y = self.model.predict_with(&self.input, &mut self.workspace)?;
        Ok(y.first().copied().unwrap_or(0.0))
    }
}
