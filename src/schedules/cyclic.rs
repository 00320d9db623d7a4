//! Rates that go up and down.

use super::{ensure_gamma, ensure_share, ensure_steps};
use crate::{Result, Schedule};

/// Triangles between `min` and 1: `min + (1 − min) · triangle · height`.
///
/// Default: as many steps down as up, `min` 0.1, [`CyclicMode::Triangular`].
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::schedules::CyclicMode;
///
/// let cycles = Cyclic::new(4).min(0.0).mode(CyclicMode::Triangular2);
/// assert_eq!([0, 2, 4, 6, 8, 12].map(|step| cycles.factor(step)), [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]);
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless both lengths are at least 1, `0 ≤ min ≤ 1` and `gamma > 0`.
///
/// # References
/// Smith 2017; `CyclicLR` in PyTorch, whose `max_lr` is the base rate here, and whose `base_lr` is `min` of it.
#[doc(alias = "CyclicLR")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cyclic {
    up: u64,
    down: u64,
    min: f64,
    mode: CyclicMode,
}

/// How the height of [`Cyclic`]'s triangles changes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CyclicMode {
    /// It does not.
    #[default]
    Triangular,
    /// It halves with each cycle.
    Triangular2,
    /// It is `gamma^t` in step `t`, `gamma > 0`.
    ExpRange(f64),
}

impl Cyclic {
    /// `up` steps up and as many down, at least 1.
    pub fn new(up: u64) -> Self {
        Self { up, down: up, min: 0.1, mode: CyclicMode::default() }
    }

    /// Steps down, at least 1; default as many as up.
    pub fn down(mut self, down: u64) -> Self {
        self.down = down;
        self
    }

    /// The factor between the triangles, `0 ≤ min ≤ 1`; default 0.1.
    pub fn min(mut self, min: f64) -> Self {
        self.min = min;
        self
    }

    /// How the height changes; default not at all.
    pub fn mode(mut self, mode: CyclicMode) -> Self {
        self.mode = mode;
        self
    }
}

impl Schedule for Cyclic {
    fn factor(&self, step: u64) -> f64 {
        let (up, down) = (self.up.max(1), self.down.max(1));
        let len = up.saturating_add(down);
        let (cycle, at) = (step / len, step % len);
        let triangle =
            if at <= up { at as f64 / up as f64 } else { (len - at) as f64 / down as f64 };
        let height = match self.mode {
            CyclicMode::Triangular => 1.0,
            CyclicMode::Triangular2 => 0.5f64.powf(cycle as f64),
            CyclicMode::ExpRange(gamma) => gamma.powf(step as f64),
        };
        self.min + (1.0 - self.min) * triangle * height
    }

    fn check(&self) -> Result<()> {
        ensure_steps("Cyclic", "up", self.up)?;
        ensure_steps("Cyclic", "down", self.down)?;
        ensure_share("Cyclic", "min", self.min)?;
        match self.mode {
            CyclicMode::ExpRange(gamma) => ensure_gamma("Cyclic", gamma),
            _ => Ok(()),
        }
    }
}
