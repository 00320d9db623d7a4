//! What happens inside: activations, and units that have died.

use super::{Callback, Run};
use crate::error::ensure;
use crate::{LayerOutput, Result, Scalar};

/// Mean, spread and zeros of each layer's output while training, and the share of ReLU units that are dead.
///
/// A unit of a ReLU is a feature, or in images a channel. It is dead if its output was 0 for every sample and pixel
/// looked at since the last epoch began: no gradient passes, and it may never come back. The course's advice is a lower
/// rate, or a [`LeakyRelu`](crate::activations::LeakyRelu).
///
/// Layers are those that [`crate::Sequential::each_output`] shows. Figures are those of the training passes, dropout included.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::ActivationStatistics;
///
/// let data = Dataset::new(Array2::<f32>::ones((8, 3)).into_dyn(), vec![0; 8])?;
/// let mut model =
///     Sequential::builder([3]).add(Linear::new(4)).add(Relu).add(Linear::new(2)).seed(1).build()?;
/// model.set_value("0.bias", &ndarray::arr1(&[-100.0, 0.0, 0.0, 0.0]))?; // its first unit is dead
/// model.set_value("0.weight", &Array2::ones((4, 3)))?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 1e-3));
/// let mut statistics = ActivationStatistics::every(1);
/// trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut statistics])?;
/// let relu = statistics.layers().iter().find(|layer| layer.kind == "Relu").unwrap();
/// assert_eq!((relu.dead, relu.zeros), (Some(0.25), 0.25));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The run fails with [`crate::Error::Setting`] if it shall look every 0 steps.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationStatistics {
    every: u64,
    batches: u64,
    gathered: Vec<Gathered>,
    layers: Vec<LayerActivations>,
}

/// What [`ActivationStatistics`] found of one layer in an epoch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerActivations {
    /// The layer.
    pub name: String,
    /// Its kind, such as `Relu`.
    pub kind: &'static str,
    /// Mean of its outputs.
    pub mean: f64,
    /// Standard deviation of its outputs.
    pub std: f64,
    /// The share of outputs that are exactly 0, from 0 to 1.
    pub zeros: f64,
    /// For a ReLU, the share of its units that are dead, from 0 to 1.
    pub dead: Option<f64>,
}

/// Sums over an epoch.
#[derive(Debug, Clone, PartialEq)]
struct Gathered {
    name: String,
    kind: &'static str,
    count: f64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    deviation: f64,
    zeros: f64,
    /// For a ReLU, which units ever were above 0.
    alive: Option<Vec<bool>>,
}

impl ActivationStatistics {
    /// Looks at every `every`-th step's outputs, at least 1, beginning with the first.
    pub fn every(every: u64) -> Self {
        Self { every, batches: 0, gathered: Vec::new(), layers: Vec::new() }
    }

    /// The figures of the last epoch that is over, from the lowest layer up.
    pub fn layers(&self) -> &[LayerActivations] {
        &self.layers
    }
}

impl<F: Scalar> Callback<F> for ActivationStatistics {
    fn fit_begin(&mut self, _run: &mut Run<'_, F>) -> Result<()> {
        ensure(self.every > 0, "ActivationStatistics", "every", "at least 1", self.every)?;
        self.batches = 0;
        self.layers.clear();
        Ok(())
    }

    fn epoch_begin(&mut self, _run: &mut Run<'_, F>) -> Result<()> {
        self.gathered.clear();
        Ok(())
    }

    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if self.batches.is_multiple_of(self.every) {
            let mut at = 0;
            run.model.each_output(|layer| {
                if self.gathered.len() <= at {
                    self.gathered.push(Gathered::new(&layer));
                }
                self.gathered[at].add(&layer);
                at += 1;
            });
        }
        self.batches += 1;
        Ok(())
    }

    fn epoch_end(&mut self, _run: &mut Run<'_, F>) -> Result<()> {
        self.layers = self.gathered.iter().map(Gathered::figures).collect();
        Ok(())
    }
}

impl Gathered {
    fn new<F: Scalar>(layer: &LayerOutput<'_, F>) -> Self {
        let units = layer.values.shape().get(1).copied().unwrap_or(0);
        Self {
            name: layer.name.into(),
            kind: layer.kind,
            count: 0.0,
            mean: 0.0,
            deviation: 0.0,
            zeros: 0.0,
            alive: layer.is_relu.then(|| vec![false; units]),
        }
    }

    fn add<F: Scalar>(&mut self, layer: &LayerOutput<'_, F>) {
        let Some(values) = layer.values.as_slice() else { return };
        let count = values.len() as f64;
        let mean = values.iter().map(|x| x.widen()).sum::<f64>() / count;
        let (mut deviation, mut zeros) = (0.0, 0usize);
        for x in values {
            let from_mean = x.widen() - mean;
            deviation += from_mean * from_mean;
            zeros += usize::from(*x == F::zero());
        }
        // Chan, Golub & LeVeque 1983: two sums of squared deviations become one.
        let (all, apart) = (self.count + count, mean - self.mean);
        self.deviation += deviation + apart * apart * self.count * count / all;
        self.mean += apart * count / all;
        self.count = all;
        self.zeros += zeros as f64;
        if let Some(alive) = self.alive.as_mut().filter(|alive| !alive.is_empty()) {
            let plane = layer.values.shape()[2..].iter().product::<usize>().max(1);
            for (unit, values) in values.chunks(plane).enumerate() {
                let alive = &mut alive[unit % layer.values.shape()[1]];
                *alive = *alive || values.iter().any(|&x| x > F::zero());
            }
        }
    }

    fn figures(&self) -> LayerActivations {
        let dead =
            self.alive.as_ref().filter(|alive| !alive.is_empty()).map(|alive| {
                alive.iter().filter(|&&alive| !alive).count() as f64 / alive.len() as f64
            });
        LayerActivations {
            name: self.name.clone(),
            kind: self.kind,
            mean: self.mean,
            std: (self.deviation / self.count).sqrt(),
            zeros: self.zeros / self.count,
            dead,
        }
    }
}
