//! Rectifiers with an exponential side.

use super::by_formula;
use crate::kernels::elementwise::Formula;
use crate::{Error, Result, Scalar};

/// Passes what is positive and saturates at `−α` below: `y = x` for `x > 0`, else `α (eˣ − 1)`.
///
/// All the benefits of [`crate::activations::Relu`], with mean outputs closer to zero. Saturating for negative inputs,
/// unlike [`crate::activations::LeakyRelu`], it is robust against noise; the price is an exponential. Derivative
/// `α` at 0, as in PyTorch.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Elu::default()).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1e3, 0.0, 2.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [-1.0, 0.0, 2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless `α` is finite.
///
/// # References
/// Clevert, Unterthiner & Hochreiter 2016.
#[doc(alias = "ExponentialLinearUnit")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Elu {
    alpha: f64,
}

impl Elu {
    /// `alpha`: size of the limit far below 0, finite, usually 1.
    pub fn new(alpha: f64) -> Self {
        Self { alpha }
    }

    fn check_alpha(&self) -> Result<()> {
        if self.alpha.is_finite() {
            return Ok(());
        }
        Err(Error::config("Elu", "alpha", "finite", self.alpha))
    }
}

/// `α = 1`, as in the paper, PyTorch and Keras.
impl Default for Elu {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl Formula for Elu {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        if x > F::zero() { x } else { F::lit(self.alpha) * x.straight_expm1::<FUSED>() }
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, y: F, dy: F) -> F {
        // α eˣ = y + α
        if x > F::zero() { dy } else { dy * (y + F::lit(self.alpha)) }
    }
}

/// Keeps mean 0 and variance 1 from layer to layer by itself: `y = λ x` for `x > 0`, else `λ α (eˣ − 1)`, with
/// `λ ≈ 1.0507` and `α ≈ 1.6733`.
///
/// For networks of fully connected layers whose weights start from [`crate::initializers::LeCunNormal`]. Derivative
/// `λ α` at 0, as in PyTorch.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(Selu).build()?;
/// let y = model.predict(&ndarray::arr2(&[[1.0, -1e3]]))?;
/// assert_eq!(y.as_slice().unwrap(), [1.050701, -1.7580993]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Klambauer et al. 2017, whose numbers these are.
#[doc(alias = "ScaledExponentialLinearUnit")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Selu;

impl Selu {
    const SCALE: f64 = 1.050_700_987_355_480_5;
    const SCALE_ALPHA: f64 = Self::SCALE * 1.673_263_242_354_377_2;
}

impl Formula for Selu {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        if x > F::zero() {
            F::lit(Self::SCALE) * x
        } else {
            F::lit(Self::SCALE_ALPHA) * x.straight_expm1::<FUSED>()
        }
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, y: F, dy: F) -> F {
        dy * if x > F::zero() { F::lit(Self::SCALE) } else { y + F::lit(Self::SCALE_ALPHA) }
    }
}

by_formula!(Elu check Elu::check_alpha, Selu);
