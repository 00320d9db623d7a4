//! Softmax and cross-entropy in one.

use super::by_class::{ByClass, Options, loss_by_class};
use super::check_smoothing;
use crate::kernels::elementwise;
use crate::kernels::softmax::Distribution;
use crate::{Result, Scalar};

/// Cross-entropy of softmax probabilities, from logits: `L_i = −log(e^{s_y} / Σ_j e^{s_j})`. The softmax
/// classifier's loss.
///
/// Takes raw scores, not probabilities (Keras's default is the other way), and never overflows. For targets that are
/// probabilities themselves see [`super::SoftCrossEntropy`].
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
///
/// // Rows without a label.
/// let loss = CrossEntropy::new().ignore_index(255).value(logits.view(), &[255, 0])?;
/// assert_eq!(loss, 1000.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Prediction`] unless the prediction is `[n, classes]`, [`crate::Error::Target`] for a class out of
/// range (with its row), [`crate::Error::Setting`] for weights or smoothing out of range.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropy {
    smoothing: f64,
    options: Options,
}

impl CrossEntropy {
    /// The mean over the batch, without smoothing or weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Aims at `(1 − ε) · onehot + ε / classes` instead of the one-hot target, `0 ≤ ε ≤ 1`, default 0
    /// (Szegedy et al. 2016). The smoothed part carries each class's weight, as in PyTorch.
    pub fn label_smoothing(mut self, epsilon: f64) -> Self {
        self.smoothing = epsilon;
        self
    }
}

impl ByClass for CrossEntropy {
    const KIND: &'static str = "CrossEntropy";

    fn options(&self) -> &Options {
        &self.options
    }

    fn check(&self) -> Result<()> {
        check_smoothing(Self::KIND, self.smoothing)
    }

    fn row<F: Scalar>(
        &self,
        row: &[F],
        class: usize,
        weight: f64,
        mut grad: Option<(f64, &mut [F])>,
    ) -> f64 {
        let softmax = Distribution::of(row, grad.as_mut().map(|(_, grad)| &mut **grad));
        // Weight of the one-hot part and of each class's smoothed part.
        let hot = (1.0 - self.smoothing) * weight;
        let share = self.smoothing / row.len() as f64;
        let mut loss = hot * -softmax.log(row[class]).widen();
        let mut mass = hot;
        let smooths = share > 0.0;
        if smooths && self.options.weighs() {
            for (class, &score) in row.iter().enumerate() {
                let share = share * self.options.weight(class);
                loss -= share * softmax.log(score).widen();
                mass += share;
            }
        } else if smooths {
            loss -= share * softmax.sum_of_logs(row).widen();
            mass += self.smoothing;
        }
        if let Some((factor, grad)) = grad {
            softmax.scale(F::lit(mass * factor), grad);
            grad[class] -= F::lit(hot * factor);
            if smooths && self.options.weighs() {
                for (class, grad) in grad.iter_mut().enumerate() {
                    *grad -= F::lit(share * self.options.weight(class) * factor);
                }
            } else if smooths {
                elementwise::shift(F::lit(-share * factor), grad);
            }
        }
        loss
    }
}

loss_by_class!(CrossEntropy);
