//! Rectifiers.

use super::by_formula;
use crate::kernels::elementwise::{Formula, between};
use crate::{Error, Result, Scalar};

/// Passes what is positive: `y = max(0, x)`.
///
/// Does not saturate, costs next to nothing and converges fast; it is not zero-centred, and a unit that
/// is negative for every sample gets no gradient any more (a "dead ReLU"). Biologically more plausible than a
/// sigmoid: silent, or firing in proportion. Derivative 0 at 0, as in PyTorch; NaN stays NaN.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Relu).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1.0, 0.0, 2.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 0.0, 2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Nair & Hinton 2010; Krizhevsky, Sutskever & Hinton 2012.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Relu;

impl Formula for Relu {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        // Not `>`: NaN stays NaN.
        if x < F::zero() { F::zero() } else { x }
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, _x: F, y: F, dy: F) -> F {
        if y > F::zero() { dy } else { F::zero() }
    }
}

/// A rectifier with an upper limit: `y = min(max(0, x), 6)`.
///
/// The limit keeps activations in a small range, for arithmetic of low precision. Derivative 0 at 0 and at 6, as in
/// PyTorch.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Relu6).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1.0, 2.0, 1e3]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 2.0, 6.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Krizhevsky 2010; Howard et al. 2017 (MobileNets).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Relu6;

impl Formula for Relu6 {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        between(F::zero(), F::lit(6.0), x)
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        if x > F::zero() && x < F::lit(6.0) { dy } else { F::zero() }
    }
}

/// Passes what is positive and a little of what is not: `y = x` for `x > 0`, else `slope · x`.
///
/// All of [`Relu`]'s advantages, and units never die. Derivative `slope` at 0, as in PyTorch.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(LeakyRelu::new(0.25)).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-4.0, 2.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [-1.0, 2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless the slope is finite.
///
/// # References
/// Maas, Hannun & Ng 2013. Default slope 0.01 as in the paper and PyTorch; Keras has 0.3.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LeakyRelu {
    slope: f64,
}

impl LeakyRelu {
    /// With this slope for negative inputs, usually in `0 ≤ slope < 1`.
    pub fn new(slope: f64) -> Self {
        Self { slope }
    }

    fn check_slope(&self) -> Result<()> {
        if self.slope.is_finite() {
            return Ok(());
        }
        Err(Error::config("LeakyRelu", "slope", "finite", self.slope))
    }
}

impl Default for LeakyRelu {
    fn default() -> Self {
        Self::new(0.01)
    }
}

impl Formula for LeakyRelu {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        if x > F::zero() { x } else { F::lit(self.slope) * x }
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        if x > F::zero() { dy } else { F::lit(self.slope) * dy }
    }
}

by_formula!(Relu, Relu6, LeakyRelu check LeakyRelu::check_slope);
