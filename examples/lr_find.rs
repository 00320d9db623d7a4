//! `lr_find` on MNIST for five networks: the suggested rate trains each without divergence.
//!
//! `cargo run --release --example lr_find`; `-- --help` lists the options.

mod common;
#[path = "../benches/networks/mod.rs"]
#[allow(dead_code)]
mod networks;

use std::process::ExitCode;

use common::{Failure, Options, first, mean};
use layerwise::prelude::*;
use layerwise::training::LrFinder;
use networks::NETWORKS;

/// Steps to train for at the suggested rate.
const STEPS: u64 = 100;

fn main() -> ExitCode {
    common::main(run)
}

fn run(options: &Options) -> Result<(), Failure> {
    let images = first(&options.train()?, 20_000)?;
    println!(
        "Adam; the loss before the first of {STEPS} steps at valley's rate, the highest, and the mean of the last 10\n"
    );
    println!("network  valley   minimum  steep    slide    first  highest  last");
    for network in &NETWORKS {
        let mut model = network.model()?;
        let data = fitted(&images, &model)?;
        let mut batches = data.batches(network.batch)?.shuffled(Seed::new(options.seed));
        let optimizer = ModelOptimizer::new(Adam::new(), 1e-3);
        let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).steps(STEPS);
        let curve = trainer.lr_find(&mut model, &mut batches, &LrFinder::new())?;
        #[cfg(feature = "plot")]
        options.picture(
            &format!("lr_find_{}.svg", network.name),
            &layerwise::plot::lr_curve(&curve)?,
        )?;
        let lr = curve.valley().ok_or("the curve is too short")?;
        trainer.optimizer_mut().set_lr(lr);
        let history = trainer.fit(&mut model, &mut batches, None)?;
        let losses: Vec<f64> = history.steps.iter().map(|step| step.loss).collect();
        let highest = losses.iter().copied().fold(f64::MIN, f64::max);
        let (first, last) = (losses[0], mean(&losses[losses.len() - 10..]));
        let all = [Some(lr), curve.minimum(), curve.steep(), curve.slide()];
        print!("{:7}", network.name);
        all.iter()
            .for_each(|lr| print!("  {}", lr.map_or("   –   ".into(), |lr| format!("{lr:7.1e}"))));
        println!("  {first:5.3}  {highest:7.3}  {last:5.3}");
        if !last.is_finite() || last > first {
            return Err(format!("{} diverged", network.name).into());
        }
    }
    Ok(())
}

/// The images in the shape that a network takes: the grey of eight strips, pixels, or three channels of 32 × 32.
fn fitted(images: &Dataset, model: &Sequential) -> layerwise::Result<Dataset> {
    let shape = model.input_shape().dims();
    let classes = model.output_shape().numel();
    let x = images.samples();
    let mut full = vec![images.len()];
    full.extend(shape);
    let samples = match *shape {
        [1, 28, 28] | [784] => x.to_shape(full).map_or_else(|_| x.to_owned(), |x| x.into_owned()),
        [3, height, width] => ArrayD::from_shape_fn(full, |at| {
            let inside = |i: usize, size: usize| i.checked_sub((size - 28) / 2).filter(|&i| i < 28);
            match (inside(at[2], height), inside(at[3], width)) {
                (Some(y), Some(x_at)) => x[[at[0], 0, y, x_at]],
                _ => 0.0,
            }
        }),
        _ => strips(images, shape[0]),
    };
    // The smallest network has four outputs: digits by their remainder.
    let targets = images.targets().iter().map(|digit| digit % classes).collect();
    Dataset::new(samples, targets)
}

/// The grey of as many horizontal strips.
fn strips(images: &Dataset, count: usize) -> ArrayD<f32> {
    let x = images.samples();
    ArrayD::from_shape_fn(vec![images.len(), count], |at| {
        let (from, to) = (at[1] * 28 / count, (at[1] + 1) * 28 / count);
        let pixels = (from..to).flat_map(|y| (0..28).map(move |x| (y, x)));
        pixels.map(|(row, column)| x[[at[0], 0, row, column]]).sum::<f32>() / 20.0
    })
}
