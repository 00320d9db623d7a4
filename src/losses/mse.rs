//! Squared error.

use super::Reduction;
use super::by_element::{ByElement, loss_by_element};
use crate::Scalar;
use crate::kernels::loss::Element;

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
/// [`crate::Error::Target`] if the shapes differ, [`crate::Error::Prediction`] if the prediction is empty.
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
}

impl Element for Mse {
    #[inline(always)]
    fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        (p - t) * (p - t)
    }

    #[inline(always)]
    fn derivative<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        (p - t) + (p - t)
    }
}

impl ByElement for Mse {
    fn reduction(&self) -> Reduction {
        self.reduction
    }
}

loss_by_element!(Mse);
