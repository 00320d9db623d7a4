//! Single layers and losses at batch 64, to be measured here and in PyTorch (`pytorch_layers.py` has the same list).

use std::borrow::Borrow;

use layerwise::prelude::*;
use layerwise::{Cache, Loss, Scratch, View};

/// Something to measure, ready to be called.
pub(crate) type Work = Box<dyn FnMut() -> layerwise::Result<f32> + Send>;

pub(crate) const BATCH: usize = 64;
/// Ids of the embedding's vocabulary.
const WORDS: usize = 5000;
const CLASSES: usize = 1000;

/// A layer or a loss by itself.
pub(crate) struct Single {
    pub(crate) name: &'static str,
    /// The shape of a sample.
    pub(crate) sample: &'static [usize],
    what: What,
}

enum What {
    Layer(fn() -> Box<dyn LayerSpec>),
    Loss(fn() -> Work),
}

const fn layer(
    name: &'static str,
    sample: &'static [usize],
    spec: fn() -> Box<dyn LayerSpec>,
) -> Single {
    Single { name, sample, what: What::Layer(spec) }
}

const fn loss(name: &'static str, work: fn() -> Work) -> Single {
    Single { name, sample: &[CLASSES], what: What::Loss(work) }
}

/// Images of 16 × 16: a million numbers of a batch.
const IMAGES: &[usize] = &[64, 16, 16];

