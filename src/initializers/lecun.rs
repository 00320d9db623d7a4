//! LeCun, Bottou, Orr & Müller 1998.

use super::{Gain, fill_normal, fill_uniform};
use crate::{Fans, Initializer, Rng};

/// Draws from `N(0, gain² / fan_in)`: what the course notes write as `randn / √fan_in` and call Xavier's. Keeps the
/// variance of the activations alone, and is the start that [`crate::activations::Selu`] needs.
///
/// Not truncated, unlike Keras's `LecunNormal`.
///
/// ```
/// use layerwise::prelude::*;
///
/// assert_eq!(LeCunNormal::default().std(&Fans::of(&[10, 25])), 0.2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LeCunNormal {
    gain: Gain,
}

impl LeCunNormal {
    /// With the gain of the activation behind; default [`Gain::Linear`].
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }

    /// The standard deviation for these fans.
    pub fn std(&self, fans: &Fans<'_>) -> f64 {
        self.gain.value() / (fans.fan_in.max(1) as f64).sqrt()
    }
}

impl Initializer for LeCunNormal {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        fill_normal(out, 0.0, self.std(fans), rng);
    }
}

/// Draws from `U(−b, b)` with `b = gain · √(3 / fan_in)`, which has the same spread as [`LeCunNormal`].
///
/// ```
/// use layerwise::prelude::*;
///
/// assert_eq!(LeCunUniform::default().bound(&Fans::of(&[10, 12])), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LeCunUniform {
    gain: Gain,
}

impl LeCunUniform {
    /// With the gain of the activation behind; default [`Gain::Linear`].
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }

    /// The bound for these fans.
    pub fn bound(&self, fans: &Fans<'_>) -> f64 {
        self.gain.value() * (3.0 / fans.fan_in.max(1) as f64).sqrt()
    }
}

impl Initializer for LeCunUniform {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        let bound = self.bound(fans);
        fill_uniform(out, -bound, bound, rng);
    }
}
