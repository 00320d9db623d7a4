//! Smooth rectifiers.

use super::by_formula;
use crate::kernels::elementwise::Formula;
use crate::{Error, Result, Scalar};

/// Weighs the input by its own sigmoid: `y = x σ(x)`.
///
/// A smooth [`crate::activations::Relu`] with a dip of −0.28 left of 0. Also known as Swish.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Silu).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1e3, 0.0, 1e3]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 0.0, 1e3]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Hendrycks & Gimpel 2016; Ramachandran, Zoph & Le 2017.
#[doc(alias = "Swish")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Silu;

impl Formula for Silu {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        x * x.straight_sigmoid::<FUSED>()
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        let (share, rest) = x.straight_sigmoids::<FUSED>();
        dy * (share + x * share * rest)
    }
}

/// `y = x tanh(ln(1 + eˣ))`: close to [`Silu`], a little steeper.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Mish).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1e3, 1.0, 1e3]]))?;
/// assert_eq!((y[[0, 0]], y[[0, 2]]), (0.0, 1e3));
/// assert!((y[[0, 1]] - 0.8650984).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Misra 2020.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mish;

impl Mish {
    /// `e = eˣ`, and `n` with `tanh(ln(1 + e)) = n / (n + 2)`: one exponential and no logarithm.
    #[inline(always)]
    fn parts<F: Scalar, const FUSED: bool>(x: F) -> (F, F) {
        // Beyond, tanh is 1 in either precision, and e² would overflow.
        let e = (if x > F::lit(40.0) { F::lit(40.0) } else { x }).straight_exp::<FUSED>();
        (e, e * (e + F::lit(2.0)))
    }
}

impl Formula for Mish {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        let (_, n) = Self::parts::<F, FUSED>(x);
        x * (n / (n + F::lit(2.0)))
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        let (e, n) = Self::parts::<F, FUSED>(x);
        let tanh = n / (n + F::lit(2.0));
        // (1 − tanh²) σ(x), with 1 − tanh = 2 / (n + 2).
        let slope = F::lit(2.0) / (n + F::lit(2.0)) * (F::one() + tanh) * (e / (F::one() + e));
        dy * (tanh + x * slope)
    }
}

/// A smooth, positive [`crate::activations::Relu`]: `y = ln(1 + e^(β x)) / β`.
///
/// Its derivative is the sigmoid of `β x`. Exact everywhere, where PyTorch returns `x` itself above `β x = 20`, up to
/// 2·10⁻⁹ too little.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Softplus::default()).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1e3, 0.0, 1e3]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, std::f32::consts::LN_2, 1e3]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless `β` is finite and above 0.
///
/// # References
/// Dugas et al. 2001.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Softplus {
    beta: f64,
}

impl Softplus {
    /// `beta`: how sharp the bend is, above 0; the larger, the closer to a rectifier.
    pub fn new(beta: f64) -> Self {
        Self { beta }
    }

    fn check_beta(&self) -> Result<()> {
        if self.beta > 0.0 && self.beta.is_finite() {
            return Ok(());
        }
        Err(Error::config("Softplus", "beta", "finite and above 0", self.beta))
    }
}

/// `β = 1`, as in PyTorch.
impl Default for Softplus {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl Formula for Softplus {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        (F::lit(self.beta) * x).straight_softplus::<FUSED>() / F::lit(self.beta)
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        dy * (F::lit(self.beta) * x).straight_sigmoid::<FUSED>()
    }
}

by_formula!(Silu, Mish, Softplus check Softplus::check_beta);
