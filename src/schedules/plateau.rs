//! The rate that listens to a metric.

use crate::Result;
use crate::error::ensure;

/// Reduces the rate when a metric has stopped to improve.
///
/// Not a [`crate::Schedule`]: it has a state, and is told the metric, usually once an epoch. If more than `patience`
/// reports in a row are no better than the best by more than the threshold, the rate is multiplied by `factor`; during
/// `cooldown` reports after that, bad ones do not count. A metric that is NaN is never better.
///
/// Defaults are PyTorch's: `factor` 0.1, `patience` 10, a relative threshold of 1e-4, `cooldown` 0, `min_lr` 0, `eps`
/// 1e-8, smaller is better.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut plateau = ReduceOnPlateau::new().factor(0.5).patience(1);
/// let mut optimizer = ModelOptimizer::<f32>::new(Sgd::new(), 0.8);
/// let mut rates = Vec::new();
/// for validation_loss in [1.0, 0.9, 0.9, 0.9, 0.9] {
///     optimizer.set_lr(plateau.report(validation_loss, optimizer.lr())?);
///     rates.push(optimizer.lr());
/// }
/// assert_eq!(rates, [0.8, 0.8, 0.8, 0.4, 0.4]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// A report fails unless `0 < factor < 1`, and threshold, `min_lr` and `eps` are at least 0.
///
/// # References
/// `ReduceLROnPlateau` in PyTorch. Keras's threshold is absolute; fastai divides by its `factor` of 10.
#[doc(alias = "ReduceLROnPlateau")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReduceOnPlateau {
    factor: f64,
    patience: u64,
    threshold: Threshold,
    maximize: bool,
    cooldown: u64,
    min_lr: f64,
    eps: f64,
    best: Option<f64>,
    bad: u64,
    cooling: u64,
}

/// By how much a metric must improve to count as better, at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Threshold {
    /// By this share of the best.
    Relative(f64),
    /// By this much.
    Absolute(f64),
}

impl Default for ReduceOnPlateau {
    fn default() -> Self {
        Self::new()
    }
}

impl ReduceOnPlateau {
    /// With PyTorch's defaults.
    pub fn new() -> Self {
        Self {
            factor: 0.1,
            patience: 10,
            threshold: Threshold::Relative(1e-4),
            maximize: false,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
            best: None,
            bad: 0,
            cooling: 0,
        }
    }

    /// Factor on the rate, above 0 and below 1; default 0.1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// How many bad reports in a row are borne; default 10.
    pub fn patience(mut self, patience: u64) -> Self {
        self.patience = patience;
        self
    }

    /// What counts as better; default by a share of 1e-4.
    pub fn threshold(mut self, threshold: Threshold) -> Self {
        self.threshold = threshold;
        self
    }

    /// Whether larger is better, as for accuracy; default false, as for a loss.
    pub fn maximize(mut self, maximize: bool) -> Self {
        self.maximize = maximize;
        self
    }

    /// Reports after a reduction in which bad ones do not count; default 0.
    pub fn cooldown(mut self, cooldown: u64) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// The rate is never reduced below this, at least 0; default 0.
    pub fn min_lr(mut self, min_lr: f64) -> Self {
        self.min_lr = min_lr;
        self
    }

    /// A reduction by no more than this is not made, at least 0; default 1e-8.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The best metric reported so far.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// What it has seen: the best, bad reports since, reports of the cooldown that are left.
    pub(crate) fn state(&self) -> (Option<f64>, u64, u64) {
        (self.best, self.bad, self.cooling)
    }

    pub(crate) fn set_state(&mut self, best: Option<f64>, bad: u64, cooling: u64) {
        (self.best, self.bad, self.cooling) = (best, bad, cooling);
    }

    /// Takes the metric, and returns the rate to use from now on in place of `lr`.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a setting out of range.
    pub fn report(&mut self, metric: f64, lr: f64) -> Result<f64> {
        self.check()?;
        if self.is_better(metric) {
            (self.best, self.bad) = (Some(metric), 0);
        } else {
            self.bad = self.bad.saturating_add(1);
        }
        if self.cooling > 0 {
            (self.cooling, self.bad) = (self.cooling - 1, 0);
        }
        if self.bad <= self.patience {
            return Ok(lr);
        }
        (self.cooling, self.bad) = (self.cooldown, 0);
        let reduced = (lr * self.factor).max(self.min_lr);
        Ok(if lr - reduced > self.eps { reduced } else { lr })
    }

    fn is_better(&self, metric: f64) -> bool {
        let Some(best) = self.best else { return !metric.is_nan() };
        // As in PyTorch the share is of the best with its sign.
        let sign = if self.maximize { 1.0 } else { -1.0 };
        let limit = match self.threshold {
            Threshold::Relative(share) => best * (1.0 + sign * share),
            Threshold::Absolute(amount) => best + sign * amount,
        };
        if self.maximize { metric > limit } else { metric < limit }
    }

    fn check(&self) -> Result<()> {
        let kind = "ReduceOnPlateau";
        let valid = self.factor > 0.0 && self.factor < 1.0;
        ensure(valid, kind, "factor", "above 0 and below 1", self.factor)?;
        let (Threshold::Relative(threshold) | Threshold::Absolute(threshold)) = self.threshold;
        for (field, value) in [("threshold", threshold), ("min_lr", self.min_lr), ("eps", self.eps)]
        {
            ensure(value >= 0.0 && value.is_finite(), kind, field, "at least 0", value)?;
        }
        Ok(())
    }
}
