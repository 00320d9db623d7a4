//! The trait of update rules.

use std::fmt::Debug;

use crate::{Result, Scalar};

/// The update rule for one parameter: [`crate::optimizers::Sgd`], [`crate::optimizers::Adam`], yours.
/// [`crate::optimizers::ModelOptimizer`] drives it over a whole model.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// /// `p ← p − lr · sign(g)`
/// #[derive(Debug)]
/// struct SignSgd;
///
/// impl<F: Scalar> Optimizer<F> for SignSgd {
///     fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], _state: &mut [&mut [F]]) {
///         for (value, grad) in value.iter_mut().zip(grad) {
///             *value -= F::lit(info.lr) * grad.signum();
///         }
///     }
/// }
///
/// let mut model = Sequential::builder([1]).add(Linear::new(1).bias(false).weight_init(Zeros)).build()?;
/// model.forward(&Array2::ones((1, 1)))?;
/// model.backward(&Array2::from_elem((1, 1), 7.0))?;
/// ModelOptimizer::new(SignSgd, 0.5).step(&mut model)?;
/// assert_eq!(model.value("0.weight").unwrap().sum(), -0.5);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Optimizer<F: Scalar = f32>: Debug + Send + Sync {
    /// Names of the arrays kept per parameter, zero at first; at most 8. They are saved as
    /// `{parameter}.{name}`.
    fn state_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks the rule's settings; called by every step before anything changes.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a setting out of range.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The weight decay that belongs to the rule, used where neither the driver nor a group names one.
    fn default_decay(&self) -> Decay {
        Decay::None
    }

    /// Whether the rule has a momentum that [`StepInfo::momentum`] replaces: the velocity's share, or `β₁`.
    fn has_momentum(&self) -> bool {
        false
    }

    /// Updates `value` in place, and `state`, whose arrays have its length. Never allocates. The driver
    /// calls it for parts of a parameter, possibly in parallel: element `i` of the results depends on
    /// element `i` of the arguments only.
    fn update(&self, info: &StepInfo, value: &mut [F], grad: &[F], state: &mut [&mut [F]]);
}

/// What a rule needs to know of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepInfo {
    /// How often this parameter was updated, this time included: 1, 2, …
    pub step: u64,
    /// The learning rate: base rate × group's scale × schedule's factor.
    pub lr: f64,
    /// The momentum to use in place of the rule's own, if it follows a schedule.
    pub momentum: Option<f64>,
}

impl StepInfo {
    /// For calling a rule by hand, with its own momentum.
    pub fn new(step: u64, lr: f64) -> Self {
        Self { step, lr, momentum: None }
    }
}

/// Weight decay, applied by the driver before the rule. The two kinds are the same under plain SGD and
/// differ under Adam (Loshchilov & Hutter 2019).
///
/// ```
/// use layerwise::prelude::*;
///
/// let rule = Sgd::new().momentum(0.9);
/// let optimizer = ModelOptimizer::<f32>::new(rule, 0.1).weight_decay(Decay::L2(5e-4));
/// # let _ = optimizer;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Decay {
    /// No decay.
    #[default]
    None,
    /// Coupled, `g ← g + λ p`: PyTorch's `weight_decay` in `SGD` and `Adam`. `λ ≥ 0`.
    L2(f64),
    /// Decoupled, `p ← p − lr · λ · p`: PyTorch's `weight_decay` in `AdamW`. `λ ≥ 0`.
    Decoupled(f64),
}
