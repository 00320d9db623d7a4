//! Squared error.

use ndarray::{ArrayRef, IxDyn};

use super::{Reduction, check_grad};
use crate::{Error, Loss, Result, Scalar, ShapeError, TargetError, View, ViewMut};

/// Mean squared error: `Σ (prediction − target)² / elements`.
///
/// The mean is over all elements, not over the batch, as in PyTorch and Keras.
///
/// # Shape
/// prediction and target `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let (prediction, target) = (arr2(&[[1.0f64, 2.0]]).into_dyn(), arr2(&[[1.0, 4.0]]).into_dyn());
/// assert_eq!(Mse::new().value(prediction.view(), &target)?, 2.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Target`] if the shapes differ, [`Error::Prediction`] if the prediction is empty.
#[doc(alias = "MeanSquaredError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mse {
    reduction: Reduction,
}

impl Mse {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mean or sum over all elements; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn divisor<F: Scalar>(
        &self,
        prediction: &View<'_, F>,
        target: &ArrayRef<F, IxDyn>,
    ) -> Result<f64> {
        if prediction.is_empty() {
            let cause = ShapeError::new("at least one element", prediction.shape());
            return Err(Error::Prediction(cause));
        }
        if prediction.shape() != target.shape() {
            let needs =
                format!("the prediction's shape {}", crate::Shape::from(prediction.shape()));
            return Err(Error::Target(TargetError::Shape(ShapeError::new(needs, target.shape()))));
        }
        Ok(match self.reduction {
            Reduction::Mean => prediction.len() as f64,
            Reduction::Sum => 1.0,
        })
    }
}

impl<F: Scalar> Loss<F> for Mse {
    type Target = ArrayRef<F, IxDyn>;

    fn value(&self, prediction: View<'_, F>, target: &ArrayRef<F, IxDyn>) -> Result<F> {
        let divisor = self.divisor(&prediction, target)?;
        let squares =
            prediction.iter().zip(target.iter()).map(|(&p, &t)| ((p - t) * (p - t)).widen());
        Ok(F::lit(squares.sum::<f64>() / divisor))
    }

    fn value_and_grad(
        &self,
        prediction: View<'_, F>,
        target: &ArrayRef<F, IxDyn>,
        mut grad: ViewMut<'_, F>,
    ) -> Result<F> {
        let divisor = self.divisor(&prediction, target)?;
        check_grad(&prediction, &grad)?;
        let factor = F::lit(2.0 / divisor);
        let mut total = 0.0;
        for ((grad, &p), &t) in grad.iter_mut().zip(prediction.iter()).zip(target.iter()) {
            total += ((p - t) * (p - t)).widen();
            *grad = factor * (p - t);
        }
        Ok(F::lit(total / divisor))
    }
}
