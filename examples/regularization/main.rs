//! What regularization gives: small networks trained on 2,000 MNIST images, plain and with dropout, DropConnect, batch
//! norm, fractional pooling and stochastic depth, several seeds each; prints a table.
//!
//! `cargo run --release --example regularization`; `-- --help` lists the options.

mod recipes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use recipes::{Failure, RECIPES, load, mean_and_error, steps_of, train_all};

/// Train with and without each technique, and compare.
#[derive(Debug, Parser)]
struct Options {
    /// Training images
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..60_000))]
    images: u32,
    /// Passes over them
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Runs of each kind, with other seeds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Only techniques whose name contains this, and what they are compared with
    #[arg(long, default_value = "")]
    only: String,
    /// Folder with the four MNIST files, gzip-compressed
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"))]
    data: PathBuf,
}

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
    let (train, test) = load(&options.data, options.images as usize)?;
    let Options { epochs, seeds, .. } = *options;
    println!("{} training images, {epochs} epochs, {seeds} seeds: test accuracy in %", train.len());
    println!("{:20} {:>6} {:>6} {:>6}   gain over plain", "", "mean", "worst", "best");
    let chosen = |name: &str| name.contains(&options.only);
    let needed: Vec<&str> =
        RECIPES.iter().filter(|recipe| chosen(recipe.name)).map(|recipe| recipe.against).collect();
    let mut results: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for recipe in &RECIPES {
        if !chosen(recipe.name) && !needed.contains(&recipe.name) {
            continue;
        }
        let bar = ProgressBar::new(seeds * epochs * steps_of(&train));
        bar.set_style(style());
        bar.set_prefix(recipe.name);
        let runs = train_all(recipe, (&train, &test), epochs, seeds, |loss| {
            bar.set_message(format!("loss {loss:.4}"));
            bar.inc(1);
        })?;
        bar.finish_and_clear();
        print_row(recipe.name, &runs, results.get(recipe.against));
        results.insert(recipe.name, runs);
    }
    Ok(())
}

fn print_row(name: &str, runs: &[f64], plain: Option<&Vec<f64>>) {
    let (mean, _) = mean_and_error(runs);
    let worst = runs.iter().copied().fold(f64::INFINITY, f64::min);
    let best = runs.iter().copied().fold(0.0, f64::max);
    let gain = plain.map_or(String::new(), |plain| {
        let gains: Vec<f64> = runs.iter().zip(plain).map(|(run, plain)| run - plain).collect();
        let (gain, error) = mean_and_error(&gains);
        format!("{gain:+5.2} ± {error:.2}")
    });
    println!("{name:20} {mean:6.2} {worst:6.2} {best:6.2}   {gain}");
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:20} {bar:40} {pos}/{len} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
