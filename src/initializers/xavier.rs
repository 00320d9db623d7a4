//! Glorot & Bengio 2010.

use super::{Gain, fill_normal, fill_uniform};
use crate::{Fans, Initializer, Rng};

/// Draws from `U(−b, b)` with `b = gain · √(6 / (fan_in + fan_out))`.
///
/// Keeps the variance of activations and gradients through layers with a symmetric activation. The
/// course notes' `randn / √fan_in` is [`super::LeCunNormal`]; this is the paper's (Glorot & Bengio 2010, eq. 16).
///
/// ```
/// use layerwise::prelude::*;
///
/// let bound = (6f64 / (50.0 + 10.0)).sqrt();
/// assert_eq!(XavierUniform::default().bound(&Fans::of(&[10, 50])), bound);
/// ```
#[doc(alias = "GlorotUniform")]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct XavierUniform {
    gain: Gain,
}

impl XavierUniform {
    /// With the gain of the activation behind; default [`Gain::Linear`].
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }

    /// The bound for these fans.
    pub fn bound(&self, fans: &Fans<'_>) -> f64 {
        self.gain.value() * (6.0 / (fans.fan_in + fans.fan_out).max(1) as f64).sqrt()
    }
}

impl Initializer for XavierUniform {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        let bound = self.bound(fans);
        fill_uniform(out, -bound, bound, rng);
    }
}

/// Draws from `N(0, gain² · 2 / (fan_in + fan_out))`. Not truncated, unlike Keras's.
///
/// ```
/// use layerwise::prelude::*;
///
/// assert_eq!(XavierNormal::default().std(&Fans::of(&[10, 50])), (2f64 / 60.0).sqrt());
/// ```
#[doc(alias = "GlorotNormal")]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct XavierNormal {
    gain: Gain,
}

impl XavierNormal {
    /// With the gain of the activation behind; default [`Gain::Linear`].
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }

    /// The standard deviation for these fans.
    pub fn std(&self, fans: &Fans<'_>) -> f64 {
        self.gain.value() * (2.0 / (fans.fan_in + fans.fan_out).max(1) as f64).sqrt()
    }
}

impl Initializer for XavierNormal {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        fill_normal(out, 0.0, self.std(fans), rng);
    }
}
