//! He, Zhang, Ren & Sun 2015, and what PyTorch's layers start from.

use super::{FanMode, Gain, fill_normal, fill_uniform};
use crate::{Fans, Initializer, Rng};

fn fan(mode: FanMode, fans: &Fans<'_>) -> f64 {
    match mode {
        FanMode::In => fans.fan_in.max(1) as f64,
        FanMode::Out => fans.fan_out.max(1) as f64,
    }
}

/// Draws from `N(0, gain² / fan)`, by default `N(0, 2 / fan_in)`: keeps the variance through layers with
/// rectifiers. The default of every layer here. Not truncated, unlike Keras's.
///
/// ```
/// use layerwise::prelude::*;
///
/// assert_eq!(HeNormal::default().std(&Fans::of(&[10, 50])), (2f64 / 50.0).sqrt());
/// ```
#[doc(alias = "KaimingNormal")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeNormal {
    gain: Gain,
    mode: FanMode,
}

impl Default for HeNormal {
    fn default() -> Self {
        Self { gain: Gain::Relu, mode: FanMode::In }
    }
}

impl HeNormal {
    /// With the gain of the activation behind; default [`Gain::Relu`].
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }

    /// Which variance to keep; default [`FanMode::In`].
    pub fn mode(mut self, mode: FanMode) -> Self {
        self.mode = mode;
        self
    }

    /// The standard deviation for these fans.
    pub fn std(&self, fans: &Fans<'_>) -> f64 {
        self.gain.value() / fan(self.mode, fans).sqrt()
    }
}

impl Initializer for HeNormal {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        fill_normal(out, 0.0, self.std(fans), rng);
    }
}

/// Draws from `U(−b, b)` with `b = gain · √(3 / fan)`, by default `√(6 / fan_in)`.
///
/// ```
/// use layerwise::prelude::*;
///
/// let bound = HeUniform::default().bound(&Fans::of(&[10, 50]));
/// assert!((bound - (6f64 / 50.0).sqrt()).abs() < 1e-15);
/// ```
#[doc(alias = "KaimingUniform")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeUniform {
    gain: Gain,
    mode: FanMode,
}

impl Default for HeUniform {
    fn default() -> Self {
        Self { gain: Gain::Relu, mode: FanMode::In }
    }
}

impl HeUniform {
    /// With the gain of the activation behind; default [`Gain::Relu`].
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }

    /// Which variance to keep; default [`FanMode::In`].
    pub fn mode(mut self, mode: FanMode) -> Self {
        self.mode = mode;
        self
    }

    /// The bound for these fans.
    pub fn bound(&self, fans: &Fans<'_>) -> f64 {
        self.gain.value() * (3.0 / fan(self.mode, fans)).sqrt()
    }
}

impl Initializer for HeUniform {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        let bound = self.bound(fans);
        fill_uniform(out, -bound, bound, rng);
    }
}

/// Draws from `U(−b, b)` with `b = 1 / √fan_in`: what PyTorch's `Linear` and `Conv2d` draw weights and
/// biases from (`kaiming_uniform_` with `a = √5`).
///
/// ```
/// use layerwise::prelude::*;
///
/// let layer = Linear::new(3).weight_init(TorchDefault).bias_init(TorchDefault);
/// let model = Sequential::builder([4]).add(layer).build()?;
/// assert!(model.value("0.bias").unwrap().iter().all(|b| b.abs() <= 0.5));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TorchDefault;

impl Initializer for TorchDefault {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        let bound = 1.0 / fan(FanMode::In, fans).sqrt();
        fill_uniform(out, -bound, bound, rng);
    }
}
