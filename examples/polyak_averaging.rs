//! Polyak averaging on MNIST: the mean of the parameters against the last ones.
//!
//! `cargo run --release --example polyak_averaging`; `-- --help` lists the options.

mod common;

use std::process::ExitCode;

use common::{Failure, Options, first, mean};
use layerwise::prelude::*;
use layerwise::training::{Average, reestimate_statistics};

const IMAGES: usize = 10_000;
const EPOCHS: u64 = 5;
const BATCH: usize = 32;
/// Constant: the last iterate jumps about the minimum, the mean is in the middle.
const RATE: f64 = 0.02;

fn main() -> ExitCode {
    common::main(run)
}

fn run(options: &Options) -> Result<(), Failure> {
    let (train, test) = (first(&options.train()?, options.images(IMAGES))?, options.test()?);
    let (epochs, rate) = (options.epochs(EPOCHS), options.rate(RATE));
    let (images, tests) = (train.len(), test.len());
    println!("{images} images, {epochs} epochs at a constant rate; errors on {tests} test images");
    let (mut lasts, mut means, mut exponentials) = (Vec::new(), Vec::new(), Vec::new());
    for seed in options.seed..options.seed + options.runs {
        let mut model = model(seed)?;
        let optimizer = ModelOptimizer::new(Sgd::new().momentum(0.9), rate);
        let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(epochs);
        let mut batches = train.batches(BATCH)?.shuffled(Seed::new(seed));
        // Both at once; neither goes into the model by itself.
        let mut polyak = Average::polyak().from_epoch(2).keep(false);
        let mut ema = Average::ema(0.995).keep(false);
        trainer.fit_with(&mut model, &mut batches, None, &mut [&mut polyak, &mut ema])?;
        let error = |model: &Sequential| accuracy(model, &test).map(|share| 100.0 * (1.0 - share));
        lasts.push(error(&model)?);
        for (average, errors) in [(&mut polyak, &mut means), (&mut ema, &mut exponentials)] {
            average.swap(&mut model)?;
            reestimate_statistics(&mut model, &mut batches)?;
            errors.push(error(&model)?);
            average.swap(&mut model)?;
        }
        let i = lasts.len() - 1;
        println!(
            "seed {seed}: last iterate {:.2} %, mean from epoch 2 on {:.2} %, moving average {:.2} %",
            lasts[i], means[i], exponentials[i]
        );
    }
    println!(
        "mean: last iterate {:.2} %, mean from epoch 2 on {:.2} %, moving average {:.2} %",
        mean(&lasts),
        mean(&means),
        mean(&exponentials)
    );
    Ok(())
}

fn model(seed: u64) -> layerwise::Result<Sequential> {
    Sequential::builder([1, 28, 28])
        .add(Conv2d::new(8, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(16, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Linear::new(10))
        .seed(seed)
        .build()
}
