//! The trait of loss functions.

use std::fmt::Debug;

use crate::{Result, Scalar, View, ViewMut};

/// Compares a prediction with its target.
///
/// `Target` is `[usize]` for class indices and [`ndarray::ArrayRef`] for values; a `&Vec<usize>` and a
/// `&ArrayD` coerce to them.
///
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let logits = arr2(&[[0.0f64, 0.0]]).into_dyn();
/// let loss = CrossEntropy::new().value(logits.view(), &[1])?;
/// assert!((loss - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Loss<F: Scalar = f32>: Debug + Send + Sync {
    /// What a prediction is compared with.
    type Target: ?Sized;

    /// The loss.
    ///
    /// # Errors
    /// [`crate::Error::Prediction`] or [`crate::Error::Target`] if shapes or values do not fit.
    fn value(&self, prediction: View<'_, F>, target: &Self::Target) -> Result<F>;

    /// Like [`Loss::value`], and writes the derivative by the prediction into `grad`, already divided as
    /// the reduction says.
    ///
    /// # Errors
    /// Like [`Loss::value`]; `grad` is then unspecified.
    fn value_and_grad(
        &self,
        prediction: View<'_, F>,
        target: &Self::Target,
        grad: ViewMut<'_, F>,
    ) -> Result<F>;
}
