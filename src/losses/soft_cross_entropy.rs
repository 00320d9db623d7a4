//! Cross-entropy with targets that are distributions.

use ndarray::{ArrayRef, IxDyn};

use super::by_element::same_shape;
use super::{Reduction, check_grad, check_smoothing, check_weights, scores};
use crate::kernels::softmax::Distribution;
use crate::layers::door;
use crate::{Loss, Result, Scalar, View, ViewMut};

/// Cross-entropy of softmax probabilities with a target distribution, from logits:
/// `L_i = −Σ_c w_c t_c log(e^{s_c} / Σ_j e^{s_j})`. For mixed or uncertain labels, and for a teacher's probabilities.
///
/// With one-hot targets and no weights it is [`super::CrossEntropy`]. The mean divides by the batch, with weights too, as
/// in PyTorch. That a row of targets sums to 1 is not checked.
///
/// # Shape
/// prediction (scores) and target (probabilities) `[n, classes]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let logits = arr2(&[[0.0f64, 0.0]]).into_dyn();
/// let mut grad = logits.clone();
/// let target = arr2(&[[0.75, 0.25]]).into_dyn();
/// let loss = SoftCrossEntropy::new().value_and_grad(logits.view(), &target, grad.view_mut())?;
/// assert!((loss - 2f64.ln()).abs() < 1e-15);
/// assert_eq!(grad, arr2(&[[-0.25, 0.25]]).into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Prediction`] unless the prediction is `[n, classes]`, [`crate::Error::Target`] if the shapes
/// differ, [`crate::Error::Setting`] for weights or smoothing out of range.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SoftCrossEntropy {
    smoothing: f64,
    weights: Option<Vec<f64>>,
    reduction: Reduction,
}

impl SoftCrossEntropy {
    /// The mean over the batch, without smoothing or weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Aims at `(1 − ε) t + ε / classes` instead of `t`, `0 ≤ ε ≤ 1`, default 0.
    pub fn label_smoothing(mut self, epsilon: f64) -> Self {
        self.smoothing = epsilon;
        self
    }

    /// One weight for each class, at least 0; default 1.
    pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.weights = Some(weights.into());
        self
    }

    /// Mean or sum over the batch; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// `w t` of a class, smoothed.
    fn aim<F: Scalar>(&self, class: usize, target: F, classes: usize) -> f64 {
        let weight = self.weights.as_ref().map_or(1.0, |weights| weights[class]);
        weight * ((1.0 - self.smoothing) * target.widen() + self.smoothing / classes as f64)
    }

    /// Loss of one row; and the gradient times a factor, if there is room for it.
    fn row<F: Scalar>(&self, row: &[F], target: &[F], mut grad: Option<(f64, &mut [F])>) -> f64 {
        let softmax = Distribution::of(row, grad.as_mut().map(|(_, grad)| &mut **grad));
        let aim = |(class, &target): (usize, &F)| self.aim(class, target, row.len());
        let (mut loss, mut mass) = (0.0, 0.0);
        for (aim, &score) in target.iter().enumerate().map(aim).zip(row) {
            // What is not aimed at counts for nothing, be its probability 0.
            if aim != 0.0 {
                loss -= aim * softmax.log(score).widen();
                mass += aim;
            }
        }
        if let Some((factor, grad)) = grad {
            softmax.scale(F::lit(mass * factor), grad);
            for (aim, grad) in target.iter().enumerate().map(aim).zip(grad) {
                *grad -= F::lit(aim * factor);
            }
        }
        loss
    }

    fn compute<F: Scalar>(
        &self,
        prediction: View<'_, F>,
        target: &ArrayRef<F, IxDyn>,
        grad: Option<ViewMut<'_, F>>,
    ) -> Result<F> {
        let (rows, classes, values) = scores(&prediction)?;
        same_shape(&prediction, target)?;
        check_smoothing("SoftCrossEntropy", self.smoothing)?;
        if let Some(weights) = &self.weights {
            check_weights("SoftCrossEntropy", "class_weights", weights, classes)?;
        }
        let divisor = match self.reduction {
            Reduction::Mean => rows as f64,
            Reduction::Sum => 1.0,
        };
        let target = target.view();
        let target = door::slice(&target);
        let rows = values.chunks_exact(classes).zip(target.chunks_exact(classes));
        let Some(mut grad) = grad else {
            let losses = rows.map(|(row, target)| self.row(row, target, None));
            return Ok(F::lit(losses.sum::<f64>() / divisor));
        };
        check_grad(&prediction, &grad)?;
        let total: f64 = door::fill(&mut grad, |grad| {
            let rows = rows.zip(grad.chunks_exact_mut(classes));
            rows.map(|((row, target), grad)| self.row(row, target, Some((1.0 / divisor, grad))))
                .sum()
        });
        Ok(F::lit(total / divisor))
    }
}

impl<F: Scalar> Loss<F> for SoftCrossEntropy {
    type Target = ArrayRef<F, IxDyn>;

    fn value(&self, prediction: View<'_, F>, target: &ArrayRef<F, IxDyn>) -> Result<F> {
        self.compute(prediction, target, None)
    }

    fn value_and_grad(
        &self,
        prediction: View<'_, F>,
        target: &ArrayRef<F, IxDyn>,
        grad: ViewMut<'_, F>,
    ) -> Result<F> {
        self.compute(prediction, target, Some(grad))
    }
}
