//! Searching for a learning rate on MNIST: from coarse to fine, against a dense grid that costs five times as much.
//!
//! `cargo run --release --example coarse_to_fine`; `-- --help` lists the options.

mod common;

use std::process::ExitCode;

use common::{Failure, Options};
use layerwise::prelude::*;
use layerwise::search::{CoarseToFine, Results, Search, Space, Trial};
use layerwise::training::{EpochEnd, Run};

const IMAGES: usize = 5_000;
/// Points of the grid, and epochs for each: 125 epochs.
const GRID: usize = 25;
const EPOCHS: u64 = 5;
/// Trials of each stage, and epochs for each: 24 epochs.
const TRIALS: usize = 8;
const STAGES: [u64; 2] = [1, 2];

fn main() -> ExitCode {
    common::main(run)
}

fn run(options: &Options) -> Result<(), Failure> {
    let all = options.train()?;
    let images = options.images(IMAGES);
    let part = |from: usize| all.select(&(from..from + images).collect::<Vec<_>>());
    let (train, valid) = (part(0)?, part(images)?);
    let search =
        |seed| Search::new(Space::new().log_uniform("lr", 1e-5, 10.0), Seed::new(seed)).workers(2);
    let objective = |trial: &mut Trial<'_>| fit(&train, &valid, trial);
    let grid = search(0).grid(GRID, EPOCHS, objective)?;
    let (best, cost) = (rate(&grid)?, epochs(&grid));
    println!("dense grid: best rate {best:.4} for {cost} epochs\n\n{grid}\n");
    for seed in options.seed..options.seed + options.runs {
        let results =
            search(seed).coarse_to_fine(&CoarseToFine::new(TRIALS, &STAGES), objective)?;
        let found = rate(&results)?;
        println!(
            "seed {seed}: coarse to fine found {found:.4} for {} epochs, {:.2} times the grid's best",
            epochs(&results),
            found / best
        );
        results.warnings.iter().for_each(|warning| println!("  {warning}"));
        #[cfg(feature = "plot")]
        options.picture("coarse_to_fine.svg", &layerwise::plot::trials(&results)?)?;
    }
    #[cfg(feature = "plot")]
    options.picture("grid.svg", &layerwise::plot::trials(&grid)?)?;
    Ok(())
}

fn rate(results: &Results) -> Result<f64, Failure> {
    Ok(results.best().ok_or("no trial came to an end")?.point.number("lr")?)
}

/// What a search may have cost at most.
fn epochs(results: &Results) -> u64 {
    results.trials.iter().map(|trial| trial.budget).sum()
}

fn fit(train: &Dataset, valid: &Dataset, trial: &mut Trial<'_>) -> layerwise::Result<f64> {
    let mut model = Sequential::builder([1, 28, 28])
        .add(Flatten)
        .add(Linear::new(128))
        .add(Relu)
        .add(Linear::new(10))
        .seed(1)
        .build()?;
    let optimizer = ModelOptimizer::new(Sgd::new().momentum(0.9), trial.point().number("lr")?);
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(trial.budget());
    let mut batches = train.batches(64)?.shuffled(Seed::new(1));
    let mut report = EpochEnd(|run: &mut Run<'_>| trial.report(run.now.loss));
    trainer.fit_with(&mut model, &mut batches, None, &mut [&mut report])?;
    Ok(trainer.evaluate(&model, &mut valid.batches(500)?)?.loss)
}
