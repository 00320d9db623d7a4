//! Likelihood of a class.

use super::by_class::{ByClass, Options, loss_by_class};
use crate::{Result, Scalar};

/// Negative log-likelihood, from log-probabilities: `L_i = −x_y`.
///
/// Takes what [`crate::layers::LogSoftmax`] gives; [`super::CrossEntropy`] is both in one.
///
/// # Shape
/// prediction `[n, classes]` log-probabilities, target `[n]` class indices.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let logs = arr2(&[[-0.5f64, -1.0], [-0.25, -2.0]]).into_dyn();
/// let mut grad = logs.clone();
/// assert_eq!(Nll::new().value_and_grad(logs.view(), &[0, 1], grad.view_mut())?, 1.25);
/// assert_eq!(grad, arr2(&[[-0.5, 0.0], [0.0, -0.5]]).into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As for [`super::CrossEntropy`].
#[doc(alias = "NLLLoss")]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Nll {
    options: Options,
}

impl Nll {
    /// The mean over the batch, without weights.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ByClass for Nll {
    const KIND: &'static str = "Nll";

    fn options(&self) -> &Options {
        &self.options
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn row<F: Scalar>(
        &self,
        row: &[F],
        class: usize,
        weight: f64,
        grad: Option<(f64, &mut [F])>,
    ) -> f64 {
        if let Some((factor, grad)) = grad {
            grad.fill(F::zero());
            grad[class] = F::lit(-weight * factor);
        }
        -weight * row[class].widen()
    }
}

loss_by_class!(Nll);
