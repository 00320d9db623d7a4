//! Softmax and cross-entropy in one.

use super::{Reduction, check_classes, check_grad, scores, write_grad};
use crate::kernels::softmax::log_sum_exp;
use crate::{Error, Loss, Result, Scalar, View, ViewMut};

/// Cross-entropy of softmax probabilities, from logits: `L_i = −log(e^{s_y} / Σ_j e^{s_j})`. The softmax
/// classifier's loss.
///
/// Takes raw scores, not probabilities (Keras's default is the other way), and never overflows.
///
/// # Shape
/// prediction `[n, classes]`, target `[n]` class indices.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let logits = arr2(&[[1000.0f64, 0.0], [0.0, 1000.0]]).into_dyn();
/// let mut grad = logits.clone();
/// let loss = CrossEntropy::new().value_and_grad(logits.view(), &[0, 0], grad.view_mut())?;
/// assert_eq!(loss, 500.0); // 0 and 1000, averaged
/// assert_eq!(grad, arr2(&[[0.0, 0.0], [-0.5, 0.5]]).into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Prediction`] unless the prediction is `[n, classes]`, [`Error::Target`] for a class out of
/// range (with its row), [`Error::Setting`] for weights or smoothing out of range.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossEntropy {
    smoothing: f64,
    weights: Option<Vec<f64>>,
    reduction: Reduction,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl CrossEntropy {
    /// The mean over the batch, without smoothing or weights.
    pub fn new() -> Self {
        Self { smoothing: 0.0, weights: None, reduction: Reduction::Mean }
    }

    /// Aims at `(1 − ε) · onehot + ε / classes` instead of the one-hot target, `0 ≤ ε ≤ 1`, default 0
    /// (Szegedy et al. 2016).
    pub fn label_smoothing(mut self, epsilon: f64) -> Self {
        self.smoothing = epsilon;
        self
    }

    /// One weight for each class, at least 0. The mean then divides by the sum of the targets' weights,
    /// and the smoothed part carries each class's weight, as in PyTorch.
    pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.weights = Some(weights.into());
        self
    }

    /// Mean or sum over the batch; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn check(&self, classes: usize) -> Result<()> {
        let fail = |field, must_be, got: String| {
            Err(Error::Setting { kind: "CrossEntropy", field, must_be, got })
        };
        if !(0.0..=1.0).contains(&self.smoothing) {
            return fail("label_smoothing", "from 0 to 1", self.smoothing.to_string());
        }
        let Some(weights) = &self.weights else { return Ok(()) };
        if weights.len() != classes {
            let got = format!("{} weights for {classes} classes", weights.len());
            return fail("class_weights", "one for each class of the prediction", got);
        }
        match weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            Some(weight) => fail("class_weights", "at least 0", weight.to_string()),
            None => Ok(()),
        }
    }

    fn weight(&self, class: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[class])
    }

    /// What the sum of the rows' losses is divided by.
    fn divisor(&self, target: &[usize]) -> f64 {
        match self.reduction {
            Reduction::Sum => 1.0,
            Reduction::Mean => target.iter().map(|&class| self.weight(class)).sum(),
        }
    }

    /// Loss of one row, and its gradient if asked for: both before the division.
    fn row<F: Scalar>(
        &self,
        row: &[F],
        target: usize,
        grad: Option<&mut [F]>,
        divisor: f64,
    ) -> f64 {
        let (max, rest) = log_sum_exp(row);
        let log_p = |score: F| score - max - rest;
        // Weight of the one-hot part and of each class's smoothed part.
        let hot = (1.0 - self.smoothing) * self.weight(target);
        let share = self.smoothing / row.len() as f64;
        let mut loss = hot * -log_p(row[target]).widen();
        let mut mass = hot;
        if share > 0.0 {
            for (class, &score) in row.iter().enumerate() {
                loss += share * self.weight(class) * -log_p(score).widen();
                mass += share * self.weight(class);
            }
        }
        if let Some(grad) = grad {
            let factor = F::lit(mass / divisor);
            for (grad, &score) in grad.iter_mut().zip(row) {
                *grad = factor * log_p(score).exp();
            }
            grad[target] -= F::lit(hot / divisor);
            if share > 0.0 {
                for (class, grad) in grad.iter_mut().enumerate() {
                    *grad -= F::lit(share * self.weight(class) / divisor);
                }
            }
        }
        loss
    }
}

impl<F: Scalar> Loss<F> for CrossEntropy {
    type Target = [usize];

    fn value(&self, prediction: View<'_, F>, target: &[usize]) -> Result<F> {
        let (rows, classes, values) = scores(&prediction)?;
        self.check(classes)?;
        check_classes(rows, classes, target)?;
        let divisor = self.divisor(target);
        let rows = values.chunks_exact(classes).zip(target);
        Ok(F::lit(
            rows.map(|(row, &class)| self.row(row, class, None, divisor)).sum::<f64>() / divisor,
        ))
    }

    fn value_and_grad(
        &self,
        prediction: View<'_, F>,
        target: &[usize],
        mut grad: ViewMut<'_, F>,
    ) -> Result<F> {
        let (rows, classes, values) = scores(&prediction)?;
        self.check(classes)?;
        check_classes(rows, classes, target)?;
        check_grad(&prediction, &grad)?;
        let divisor = self.divisor(target);
        let mut loss = 0.0;
        write_grad(&mut grad, |grad| {
            let rows = values.chunks_exact(classes).zip(grad.chunks_exact_mut(classes)).zip(target);
            for ((row, grad), &class) in rows {
                loss += self.row(row, class, Some(grad), divisor);
            }
        });
        Ok(F::lit(loss / divisor))
    }
}
