//! RMSProp.

use super::{ensure_eps, ensure_fraction};
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// AdaGrad with a running mean in place of the sum: steps need not shrink for ever.
///
/// `s ← α s + (1 − α) g²`, `u = g / (√s + eps)`, `p ← p − lr · u`. With momentum `v ← μ v + u`, `p ← p − lr · v`. Centered,
/// the root is of the variance `s − m²`, where `m` is the same running mean of `g`.
///
/// Defaults are PyTorch's: `α` 0.99, `eps` 1e-8, no momentum, not centered; a usual rate is 1e-2 to 1e-3. The course
/// calls `α` the decay rate: 0.9, 0.99 or 0.999.
///
/// State: `square_avg`, centered `grad_avg`, with momentum `momentum_buffer`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // s = 0.75 · 0 + 0.25 · 2² = 1: the step is the rate times the gradient.
/// let (mut p, mut s) = ([5.0f64], [0.0]);
/// let rule = RmsProp::new().alpha(0.75).eps(1e-300);
/// rule.update(&StepInfo::new(1, 0.5), &mut p, &[2.0], &mut [&mut s]);
/// assert_eq!((p, s), ([4.0], [1.0]));
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ α < 1`, `0 ≤ μ < 1` and `eps > 0`.
///
/// # References
/// Tieleman & Hinton 2012, lecture 6.5; centered and with momentum: Graves 2013. `eps` is added outside the root, as
/// in PyTorch and unlike Keras. A variance that rounding makes negative counts as 0; PyTorch takes its root.
#[doc(alias = "RMSprop")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    alpha: f64,
    momentum: f64,
    centered: bool,
    eps: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self::new()
    }
}

impl RmsProp {
    /// With PyTorch's defaults.
    pub fn new() -> Self {
        Self { alpha: 0.99, momentum: 0.0, centered: false, eps: 1e-8 }
    }

    /// How much of the running means stays, `0 ≤ α < 1`; default 0.99.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// How much of the velocity stays, `0 ≤ μ < 1`; default 0.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether to divide by the gradient's deviation from its mean; default false.
    pub fn centered(mut self, centered: bool) -> Self {
        self.centered = centered;
        self
    }

    /// Added to the root, above 0; default 1e-8.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl<F: Scalar> Optimizer<F> for RmsProp {
    fn state_names(&self) -> &'static [&'static str] {
        match (self.centered, self.momentum > 0.0) {
            (false, false) => &["square_avg"],
            (false, true) => &["square_avg", "momentum_buffer"],
            (true, false) => &["square_avg", "grad_avg"],
            (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
        }
    }

    fn check(&self) -> Result<()> {
        ensure_fraction("RmsProp", "alpha", self.alpha)?;
        ensure_fraction("RmsProp", "momentum", self.momentum)?;
        ensure_eps("RmsProp", self.eps)
    }

    fn has_momentum(&self) -> bool {
        self.momentum > 0.0
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let rule = Rule {
            lr: F::lit(info.lr),
            alpha: F::lit(self.alpha),
            rest: F::lit(1.0 - self.alpha),
            momentum: F::lit(info.momentum.unwrap_or(self.momentum)),
            eps: F::lit(self.eps),
        };
        match (self.centered, state) {
            (false, [s]) => plain(rule, grad, s, value),
            (false, [s, v]) => with_momentum(rule, grad, s, v, value),
            (true, [s, m]) => centered(rule, grad, s, m, value),
            (true, [s, m, v]) => centered_with_momentum(rule, grad, s, m, v, value),
            _ => {}
        }
    }
}

/// The rule's numbers for one step.
#[derive(Debug, Clone, Copy)]
struct Rule<F> {
    lr: F,
    alpha: F,
    rest: F,
    momentum: F,
    eps: F,
}

impl<F: Scalar> Rule<F> {
    /// `u`, with `s` brought up to date.
    #[inline(always)]
    fn scaled(&self, g: F, s: &mut F) -> F {
        *s = self.alpha * *s + self.rest * (g * g);
        g / (s.sqrt() + self.eps)
    }

    /// `u` of the centered form, with `s` and `m` brought up to date.
    #[inline(always)]
    fn scaled_centered(&self, g: F, s: &mut F, m: &mut F) -> F {
        *s = self.alpha * *s + self.rest * (g * g);
        *m = self.alpha * *m + self.rest * g;
        let variance = *s - *m * *m;
        let variance = if variance > F::zero() { variance } else { F::zero() };
        g / (variance.sqrt() + self.eps)
    }
}

multiversion! {
    fn plain<F: Scalar>(rule: Rule<F>, grad: &[F], s: &mut [F], value: &mut [F]) {
        for ((p, s), &g) in value.iter_mut().zip(s).zip(grad) {
            *p -= rule.lr * rule.scaled(g, s);
        }
    }

    fn with_momentum<F: Scalar>(
        rule: Rule<F>, grad: &[F], s: &mut [F], v: &mut [F], value: &mut [F],
    ) {
        for (((p, s), v), &g) in value.iter_mut().zip(s).zip(v).zip(grad) {
            *v = rule.momentum * *v + rule.scaled(g, s);
            *p -= rule.lr * *v;
        }
    }

    fn centered<F: Scalar>(
        rule: Rule<F>, grad: &[F], s: &mut [F], m: &mut [F], value: &mut [F],
    ) {
        for (((p, s), m), &g) in value.iter_mut().zip(s).zip(m).zip(grad) {
            *p -= rule.lr * rule.scaled_centered(g, s, m);
        }
    }

    fn centered_with_momentum<F: Scalar>(
        rule: Rule<F>, grad: &[F], s: &mut [F], m: &mut [F], v: &mut [F], value: &mut [F],
    ) {
        for ((((p, s), m), v), &g) in value.iter_mut().zip(s).zip(m).zip(v).zip(grad) {
            *v = rule.momentum * *v + rule.scaled_centered(g, s, m);
            *p -= rule.lr * *v;
        }
    }
}
