//! One cycle up and far down.

use super::{ensure_share, half_cosine, progress};
use crate::error::ensure;
use crate::{Result, Schedule};

/// Up to the full rate and far down again in one run: large rates in the middle find flat minima, and the end
/// settles in one.
///
/// From `1 / div_factor` to 1 until step `pct_start · steps − 1` (which need not be whole), then to `1 / final_div_factor`
/// at step `steps − 1`, along half cosines. With three phases: up, down to the start as fast, then to the end. The
/// momentum runs against it: [`OneCycle::momentum`].
///
/// Defaults are fastai's: `pct_start` 0.25, `div_factor` 25, `final_div_factor` 1e5, two phases of half cosines.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let cycle = OneCycle::new(101).pct_start(0.5).div_factor(10.0);
/// assert!((cycle.factor(0) - 0.1).abs() < 1e-15);
/// assert!((cycle.factor(100) - 1e-5).abs() < 1e-15);
/// let optimizer = ModelOptimizer::<f32>::new(Sgd::new().momentum(0.95), 0.5)
///     .schedule(cycle)
///     .momentum_schedule(cycle.momentum(0.85, 0.95));
/// # let _ = optimizer;
/// ```
///
/// # Errors
/// [`Schedule::check`] fails unless `steps ≥ 2`, `0 < pct_start < 1` (three phases: at most ½), both factors are at
/// least 1, and momenta are at least 0 and below 1.
///
/// # References
/// Smith & Topin 2019. As in fastai, `final_div_factor` divides the full rate; PyTorch's `OneCycleLR` divides the
/// first rate, so its 1e4 is 25e4 here, and its `pct_start` is 0.3 by default.
#[doc(alias = "OneCycleLR")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OneCycle {
    steps: u64,
    pct_start: f64,
    div_factor: f64,
    final_div_factor: f64,
    anneal: Anneal,
    three_phase: bool,
}

/// The form of a phase of [`OneCycle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

impl OneCycle {
    /// With fastai's defaults, for a run of `steps` steps, at least 2.
    pub fn new(steps: u64) -> Self {
        Self {
            steps,
            pct_start: 0.25,
            div_factor: 25.0,
            final_div_factor: 1e5,
            anneal: Anneal::Cosine,
            three_phase: false,
        }
    }

    /// Share of the steps in which the rate rises, above 0 and below 1; default 0.25.
    pub fn pct_start(mut self, pct_start: f64) -> Self {
        self.pct_start = pct_start;
        self
    }

    /// The full rate by the first one, at least 1; default 25.
    pub fn div_factor(mut self, div_factor: f64) -> Self {
        self.div_factor = div_factor;
        self
    }

    /// The full rate by the last one, at least 1; default 1e5.
    pub fn final_div_factor(mut self, final_div_factor: f64) -> Self {
        self.final_div_factor = final_div_factor;
        self
    }

    /// The form of the phases; default half cosines.
    pub fn anneal(mut self, anneal: Anneal) -> Self {
        self.anneal = anneal;
        self
    }

    /// Whether to fall as fast as it rose, and then on to the end; default false.
    pub fn three_phase(mut self, three_phase: bool) -> Self {
        self.three_phase = three_phase;
        self
    }

    /// The momentum half: from `high` to `low` while the rate rises, and back. For
    /// [`crate::optimizers::ModelOptimizer::momentum_schedule`]; fastai and PyTorch have 0.85 and 0.95.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let momentum = OneCycle::new(101).pct_start(0.5).momentum(0.85, 0.95);
    /// assert_eq!([momentum.factor(0), momentum.factor(100)], [0.95, 0.95]);
    /// assert!(momentum.factor(50) < 0.851);
    /// ```
    pub fn momentum(self, low: f64, high: f64) -> OneCycleMomentum {
        OneCycleMomentum { cycle: self, low, high }
    }

    /// The value in `step` on the way from level to level: start, top, for three phases the start again, end.
    fn walk(&self, step: u64, [start, top, end]: [f64; 3]) -> f64 {
        let (at, last) = (step as f64, self.steps.saturating_sub(1) as f64);
        let rise = self.pct_start * self.steps as f64 - 1.0;
        let fallen = if self.three_phase { 2.0 * rise } else { last };
        let ((from, to), (begin, finish)) = if at <= rise {
            ((start, top), (0.0, rise))
        } else if self.three_phase && at <= fallen {
            ((top, start), (rise, fallen))
        } else if self.three_phase {
            ((start, end), (fallen, last))
        } else {
            ((top, end), (rise.max(0.0), last))
        };
        let progress = progress(at - begin, finish - begin);
        match self.anneal {
            Anneal::Cosine => half_cosine(from, to, progress),
            Anneal::Linear => from + (to - from) * progress,
        }
    }
}

impl Schedule for OneCycle {
    fn factor(&self, step: u64) -> f64 {
        self.walk(step, [1.0 / self.div_factor, 1.0, 1.0 / self.final_div_factor])
    }

    fn steps(&self) -> Option<u64> {
        Some(self.steps)
    }

    fn check(&self) -> Result<()> {
        ensure(self.steps >= 2, "OneCycle", "steps", "at least 2", self.steps)?;
        let most = if self.three_phase { 0.5 } else { 1.0 };
        let valid = self.pct_start > 0.0 && self.pct_start < 1.0 && self.pct_start <= most;
        let must_be = "above 0 and below 1, with three phases at most 0.5";
        ensure(valid, "OneCycle", "pct_start", must_be, self.pct_start)?;
        ensure_divisor("div_factor", self.div_factor)?;
        ensure_divisor("final_div_factor", self.final_div_factor)
    }
}

fn ensure_divisor(field: &'static str, factor: f64) -> Result<()> {
    ensure(factor >= 1.0 && factor.is_finite(), "OneCycle", field, "at least 1", factor)
}

/// The momentum of [`OneCycle`], made by [`OneCycle::momentum`]: its values are momenta, not factors.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OneCycleMomentum {
    cycle: OneCycle,
    low: f64,
    high: f64,
}

impl Schedule for OneCycleMomentum {
    fn factor(&self, step: u64) -> f64 {
        self.cycle.walk(step, [self.high, self.low, self.high])
    }

    fn steps(&self) -> Option<u64> {
        self.cycle.steps()
    }

    fn check(&self) -> Result<()> {
        ensure_share("OneCycleMomentum", "low", self.low)?;
        ensure_share("OneCycleMomentum", "high", self.high)?;
        self.cycle.check()
    }
}
