//! What the trainer costs: an epoch of `Trainer::fit_with` with callbacks, against a bare loop over forward, loss, backward
//! and step, on the network `mlp`, 118 batches of 128.
//!
//! `cargo bench --bench trainer`. Both alternate within one run of the trainer; the median of the pairs' ratios is what counts.

#[allow(dead_code)]
mod networks;

use std::time::Instant;

use layerwise::prelude::*;
use layerwise::training::{
    ActivationStatistics, CsvLog, EarlyStopping, Monitor, NanGuard, Plateau, Run, UpdateRatio,
};
use networks::NETWORKS;

const BATCH: usize = 128;
/// A quarter of MNIST, so that many epochs alternate: a machine's speed changes from second to second. What happens once an
/// epoch counts four times as much as over all of MNIST.
const BATCHES: usize = 118;
const ROUNDS: u64 = 25;

fn main() -> Result<()> {
    let [_, network, ..] = &NETWORKS;
    let mut rng = Seed::new(1).rng();
    let x = ArrayD::from_shape_simple_fn(vec![BATCH * BATCHES, 784], || rng.normal() as f32);
    let classes = (0..BATCH * BATCHES).map(|_| rng.below(10)).collect::<Vec<usize>>();
    let data = Dataset::new(x, classes)?;
    let bare = Bare {
        model: network.model()?,
        optimizer: optimizer(),
        grad: ArrayD::zeros(vec![BATCH, 10]),
        batches: data.batches(BATCH)?,
    };
    let mut alternate = Alternate { bare, begin: Instant::now(), pairs: Vec::new() };
    let mut model = network.model()?;
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer()).epochs(1 + ROUNDS);
    fit(&mut trainer, &mut model, &mut data.batches(BATCH)?, &mut alternate)?;
    // The first round warms up.
    let pairs = &alternate.pairs[1..];
    let of = |figure: fn(&(f64, f64)) -> f64| median(pairs.iter().map(figure).collect());
    let (bare, with) = (1e3 * of(|pair| pair.0), 1e3 * of(|pair| pair.1));
    println!("bare loop {bare:.1} ms, trainer with callbacks {with:.1} ms for {BATCHES} batches");
    println!("ratio {:.4} (median of {ROUNDS} pairs of epochs)", of(|pair| pair.1 / pair.0));
    Ok(())
}

fn optimizer() -> ModelOptimizer {
    ModelOptimizer::new(Adam::new(), 1e-3)
}

/// A run of the trainer with every callback that has something to do, and at last `alternate`.
fn fit(
    trainer: &mut Trainer<CrossEntropy>,
    model: &mut Sequential,
    batches: &mut Batches<'_, f32, Vec<usize>>,
    alternate: &mut Alternate<'_>,
) -> Result<()> {
    let monitor = Monitor::train_loss;
    let mut stopping = EarlyStopping::new(1 + ROUNDS).monitor(monitor());
    let mut plateau = Plateau::new(ReduceOnPlateau::new()).monitor(monitor());
    let (mut log, mut guard) = (CsvLog::new(Vec::new()), NanGuard::skip(3));
    let (mut ratio, mut statistics) = (UpdateRatio::every(100), ActivationStatistics::every(100));
    let callbacks: &mut [&mut dyn Callback] = &mut [
        &mut stopping,
        &mut plateau,
        &mut log,
        &mut guard,
        &mut ratio,
        &mut statistics,
        alternate,
    ];
    trainer.fit_with(model, batches, None, callbacks).map(|_| ())
}

/// Times the trainer's epoch, as long as it took since the bare loop's last one, and then the bare loop's.
struct Alternate<'d> {
    bare: Bare<'d>,
    begin: Instant,
    pairs: Vec<(f64, f64)>,
}

impl Callback for Alternate<'_> {
    fn fit_begin(&mut self, _run: &mut Run<'_>) -> Result<()> {
        self.begin = Instant::now();
        Ok(())
    }

    fn epoch_end(&mut self, _run: &mut Run<'_>) -> Result<()> {
        let with = self.begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        self.bare.epoch()?;
        self.pairs.push((begin.elapsed().as_secs_f64(), with));
        self.begin = Instant::now();
        Ok(())
    }
}

/// Model and optimizer without a trainer.
struct Bare<'d> {
    model: Sequential,
    optimizer: ModelOptimizer,
    grad: ArrayD<f32>,
    batches: Batches<'d, f32, Vec<usize>>,
}

impl Bare<'_> {
    fn epoch(&mut self) -> Result<f32> {
        let (loss, mut total) = (CrossEntropy::new(), 0.0);
        self.batches.restart();
        while let Some(batch) = self.batches.next_batch()? {
            let logits = self.model.forward(batch.x)?;
            total += loss.value_and_grad(logits, batch.target, self.grad.view_mut())?;
            self.model.backward(&self.grad)?;
            self.optimizer.step(&mut self.model)?;
        }
        Ok(total / BATCHES as f32)
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
