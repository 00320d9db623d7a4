//! Rates that only fall.

use super::{ensure_gamma, ensure_steps, progress};
use crate::error::ensure;
use crate::{Result, Schedule};

/// The base rate throughout: the default.
///
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(layerwise::schedules::Constant.factor(1_000), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StepDecay {
    /// Steps between two reductions, at least 1.
    pub every: u64,
    /// Factor of each reduction, above 0, usually below 1.
    pub gamma: f64,
}

impl Schedule for StepDecay {
    fn factor(&self, step: u64) -> f64 {
        self.gamma.powf((step / self.every.max(1)) as f64)
    }

    fn check(&self) -> Result<()> {
        ensure_steps("StepDecay", "every", self.every)?;
        ensure_gamma("StepDecay", self.gamma)
    }
}

/// Multiplies the rate by `gamma` when each milestone is reached.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let schedule = MultiStep { milestones: vec![30, 60], gamma: 0.5 };
/// assert_eq!([29, 30, 60].map(|step| schedule.factor(step)), [1.0, 0.5, 0.25]);
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless there is a milestone, each is above the one before, and `gamma > 0`.
#[doc(alias = "MultiStepLR")]
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MultiStep {
    /// Steps from which on the rate is reduced, in rising order.
    pub milestones: Vec<u64>,
    /// Factor of each reduction, above 0, usually 0.1.
    pub gamma: f64,
}

impl Schedule for MultiStep {
    fn factor(&self, step: u64) -> f64 {
        let reached = self.milestones.partition_point(|&milestone| milestone <= step);
        self.gamma.powf(reached as f64)
    }

    fn check(&self) -> Result<()> {
        let (kind, field) = ("MultiStep", "milestones");
        ensure(!self.milestones.is_empty(), kind, field, "at least one step", "none")?;
        let rising = self.milestones.is_sorted_by(|a, b| a < b);
        let got = format_args!("{:?}", self.milestones);
        ensure(rising, kind, field, "in rising order", got)?;
        ensure_gamma(kind, self.gamma)
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ExponentialDecay {
    /// Factor of each step, above 0, usually below 1.
    pub gamma: f64,
}

impl Schedule for ExponentialDecay {
    fn factor(&self, step: u64) -> f64 {
        self.gamma.powf(step as f64)
    }

    fn check(&self) -> Result<()> {
        ensure_gamma("ExponentialDecay", self.gamma)
    }
}

/// Divides the rate by `1 + k · step`: the course's 1/t decay.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(InverseTime { k: 0.5 }.factor(2), 0.5);
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless `k ≥ 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InverseTime {
    /// How fast the rate falls, at least 0.
    pub k: f64,
}

impl Schedule for InverseTime {
    fn factor(&self, step: u64) -> f64 {
        1.0 / (1.0 + self.k * step as f64)
    }

    fn check(&self) -> Result<()> {
        ensure(self.k >= 0.0 && self.k.is_finite(), "InverseTime", "k", "at least 0", self.k)
    }
}

/// Falls to 0 in `steps` steps along a power, then stays: `(1 − min(step, steps) / steps)^power`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let schedule = Polynomial { steps: 10, power: 2.0 };
/// assert_eq!([0, 5, 10].map(|step| schedule.factor(step)), [1.0, 0.25, 0.0]);
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless `steps ≥ 1` and `power > 0`.
#[doc(alias = "PolynomialLR")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Polynomial {
    /// Steps until the rate is 0, at least 1.
    pub steps: u64,
    /// 1 for a straight line, above it steep at first; above 0.
    pub power: f64,
}

impl Schedule for Polynomial {
    fn factor(&self, step: u64) -> f64 {
        (1.0 - progress(step as f64, self.steps as f64)).powf(self.power)
    }

    fn steps(&self) -> Option<u64> {
        Some(self.steps)
    }

    fn check(&self) -> Result<()> {
        ensure_steps("Polynomial", "steps", self.steps)?;
        let valid = self.power > 0.0 && self.power.is_finite();
        ensure(valid, "Polynomial", "power", "above 0", self.power)
    }
}
