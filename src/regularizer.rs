//! The trait of penalties on parameters.

use std::fmt::Debug;

use crate::Scalar;

/// A penalty on one parameter, added to the loss. Set it with [`crate::Sequential::set_regularizer`].
///
/// Decoupled weight decay is not a penalty: it is an option of the optimizer, and differs from
/// [`crate::regularizers::L2`] under Adam (Loshchilov & Hutter 2019).
///
/// ```
/// use layerwise::prelude::*;
///
/// let l2 = L2(0.1);
/// assert_eq!(l2.penalty(&[1.0f64, 2.0]), 0.25);
/// let mut grad = [0.0, 1.0];
/// l2.accumulate(&[1.0, 2.0], &mut grad);
/// assert_eq!(grad, [0.1, 1.2]);
/// ```
pub trait Regularizer<F: Scalar = f32>: Debug + Send + Sync {
    /// The penalty.
    fn penalty(&self, value: &[F]) -> F;

    /// Adds the penalty's derivative to `grad`.
    fn accumulate(&self, value: &[F], grad: &mut [F]);
}
