//! The networks that the example `regularization` and the slow test of the same name train: each technique beside a plain
//! network that differs in nothing else.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use flate2::read::GzDecoder;
use layerwise::data::ByteImages;
use layerwise::prelude::*;

/// One way to train.
pub(crate) struct Recipe {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// The recipe it is compared with; its own name if it is plain.
    pub(crate) against: &'static str,
    /// The network for a seed.
    pub(crate) model: fn(SequentialBuilder) -> layerwise::Result<Sequential>,
}

/// Plain ones first: others are compared with what they gave.
pub(crate) const RECIPES: [Recipe; 7] = [
    Recipe { name: "plain", against: "plain", model: plain },
    Recipe { name: "dropout", against: "plain", model: dropout },
    Recipe { name: "DropConnect", against: "plain", model: drop_connect },
    Recipe { name: "batch norm", against: "plain", model: batch_norm },
    Recipe { name: "fractional pooling", against: "plain", model: fractional_pooling },
    Recipe { name: "plain residual", against: "plain residual", model: residual },
    Recipe { name: "stochastic depth", against: "plain residual", model: stochastic_depth },
];

/// Samples of a training step.
pub(crate) const BATCH: usize = 50;

fn conv(filters: usize) -> Conv2d {
    Conv2d::new(filters, 3).padding(1)
}

fn plain(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    start
        .add(conv(16))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(conv(32))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Linear::new(128))
        .add(Relu)
        .add(Linear::new(10))
        .build()
}

/// A quarter of the convolutions' outputs, half of the hidden layer's.
fn dropout(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    start
        .add(conv(16))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(conv(32))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Dropout::drop(0.25))
        .add(Linear::new(128))
        .add(Relu)
        .add(Dropout::drop(0.5))
        .add(Linear::new(10))
        .build()
}

/// Half of the hidden layer's weights, for each sample others.
fn drop_connect(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    start
        .add(conv(16))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(conv(32))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(DropConnect::new(128).drop(0.5).activation(Relu))
        .add(Linear::new(10))
        .build()
}

fn batch_norm(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    start
        .add(conv(16).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(conv(32).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Linear::new(128).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Linear::new(10))
        .build()
}

/// Two poolings by √2 for each by 2, evenly spread: random sequences distort so small a network too much.
fn fractional_pooling(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    let pool = || FractionalMaxPool2d::new(2f64.sqrt()).overlapping(true).pseudo_random(true);
    start
        .add(conv(16))
        .add(Relu)
        .add(pool())
        .add(pool())
        .add(conv(32))
        .add(Relu)
        .add(pool())
        .add(pool())
        .add(Flatten)
        .add(Linear::new(128))
        .add(Relu)
        .add(Linear::new(10))
        .build()
}

fn body() -> Block {
    Block::new()
        .add(conv(16).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(conv(16).bias(false))
        .add(BatchNorm::new())
}

/// Four residual blocks, two of them at each size.
fn residual(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    let block = || Block::new().add(Residual::new(body())).add(Relu);
    blocks(start, block)
}

/// The same with bodies that survive with probability 7/8, 6/8, 5/8, 4/8.
fn stochastic_depth(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    let block = || Block::new().add(StochasticDepth::new(body())).add(Relu);
    blocks(start, block)
}

fn blocks(start: SequentialBuilder, block: fn() -> Block) -> layerwise::Result<Sequential> {
    start
        .add(conv(16).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(block())
        .add(block())
        .add(MaxPool2d::new(2))
        .add(block())
        .add(block())
        .add(Flatten)
        .add(Linear::new(10))
        .build()
}

/// Trains one network and returns its accuracy on `test`, in %. `each` sees the loss of every step.
pub(crate) fn train_and_test(
    recipe: &Recipe,
    (train, test): (&Dataset, &Dataset),
    epochs: u64,
    seed: u64,
    mut each: impl FnMut(f32),
) -> layerwise::Result<f64> {
    let mut model = (recipe.model)(Sequential::builder([1, 28, 28]).seed(seed))?;
    let mut batches = train.batches(BATCH)?.shuffled(Seed::new(seed));
    let steps = epochs * steps_of(train);
    let schedule = StepDecay { every: steps - steps / 5, gamma: 0.1 };
    let optimizer = ModelOptimizer::new(Adam::new(), 2e-3).schedule(schedule);
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
    for _ in 0..epochs {
        trainer.epoch_with(&mut model, &mut batches, |step| {
            each(step.loss);
            ControlFlow::Continue(())
        })?;
    }
    Ok(100.0 * accuracy(&model, test)?)
}

/// Steps of an epoch.
pub(crate) fn steps_of(train: &Dataset) -> u64 {
    train.len().div_ceil(BATCH) as u64
}

/// Mean and standard error of differences between runs with the same seed.
pub(crate) fn mean_and_error(differences: &[f64]) -> (f64, f64) {
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let squares: f64 = differences.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

/// So many of MNIST's training images, as many of each digit, and the 10,000 test images.
pub(crate) fn load(folder: &Path, images: usize) -> Result<(Dataset, Dataset), Failure> {
    let all = load_half(folder, "train")?;
    let share = images as f64 / all.len() as f64;
    let [train, _] = all.split_stratified([share, 1.0 - share], Seed::new(0))?;
    Ok((train, load_half(folder, "t10k")?))
}

/// Anything that went wrong.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The images and labels of one half, `train` or `t10k`, as grey values from 0 to 1.
fn load_half(folder: &Path, half: &str) -> Result<Dataset, Failure> {
    let images = unpack(&folder.join(format!("{half}-images-idx3-ubyte.gz")))?;
    let labels = unpack(&folder.join(format!("{half}-labels-idx1-ubyte.gz")))?;
    let data = ByteImages::idx(images, labels).and_then(|images| images.to_dataset());
    data.map_err(|error| format!("{}: {error}", folder.display()).into())
}

fn unpack(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| GzDecoder::new(BufReader::new(file)).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(bytes)
}
