//! Several models out of one run.

use super::Ensemble;
use crate::error::ensure;
use crate::training::{Callback, Run, Weights};
use crate::{Result, Scalar, Sequential};

/// Keeps the weights at the end of each cycle of the learning rate: an ensemble for the price of one run.
///
/// A rate that falls to nothing and jumps up again ([`crate::schedules::SnapshotCycles`], [`crate::schedules::WarmRestarts`])
/// takes the model to one minimum after the other. As a callback of [`crate::training::Trainer::fit_with`] this copies parameters
/// and running statistics after every `cycle`-th update of the optimizer, and when a run ends after more than half a
/// cycle. From a loop of your own call [`Snapshots::take`].
///
/// # Examples
/// ```
/// use layerwise::ensembles::Snapshots;
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::ones((8, 4)).into_dyn(), vec![0, 1, 2, 0, 1, 2, 0, 1])?;
/// let mut model = Sequential::builder([4]).add(Linear::new(3)).seed(1).build()?;
/// let (steps, cycles) = (12, 3);
/// let optimizer = ModelOptimizer::new(Sgd::new(), 0.5).schedule(SnapshotCycles::new(steps, cycles));
/// let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).steps(steps);
/// let mut snapshots = Snapshots::every(steps / cycles);
/// trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut snapshots])?;
/// let ensemble = snapshots.ensemble(&model, 2)?; // of the last two
/// assert_eq!((snapshots.len(), ensemble.members().len()), (3, 2));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The run fails with [`crate::Error::Setting`] for a cycle of 0 steps.
///
/// # References
/// Huang et al. 2017, "Snapshot Ensembles: Train 1, Get M for Free".
#[derive(Debug, Clone)]
pub struct Snapshots<F: Scalar = f32> {
    cycle: u64,
    most: usize,
    weights: Vec<Weights<F>>,
    taken_at: u64,
}

impl<F: Scalar> Snapshots<F> {
    /// `cycle`: updates in a cycle, at least 1; for [`crate::schedules::SnapshotCycles`] `⌈steps / cycles⌉`.
    pub fn every(cycle: u64) -> Self {
        Self { cycle, most: usize::MAX, weights: Vec::new(), taken_at: 0 }
    }

    /// Keeps the last `most` only, at least 1; default all.
    pub fn keep(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Snapshots kept.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// What was kept, oldest first.
    pub fn weights(&self) -> &[Weights<F>] {
        &self.weights
    }

    /// Takes a snapshot now.
    pub fn take(&mut self, model: &Sequential<F>) {
        self.weights.push(Weights::of(model));
        let extra = self.weights.len().saturating_sub(self.most.max(1));
        self.weights.drain(..extra);
    }

    /// The ensemble of the last `last` snapshots, copies of `model` with their weights.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] unless there are so many, at least one; as [`Weights::restore`] for another model.
    pub fn ensemble(&self, model: &Sequential<F>, last: usize) -> Result<Ensemble<F>> {
        let valid = (1..=self.len()).contains(&last);
        let must_be = "from 1 to the number of snapshots";
        ensure(valid, "Snapshots", "last", must_be, format_args!("{last} of {}", self.len()))?;
        let members = self.weights[self.len() - last..].iter().map(|weights| {
            let mut member = model.clone();
            weights.restore(&mut member)?;
            Ok(member)
        });
        Ensemble::new(members.collect::<Result<Vec<_>>>()?)
    }
}

impl<F: Scalar> Callback<F> for Snapshots<F> {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        ensure(self.cycle > 0, "Snapshots", "cycle", "at least 1", self.cycle)?;
        self.taken_at = run.optimizer.steps();
        Ok(())
    }

    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let steps = run.optimizer.steps();
        // Where gradients are gathered, several batches end at one step.
        if steps.is_multiple_of(self.cycle) && steps > self.taken_at {
            self.taken_at = steps;
            self.take(run.model);
        }
        Ok(())
    }

    fn fit_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        // The last of ⌈steps / cycles⌉ is cut short unless it divides.
        if !run.has_failed() && 2 * (run.optimizer.steps() - self.taken_at) > self.cycle {
            self.taken_at = run.optimizer.steps();
            self.take(run.model);
        }
        Ok(())
    }
}
