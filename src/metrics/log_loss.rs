//! Means of losses.

use super::{Mean, Rows};
use crate::kernels::softmax::log_sum_exp;
use crate::{Loss, Metric, Result, Scalar, View};

/// The mean of `−log softmax(logits)[class]`: how much probability the model gives to what is true.
///
/// 0 is perfect; guessing evenly among `k` classes gives `ln k`. It equals the mean of
/// [`crate::losses::CrossEntropy`], and scikit-learn's `log_loss` of the softmax of the logits.
///
/// # Shape
/// prediction `[n, classes]` of logits, target `n` class indices.
///
/// # Examples
/// ```
/// use layerwise::metrics::LogLoss;
/// use layerwise::prelude::*;
///
/// let mut loss = LogLoss::new();
/// loss.update(ndarray::arr2(&[[0.0, 0.0], [0.0, 0.0]]).view().into_dyn(), &[0, 1])?;
/// assert_eq!(Metric::<f64>::value(&loss), 2f64.ln());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`super::Accuracy`].
#[derive(Debug, Default, Clone)]
pub struct LogLoss {
    mean: Mean,
}

impl LogLoss {
    /// Over no samples yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<F: Scalar> Metric<F> for LogLoss {
    type Target = [usize];

    fn update(&mut self, prediction: View<'_, F>, target: &[usize]) -> Result<()> {
        for (row, class) in Rows::new("LogLoss", &prediction, target)?.iter() {
            let (max, rest) = log_sum_exp(row);
            self.mean.add((max - row[class] + rest).widen(), 1);
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.mean.value()
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

/// The mean of any loss over all samples.
///
/// Batches count by their samples. For a loss whose own mean has other weights (classes, padding) the
/// result is a mean of batches' means.
///
/// # Examples
/// ```
/// use layerwise::metrics::MeanLoss;
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let mut loss = MeanLoss::new(MulticlassHinge::new());
/// loss.update(arr2(&[[5.0f64, 1.0], [5.0, 1.0]]).view().into_dyn(), &[0, 0])?;
/// loss.update(arr2(&[[1.0f64, 1.0]]).view().into_dyn(), &[1])?;
/// assert_eq!(Metric::<f64>::value(&loss), 1.0 / 3.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// What the loss reports.
#[derive(Debug, Clone)]
pub struct MeanLoss<L> {
    loss: L,
    mean: Mean,
}

impl<L> MeanLoss<L> {
    /// `loss`: with its reduction left at the mean.
    pub fn new(loss: L) -> Self {
        Self { loss, mean: Mean::default() }
    }
}

impl<F: Scalar, L: Loss<F>> Metric<F> for MeanLoss<L> {
    type Target = L::Target;

    fn update(&mut self, prediction: View<'_, F>, target: &L::Target) -> Result<()> {
        let samples = prediction.shape().first().copied().unwrap_or(0);
        let value = self.loss.value(prediction, target)?;
        self.mean.add(value.widen(), samples);
        Ok(())
    }

    fn value(&self) -> f64 {
        self.mean.value()
    }

    fn reset(&mut self) {
        self.mean = Mean::default();
    }
}
