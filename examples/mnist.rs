//! Trains a small convolutional network on MNIST and reports its accuracy on the 10,000 test images.
//!
//! `cargo run --release --example mnist`; `-- --help` lists the options.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use flate2::read::GzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use layerwise::data::{Idx, read_idx};
use layerwise::prelude::*;

/// Train a small convolutional network on MNIST.
#[derive(Debug, Parser)]
struct Options {
    /// Seed of initial weights, shuffling and dropout
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Passes over the 60,000 training images
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Folder with the four MNIST files, gzip-compressed
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"))]
    data: PathBuf,
    /// Threads to compute with; default: one for each core
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Samples of a training step.
const BATCH: usize = 64;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn run(options: &Options) -> Result<(), Failure> {
    let train = load(&options.data, "train")?;
    let test = load(&options.data, "t10k")?;
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = options.threads {
        pool = pool.num_threads(threads.into());
    }
    pool.build()?.install(|| train_and_test(options, &train, &test))?;
    Ok(())
}

fn model(seed: u64) -> layerwise::Result<Sequential> {
    Sequential::builder([1, 28, 28])
        .add(Conv2d::new(16, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(32, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Dropout::new(0.1))
        .add(Linear::new(128))
        .add(Relu)
        .add(Dropout::new(0.1))
        .add(Linear::new(10).weight_init(XavierUniform::default()))
        .seed(seed)
        .build()
}

fn train_and_test(options: &Options, train: &Dataset, test: &Dataset) -> layerwise::Result<()> {
    let start = Instant::now();
    let mut model = model(options.seed)?;
    println!("{}", model.summary());
    let mut batches = train.batches(BATCH)?.shuffled(Seed::new(options.seed));
    let steps = batches.count() as u64;
    // Rises for a fifth of the run, then falls to 1 % along half a cosine.
    let total = steps * options.epochs;
    let warmup = total / 5;
    let schedule = LinearWarmup::new(warmup).start(0.1).then(Cosine::new(total - warmup).min(0.01));
    let optimizer = ModelOptimizer::new(Adam::new(), 4e-3).schedule(schedule);
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
    for epoch in 1..=options.epochs {
        let begin = Instant::now();
        let bar = ProgressBar::new(steps).with_style(style());
        let loss = trainer.epoch_with(&mut model, &mut batches, |step| {
            bar.set_message(format!("loss {:.4}", step.loss));
            bar.inc(1);
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        println!(
            "epoch {epoch}/{}: loss {loss:.4} in {:.1} s",
            options.epochs,
            begin.elapsed().as_secs_f64()
        );
    }
    let accuracy = 100.0 * accuracy(&model, test)?;
    let (images, seconds) = (test.len(), start.elapsed().as_secs_f64());
    println!("test accuracy: {accuracy:.2} % ({images} images) in {seconds:.1} s");
    Ok(())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The images and labels of one half, `train` or `t10k`, as grey values from 0 to 1.
fn load(folder: &Path, half: &str) -> Result<Dataset, Failure> {
    let images = read(&folder.join(format!("{half}-images-idx3-ubyte.gz")), |idx| {
        idx.to_images(1.0 / 255.0)
    })?;
    let labels = read(&folder.join(format!("{half}-labels-idx1-ubyte.gz")), |idx| idx.to_labels())?;
    Dataset::new(images, labels).map_err(|error| format!("{}: {error}", folder.display()).into())
}

fn read<T>(path: &Path, convert: impl Fn(&Idx) -> layerwise::Result<T>) -> Result<T, Failure> {
    let describe =
        |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(|error| describe(&error))?;
    let idx = read_idx(GzDecoder::new(BufReader::new(file)));
    Ok(idx.and_then(|idx| convert(&idx)).map_err(|error| describe(&with_causes(&error)))?)
}

/// An error's text followed by those of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
