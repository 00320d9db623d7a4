//! What fills new parameters.
//!
//! All-zero weights make all units of a layer alike for ever; one fixed small standard deviation makes
//! the activations of a deep network fade to 0 layer by layer. [`XavierUniform`] and [`XavierNormal`]
//! keep their variance for symmetric activations, [`HeNormal`] and [`HeUniform`] for rectifiers. The guide has
//! the experiment: [`crate::guide::initialization`].
//!
//! | initializer | distribution |
//! |---|---|
//! | [`Zeros`], [`Ones`], [`Constant`] | one number |
//! | [`Normal`], [`TruncatedNormal`], [`Uniform`] | fixed, whatever the size |
//! | [`XavierNormal`], [`XavierUniform`] | variance `gain² · 2 / (fan_in + fan_out)` |
//! | [`HeNormal`], [`HeUniform`] | variance `gain² / fan`, gain √2: the layers' default |
//! | [`LeCunNormal`], [`LeCunUniform`] | variance `gain² / fan_in` |
//! | [`Orthogonal`] | a random rotation |
//! | [`Identity`] | passes the input on |
//! | [`TorchDefault`] | what PyTorch's layers start from |
//!
//! Building a model fails if an initializer gives a number that is not finite.

mod constant;
mod he;
mod identity;
mod lecun;
mod normal;
mod orthogonal;
mod xavier;

pub use constant::{Constant, Ones, Zeros};
pub use he::{HeNormal, HeUniform, TorchDefault};
pub use identity::Identity;
pub use lecun::{LeCunNormal, LeCunUniform};
pub use normal::{Normal, TruncatedNormal, Uniform};
pub use orthogonal::Orthogonal;
pub use xavier::{XavierNormal, XavierUniform};

use crate::Rng;

fn fill_normal(out: &mut [f64], mean: f64, std: f64, rng: &mut Rng) {
    for value in out {
        *value = mean + std * rng.normal();
    }
}

fn fill_uniform(out: &mut [f64], low: f64, high: f64, rng: &mut Rng) {
    for value in out {
        *value = low + (high - low) * rng.uniform();
    }
}

/// How much an activation shrinks a signal's standard deviation, to be made good by the weights before
/// it. PyTorch's numbers.
///
/// ```
/// use layerwise::initializers::Gain;
///
/// assert_eq!(Gain::Relu.value(), 2f64.sqrt());
/// assert_eq!(Gain::LeakyRelu(1.0).value(), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Gain {
    /// 1: no activation, or sigmoid.
    #[default]
    Linear,
    /// 5/3
    Tanh,
    /// √2
    Relu,
    /// 3/4
    Selu,
    /// `√(2 / (1 + slope²))`
    LeakyRelu(f64),
    /// Any other factor.
    Of(f64),
}

impl Gain {
    /// The factor.
    pub fn value(self) -> f64 {
        match self {
            Self::Linear => 1.0,
            Self::Tanh => 5.0 / 3.0,
            Self::Relu => std::f64::consts::SQRT_2,
            Self::Selu => 0.75,
            Self::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
            Self::Of(gain) => gain,
        }
    }
}

/// Which fan keeps its variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FanMode {
    /// Of the activations in the forward pass: the default.
    #[default]
    In,
    /// Of the gradients in the backward pass.
    Out,
}

/// What fills the weights of a spec that was read: layers start so unless told.
#[cfg(feature = "serde")]
pub(crate) fn weights() -> std::sync::Arc<dyn crate::Initializer> {
    std::sync::Arc::new(HeNormal::default())
}

/// And its biases.
#[cfg(feature = "serde")]
pub(crate) fn biases() -> std::sync::Arc<dyn crate::Initializer> {
    std::sync::Arc::new(Zeros)
}
