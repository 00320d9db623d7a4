//! AdaGrad.

use super::{ensure_at_least_zero, ensure_eps};
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// Divides each element's rate by the root of the sum of its squared gradients so far.
///
/// `s ← s + g²`, `p ← p − lr / (1 + (t − 1) · lr_decay) · g / (√s + eps)`. Steep directions get small steps and
/// shallow ones large steps, which helps with a very high condition number. But the sum only grows: steps
/// always shrink, in the end to nothing. [`super::RmsProp`] forgets instead and is the better choice for
/// networks.
///
/// Defaults are PyTorch's: `lr_decay` 0, sum from 0, `eps` 1e-10; a usual rate is 1e-2.
///
/// State: `sum`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // The first step has the length of the rate, whatever the gradient's.
/// let (mut p, mut sum) = ([0.0f64, 0.0], [0.0; 2]);
/// AdaGrad::new().update(&StepInfo::new(1, 0.5), &mut p, &[1e-3, -1e3], &mut [&mut sum]);
/// assert!((p[0] + 0.5).abs() < 1e-6 && (p[1] - 0.5).abs() < 1e-6);
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `lr_decay ≥ 0`, `initial ≥ 0` and `eps > 0`.
///
/// # References
/// Duchi, Hazan & Singer 2011. `eps` is added outside the root, as in PyTorch; Keras adds it inside and starts the
/// sum at 0.1.
#[doc(alias = "Adagrad")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaGrad {
    lr_decay: f64,
    initial: f64,
    eps: f64,
}

impl Default for AdaGrad {
    fn default() -> Self {
        Self::new()
    }
}

impl AdaGrad {
    /// With PyTorch's defaults.
    pub fn new() -> Self {
        Self { lr_decay: 0.0, initial: 0.0, eps: 1e-10 }
    }

    /// How fast the rate falls besides, at least 0; default 0.
    pub fn lr_decay(mut self, lr_decay: f64) -> Self {
        self.lr_decay = lr_decay;
        self
    }

    /// What the sum of squares begins with, at least 0; default 0 (Keras: 0.1).
    #[doc(alias = "initial_accumulator_value")]
    pub fn initial(mut self, initial: f64) -> Self {
        self.initial = initial;
        self
    }

    /// Added to the root, above 0; default 1e-10.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl<F: Scalar> Optimizer<F> for AdaGrad {
    fn state_names(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn check(&self) -> Result<()> {
        ensure_at_least_zero("AdaGrad", "lr_decay", self.lr_decay)?;
        ensure_at_least_zero("AdaGrad", "initial", self.initial)?;
        ensure_eps("AdaGrad", self.eps)
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let [sum] = state else { return };
        if info.step == 1 {
            sum.fill(F::lit(self.initial));
        }
        let lr = info.lr / (1.0 + info.step.saturating_sub(1) as f64 * self.lr_decay);
        step(F::lit(lr), F::lit(self.eps), grad, sum, value);
    }
}

multiversion! {
    fn step<F: Scalar>(lr: F, eps: F, grad: &[F], sum: &mut [F], value: &mut [F]) {
        for ((p, s), &g) in value.iter_mut().zip(sum).zip(grad) {
            *s += g * g;
            *p -= lr * g / (s.sqrt() + eps);
        }
    }
}
