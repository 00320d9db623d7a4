//! Update rules, the driver that applies them to a model, and methods for full batches.
//!
//! | rule | update |
//! |---|---|
//! | [`Sgd`] | gradient descent, momentum, Nesterov momentum |
//! | [`AdaGrad`] | divides by the root of the sum of squared gradients |
//! | [`AdaDelta`] | RMSProp with a rate of its own |
//! | [`RmsProp`] | divides by the root of the mean of squared gradients; momentum, centered |
//! | [`Adam`] | first and second moments, bias-corrected; AMSGrad |
//! | [`AdamW`] | Adam with decoupled decay |
//! | [`NAdam`] | Adam with Nesterov momentum |
//! | [`RAdam`] | Adam that warms up by itself |
//! | [`Adamax`] | Adam with the largest recent gradient |
//! | [`Lion`] | the sign of the momentum |
//!
//! [`ModelOptimizer`] drives a rule over a model and brings everything that is not the rule: learning rate, its
//! schedule and the momentum's, weight decay, clipping, accumulation, centralisation, groups, and the state of all of
//! it for a checkpoint.
//!
//! For full batches, and for functions of your own, there are methods that minimise an [`crate::Objective`]:
//!
//! | method | direction |
//! |---|---|
//! | [`Lbfgs`] | the Hessian's effect, learned from the last steps |
//! | [`Newton`] | the Hessian itself, for up to about a thousand variables |

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod apply;
mod cholesky;
mod clip;
mod groups;
mod lbfgs;
mod line_search;
mod lion;
mod model;
mod nadam;
mod newton;
mod probe;
mod radam;
mod rms_prop;
mod sgd;
mod state;

pub use adadelta::AdaDelta;
pub use adagrad::AdaGrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use clip::Clip;
pub use groups::GroupOptions;
pub use lbfgs::Lbfgs;
pub use lion::Lion;
pub use model::{ModelOptimizer, StepReport};
pub use nadam::NAdam;
pub use newton::Newton;
pub use radam::RAdam;
pub use rms_prop::RmsProp;
pub use sgd::Sgd;
pub use state::{OptimizerState, ParamState};

use crate::Result;
use crate::error::ensure;

/// A share that stays: a momentum, a decay rate.
fn ensure_fraction(kind: &'static str, field: &'static str, value: f64) -> Result<()> {
    ensure((0.0..1.0).contains(&value), kind, field, "at least 0 and below 1", value)
}

fn ensure_betas(kind: &'static str, beta1: f64, beta2: f64) -> Result<()> {
    ensure_fraction(kind, "beta1", beta1)?;
    ensure_fraction(kind, "beta2", beta2)
}

fn ensure_above_zero(kind: &'static str, field: &'static str, value: f64) -> Result<()> {
    ensure(value > 0.0 && value.is_finite(), kind, field, "above 0", value)
}

fn ensure_eps(kind: &'static str, eps: f64) -> Result<()> {
    ensure_above_zero(kind, "eps", eps)
}

fn ensure_at_least_zero(kind: &'static str, field: &'static str, value: f64) -> Result<()> {
    ensure(value >= 0.0 && value.is_finite(), kind, field, "at least 0", value)
}

/// `βᵗ`
fn power(beta: f64, step: u64) -> f64 {
    beta.powi(i32::try_from(step).unwrap_or(i32::MAX))
}

/// `1 − βᵗ`, by which a running mean that began at 0 is too small. In `f64`: `f32` loses digits at first.
fn correction(beta: f64, step: u64) -> f64 {
    1.0 - power(beta, step)
}
