//! How large updates are beside what they update.

use super::{Callback, Run};
use crate::error::ensure;
use crate::kernels::reduce;
use crate::{Entry, Result, Role, Scalar, Visitor};

/// The ratio of each weight's update to the weight, `‖Δw‖₂ / ‖w‖₂`, measured every few steps.
///
/// The course's rule: about 1e-3 is healthy. Much less says that the learning rate is too low, much more that it is too
/// high. Only parameters that multiply ([`Role::Weight`]) are measured: a bias begins at zero. `Δw` is what the whole step
/// did: momentum, decay and limits included. A frozen weight has ratio 0.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::UpdateRatio;
///
/// let data = Dataset::new(Array2::<f32>::ones((8, 3)).into_dyn(), vec![0, 1, 0, 0, 1, 0, 0, 0])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).seed(1).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 1e-3)).epochs(3);
/// let mut ratios = UpdateRatio::every(2);
/// trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut ratios])?;
/// let layer = &ratios.layers()[0];
/// assert_eq!((layer.name.as_str(), layer.measured), ("0.weight", 3));
/// assert!(layer.mean > 1e-5 && layer.mean < 1e-2);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The run fails with [`crate::Error::Setting`] if it shall measure every 0 steps.
#[derive(Debug, Clone)]
pub struct UpdateRatio<F: Scalar = f32> {
    every: u64,
    batches: u64,
    before: Vec<Vec<F>>,
    layers: Vec<LayerRatio>,
}

/// What [`UpdateRatio`] measured of one weight.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerRatio {
    /// The parameter.
    pub name: String,
    /// The last ratio.
    pub last: f64,
    /// The mean of all.
    pub mean: f64,
    /// How many there were.
    pub measured: u64,
}

impl<F: Scalar> UpdateRatio<F> {
    /// Measures in every `every`-th step, at least 1, beginning with the first. It copies the weights then.
    pub fn every(every: u64) -> Self {
        Self { every, batches: 0, before: Vec::new(), layers: Vec::new() }
    }

    /// What was measured in this run, in the model's order.
    pub fn layers(&self) -> &[LayerRatio] {
        &self.layers
    }

    fn is_due(&self) -> bool {
        self.batches.is_multiple_of(self.every)
    }
}

impl<F: Scalar> Callback<F> for UpdateRatio<F> {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        ensure(self.every > 0, "UpdateRatio", "every", "at least 1", self.every)?;
        (self.batches, self.before) = (0, Vec::new());
        self.layers.clear();
        each_weight(run, |name, _| {
            let (last, mean) = (f64::NAN, f64::NAN);
            self.layers.push(LayerRatio { name: name(), last, mean, measured: 0 });
        });
        self.before.resize(self.layers.len(), Vec::new());
        Ok(())
    }

    fn batch_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if self.is_due() {
            let mut before = self.before.iter_mut();
            each_weight(run, |_, values| {
                if let Some(before) = before.next() {
                    before.clear();
                    before.extend_from_slice(values);
                }
            });
        }
        Ok(())
    }

    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if self.is_due() {
            let mut pairs = self.before.iter_mut().zip(&mut self.layers);
            each_weight(run, |_, values| {
                let Some((before, layer)) = pairs.next() else { return };
                let size = reduce::sum_squares(before).sqrt();
                before
                    .iter_mut()
                    .zip(values)
                    .for_each(|(before, &value)| *before = value - *before);
                layer.add(reduce::sum_squares(before).sqrt() / size);
            });
        }
        self.batches += 1;
        Ok(())
    }
}

impl LayerRatio {
    fn add(&mut self, ratio: f64) {
        let before = if self.measured == 0 { 0.0 } else { self.mean };
        self.measured += 1;
        self.last = ratio;
        self.mean = before + (ratio - before) / self.measured as f64;
    }
}

fn each_weight<F: Scalar>(run: &Run<'_, F>, mut each: impl FnMut(&dyn Fn() -> String, &[F])) {
    run.model.visit(&mut Visitor::new(&mut |name, entry| {
        if let Entry::Param(param) = entry
            && param.role() == Role::Weight
        {
            each(&|| name.to_string(), param.as_slice());
        }
    }));
}
