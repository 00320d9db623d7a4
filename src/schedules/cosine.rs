//! Rates that fall along a cosine, once or again and again.

use super::{ensure_share, ensure_steps, half_cosine, progress};
use crate::{Result, Schedule};

/// Falls from 1 to `min` along half a cosine in `steps` steps, then stays:
/// `min + (1 − min) · ½ (1 + cos(π t / steps))`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let cosine = Cosine::new(100).min(0.5);
/// assert_eq!([cosine.factor(0), cosine.factor(50), cosine.factor(100)], [1.0, 0.75, 0.5]);
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless `steps ≥ 1` and `0 ≤ min ≤ 1`.
///
/// # References
/// Loshchilov & Hutter 2017, without restarts; `CosineAnnealingLR` in PyTorch, which rises again after its end.
#[doc(alias = "CosineAnnealingLR")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cosine {
    steps: u64,
    min: f64,
}

impl Cosine {
    /// From 1 to 0 in `steps` steps, at least 1.
    pub fn new(steps: u64) -> Self {
        Self { steps, min: 0.0 }
    }

    /// The factor at the end, `0 ≤ min ≤ 1`; default 0.
    #[doc(alias = "eta_min")]
    pub fn min(mut self, min: f64) -> Self {
        self.min = min;
        self
    }
}

impl Schedule for Cosine {
    fn factor(&self, step: u64) -> f64 {
        half_cosine(1.0, self.min, progress(step as f64, self.steps as f64))
    }

    fn steps(&self) -> Option<u64> {
        Some(self.steps)
    }

    fn check(&self) -> Result<()> {
        ensure_steps("Cosine", "steps", self.steps)?;
        ensure_share("Cosine", "min", self.min)
    }
}

/// SGDR: cosines one after the other, each beginning at the full rate, to leave a minimum for a better one.
///
/// `min + (1 − min) · ½ (1 + cos(π t_cur / T_i))`, where the cycles have `T_0, T_0 · mult, T_0 · mult², …` steps and `t_cur`
/// counts from the last restart. The rate changes with every batch, so `T_0` is in steps: for cycles in epochs give
/// `epochs · batches`. Cycles are whole numbers of steps: every restart is exact. fastai calls `T_0` `cycle_len`.
///
/// Defaults: `mult` 1, `min` 0.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // Cycles of 10, 20, 40, … epochs of 300 batches.
/// let batches = 300;
/// let schedule = WarmRestarts::new(10 * batches).mult(2);
/// for epoch in [0, 10, 30, 70, 150] {
///     assert_eq!(schedule.factor(epoch * batches), 1.0);
/// }
/// assert_eq!(schedule.total(3), 70 * batches);
/// assert!(schedule.ends_cycle(30 * batches - 1));
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless `T_0 ≥ 1`, `mult ≥ 1` and `0 ≤ min ≤ 1`.
///
/// # References
/// Loshchilov & Hutter 2017, equation 5; `CosineAnnealingWarmRestarts` in PyTorch.
#[doc(alias = "CosineAnnealingWarmRestarts")]
#[doc(alias = "SGDR")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WarmRestarts {
    first: u64,
    mult: u64,
    min: f64,
}

impl WarmRestarts {
    /// Cycles of `first` steps (the paper's `T_0`), at least 1.
    pub fn new(first: u64) -> Self {
        Self { first, mult: 1, min: 0.0 }
    }

    /// How many times longer each cycle is than the one before, at least 1; default 1.
    #[doc(alias = "T_mult")]
    pub fn mult(mut self, mult: u64) -> Self {
        self.mult = mult;
        self
    }

    /// The factor at the end of each cycle, `0 ≤ min ≤ 1`; default 0.
    #[doc(alias = "eta_min")]
    pub fn min(mut self, min: f64) -> Self {
        self.min = min;
        self
    }

    /// Whether `step` is the last of a cycle: the time for a snapshot is after it.
    pub fn ends_cycle(&self, step: u64) -> bool {
        let (at, len) = self.place(step);
        at + 1 == len
    }

    /// Steps of the first `cycles` cycles together.
    pub fn total(&self, cycles: u32) -> u64 {
        (0..cycles)
            .fold((0u64, self.first), |(sum, len), _| {
                (sum.saturating_add(len), len.saturating_mul(self.mult))
            })
            .0
    }

    /// Steps since the last restart, and the length of the cycle.
    fn place(&self, step: u64) -> (u64, u64) {
        let first = self.first.max(1);
        if self.mult <= 1 {
            return (step % first, first);
        }
        let (mut at, mut len) = (step, first);
        while at >= len {
            at -= len;
            len = len.saturating_mul(self.mult);
        }
        (at, len)
    }
}

impl Schedule for WarmRestarts {
    fn factor(&self, step: u64) -> f64 {
        let (at, len) = self.place(step);
        half_cosine(1.0, self.min, at as f64 / len as f64)
    }

    fn check(&self) -> Result<()> {
        ensure_steps("WarmRestarts", "T_0", self.first)?;
        ensure_steps("WarmRestarts", "mult", self.mult)?;
        ensure_share("WarmRestarts", "min", self.min)
    }
}

/// Cosines of one length from the full rate to nearly 0, at whose ends a snapshot ensemble takes its members:
/// `½ (1 + cos(π · (t mod ⌈T / M⌉) / ⌈T / M⌉))` for `M` cycles in `T` steps, `t` from 0.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let schedule = SnapshotCycles::new(100, 5);
/// let snapshots: Vec<u64> = (0..100).filter(|&step| schedule.ends_cycle(step)).collect();
/// assert_eq!(snapshots, [19, 39, 59, 79, 99]);
/// assert_eq!((schedule.factor(20), schedule.factor(30)), (1.0, 0.5));
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless there are at least as many steps as cycles, and a cycle.
///
/// # References
/// Huang et al. 2017, equation 2, whose `t` counts from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotCycles {
    steps: u64,
    cycles: u64,
}

impl SnapshotCycles {
    /// `cycles` cycles in `steps` steps, which include those of all epochs. Where the division leaves a rest, the
    /// last cycle is cut short.
    pub fn new(steps: u64, cycles: u64) -> Self {
        Self { steps, cycles }
    }

    /// Whether `step` is the last of a cycle: the time for a snapshot is after it.
    pub fn ends_cycle(&self, step: u64) -> bool {
        self.restarts().ends_cycle(step) || step + 1 == self.steps
    }

    fn restarts(&self) -> WarmRestarts {
        WarmRestarts::new(self.steps.div_ceil(self.cycles.max(1)))
    }
}

impl Schedule for SnapshotCycles {
    fn factor(&self, step: u64) -> f64 {
        self.restarts().factor(step)
    }

    fn steps(&self) -> Option<u64> {
        Some(self.steps)
    }

    fn check(&self) -> Result<()> {
        ensure_steps("SnapshotCycles", "cycles", self.cycles)?;
        let valid = self.steps >= self.cycles;
        let must_be = "at least one for each cycle";
        crate::error::ensure(valid, "SnapshotCycles", "steps", must_be, self.steps)
    }
}
