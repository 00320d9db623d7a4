//! Adam and AdamW.

use super::{correction, ensure_betas, ensure_eps};
use crate::kernels::simd::multiversion;
use crate::{Decay, Optimizer, Result, Scalar, StepInfo};

/// Adaptive moments: RMSProp with momentum, and with bias correction.
///
/// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
/// `p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)`. With AMSGrad the largest `v` so far stands in
/// the root.
///
/// Defaults are the paper's: `β₁` 0.9, `β₂` 0.999, `eps` 1e-8; a good first rate is 1e-3 to 1e-4. The course
/// notes have `β₂` 0.99: [`Adam::course`]; so has fastai: [`Adam::fastai`]. Weight decay given to the driver as [`Decay::L2`] is PyTorch's
/// `Adam(weight_decay)`.
///
/// State: `exp_avg`, `exp_avg_sq`, and with AMSGrad `max_exp_avg_sq`.
///
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([4]).add(Linear::new(2)).build()?;
/// let mut optimizer = ModelOptimizer::new(Adam::new(), 1e-3);
/// model.forward(&Array2::ones((3, 4)))?;
/// model.backward(&Array2::ones((3, 2)))?;
/// let report = optimizer.step(&mut model)?;
/// assert_eq!(report.parameters, 2);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// A step fails with [`crate::Error::Setting`] unless `0 ≤ β < 1` for both and `eps > 0`.
///
/// # References
/// Kingma & Ba 2015, algorithm 1; `eps` is added outside the root. Reddi, Kale & Kumar 2018 (AMSGrad; as in
/// PyTorch, the maximum is of the uncorrected `v`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    beta1: f64,
    beta2: f64,
    eps: f64,
    amsgrad: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self::new()
    }
}

impl Adam {
    /// With the paper's defaults.
    pub fn new() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, amsgrad: false }
    }

    /// With the course notes' `β₂` of 0.99.
    pub fn course() -> Self {
        Self { beta2: 0.99, ..Self::new() }
    }

    /// With fastai's defaults: `β₂` 0.99 and `eps` 1e-5. Its optimizer decays weights too, decoupled and by
    /// 0.01: `AdamW::new().adam(Adam::fastai())`.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// assert_eq!(Adam::fastai(), Adam::new().betas(0.9, 0.99).eps(1e-5));
    /// ```
    pub fn fastai() -> Self {
        Self { eps: 1e-5, ..Self::course() }
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

    /// Whether steps may only shrink as the second moment grows; default false.
    pub fn amsgrad(mut self, amsgrad: bool) -> Self {
        self.amsgrad = amsgrad;
        self
    }
}

impl<F: Scalar> Optimizer<F> for Adam {
    fn state_names(&self) -> &'static [&'static str] {
        let names = &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
        if self.amsgrad { names } else { &names[..2] }
    }

    fn check(&self) -> Result<()> {
        ensure_betas("Adam", self.beta1, self.beta2)?;
        ensure_eps("Adam", self.eps)
    }

    fn has_momentum(&self) -> bool {
        true
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        let beta1 = info.momentum.unwrap_or(self.beta1);
        let (of_m, of_v) = (correction(beta1, info.step), correction(self.beta2, info.step));
        let rule = Rule {
            beta1: F::lit(beta1),
            rest1: F::lit(1.0 - beta1),
            beta2: F::lit(self.beta2),
            rest2: F::lit(1.0 - self.beta2),
            eps: F::lit(self.eps),
            rate: F::lit(info.lr / of_m),
            root: F::lit(1.0 / of_v.sqrt()),
        };
        match state {
            [m, v] => step(rule, grad, m, v, value),
            [m, v, largest] => step_amsgrad(rule, grad, m, v, largest, value),
            _ => {}
        }
    }
}

/// The rule's numbers for one step.
#[derive(Debug, Clone, Copy)]
struct Rule<F> {
    beta1: F,
    rest1: F,
    beta2: F,
    rest2: F,
    eps: F,
    rate: F,
    root: F,
}

multiversion! {
    fn step<F: Scalar>(rule: Rule<F>, grad: &[F], m: &mut [F], v: &mut [F], value: &mut [F]) {
        for (((p, m), v), &g) in value.iter_mut().zip(m).zip(v).zip(grad) {
            *m = rule.beta1 * *m + rule.rest1 * g;
            *v = rule.beta2 * *v + rule.rest2 * (g * g);
            *p -= rule.rate * *m / (v.sqrt() * rule.root + rule.eps);
        }
    }

    fn step_amsgrad<F: Scalar>(
        rule: Rule<F>, grad: &[F], m: &mut [F], v: &mut [F], largest: &mut [F], value: &mut [F],
    ) {
        for ((((p, m), v), largest), &g) in value.iter_mut().zip(m).zip(v).zip(largest).zip(grad) {
            *m = rule.beta1 * *m + rule.rest1 * g;
            *v = rule.beta2 * *v + rule.rest2 * (g * g);
            *largest = if *v > *largest { *v } else { *largest };
            *p -= rule.rate * *m / (largest.sqrt() * rule.root + rule.eps);
        }
    }
}

/// [`Adam`] with decoupled weight decay, `p ← p − lr · λ · p` before each update; `λ` is 0.01 by default.
///
/// The decay is multiplied by the learning rate, as in PyTorch and unlike Loshchilov & Hutter 2019, eq. 12.
/// The same as [`Adam`] under a driver with [`Decay::Decoupled`].
///
/// ```
/// use layerwise::prelude::*;
///
/// let rule = AdamW::new().weight_decay(0.05);
/// assert_eq!(Optimizer::<f32>::default_decay(&rule), Decay::Decoupled(0.05));
/// ```
///
/// # References
/// Loshchilov & Hutter 2019.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    adam: Adam,
    weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self::new()
    }
}

impl AdamW {
    /// With Adam's defaults and a decay of 0.01.
    pub fn new() -> Self {
        Self { adam: Adam::new(), weight_decay: 0.01 }
    }

    /// With these settings of Adam.
    pub fn adam(mut self, adam: Adam) -> Self {
        self.adam = adam;
        self
    }

    /// `λ`, at least 0; default 0.01 (Keras: 0.004).
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl<F: Scalar> Optimizer<F> for AdamW {
    fn state_names(&self) -> &'static [&'static str] {
        Optimizer::<F>::state_names(&self.adam)
    }

    fn check(&self) -> Result<()> {
        Optimizer::<F>::check(&self.adam)
    }

    fn has_momentum(&self) -> bool {
        true
    }

    fn default_decay(&self) -> Decay {
        Decay::Decoupled(self.weight_decay)
    }

    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]) {
        self.adam.update(info, value, grad, state);
    }
}
