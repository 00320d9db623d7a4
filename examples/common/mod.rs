//! What the examples on MNIST share: options, the data, and how they end.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use flate2::read::GzDecoder;
use layerwise::data::{Idx, read_idx};
use layerwise::prelude::*;

/// What can go wrong.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Options of every example.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Seed of initial weights, shuffling and dropout; runs of several seeds count up from here
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Runs, each with the next seed; where figures are means
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) runs: u64,
    /// Images to train with, in place of the example's own number
    #[arg(long)]
    images: Option<usize>,
    /// Epochs, in place of the example's own number
    #[arg(long)]
    epochs: Option<u64>,
    /// Learning rate, in place of the example's own
    #[arg(long)]
    rate: Option<f64>,
    /// Folder with the four MNIST files, gzip-compressed
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"))]
    pub(crate) data: PathBuf,
    /// Folder for pictures; none are drawn without it, or without the feature `plot`
    #[arg(long)]
    pub(crate) pictures: Option<PathBuf>,
}

/// Reads the options, runs, and tells what went wrong.
pub(crate) fn main(run: fn(&Options) -> Result<(), Failure>) -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(dead_code)]
impl Options {
    /// Images to train with.
    pub(crate) fn images(&self, default: usize) -> usize {
        self.images.unwrap_or(default)
    }

    /// Epochs to train for.
    pub(crate) fn epochs(&self, default: u64) -> u64 {
        self.epochs.unwrap_or(default)
    }

    /// The learning rate.
    pub(crate) fn rate(&self, default: f64) -> f64 {
        self.rate.unwrap_or(default)
    }

    /// The 60,000 images to train with, as grey values from 0 to 1.
    pub(crate) fn train(&self) -> Result<Dataset, Failure> {
        load(&self.data, "train")
    }

    /// The 10,000 images to test with.
    pub(crate) fn test(&self) -> Result<Dataset, Failure> {
        load(&self.data, "t10k")
    }

    /// Writes a picture, if there is a folder for pictures.
    pub(crate) fn picture(&self, name: &str, svg: &str) -> Result<(), Failure> {
        if let Some(folder) = &self.pictures {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(name), svg)?;
        }
        Ok(())
    }
}

/// The first `count` images.
#[allow(dead_code)]
pub(crate) fn first(data: &Dataset, count: usize) -> layerwise::Result<Dataset> {
    data.select(&(0..count.min(data.len())).collect::<Vec<_>>())
}

/// The mean of some figures.
#[allow(dead_code)]
pub(crate) fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

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
    Ok(idx.and_then(|idx| convert(&idx)).map_err(|error| describe(&error))?)
}
