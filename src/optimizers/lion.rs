//! Lion.

use super::ensure_betas;
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// Steps of one length in each element, in the direction of the sign of the momentum.
///
/// `p ← p − lr · sign(β₁ m + (1 − β₁) g)`, then `m ← β₂ m + (1 − β₂) g`; the sign of 0 is 0. Half of Adam's memory. Because
/// every step has full length, the rate is 3 to 10 times smaller than Adam's, and the decay as much larger.
///
/// Defaults are the paper's: `β₁` 0.9, `β₂` 0.99; a usual rate is 1e-4, with [`crate::Decay::Decoupled`].
///
/// State: `exp_avg`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let (mut p, mut m) = ([0.0f64; 3], [0.0; 3]);
/// Lion::new().update(&StepInfo::new(1, 0.5), &mut p, &[7.0, 0.0, -1e-9], &mut [&mut m]);
/// assert_eq!(p, [-0.5, 0.0, 0.5]);
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ β < 1` for both.
///
/// # References
/// Chen et al. 2023, algorithm 2; the decay is the driver's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lion {
    beta1: f64,
    beta2: f64,
}

impl Default for Lion {
    fn default() -> Self {
        Self::new()
    }
}

impl Lion {
    /// With the paper's defaults.
    pub fn new() -> Self {
        Self { beta1: 0.9, beta2: 0.99 }
    }

    /// Share of the momentum in the direction, and how much of it stays, `0 ≤ β < 1`.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }
}

impl<F: Scalar> Optimizer<F> for Lion {
    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn check(&self) -> Result<()> {
        ensure_betas("Lion", self.beta1, self.beta2)
    }

    fn has_momentum(&self) -> bool {
        true
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let [m] = state else { return };
        let beta1 = info.momentum.unwrap_or(self.beta1);
        let (beta1, rest1) = (F::lit(beta1), F::lit(1.0 - beta1));
        let (beta2, rest2) = (F::lit(self.beta2), F::lit(1.0 - self.beta2));
        step(F::lit(info.lr), beta1, rest1, beta2, rest2, grad, m, value);
    }
}

multiversion! {
    fn step<F: Scalar>(
        lr: F, beta1: F, rest1: F, beta2: F, rest2: F, grad: &[F], m: &mut [F], value: &mut [F],
    ) {
        for ((p, m), &g) in value.iter_mut().zip(m).zip(grad) {
            let direction = beta1 * *m + rest1 * g;
            let up = if direction < F::zero() { lr } else { F::zero() };
            let down = if direction > F::zero() { lr } else { F::zero() };
            *p += up - down;
            *m = beta2 * *m + rest2 * g;
        }
    }
}
