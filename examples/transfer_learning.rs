//! Transfer learning on MNIST: a network that knows the digits 0 to 4 learns 5 to 9 from 100 images of each.
//!
//! `cargo run --release --example transfer_learning`; `-- --help` lists the options.

mod common;

use std::process::ExitCode;

use common::{Failure, Options, mean};
use layerwise::prelude::*;

/// Images of each new digit.
const IMAGES: usize = 100;
/// Adam's largest rate.
const RATE: f64 = 3e-3;
/// Epochs on the digits 0 to 4.
const PRETRAINING: u64 = 2;
/// Epochs on the few images of the others, for both contestants.
const EPOCHS: u64 = 40;

fn main() -> ExitCode {
    common::main(run)
}

fn run(options: &Options) -> Result<(), Failure> {
    let (train, test) = (options.train()?, options.test()?);
    let low = digits(&train, 0..5, usize::MAX)?;
    let (high, high_test) =
        (digits(&train, 5..10, options.images(IMAGES))?, digits(&test, 5..10, usize::MAX)?);
    println!(
        "{} images of 0 to 4, then {} of 5 to 9; accuracy on {} test images of 5 to 9",
        low.len(),
        high.len(),
        high_test.len()
    );
    let (epochs, rate) = (options.epochs(EPOCHS), options.rate(RATE));
    let (mut transferred, mut scratch) = (Vec::new(), Vec::new());
    for seed in options.seed..options.seed + options.runs {
        let mut pretrained = network(seed)?;
        fit(&mut pretrained, &low, seed, (PRETRAINING, rate), 64)?;
        pretrained.replace_from("head", head())?;
        pretrained.freeze(|p| p.matches("convolutions.*"));
        fit(&mut pretrained, &high, seed, (epochs, rate), 25)?;
        transferred.push(100.0 * accuracy(&pretrained, &high_test)?);

        let mut new = network(seed)?;
        fit(&mut new, &high, seed, (epochs, rate), 25)?;
        scratch.push(100.0 * accuracy(&new, &high_test)?);
        let i = scratch.len() - 1;
        println!(
            "seed {seed}: transferred {:.2} %, from scratch {:.2} %",
            transferred[i], scratch[i]
        );
    }
    println!("mean: transferred {:.2} %, from scratch {:.2} %", mean(&transferred), mean(&scratch));
    Ok(())
}

/// Images of some digits, at most so many of each, with classes from 0.
fn digits(
    data: &Dataset,
    digits: std::ops::Range<usize>,
    most: usize,
) -> layerwise::Result<Dataset> {
    let mut taken = [0; 10];
    let chosen: Vec<usize> = (0..data.len())
        .filter(|&i| {
            let digit = data.targets()[i];
            taken[digit] += 1;
            digits.contains(&digit) && taken[digit] <= most
        })
        .collect();
    let part = data.select(&chosen)?;
    let classes = part.targets().iter().map(|digit| digit - digits.start).collect();
    Dataset::new(part.samples().to_owned(), classes)
}

fn network(seed: u64) -> layerwise::Result<Sequential> {
    let block = |filters| {
        Block::new()
            .add(Conv2d::new(filters, 3).padding(1).bias(false))
            .add(BatchNorm::new())
            .add(Relu)
            .add(MaxPool2d::new(2))
    };
    let convolutions = Block::new().add(block(16)).add(block(32)).add(block(64));
    Sequential::builder([1, 28, 28])
        .add_named("convolutions", convolutions)
        .add(Flatten)
        .add_named("head", head())
        .seed(seed)
        .build()
}

fn head() -> Block {
    Block::new().add(Dropout::new(0.5)).add(Linear::new(5))
}

fn fit(
    model: &mut Sequential,
    data: &Dataset,
    seed: u64,
    (epochs, rate): (u64, f64),
    batch: usize,
) -> layerwise::Result<()> {
    let mut batches = data.batches(batch)?.shuffled(Seed::new(seed));
    let steps = epochs * batches.count() as u64;
    let optimizer = ModelOptimizer::new(Adam::new(), rate).schedule(Cosine::new(steps));
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(epochs);
    trainer.fit(model, &mut batches, None)?;
    Ok(())
}
