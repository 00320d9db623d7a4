//! Snapshot ensembles on MNIST: five models out of one run, against one model of the same budget.
//!
//! `cargo run --release --example snapshot_ensemble`; `-- --help` lists the options.

mod common;

use std::process::ExitCode;

use common::{Failure, Options, first, mean};
use layerwise::ensembles::Snapshots;
use layerwise::prelude::*;

/// Images to train with: few, so that there is something to gain.
const IMAGES: usize = 5_000;
const EPOCHS: u64 = 20;
const CYCLES: u64 = 5;
const BATCH: usize = 64;
/// High, so that each cycle leaves the last one's minimum.
const RATE: f64 = 0.4;

fn main() -> ExitCode {
    common::main(run)
}

fn run(options: &Options) -> Result<(), Failure> {
    let (train, test) = (first(&options.train()?, options.images(IMAGES))?, options.test()?);
    let (mut singles, mut lasts, mut ensembles) = (Vec::new(), Vec::new(), Vec::new());
    let recipe = Recipe { epochs: options.epochs(EPOCHS), rate: options.rate(RATE) };
    let (images, tests, epochs) = (train.len(), test.len(), recipe.epochs);
    println!("{images} images, {epochs} epochs; errors on {tests} test images");
    for seed in options.seed..options.seed + options.runs {
        let steps = epochs * train.batches(BATCH)?.count() as u64;
        let single = recipe.fit(&train, seed, Cosine::new(steps), &mut [])?;
        let mut snapshots = Snapshots::every(steps.div_ceil(CYCLES));
        let schedule = SnapshotCycles::new(steps, CYCLES);
        let last = recipe.fit(&train, seed, schedule, &mut [&mut snapshots])?;
        let ensemble = snapshots.ensemble(&last, snapshots.len())?;
        let error = |accuracy: layerwise::Result<f64>| Ok::<_, Failure>(100.0 * (1.0 - accuracy?));
        singles.push(error(accuracy(&single, &test))?);
        lasts.push(error(accuracy(&last, &test))?);
        ensembles.push(error(accuracy(&ensemble, &test))?);
        let i = singles.len() - 1;
        println!(
            "seed {seed}: single model {:.2} %, last snapshot {:.2} %, ensemble of {} {:.2} %",
            singles[i],
            lasts[i],
            snapshots.len(),
            ensembles[i]
        );
    }
    println!(
        "mean: single model {:.2} %, last snapshot {:.2} %, ensemble {:.2} %",
        mean(&singles),
        mean(&lasts),
        mean(&ensembles)
    );
    Ok(())
}

/// What single model and snapshots have in common.
struct Recipe {
    epochs: u64,
    rate: f64,
}

impl Recipe {
    /// Trains a network with this schedule.
    fn fit(
        &self,
        train: &Dataset,
        seed: u64,
        schedule: impl Schedule + 'static,
        callbacks: &mut [&mut dyn Callback],
    ) -> layerwise::Result<Sequential> {
        let mut model = Sequential::builder([1, 28, 28])
            .add(Conv2d::new(8, 3).padding(1).bias(false))
            .add(BatchNorm::new())
            .add(Relu)
            .add(MaxPool2d::new(2))
            .add(Conv2d::new(16, 3).padding(1).bias(false))
            .add(BatchNorm::new())
            .add(Relu)
            .add(MaxPool2d::new(2))
            .add(Flatten)
            .add(Linear::new(64).bias(false))
            .add(BatchNorm::new())
            .add(Relu)
            .add(Linear::new(10))
            .seed(seed)
            .build()?;
        let optimizer = ModelOptimizer::new(Sgd::new().momentum(0.9), self.rate).schedule(schedule);
        let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(self.epochs);
        let mut batches = train.batches(BATCH)?.shuffled(Seed::new(seed));
        trainer.fit_with(&mut model, &mut batches, None, callbacks)?;
        Ok(model)
    }
}
