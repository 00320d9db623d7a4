//! NAdam.

use super::{correction, ensure_at_least_zero, ensure_betas, ensure_eps, power};
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// Adam with Nesterov momentum, which itself grows from about `β₁ / 2` to `β₁`.
///
/// `m` and `v` are [`super::Adam`]'s. With `μ_t = β₁ (1 − ½ · 0.96^(t · ψ))` and `M_t = μ₁ ⋯ μ_t`,
/// `p ← p − lr · [(1 − μ_t) / (1 − M_t) · g + μ_{t+1} / (1 − M_{t+1}) · m] / (√(v / (1 − β₂ᵗ)) + eps)`.
///
/// Defaults are PyTorch's: `β₁` 0.9, `β₂` 0.999, `eps` 1e-8, `ψ` 0.004; a usual rate is 2e-3.
///
/// State: `exp_avg`, `exp_avg_sq`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // For a gradient that never changes, a step has about the rate's length.
/// let (mut p, mut m, mut v) = ([0.0f64], [0.0], [0.0]);
/// for t in 1..=100 {
///     NAdam::new().update(&StepInfo::new(t, 0.01), &mut p, &[3.0], &mut [&mut m, &mut v]);
/// }
/// assert!((p[0] + 1.0).abs() < 0.1, "{}", p[0]);
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ β < 1` for both, `eps > 0` and `ψ ≥ 0`.
///
/// # References
/// Dozat 2016, with its schedule of the momentum. PyTorch keeps `M_t` as state; here it is computed from the step, so
/// with a momentum schedule it is as if the present `β₁` had been in force from the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdam {
    beta1: f64,
    beta2: f64,
    eps: f64,
    momentum_decay: f64,
}

impl Default for NAdam {
    fn default() -> Self {
        Self::new()
    }
}

impl NAdam {
    /// With PyTorch's defaults.
    pub fn new() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum_decay: 0.004 }
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

    /// `ψ`: how fast the momentum grows to `β₁`, at least 0; default 0.004.
    pub fn momentum_decay(mut self, momentum_decay: f64) -> Self {
        self.momentum_decay = momentum_decay;
        self
    }

    fn momentum_at(&self, beta1: f64, step: u64) -> f64 {
        beta1 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay))
    }

    /// `M_t`, or 0 where `1 − M_t` is 1 anyway: a few hundred factors at most, and none in late steps.
    fn product(&self, beta1: f64, steps: u64) -> f64 {
        const VANISHED: f64 = f64::EPSILON / 4.0;
        if power(beta1, steps) < VANISHED {
            return 0.0; // every factor is at most β₁
        }
        let mut product = 1.0;
        for step in 1..=steps {
            product *= self.momentum_at(beta1, step);
            if product < VANISHED {
                return 0.0;
            }
        }
        product
    }
}

impl<F: Scalar> Optimizer<F> for NAdam {
    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn check(&self) -> Result<()> {
        ensure_betas("NAdam", self.beta1, self.beta2)?;
        ensure_eps("NAdam", self.eps)?;
        ensure_at_least_zero("NAdam", "momentum_decay", self.momentum_decay)
    }

    fn has_momentum(&self) -> bool {
        true
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let [m, v] = state else { return };
        let beta1 = info.momentum.unwrap_or(self.beta1);
        let now = self.momentum_at(beta1, info.step);
        let next = self.momentum_at(beta1, info.step + 1);
        let product = self.product(beta1, info.step);
        let rule = Rule {
            beta1: F::lit(beta1),
            rest1: F::lit(1.0 - beta1),
            beta2: F::lit(self.beta2),
            rest2: F::lit(1.0 - self.beta2),
            of_g: F::lit(info.lr * (1.0 - now) / (1.0 - product)),
            of_m: F::lit(info.lr * next / (1.0 - product * next)),
            root: F::lit(1.0 / correction(self.beta2, info.step).sqrt()),
            eps: F::lit(self.eps),
        };
        step(rule, grad, m, v, value);
    }
}

/// The rule's numbers for one step.
#[derive(Debug, Clone, Copy)]
struct Rule<F> {
    beta1: F,
    rest1: F,
    beta2: F,
    rest2: F,
    of_g: F,
    of_m: F,
    root: F,
    eps: F,
}

multiversion! {
    fn step<F: Scalar>(rule: Rule<F>, grad: &[F], m: &mut [F], v: &mut [F], value: &mut [F]) {
        for (((p, m), v), &g) in value.iter_mut().zip(m).zip(v).zip(grad) {
            *m = rule.beta1 * *m + rule.rest1 * g;
            *v = rule.beta2 * *v + rule.rest2 * (g * g);
            *p -= (rule.of_g * g + rule.of_m * *m) / (v.sqrt() * rule.root + rule.eps);
        }
    }
}
