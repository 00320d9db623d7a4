//! The five networks that are measured, and what is measured of them: a training step and inference.

use layerwise::SequentialBuilder;
use layerwise::prelude::*;

/// A network to measure, with random data of the right shape.
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) batch: usize,
    input: &'static [usize],
    classes: usize,
    build: fn(SequentialBuilder) -> SequentialBuilder,
}

/// All five, from the smallest to the largest.
pub(crate) const NETWORKS: [Network; 5] = [
    Network { name: "tiny", batch: 32, input: &[8], classes: 4, build: tiny },
    Network { name: "mlp", batch: 128, input: &[784], classes: 10, build: mlp },
    Network { name: "lenet", batch: 128, input: &[1, 28, 28], classes: 10, build: lenet },
    Network { name: "cifar", batch: 64, input: &[3, 32, 32], classes: 10, build: cifar },
    Network { name: "vgg", batch: 32, input: &[3, 32, 32], classes: 10, build: vgg },
];

/// Batches of labels drawn at the start. Each step takes the next: with one batch of labels a network
/// would soon know them by heart, and vanishing gradients are not what training looks like.
const LABEL_BATCHES: usize = 64;

fn tiny(model: SequentialBuilder) -> SequentialBuilder {
    model.add(Linear::new(32)).add(Tanh).add(Linear::new(32)).add(Tanh).add(Linear::new(4))
}

fn mlp(model: SequentialBuilder) -> SequentialBuilder {
    model.add(Linear::new(512)).add(Relu).add(Linear::new(256)).add(Relu).add(Linear::new(10))
}

fn lenet(model: SequentialBuilder) -> SequentialBuilder {
    model
        .add(Conv2d::new(6, 5).padding(2))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(16, 5))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Linear::new(120))
        .add(Relu)
        .add(Linear::new(84))
        .add(Relu)
        .add(Linear::new(10))
}

fn cifar(model: SequentialBuilder) -> SequentialBuilder {
    [32, 64, 128]
        .into_iter()
        .fold(model, |model, channels| pair(model, channels).add(MaxPool2d::new(2)))
        .add(Flatten)
        .add(Linear::new(256))
        .add(Relu)
        .add(Dropout::new(0.5))
        .add(Linear::new(10))
}

fn vgg(model: SequentialBuilder) -> SequentialBuilder {
    let model = [64, 128, 256]
        .into_iter()
        .fold(model, |model, channels| pair(model, channels).add(MaxPool2d::new(2)));
    pair(model, 512).add(GlobalAvgPool).add(Linear::new(10))
}

/// Two times convolution, batch norm and ReLU.
fn pair(model: SequentialBuilder, channels: usize) -> SequentialBuilder {
    (0..2).fold(model, |model, _| {
        let conv = Conv2d::new(channels, 3).padding(1).bias(false);
        model.add(conv).add(BatchNorm::new()).add(Relu)
    })
}

impl Network {
    /// The model, from seed 0.
    pub(crate) fn model(&self) -> Result<Sequential> {
        (self.build)(Sequential::builder(self.input)).seed(0).build()
    }

    fn samples(&self, n: usize) -> ArrayD<f32> {
        let shape: Vec<usize> = std::iter::once(n).chain(self.input.iter().copied()).collect();
        let mut rng = Seed::new(1).rng();
        ArrayD::from_shape_simple_fn(shape, || rng.normal() as f32)
    }
}

/// Training a network, step by step: forward, cross-entropy, backward, Adam.
pub(crate) struct Training {
    model: Sequential,
    trainer: Trainer<CrossEntropy>,
    input: ArrayD<f32>,
    labels: Vec<usize>,
    batch: usize,
    steps: usize,
}

impl Training {
    pub(crate) fn new(network: &Network) -> Result<Self> {
        let mut rng = Seed::new(2).rng();
        let labels = LABEL_BATCHES * network.batch;
        Ok(Self {
            model: network.model()?,
            trainer: Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 1e-3)),
            input: network.samples(network.batch),
            labels: (0..labels).map(|_| rng.below(network.classes)).collect(),
            batch: network.batch,
            steps: 0,
        })
    }

    /// One step; returns the loss.
    pub(crate) fn step(&mut self) -> Result<f32> {
        let labels = &self.labels[self.steps % LABEL_BATCHES * self.batch..][..self.batch];
        self.steps += 1;
        Ok(self.trainer.step(&mut self.model, self.input.view(), labels)?.loss)
    }
}

/// Inference with a network, in a workspace that is kept.
pub(crate) struct Inference {
    model: Sequential,
    workspace: Workspace,
    input: ArrayD<f32>,
}

impl Inference {
    /// Inference of `n` samples at a time.
    pub(crate) fn new(network: &Network, n: usize) -> Result<Self> {
        let (model, input) = (network.model()?, network.samples(n));
        Ok(Self { model, workspace: Workspace::new(), input })
    }

    /// One call; returns the first logit.
    pub(crate) fn predict(&mut self) -> Result<f32> {
        let logits = self.model.predict_with(self.input.view(), &mut self.workspace)?;
        Ok(logits.first().copied().unwrap_or_default())
    }
}
