//! Stochastic gradient descent.

use super::{ensure, ensure_fraction};
use crate::kernels::simd::multiversion;
use crate::{Optimizer, Result, Scalar, StepInfo};

/// Gradient descent, with momentum or Nesterov momentum if asked for.
///
/// `v ← μ v + (1 − dampening) g`, in the first step `v ← g`; `p ← p − lr · v`, or with Nesterov
/// `p ← p − lr · (g + μ v)`. This is PyTorch's form; Keras's `v ← μ v − lr · g; p ← p + v` is equal as long as
/// the rate is constant.
///
/// State: `momentum_buffer`, if `momentum > 0`.
///
/// ```
/// use layerwise::prelude::*;
///
/// let rule = Sgd::new().momentum(0.9);
/// let (mut p, mut v) = ([1.0f64], [0.0]);
/// rule.update(&StepInfo::new(1, 0.1), &mut p, &[1.0], &mut [&mut v]);
/// rule.update(&StepInfo::new(2, 0.1), &mut p, &[1.0], &mut [&mut v]);
/// assert!((p[0] - (1.0 - 0.1 - 0.19)).abs() < 1e-15);
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ momentum < 1`, `0 ≤ dampening ≤ 1`, and Nesterov comes
/// with momentum and without dampening.
///
/// # References
/// Polyak 1964; Sutskever et al. 2013.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sgd {
    momentum: f64,
    dampening: f64,
    nesterov: bool,
}

impl Sgd {
    /// Plain gradient descent.
    pub fn new() -> Self {
        Self::default()
    }

    /// `μ`: how much of the velocity stays, `0 ≤ μ < 1`, typically 0.9 or 0.99; default 0. The course
    /// calls it `rho`, friction.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Reduces the gradient's share in the velocity, `0 ≤ d ≤ 1`; default 0.
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Whether to look ahead along the velocity; default false.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
        self
    }
}

impl<F: Scalar> Optimizer<F> for Sgd {
    fn state_names(&self) -> &'static [&'static str] {
        if self.momentum > 0.0 { &["momentum_buffer"] } else { &[] }
    }

    fn check(&self) -> Result<()> {
        ensure_fraction("Sgd", "momentum", self.momentum)?;
        let valid = (0.0..=1.0).contains(&self.dampening);
        ensure(valid, "Sgd", "dampening", "0 ≤ dampening ≤ 1", self.dampening)?;
        let valid = !self.nesterov || self.momentum > 0.0;
        ensure(valid, "Sgd", "momentum", "above 0 with nesterov", self.momentum)?;
        let valid = !self.nesterov || self.dampening == 0.0;
        ensure(valid, "Sgd", "dampening", "0 with nesterov", self.dampening)
    }

    fn has_momentum(&self) -> bool {
        self.momentum > 0.0
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let (lr, momentum) = (F::lit(info.lr), F::lit(info.momentum.unwrap_or(self.momentum)));
        let [velocity] = state else { return descend(lr, grad, value) };
        let share = if info.step == 1 { F::one() } else { F::one() - F::lit(self.dampening) };
        with_momentum(lr, momentum, share, self.nesterov, grad, velocity, value);
    }
}

multiversion! {
    fn descend<F: Scalar>(lr: F, grad: &[F], value: &mut [F]) {
        for (p, &g) in value.iter_mut().zip(grad) {
            *p -= lr * g;
        }
    }

    fn with_momentum<F: Scalar>(
        lr: F, momentum: F, share: F, nesterov: bool, grad: &[F], velocity: &mut [F], value: &mut [F],
    ) {
        // How the step is made of gradient and velocity.
        let (of_g, of_v) = if nesterov { (F::one(), momentum) } else { (F::zero(), F::one()) };
        for ((p, v), &g) in value.iter_mut().zip(velocity).zip(grad) {
            *v = momentum * *v + share * g;
            *p -= lr * (of_g * g + of_v * *v);
        }
    }
}
