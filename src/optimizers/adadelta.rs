//! AdaDelta.

use super::{ensure_eps, ensure_fraction};
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// RMSProp whose rate is itself a running mean: that of the squared steps.
///
/// `s ← ρ s + (1 − ρ) g²`, `d = √(a + eps) / √(s + eps) · g`, `a ← ρ a + (1 − ρ) d²`, `p ← p − lr · d`. The paper has no
/// rate: it is 1.
///
/// Defaults are PyTorch's: `ρ` 0.9, `eps` 1e-6; use it with rate 1.
///
/// State: `square_avg`, `acc_delta`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // With eps that large: s = 0.1, d = √0.1 / √0.2.
/// let (mut p, mut s, mut a) = ([0.0f64], [0.0], [0.0]);
/// let rule = AdaDelta::new().eps(0.1);
/// rule.update(&StepInfo::new(1, 1.0), &mut p, &[1.0], &mut [&mut s, &mut a]);
/// assert!((p[0] + 0.5f64.sqrt()).abs() < 1e-15);
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ ρ < 1` and `eps > 0`.
///
/// # References
/// Zeiler 2012, algorithm 1.
#[doc(alias = "Adadelta")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaDelta {
    rho: f64,
    eps: f64,
}

impl Default for AdaDelta {
    fn default() -> Self {
        Self::new()
    }
}

impl AdaDelta {
    /// With PyTorch's defaults.
    pub fn new() -> Self {
        Self { rho: 0.9, eps: 1e-6 }
    }

    /// How much of the running means stays, `0 ≤ ρ < 1`; default 0.9.
    pub fn rho(mut self, rho: f64) -> Self {
        self.rho = rho;
        self
    }

    /// Added inside both roots, above 0; default 1e-6. It also sets the length of the first steps.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl<F: Scalar> Optimizer<F> for AdaDelta {
    fn state_names(&self) -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }

    fn check(&self) -> Result<()> {
        ensure_fraction("AdaDelta", "rho", self.rho)?;
        ensure_eps("AdaDelta", self.eps)
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let [squares, steps] = state else { return };
        let (lr, rho, rest) = (F::lit(info.lr), F::lit(self.rho), F::lit(1.0 - self.rho));
        step(lr, rho, rest, F::lit(self.eps), grad, squares, steps, value);
    }
}

multiversion! {
    fn step<F: Scalar>(
        lr: F, rho: F, rest: F, eps: F, grad: &[F], squares: &mut [F], steps: &mut [F], value: &mut [F],
    ) {
        for (((p, s), a), &g) in value.iter_mut().zip(squares).zip(steps).zip(grad) {
            *s = rho * *s + rest * (g * g);
            let d = (*a + eps).sqrt() / (*s + eps).sqrt() * g;
            *a = rho * *a + rest * (d * d);
            *p -= lr * d;
        }
    }
}
