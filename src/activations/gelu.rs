//! Gaussian error linear units.

use super::by_formula;
use crate::Scalar;
use crate::kernels::elementwise::{Formula, between};

/// Weighs the input by how it compares with a normal variable: `y = x Φ(x)`, with
/// `Φ(x) = ½ (1 + erf(x / √2))`.
///
/// A smooth [`crate::activations::Relu`], slightly negative left of 0. `Φ` is computed so that it keeps its digits in
/// the far tail, where PyTorch's formula gives 0.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Gelu).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1e3, 1.0, 1e3]]))?;
/// assert_eq!((y[[0, 0]], y[[0, 2]]), (0.0, 1e3));
/// assert!((y[[0, 1]] - 0.8413447).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Hendrycks & Gimpel 2016. The default of PyTorch and Keras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Gelu;

impl Formula for Gelu {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        x * x.straight_normal::<FUSED>().0
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        let (below, density) = x.straight_normal::<FUSED>();
        dy * (below + x * density)
    }
}

/// [`Gelu`] by its approximation with a hyperbolic tangent:
/// `y = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
///
/// Off by at most 0.0005, and about as fast here: for models trained with it (GPT-2, BERT).
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(GeluTanh).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1e3, 1.0, 1e3]]))?;
/// assert_eq!((y[[0, 0]], y[[0, 2]]), (0.0, 1e3));
/// assert!((y[[0, 1]] - 0.841192).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Hendrycks & Gimpel 2016; PyTorch's `approximate="tanh"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GeluTanh;

impl GeluTanh {
    /// `2 √(2/π)`: with it, `½ (1 + tanh u) = σ(2u)`.
    const SLOPE: f64 = 1.595_769_121_605_730_7;
    const CUBIC: f64 = 0.044715;

    /// `2u` and its derivative.
    #[inline(always)]
    fn inner<F: Scalar>(x: F) -> (F, F) {
        // Beyond, σ is 0 or 1 whatever the cube, which would overflow.
        let x = between(F::lit(-1e4), F::lit(1e4), x);
        let (slope, cubic) = (F::lit(Self::SLOPE), F::lit(Self::CUBIC) * x * x);
        (slope * (x + cubic * x), slope * (F::one() + F::lit(3.0) * cubic))
    }
}

impl Formula for GeluTanh {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        x * Self::inner(x).0.straight_sigmoid::<FUSED>()
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        let (inner, slope) = Self::inner(x);
        let (share, rest) = inner.straight_sigmoids::<FUSED>();
        dy * (share + x * share * rest * slope)
    }
}

by_formula!(Gelu, GeluTanh);
