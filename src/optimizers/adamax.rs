//! Adamax.

use super::{correction, ensure_betas, ensure_eps};
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// Adam with the largest recent gradient in place of the second moment.
///
/// `m ← β₁ m + (1 − β₁) g`, `u ← max(β₂ u, |g| + eps)`, `p ← p − lr / (1 − β₁ᵗ) · m / u`.
///
/// Defaults are the paper's: `β₁` 0.9, `β₂` 0.999, `eps` 1e-8; a usual rate is 2e-3.
///
/// State: `exp_avg`, `exp_inf`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // The first step has the length of the rate.
/// let (mut p, mut m, mut u) = ([0.0f64], [0.0], [0.0]);
/// Adamax::new().update(&StepInfo::new(1, 0.25), &mut p, &[-8.0], &mut [&mut m, &mut u]);
/// assert!((p[0] - 0.25).abs() < 1e-9);
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ β < 1` for both and `eps > 0`.
///
/// # References
/// Kingma & Ba 2015, algorithm 2; `eps`, which the paper lacks, is added to `|g|` as in PyTorch.
#[doc(alias = "AdaMax")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adamax {
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl Default for Adamax {
    fn default() -> Self {
        Self::new()
    }
}

impl Adamax {
    /// With the paper's defaults.
    pub fn new() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }

    /// How much of the first moment and of the maximum stays, `0 ≤ β < 1`.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }

    /// Added to `|g|`, above 0; default 1e-8.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl<F: Scalar> Optimizer<F> for Adamax {
    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_inf"]
    }

    fn check(&self) -> Result<()> {
        ensure_betas("Adamax", self.beta1, self.beta2)?;
        ensure_eps("Adamax", self.eps)
    }

    fn has_momentum(&self) -> bool {
        true
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let [m, u] = state else { return };
        let beta1 = info.momentum.unwrap_or(self.beta1);
        let lr = F::lit(info.lr / correction(beta1, info.step));
        let (beta1, rest1) = (F::lit(beta1), F::lit(1.0 - beta1));
        step(lr, beta1, rest1, F::lit(self.beta2), F::lit(self.eps), grad, m, u, value);
    }
}

multiversion! {
    fn step<F: Scalar>(
        lr: F, beta1: F, rest1: F, beta2: F, eps: F,
        grad: &[F], m: &mut [F], u: &mut [F], value: &mut [F],
    ) {
        for (((p, m), u), &g) in value.iter_mut().zip(m).zip(u).zip(grad) {
            *m = beta1 * *m + rest1 * g;
            let (kept, new) = (beta2 * *u, g.abs() + eps);
            *u = if kept > new { kept } else { new };
            *p -= lr * *m / *u;
        }
    }
}
