//! The trait of element-wise functions.

use std::fmt::Debug;

use crate::{Result, Scalar};

/// An element-wise function without parameters, randomness or memory. Anything more is a
/// [`crate::Layer`].
///
/// Generic methods on a plain trait: one implementation serves `f32` and `f64`, and every `Clone`
/// activation is a [`crate::LayerSpec`], so users write `.add(Swish)`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// /// `y = x²` for positive `x`, else 0.
/// #[derive(Debug, Clone)]
/// struct SquaredRelu;
///
/// impl Activation for SquaredRelu {
///     fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
///         for (y, &x) in y.iter_mut().zip(x) {
///             let positive = x.max(F::zero());
///             *y = positive * positive;
///         }
///     }
///     fn backward<F: Scalar>(&self, x: &[F], _y: &[F], dy: &[F], dx: &mut [F]) {
///         for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
///             *dx = dy * F::lit(2.0) * x.max(F::zero());
///         }
///     }
/// }
///
/// let model = Sequential::builder([2]).add(SquaredRelu).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1.0, 3.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 9.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Activation: Debug + Send + Sync {
    /// Name of the kind, for summaries and errors; the type's own name unless overridden.
    fn kind(&self) -> &'static str {
        let path = std::any::type_name::<Self>();
        path.rsplit("::").next().unwrap_or(path)
    }

    /// This function as data, for [`crate::Sequential::save_model`]; see [`crate::persist::Registry`] for one of your own.
    #[cfg(feature = "serde")]
    fn record(&self) -> Option<crate::persist::Record> {
        None
    }

    /// Refuses settings out of range, when a model is built. [`crate::Error::config`] makes the error.
    ///
    /// # Errors
    /// None unless overridden.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Writes `y = f(x)`. The slices are of equal length: any part of the batch, on any thread.
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]);

    /// Writes `dx = f'(x) · dy`, given the `x` and `y` of the forward pass.
    fn backward<F: Scalar>(&self, x: &[F], y: &[F], dy: &[F], dx: &mut [F]);
}
