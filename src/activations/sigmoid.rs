//! Saturating functions.

use super::by_formula;
use crate::Scalar;
use crate::kernels::elementwise::Formula;

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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sigmoid;

impl Formula for Sigmoid {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        x.straight_sigmoid::<FUSED>()
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, _x: F, y: F, dy: F) -> F {
        dy * y * (F::one() - y)
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tanh;

impl Formula for Tanh {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        x.straight_tanh::<FUSED>()
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, _x: F, y: F, dy: F) -> F {
        dy * (F::one() - y) * (F::one() + y)
    }
}

/// Squashes to `(−1, 1)` without an exponential: `y = x / (1 + |x|)`.
///
/// Saturates more slowly than [`Tanh`]: its derivative falls like `1 / x²`.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Softsign).build()?;
/// let y = model.predict(&ndarray::arr2(&[[0.0, -1.0, 3.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, -0.5, 0.75]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Bergstra et al. 2009; Glorot & Bengio 2010.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Softsign;

impl Formula for Softsign {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        x / (F::one() + x.abs())
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        let share = F::one() / (F::one() + x.abs());
        dy * share * share
    }
}

by_formula!(Sigmoid, Tanh, Softsign);
