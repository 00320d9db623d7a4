//! The figure that a callback goes by.

use super::{EpochRecord, Run};
use crate::error::ensure;
use crate::{Result, Scalar};

/// The figure of an epoch that a callback goes by, and whether smaller or larger is better.
///
/// ```
/// use layerwise::training::Monitor;
///
/// let monitor = Monitor::metric("accuracy"); // larger is better
/// assert!(monitor.is_better(0.98, 0.97));
/// assert!(Monitor::valid_loss().is_better(0.1, 0.2));
/// assert!(!Monitor::valid_loss().is_better(f64::NAN, 0.2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    figure: Figure,
    maximize: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Figure {
    TrainLoss,
    ValidLoss,
    Metric(String),
}

impl Monitor {
    /// The mean loss over the training data.
    pub fn train_loss() -> Self {
        Self { figure: Figure::TrainLoss, maximize: false }
    }

    /// The loss over the validation data.
    pub fn valid_loss() -> Self {
        Self { figure: Figure::ValidLoss, maximize: false }
    }

    /// The trainer's metric of this name; larger is better unless told otherwise.
    pub fn metric(name: &str) -> Self {
        Self { figure: Figure::Metric(name.into()), maximize: true }
    }

    /// Smaller is better.
    pub fn minimize(mut self) -> Self {
        self.maximize = false;
        self
    }

    /// Whether larger is better.
    pub fn maximizes(&self) -> bool {
        self.maximize
    }

    /// Whether `value` is better than `than`. NaN never is.
    pub fn is_better(&self, value: f64, than: f64) -> bool {
        self.improves(value, than, 0.0)
    }

    /// Whether `value` is better than `than` by more than `by`; any number is better than NaN.
    pub(super) fn improves(&self, value: f64, than: f64, by: f64) -> bool {
        let gain = if self.maximize { value - than } else { than - value };
        !value.is_nan() && (than.is_nan() || gain > by)
    }

    /// In words.
    pub(super) fn name(&self) -> &str {
        match &self.figure {
            Figure::TrainLoss => "the training loss",
            Figure::ValidLoss => "the validation loss",
            Figure::Metric(name) => name,
        }
    }

    /// The figure in an epoch; NaN if it has none.
    pub(super) fn read(&self, epoch: &EpochRecord) -> f64 {
        let value = match &self.figure {
            Figure::TrainLoss => Some(epoch.loss),
            Figure::ValidLoss => epoch.valid_loss,
            Figure::Metric(name) => epoch.metric(name),
        };
        value.unwrap_or(f64::NAN)
    }

    /// Whether the run computes the figure, before it has trained in vain.
    pub(super) fn check<F: Scalar>(&self, kind: &'static str, run: &Run<'_, F>) -> Result<()> {
        let must_be =
            "a figure that the run computes; give fit validation data, and the trainer the metric";
        let valid = match &self.figure {
            Figure::TrainLoss => true,
            Figure::ValidLoss => run.plan.validates,
            Figure::Metric(name) => run.plan.validates && run.plan.metrics.contains(name),
        };
        ensure(valid, kind, "monitor", must_be, self.name())
    }
}
