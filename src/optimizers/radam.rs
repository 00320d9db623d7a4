//! RAdam.

use super::{correction, ensure_betas, ensure_eps, power};
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// Adam that divides by the second moment only once enough gradients were seen to know it.
///
/// `m` and `v` are [`super::Adam`]'s. With `ρ∞ = 2 / (1 − β₂) − 1` and `ρ_t = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)`: while `ρ_t ≤ 5`,
/// `p ← p − lr · m / (1 − β₁ᵗ)`; then
/// `p ← p − lr · r · m / (1 − β₁ᵗ) · √(1 − β₂ᵗ) / (√v + eps)`, where
/// `r² = (ρ_t − 4)(ρ_t − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ_t)` grows to 1: a warm-up that needs no setting.
///
/// Defaults are the paper's: `β₁` 0.9, `β₂` 0.999, `eps` 1e-8; a usual rate is 1e-3.
///
/// State: `exp_avg`, `exp_avg_sq`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // The first steps are those of gradient descent with momentum.
/// let (mut p, mut m, mut v) = ([1.0f64], [0.0], [0.0]);
/// RAdam::new().update(&StepInfo::new(1, 0.5), &mut p, &[1.0], &mut [&mut m, &mut v]);
/// assert!((p[0] - 0.5).abs() < 1e-15);
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ β < 1` for both and `eps > 0`.
///
/// # References
/// Liu et al. 2020, algorithm 2, with the bound 5 of PyTorch and the authors' code where the paper says 4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RAdam {
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl Default for RAdam {
    fn default() -> Self {
        Self::new()
    }
}

impl RAdam {
    /// With the paper's defaults.
    pub fn new() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }

    /// How much of each moment stays, `0 ≤ β < 1`.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }

    /// Added to the root, above 0; default 1e-8.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// `r √(1 − β₂ᵗ)`, or `None` while too few gradients were seen.
    fn rectification(&self, step: u64) -> Option<f64> {
        let corrected = correction(self.beta2, step);
        let limit = 2.0 / (1.0 - self.beta2) - 1.0;
        let rho = limit - 2.0 * step as f64 * power(self.beta2, step) / corrected;
        let square = (rho - 4.0) * (rho - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * rho);
        (rho > 5.0).then(|| (square * corrected).sqrt())
    }
}

impl<F: Scalar> Optimizer<F> for RAdam {
    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn check(&self) -> Result<()> {
        ensure_betas("RAdam", self.beta1, self.beta2)?;
        ensure_eps("RAdam", self.eps)
    }

    fn has_momentum(&self) -> bool {
        true
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let [m, v] = state else { return };
        let beta1 = info.momentum.unwrap_or(self.beta1);
        let lr = info.lr / correction(beta1, info.step);
        let rectification = self.rectification(info.step);
        let rule = Rule {
            beta1: F::lit(beta1),
            rest1: F::lit(1.0 - beta1),
            beta2: F::lit(self.beta2),
            rest2: F::lit(1.0 - self.beta2),
            lr: F::lit(lr * rectification.unwrap_or(1.0)),
            eps: F::lit(self.eps),
        };
        step(rule, rectification.is_some(), grad, m, v, value);
    }
}

/// The rule's numbers for one step.
#[derive(Debug, Clone, Copy)]
struct Rule<F> {
    beta1: F,
    rest1: F,
    beta2: F,
    rest2: F,
    lr: F,
    eps: F,
}

multiversion! {
    fn step<F: Scalar>(
        rule: Rule<F>, divide: bool, grad: &[F], m: &mut [F], v: &mut [F], value: &mut [F],
    ) {
        for (((p, m), v), &g) in value.iter_mut().zip(m).zip(v).zip(grad) {
            *m = rule.beta1 * *m + rule.rest1 * g;
            *v = rule.beta2 * *v + rule.rest2 * (g * g);
            let divisor = if divide { v.sqrt() + rule.eps } else { F::one() };
            *p -= rule.lr * *m / divisor;
        }
    }
}