#[rustfmt::skip]
pub(crate) const SINGLES: &[Single] = &[
    layer("relu", IMAGES, || Box::new(Relu)),
    layer("relu6", IMAGES, || Box::new(Relu6)),
    layer("leaky_relu", IMAGES, || Box::new(LeakyRelu::default())),
    layer("elu", IMAGES, || Box::new(Elu::default())),
    layer("selu", IMAGES, || Box::new(Selu)),
    layer("gelu", IMAGES, || Box::new(Gelu)),
    layer("gelu_tanh", IMAGES, || Box::new(GeluTanh)),
    layer("silu", IMAGES, || Box::new(Silu)),
    layer("mish", IMAGES, || Box::new(Mish)),
    layer("hard_swish", IMAGES, || Box::new(HardSwish)),
    layer("hard_sigmoid", IMAGES, || Box::new(HardSigmoid)),
    layer("sigmoid", IMAGES, || Box::new(Sigmoid)),
    layer("tanh", IMAGES, || Box::new(Tanh)),
    layer("softplus", IMAGES, || Box::new(Softplus::default())),
    layer("softsign", IMAGES, || Box::new(Softsign)),
    layer("relu_features", &[1024], || Box::new(Relu)),
    layer("gelu_features", &[1024], || Box::new(Gelu)),
    layer("prelu", IMAGES, || Box::new(PRelu::new())),
    layer("prelu_features", &[1024], || Box::new(PRelu::new())),
    layer("prelu_shared", IMAGES, || Box::new(PRelu::shared())),
    layer("maxout_channels", IMAGES, || Box::new(MaxoutChannels::new(2))),
    layer("maxout", &[512], || Box::new(Maxout::new(256, 4))),
    layer("softmax", &[CLASSES], || Box::new(Softmax::new())),
    layer("softmax_few", &[10], || Box::new(Softmax::new())),
    layer("softmax_channels", &[10, 16, 16], || Box::new(Softmax::new().axis(0))),
    layer("softmax_rows", &[10, 16, 16], || Box::new(Softmax::new().axis(1))),
    layer("log_softmax", &[CLASSES], || Box::new(LogSoftmax::new())),
    layer("log_softmax_few", &[10], || Box::new(LogSoftmax::new())),
    layer("log_softmax_channels", &[10, 16, 16], || Box::new(LogSoftmax::new().axis(0))),
    layer("dropout", IMAGES, || Box::new(Dropout::new(0.5))),
    layer("dropout_features", &[1024], || Box::new(Dropout::new(0.5))),
    layer("dropout_spatial", IMAGES, || Box::new(Dropout::new(0.5).spatial(true))),
    layer("alpha_dropout", IMAGES, || Box::new(AlphaDropout::new(0.5))),
    layer("gaussian_noise", IMAGES, || Box::new(GaussianNoise::new(0.5))),
    layer("gaussian_dropout", IMAGES, || Box::new(GaussianDropout::new(0.2))),
    layer("drop_connect", &[512], || Box::new(DropConnect::new(256))),
    layer("fractional_max_pool", &[32, 28, 28], || Box::new(FractionalMaxPool2d::to_size(19))),
    layer("fractional_max_pool_overlapping", &[32, 28, 28], || Box::new(FractionalMaxPool2d::to_size(19).overlapping(true))),
    layer("adaptive_avg_pool", IMAGES, || Box::new(AdaptiveAvgPool2d::new(5))),
    layer("adaptive_max_pool", IMAGES, || Box::new(AdaptiveMaxPool2d::new(5))),
    layer("global_max_pool", IMAGES, || Box::new(GlobalMaxPool)),
    layer("global_avg_pool", IMAGES, || Box::new(GlobalAvgPool)),
    layer("layer_norm", &[1024], || Box::new(LayerNorm::new())),
    layer("layer_norm_steps", &[64, 128], || Box::new(LayerNorm::new().last_axes(1))),
    layer("group_norm", IMAGES, || Box::new(GroupNorm::new(8))),
    layer("group_norm_small", &[256, 4, 4], || Box::new(GroupNorm::new(32))),
    layer("instance_norm", IMAGES, || Box::new(InstanceNorm::new().affine(true))),
    layer("local_response_norm", IMAGES, || Box::new(LocalResponseNorm::new(5))),
    layer("upsample_nearest", &[32, 16, 16], || Box::new(Upsample::new(2))),
    layer("upsample_bilinear", &[32, 16, 16], || Box::new(Upsample::new(2).bilinear())),
    layer("upsample_odd", &[32, 16, 16], || Box::new(Upsample::to((25, 27)).bilinear())),
    layer("zero_pad", IMAGES, || Box::new(ZeroPad::new(1))),
    layer("permute", IMAGES, || Box::new(Permute::new([1, 2, 0]))),
    layer("conv1d", &[64, 128], || Box::new(Conv1d::new(64, 5).padding(2))),
    layer("conv_transpose", &[64, 8, 8], || Box::new(ConvTranspose2d::new(32, 4).stride(2).padding(1))),
    layer("conv_transpose_stride_1", &[32, 16, 16], || Box::new(ConvTranspose2d::new(32, 3).padding(1))),
    layer("depthwise", IMAGES, || Box::new(Conv2d::new(64, 3).padding(1).groups(64))),
    layer("depthwise_large", &[32, 32, 32], || Box::new(Conv2d::new(32, 3).padding(1).groups(32))),
    layer("depthwise_stride_2", IMAGES, || Box::new(Conv2d::new(64, 3).stride(2).padding(1).groups(64))),
    layer("grouped", IMAGES, || Box::new(Conv2d::new(64, 3).padding(1).groups(4))),
    layer("embedding", &[64], || Box::new(Embedding::new(WORDS, 128))),
    layer("rnn", &[32, 64], || Box::new(Rnn::new(128))),
    layer("lstm", &[32, 64], || Box::new(Lstm::new(128))),
    layer("gru", &[32, 64], || Box::new(Gru::new(128))),
    loss("cross_entropy", || measured(CrossEntropy::new(), |_| classes())),
    loss("cross_entropy_smooth", || measured(CrossEntropy::new().label_smoothing(0.1), |_| classes())),
    loss("cross_entropy_soft", || measured(SoftCrossEntropy::new(), probabilities)),
    loss("multiclass_hinge", || measured(MulticlassHinge::new(), |_| classes())),
    loss("nll", || measured(Nll::new(), |_| classes())),
    loss("focal", || measured(Focal::default(), |_| classes())),
    loss("binary_cross_entropy", || measured(BinaryCrossEntropy::new(), probabilities)),
    loss("kl_divergence", || measured(KlDivergence::new(), probabilities)),
    loss("mse", || measured(Mse::new(), probabilities)),
    loss("mae", || measured(Mae::new(), probabilities)),
    loss("huber", || measured(Huber::default(), probabilities)),
    loss("smooth_l1", || measured(SmoothL1::default(), probabilities)),
];

