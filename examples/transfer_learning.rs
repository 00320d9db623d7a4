//! Transfer learning on MNIST: a network that knows the digits 0 to 4 learns 5 to 9 from 100 images of each.
//!
//! The convolutions are trained once, on the digits 0 to 4 in all eight positions that a square has, each a class of its
//! own: to tell a 2 from a 2 that lies on its side takes more features than to tell five digits apart. Then come runs on 100
//! images of each other digit, other images in each run: a new head on the frozen convolutions against the same network from
//! scratch, with the same head, epochs, optimizer and rates.
//!
//! `cargo run --release --example transfer_learning`; `-- --help` lists the options.

mod common;

use std::ops::Range;
use std::process::ExitCode;

use common::{Failure, Options, mean};
use layerwise::augment::{Affine, Pipeline};
use layerwise::prelude::*;

/// Images of each new digit.
const IMAGES: usize = 100;
/// Adam's largest rate.
const RATE: f64 = 3e-3;
/// Epochs on the few images, for both contestants.
const EPOCHS: u64 = 40;
const BATCH: usize = 25;
/// Probability of dropout before the classifier.
const DROPOUT: f64 = 0.0;
/// Epochs on the digits 0 to 4 in all positions.
const PRETRAINING: u64 = 2;

fn main() -> ExitCode {
    common::main(run)
}

fn run(options: &Options) -> Result<(), Failure> {
    let (train, test) = (options.train()?, options.test()?);
    let test = digits(&test, 5..10, 0..usize::MAX)?;
    let (epochs, rate) = (options.epochs(EPOCHS), options.rate(RATE));
    let pretrained = pretrained(&train, options.seed)?;
    let images = options.images(IMAGES);
    println!(
        "{images} images of each digit from 5 to 9, {epochs} epochs; accuracy on {} test images",
        test.len()
    );
    let (mut transferred, mut scratch) = (Vec::new(), Vec::new());
    for run in 0..options.runs {
        let (seed, from) = (options.seed + run, run as usize * images);
        let few = digits(&train, 5..10, from..from + images)?;
        let mut model = pretrained.clone();
        model.replace_from("head", head(5))?;
        model.freeze(|p| p.matches("convolutions.*"));
        let mut new = network(5, seed)?;
        for (model, figures) in [(&mut model, &mut transferred), (&mut new, &mut scratch)] {
            let mut batches = few.batches(BATCH)?.shuffled(Seed::new(seed));
            fit(model, &mut batches, epochs, rate)?;
            figures.push(100.0 * accuracy(&*model, &test)?);
        }
        let i = scratch.len() - 1;
        println!(
            "seed {seed}: transferred {:.2} %, from scratch {:.2} %",
            transferred[i], scratch[i]
        );
    }
    println!("mean: transferred {:.2} %, from scratch {:.2} %", mean(&transferred), mean(&scratch));
    Ok(())
}

/// Images of some digits, those of each counted from 0 and taken in a range, with classes from 0.
fn digits(
    data: &Dataset,
    digits: Range<usize>,
    of_each: Range<usize>,
) -> layerwise::Result<Dataset> {
    let mut seen = [0; 10];
    let chosen: Vec<usize> = (0..data.len())
        .filter(|&i| {
            let digit = data.targets()[i];
            seen[digit] += 1;
            digits.contains(&digit) && of_each.contains(&(seen[digit] - 1))
        })
        .collect();
    let part = data.select(&chosen)?;
    let classes = part.targets().iter().map(|digit| digit - digits.start).collect();
    Dataset::new(part.samples().to_owned(), classes)
}

/// Two convolutions and a linear classifier.
fn network(classes: usize, seed: u64) -> layerwise::Result<Sequential> {
    let block = |filters| {
        Block::new().add(Conv2d::new(filters, 3).padding(1)).add(Relu).add(MaxPool2d::new(2))
    };
    Sequential::builder([1, 28, 28])
        .add_named("convolutions", Block::new().add(block(32)).add(block(64)))
        .add(Flatten)
        .add_named("head", head(classes))
        .seed(seed)
        .build()
}

fn head(classes: usize) -> Block {
    Block::new().add(Dropout::new(DROPOUT)).add(Linear::new(classes))
}

/// The network, trained on the digits 0 to 4 in all positions.
fn pretrained(train: &Dataset, seed: u64) -> Result<Sequential, Failure> {
    let images = Positions { images: digits(train, 0..5, 0..usize::MAX)?, digits: 5 };
    println!(
        "{PRETRAINING} epochs on {} images: digits 0 to 4 in {POSITIONS} positions",
        images.len()
    );
    let affine = Affine::new().shift(0.1).rotate(15.0).scale(0.85, 1.15).shear(10.0);
    let batches = images.batches(64)?.shuffled(Seed::new(seed));
    let mut batches = batches.augmented(Pipeline::new(Seed::new(seed)).add(affine))?;
    let mut model = network(5 * POSITIONS, seed)?;
    fit(&mut model, &mut batches, PRETRAINING, RATE)?;
    Ok(model)
}

fn fit(
    model: &mut Sequential,
    batches: &mut Batches<'_, f32, Vec<usize>>,
    epochs: u64,
    rate: f64,
) -> layerwise::Result<()> {
    let steps = epochs * batches.count() as u64;
    let optimizer = ModelOptimizer::new(Adam::new(), rate).schedule(Cosine::new(steps));
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(epochs);
    trainer.fit(model, batches, None).map(|_| ())
}

/// Four turns, mirrored or not.
const POSITIONS: usize = 8;

/// Square images in all positions, turned when they are read: sample `i` is image `i / 8` in position `i % 8`, and each
/// digit in each position is a class.
#[derive(Debug)]
struct Positions {
    images: Dataset,
    digits: usize,
}

impl Source for Positions {
    type Targets = Vec<usize>;

    fn len(&self) -> usize {
        POSITIONS * self.images.len()
    }

    fn shape(&self) -> &Shape {
        self.images.shape()
    }

    fn room(&self, rows: usize) -> Vec<usize> {
        vec![0; rows]
    }

    fn read(
        &self,
        rows: &[usize],
        x: &mut [f32],
        targets: &mut Vec<usize>,
    ) -> layerwise::Result<()> {
        let images: Vec<usize> = rows.iter().map(|row| row / POSITIONS).collect();
        let mut digits = self.images.room(rows.len());
        self.images.read(&images, x, &mut digits)?;
        let (side, numel) = (self.shape().dims()[1], self.shape().numel());
        for (i, image) in x.chunks_exact_mut(numel).enumerate() {
            let position = rows[i] % POSITIONS;
            targets[i] = digits[i] + self.digits * position;
            turn(image, side, position);
        }
        Ok(())
    }
}

/// Mirrors an image on its diagonal, from left to right and upside down, as the bits of `position` say.
fn turn(image: &mut [f32], side: usize, position: usize) {
    if position & 1 > 0 {
        for (y, x) in (0..side).flat_map(|y| (0..y).map(move |x| (y, x))) {
            image.swap(y * side + x, x * side + y);
        }
    }
    if position & 2 > 0 {
        image.chunks_exact_mut(side).for_each(<[f32]>::reverse);
    }
    if position & 4 > 0 {
        image.reverse();
        image.chunks_exact_mut(side).for_each(<[f32]>::reverse);
    }
}
