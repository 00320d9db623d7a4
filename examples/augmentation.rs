//! What augmentation gives: a small network trained on 2,000 MNIST images with and without random shifts and
//! rotations, several seeds each; prints a table and writes a picture of augmented digits.
//!
//! `cargo run --release --example augmentation`; `-- --help` lists the options.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use flate2::read::GzDecoder;
use image::GrayImage;
use indicatif::{ProgressBar, ProgressStyle};
use layerwise::augment::{Affine, Pipeline};
use layerwise::data::ByteImages;
use layerwise::prelude::*;

/// Train with and without augmentation, and compare.
#[derive(Debug, Parser)]
struct Options {
    /// Training images
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=60_000))]
    images: u32,
    /// Passes over them
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Runs of each kind, with other seeds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Largest shift, as a share of the image's side
    #[arg(long, default_value_t = 0.1)]
    shift: f64,
    /// Largest rotation in degrees
    #[arg(long, default_value_t = 15.0)]
    rotate: f64,
    /// Where to write the picture
    #[arg(long, default_value = "augmented-digits.png")]
    picture: PathBuf,
    /// Folder with the four MNIST files, gzip-compressed
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"))]
    data: PathBuf,
}

/// Samples of a training step.
const BATCH: usize = 50;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let train = load(&options.data, "train")?;
    let test = load(&options.data, "t10k")?;
    // As many of each digit.
    let share = f64::from(options.images) / train.len() as f64;
    let train = match share {
        share if share < 1.0 => {
            let [part, _] = train.split_stratified([share, 1.0 - share], Seed::new(0))?;
            part
        }
        _ => train,
    };
    write_picture(options, &train)?;

    println!("{} training images, {} epochs, test accuracy in %", train.len(), options.epochs);
    println!("seed    plain  augmented   gain");
    let mut sums = [0.0; 2];
    for seed in 1..=options.seeds {
        let [plain, augmented] = [
            train_and_test(options, &train, &test, seed, None)?,
            train_and_test(options, &train, &test, seed, Some(pipeline(options, seed)))?,
        ];
        println!("{seed:4}    {plain:5.2}      {augmented:5.2}  {:+5.2}", augmented - plain);
        sums[0] += plain;
        sums[1] += augmented;
    }
    let [plain, augmented] = sums.map(|sum| sum / options.seeds as f64);
    println!("mean    {plain:5.2}      {augmented:5.2}  {:+5.2}", augmented - plain);
    Ok(())
}

fn pipeline(options: &Options, seed: u64) -> Pipeline {
    let affine = Affine::new().shift(options.shift).rotate(options.rotate);
    Pipeline::new(Seed::new(seed)).add(affine)
}

fn model(seed: u64) -> layerwise::Result<Sequential> {
    Sequential::builder([1, 28, 28])
        .add(Conv2d::new(8, 3).padding(1))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(16, 3).padding(1))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Linear::new(64))
        .add(Relu)
        .add(Linear::new(10).weight_init(XavierUniform::default()))
        .seed(seed)
        .build()
}

/// Accuracy on the test images in percent.
fn train_and_test(
    options: &Options,
    train: &Dataset,
    test: &Dataset,
    seed: u64,
    augment: Option<Pipeline>,
) -> layerwise::Result<f64> {
    let mut model = model(seed)?;
    let mut batches = train.batches(BATCH)?.shuffled(Seed::new(seed));
    let name = if augment.is_some() { "augmented" } else { "plain" };
    if let Some(augment) = augment {
        batches = batches.augmented(augment)?;
    }
    let steps = batches.count() as u64 * options.epochs;
    // A tenth of the rate for the last fifth.
    let schedule = StepDecay { every: steps - steps / 5, gamma: 0.1 };
    let optimizer = ModelOptimizer::new(Adam::new(), 2e-3).schedule(schedule);
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
    let bar =
        ProgressBar::new(steps).with_style(style()).with_prefix(format!("{name}, seed {seed}"));
    for _ in 0..options.epochs {
        trainer.epoch_with(&mut model, &mut batches, |step| {
            bar.set_message(format!("loss {:.4}", step.loss));
            bar.inc(1);
            ControlFlow::Continue(())
        })?;
    }
    bar.finish_and_clear();
    Ok(100.0 * accuracy(&model, test)?)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:20} {bar:40} {pos}/{len} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A row for each of ten digits: the image, and what ten epochs make of it.
fn write_picture(options: &Options, data: &Dataset) -> Result<(), Failure> {
    const SIDE: u32 = 28;
    const GAP: u32 = 2;
    let pipeline = pipeline(options, 1);
    let mut sheet =
        GrayImage::from_pixel(11 * (SIDE + GAP) + GAP, 10 * (SIDE + GAP) + GAP, image::Luma([128]));
    for digit in 0..10usize {
        let Some(sample) = data.targets().iter().position(|&class| class == digit) else {
            continue;
        };
        let original = data.select(&[sample])?;
        for column in 0..11u32 {
            let mut digit_image = original.samples().to_owned();
            if column > 0 {
                pipeline.apply(&mut digit_image.view_mut(), &[sample], u64::from(column))?;
            }
            let (left, top) = (GAP + column * (SIDE + GAP), GAP + digit as u32 * (SIDE + GAP));
            for (at, &value) in digit_image.iter().enumerate() {
                let at = at as u32;
                // Greys are from 0 to 1; `as` rounds towards 0.
                let grey = (255.0 * value + 0.5) as u8;
                sheet.put_pixel(left + at % SIDE, top + at / SIDE, image::Luma([grey]));
            }
        }
    }
    sheet.save(&options.picture)?;
    println!("augmented digits, the originals on the left: {}", options.picture.display());
    Ok(())
}

/// The images and labels of one half, `train` or `t10k`, as grey values from 0 to 1.
fn load(folder: &Path, half: &str) -> Result<Dataset, Failure> {
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
