//! What the trainer costs: an epoch of `Trainer::fit_with` with callbacks, against a bare loop over forward, loss, backward
//! and step, on the network `mlp`, 469 batches of 128.
//!
//! `cargo bench --bench trainer`. Both alternate; the ratio of the medians is what counts.

#[allow(dead_code)]
mod networks;

use std::time::Instant;

use layerwise::prelude::*;
use layerwise::training::{
    ActivationStatistics, CsvLog, EarlyStopping, Monitor, NanGuard, Plateau, UpdateRatio,
};
use networks::NETWORKS;

const BATCH: usize = 128;
/// An epoch of MNIST.
const BATCHES: usize = 469;
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let [_, network, ..] = &NETWORKS;
    let mut rng = Seed::new(1).rng();
    let x = ArrayD::from_shape_simple_fn(vec![BATCH * BATCHES, 784], || rng.normal() as f32);
    let classes = (0..BATCH * BATCHES).map(|_| rng.below(10)).collect::<Vec<usize>>();
    let data = Dataset::new(x, classes)?;
    let mut bare = Bare {
        model: network.model()?,
        optimizer: optimizer(),
        grad: ArrayD::zeros(vec![BATCH, 10]),
    };
    let mut model = network.model()?;
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer()).epochs(1);
    let (mut bare_batches, mut batches) = (data.batches(BATCH)?, data.batches(BATCH)?);
    let (mut bare_times, mut times) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let start = Instant::now();
        bare.epoch(&mut bare_batches)?;
        let middle = Instant::now();
        fit(&mut trainer, &mut model, &mut batches)?;
        // The first round warms up.
        if round > 0 {
            bare_times.push((middle - start).as_secs_f64());
            times.push(middle.elapsed().as_secs_f64());
        }
    }
    let (bare, with) = (median(&mut bare_times), median(&mut times));
    let pairs = bare_times.len();
    println!(
        "bare loop {:.1} ms, trainer with callbacks {:.1} ms for {BATCHES} batches",
        1e3 * bare,
        1e3 * with
    );
    println!("ratio {:.4} (medians of {pairs} alternating epochs)", with / bare);
    Ok(())
}

fn optimizer() -> ModelOptimizer {
    ModelOptimizer::new(Adam::new(), 1e-3)
}

/// An epoch by the trainer, with every callback that has something to do.
fn fit(
    trainer: &mut Trainer<CrossEntropy>,
    model: &mut Sequential,
    batches: &mut Batches<'_, f32, Vec<usize>>,
) -> Result<()> {
    let monitor = Monitor::train_loss;
    let mut stopping = EarlyStopping::new(5).monitor(monitor());
    let mut plateau = Plateau::new(ReduceOnPlateau::new()).monitor(monitor());
    let (mut log, mut guard) = (CsvLog::new(Vec::new()), NanGuard::skip(3));
    let (mut ratio, mut statistics) = (UpdateRatio::every(100), ActivationStatistics::every(100));
    let callbacks: &mut [&mut dyn Callback] =
        &mut [&mut stopping, &mut plateau, &mut log, &mut guard, &mut ratio, &mut statistics];
    trainer.fit_with(model, batches, None, callbacks).map(|_| ())
}

/// Model and optimizer without a trainer.
struct Bare {
    model: Sequential,
    optimizer: ModelOptimizer,
    grad: ArrayD<f32>,
}

impl Bare {
    fn epoch(&mut self, batches: &mut Batches<'_, f32, Vec<usize>>) -> Result<f32> {
        let (loss, mut total) = (CrossEntropy::new(), 0.0);
        batches.restart();
        while let Some(batch) = batches.next_batch()? {
            let logits = self.model.forward(batch.x)?;
            total += loss.value_and_grad(logits, batch.target, self.grad.view_mut())?;
            self.model.backward(&self.grad)?;
            self.optimizer.step(&mut self.model)?;
        }
        Ok(total / BATCHES as f32)
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
