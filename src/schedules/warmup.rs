//! Rates that rise at first.

use super::{ensure_share, ensure_steps, progress};
use crate::{Result, Schedule};

/// Rises in a straight line from `start` to 1 in `steps` steps, then stays:
/// `start + (1 − start) · min(t, steps) / steps`.
///
/// Large batches, Adam's first steps and deep networks want a small rate at first. Default `start` 0: then
/// the first step changes nothing. Usually followed by another: `LinearWarmup::new(500).then(…)`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let warmup = LinearWarmup::new(10).start(0.5);
/// assert_eq!([warmup.factor(0), warmup.factor(5), warmup.factor(20)], [0.5, 0.75, 1.0]);
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless `steps ≥ 1` and `0 ≤ start ≤ 1`.
///
/// # References
/// Goyal et al. 2017; `LinearLR` in PyTorch, whose `start` is a third by default.
#[doc(alias = "LinearLR")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinearWarmup {
    steps: u64,
    start: f64,
}

impl LinearWarmup {
    /// From 0 to 1 in `steps` steps, at least 1.
    pub fn new(steps: u64) -> Self {
        Self { steps, start: 0.0 }
    }

    /// The factor of the first step, `0 ≤ start ≤ 1`; default 0.
    pub fn start(mut self, start: f64) -> Self {
        self.start = start;
        self
    }
}

impl Schedule for LinearWarmup {
    fn factor(&self, step: u64) -> f64 {
        self.start + (1.0 - self.start) * progress(step as f64, self.steps as f64)
    }

    fn steps(&self) -> Option<u64> {
        Some(self.steps)
    }

    fn check(&self) -> Result<()> {
        ensure_steps("LinearWarmup", "steps", self.steps)?;
        ensure_share("LinearWarmup", "start", self.start)
    }
}
