//! Sigmoid and SiLU in straight pieces.

use super::by_formula;
use crate::Scalar;
use crate::kernels::elementwise::{Formula, between};

/// The sigmoid in three straight pieces: `y = min(max(0, x + 3), 6) / 6`.
///
/// Derivative 0 at −3 and 3, as in PyTorch. Keras's (`0.2 x + 0.5`) was steeper until Keras 3.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(HardSigmoid).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-3.0, 0.0, 1.5, 1e3]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 0.5, 0.75, 1.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Courbariaux, Bengio & David 2015; with these slopes Howard et al. 2019.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardSigmoid;

impl Formula for HardSigmoid {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        between(F::zero(), F::lit(6.0), x + F::lit(3.0)) / F::lit(6.0)
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        if x > F::lit(-3.0) && x < F::lit(3.0) { dy / F::lit(6.0) } else { F::zero() }
    }
}

/// [`crate::activations::Silu`] without an exponential: `y = x · min(max(0, x + 3), 6) / 6`.
///
/// Derivative 0 at −3 and 1 at 3, as in PyTorch.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(HardSwish).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-3.0, -1.5, 1.5, 1e3]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, -0.375, 1.125, 1e3]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Howard et al. 2019 (MobileNetV3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardSwish;

impl Formula for HardSwish {
    #[inline(always)]
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F {
        x * HardSigmoid.value::<F, FUSED>(x)
    }

    #[inline(always)]
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, _y: F, dy: F) -> F {
        let middle = dy * (x / F::lit(3.0) + F::lit(0.5));
        let below = if x > F::lit(-3.0) { middle } else { F::zero() };
        if x < F::lit(3.0) { below } else { dy }
    }
}

by_formula!(HardSigmoid, HardSwish);