/// What can be measured of a [`Single`].
pub(crate) const WORKS: [&str; 3] = ["forward", "both", "predict"];

impl Single {
    /// A loss has its value and gradient alone.
    pub(crate) fn has(&self, work: &str) -> bool {
        WORKS.contains(&work) && (matches!(self.what, What::Layer(_)) || work == "both")
    }

    /// `forward` in train mode; `both`, that is forward and backward, by parameters and input: of the layer by itself, as
    /// PyTorch calls it, without what a model does around it. `predict`: of a model of this one layer.
    pub(crate) fn work(&self, work: &str) -> layerwise::Result<Work> {
        match self.what {
            What::Layer(spec) if work == "predict" => {
                let model = SequentialBuilder::new(self.sample).add(spec()).build()?;
                let (x, mut workspace) = (self.input(), Workspace::new());
                Ok(Box::new(move || model.predict_with(&x, &mut workspace).map(|y| first(&y))))
            }
            What::Layer(spec) => self.layer(&*spec(), work == "both"),
            What::Loss(measured) => Ok(measured()),
        }
    }

    fn layer(&self, spec: &dyn LayerSpec, both: bool) -> layerwise::Result<Work> {
        let shape = Shape::from(self.sample);
        let mut layer = spec.build(&shape, &mut Init::new(Seed::new(1)))?;
        let output = layer.output_shape(&shape).expect("it was built for this shape");
        let x = self.input();
        let mut dx = x.clone();
        let mut y = ArrayD::zeros([&[BATCH], output.dims()].concat());
        let mut rng = Seed::new(2).rng();
        let dy = y.mapv(|_: f32| rng.normal() as f32);
        let (mut cache, mut scratch, mut pass) = (Cache::default(), Scratch::default(), 0);
        Ok(Box::new(move || {
            pass += 1;
            let seed = Seed::new(pass);
            layer.forward(Forward::new(x.view(), y.view_mut(), &mut cache, &mut scratch, seed))?;
            if both {
                let (x, dx) = (x.view(), Some(dx.view_mut()));
                let (y, dy) = (y.view(), dy.view());
                layer.backward(Backward::new(x, y, dy, dx, &mut cache, &mut scratch, seed))?;
            }
            Ok(first(&y.view()))
        }))
    }

    fn input(&self) -> ArrayD<f32> {
        let mut rng = Seed::new(1).rng();
        let shape = [&[BATCH], self.sample].concat();
        ArrayD::from_shape_simple_fn(shape, || {
            if self.name == "embedding" { rng.below(WORDS) as f32 } else { rng.normal() as f32 }
        })
    }
}

fn first(y: &View<'_>) -> f32 {
    y.first().copied().unwrap_or(0.0)
}

fn classes() -> Vec<usize> {
    (0..BATCH).collect()
}

fn probabilities(x: View<'_>) -> ArrayD<f32> {
    x.mapv(|x| 1.0 / (1.0 + (-x).exp()))
}

/// A loss's value and gradient.
fn measured<L, T>(loss: L, target: impl Fn(View<'_>) -> T) -> Work
where
    L: Loss + 'static,
    T: Borrow<L::Target> + Send + 'static,
{
    let mut rng = Seed::new(0).rng();
    let x = ArrayD::from_shape_simple_fn(vec![BATCH, CLASSES], || 2.0 * rng.normal() as f32);
    let (target, mut grad) = (target(x.view()), x.clone());
    Box::new(move || loss.value_and_grad(x.view(), target.borrow(), grad.view_mut()))
}
