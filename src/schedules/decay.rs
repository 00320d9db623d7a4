//! Rates that only fall.

use crate::Schedule;

/// The base rate throughout: the default.
///
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(layerwise::schedules::Constant.factor(1_000), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Constant;

impl Schedule for Constant {
    fn factor(&self, _step: u64) -> f64 {
        1.0
    }
}

/// Multiplies the rate by `gamma` every `every` steps: `gamma^⌊step / every⌋`. The course's example halves
/// it every few epochs.
///
/// ```
/// use layerwise::prelude::*;
///
/// let halving = StepDecay { every: 5, gamma: 0.5 };
/// assert_eq!([halving.factor(4), halving.factor(5), halving.factor(10)], [1.0, 0.5, 0.25]);
/// ```
#[doc(alias = "StepLR")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepDecay {
    /// Steps between two reductions; 0 counts as 1.
    pub every: u64,
    /// Factor of each reduction, usually `0 < gamma < 1`.
    pub gamma: f64,
}

impl Schedule for StepDecay {
    fn factor(&self, step: u64) -> f64 {
        self.gamma.powf((step / self.every.max(1)) as f64)
    }
}

/// Multiplies the rate by `gamma` in every step: `gamma^step`, which is `e^(−k·step)` for `gamma = e^−k`.
///
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(ExponentialDecay { gamma: 0.5 }.factor(3), 0.125);
/// ```
#[doc(alias = "ExponentialLR")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExponentialDecay {
    /// Factor of each step, usually `0 < gamma ≤ 1`.
    pub gamma: f64,
}

impl Schedule for ExponentialDecay {
    fn factor(&self, step: u64) -> f64 {
        self.gamma.powf(step as f64)
    }
}
