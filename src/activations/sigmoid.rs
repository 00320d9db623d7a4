//! Saturating functions.

use crate::kernels::elementwise;
use crate::{Activation, Scalar};

/// Squashes to `(0, 1)`: `y = 1 / (1 + e^−x)`.
///
/// Reads as a firing rate or a probability. It kills gradients where it saturates, and its output is not
/// zero-centred, so all gradients of a unit's weights have one sign. Computed without overflow for every
/// input.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Sigmoid).build()?;
/// let y = model.predict(&ndarray::arr2(&[[0.0, -1e4, 1e4]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.5, 0.0, 1.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[doc(alias = "Logistic")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sigmoid;

impl Activation for Sigmoid {
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        elementwise::sigmoid(x, y);
    }

    fn backward<F: Scalar>(&self, _x: &[F], y: &[F], dy: &[F], dx: &mut [F]) {
        elementwise::sigmoid_backward(y, dy, dx);
    }
}

/// Squashes to `(−1, 1)`: `y = tanh x`.
///
/// As [`Sigmoid`], but zero-centred.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Tanh).build()?;
/// let y = model.predict(&ndarray::arr2(&[[0.0, -1e4, 1e4]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, -1.0, 1.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tanh;

impl Activation for Tanh {
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        elementwise::tanh(x, y);
    }

    fn backward<F: Scalar>(&self, _x: &[F], y: &[F], dy: &[F], dx: &mut [F]) {
        elementwise::tanh_backward(y, dy, dx);
    }
}
