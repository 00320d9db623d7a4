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
pub(crate) const RECIPES: [Recipe; 8] = [
    Recipe { name: "plain", against: "plain", model: plain },
    Recipe { name: "dropout", against: "plain", model: dropout },
    Recipe { name: "DropConnect", against: "plain", model: drop_connect },
    Recipe { name: "batch norm", against: "plain", model: batch_norm },
    Recipe { name: "plain pooling", against: "plain pooling", model: plain_pooling },
    Recipe { name: "fractional pooling", against: "plain pooling", model: fractional_pooling },
    Recipe { name: "plain residual", against: "plain residual", model: residual },
    Recipe { name: "stochastic depth", against: "plain residual", model: stochastic_depth },
];

/// Samples of a training step.
pub(crate) const BATCH: usize = 50;

fn conv(filters: usize) -> Conv2d {
    Conv2d::new(filters, 3).padding(1)
}

/// A convolution without bias and batch norm.
fn normed(filters: usize) -> Block {
    Block::new().add(conv(filters).bias(false)).add(BatchNorm::new())
}

/// Two convolutions and poolings: 32 channels of 7 × 7.
fn features(start: SequentialBuilder) -> SequentialBuilder {
    let start = start.add(conv(16)).add(Relu).add(MaxPool2d::new(2));
    start.add(conv(32)).add(Relu).add(MaxPool2d::new(2)).add(Flatten)
}

fn plain(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    features(start).add(Linear::new(128)).add(Relu).add(Linear::new(10)).build()
}

/// A quarter of the convolutions' outputs, half of the hidden layer's.
fn dropout(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    let hidden = features(start).add(Dropout::drop(0.25)).add(Linear::new(128)).add(Relu);
    hidden.add(Dropout::drop(0.5)).add(Linear::new(10)).build()
}

/// Half of the hidden layer's weights, for each sample others.
fn drop_connect(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    let hidden = features(start).add(DropConnect::new(128).drop(0.5).activation(Relu));
    hidden.add(Linear::new(10)).build()
}

fn batch_norm(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    let start = start.add(normed(16)).add(Relu).add(MaxPool2d::new(2));
    let start = start.add(normed(32)).add(Relu).add(MaxPool2d::new(2)).add(Flatten);
    let hidden = start.add(Linear::new(128).bias(false)).add(BatchNorm::new()).add(Relu);
    hidden.add(Linear::new(10)).build()
}

/// Three convolutions and poolings: 28 × 28 becomes 19 × 19, 12 × 12 and 8 × 8.
fn pooled<P: LayerSpec + 'static>(
    start: SequentialBuilder,
    pool: fn(usize) -> P,
) -> layerwise::Result<Sequential> {
    let start = start.add(conv(16)).add(Relu).add(pool(19));
    let start = start.add(conv(32)).add(Relu).add(pool(12));
    let start = start.add(conv(32)).add(Relu).add(pool(8)).add(Flatten);
    start.add(Linear::new(128)).add(Relu).add(Linear::new(10)).build()
}

/// Regions that are always the same.
fn plain_pooling(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    pooled(start, AdaptiveMaxPool2d::new)
}

/// Regions that are drawn for each pass; evenly spread, as random sequences distort so small images too much.
fn fractional_pooling(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    let pool = |size| FractionalMaxPool2d::to_size(size).overlapping(true).pseudo_random(true);
    pooled(start, pool)
}

/// Two residual blocks of 14 × 14 and four of 7 × 7, each with a ReLU behind it.
fn blocks<B: LayerSpec + 'static>(
    start: SequentialBuilder,
    block: fn(Block) -> B,
) -> layerwise::Result<Sequential> {
    let mut model = start.add(normed(16)).add(Relu);
    for blocks in [2, 4] {
        model = model.add(MaxPool2d::new(2));
        for _ in 0..blocks {
            let body = Block::new().add(normed(16)).add(Relu).add(normed(16));
            model = model.add(block(body)).add(Relu);
        }
    }
    model.add(Flatten).add(Linear::new(10)).build()
}

fn residual(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    blocks(start, Residual::new)
}

/// The bodies survive with probability 11/12, 10/12, … 6/12.
fn stochastic_depth(start: SequentialBuilder) -> layerwise::Result<Sequential> {
    blocks(start, StochasticDepth::new)
}

/// Trains one network and returns its accuracy on `test`, in %. `each` sees the loss of every step.
fn train_and_test(
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

/// [`train_and_test`] for seeds from 1 to `seeds`, two at a time, each on a thread of its own: networks so small gain
/// little from a second one. `each` may be called by both.
pub(crate) fn train_all(
    recipe: &Recipe,
    data: (&Dataset, &Dataset),
    epochs: u64,
    seeds: u64,
    each: impl Fn(f32) + Sync,
) -> Result<Vec<f64>, Failure> {
    let run = |seed| train_and_test(recipe, data, epochs, seed, &each);
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let half = |first: u64| -> Result<Vec<f64>, Failure> {
        Ok(pool()?.install(|| (first..=seeds).step_by(2).map(run).collect::<Result<_, _>>())?)
    };
    let (odd, even) = std::thread::scope(|scope| {
        let even = scope.spawn(|| half(2));
        (half(1), even.join())
    });
    let (odd, even) = (odd?, even.map_err(|_| "a thread panicked")??);
    Ok((0..seeds as usize).map(|i| if i % 2 == 0 { odd[i / 2] } else { even[i / 2] }).collect())
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
