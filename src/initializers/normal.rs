//! Fixed distributions.

use super::{fill_normal, fill_uniform};
use crate::{Fans, Initializer, Rng};

/// Draws from a normal distribution, `N(mean, std²)`. The course's first try, `N(0, 0.01²)`, is the
/// default: right for shallow networks, too small for deep ones.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([100]).add(Linear::new(100).weight_init(Normal::new(0.0, 0.1))).build()?;
/// assert!((model.value("0.weight").unwrap().std(0.0) - 0.1).abs() < 0.005);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    mean: f64,
    std: f64,
}

impl Normal {
    /// With this mean and standard deviation.
    pub fn new(mean: f64, std: f64) -> Self {
        Self { mean, std }
    }
}

impl Default for Normal {
    fn default() -> Self {
        Self::new(0.0, 0.01)
    }
}

impl Initializer for Normal {
    fn fill(&self, out: &mut [f64], _fans: &Fans<'_>, rng: &mut Rng) {
        fill_normal(out, self.mean, self.std, rng);
    }
}

/// Draws from a normal distribution and again whenever the number is more than two standard deviations off:
/// `N(mean, std²)` between `mean ± 2 std`.
///
/// No weight begins as an outlier. The spread of what is left is 0.8796 `std`; as in PyTorch it is not corrected, Keras's
/// variance-scaling initializers do so.
///
/// ```
/// use layerwise::prelude::*;
///
/// let layer = Linear::new(100).weight_init(TruncatedNormal::new(0.0, 0.1));
/// let model = Sequential::builder([100]).add(layer).build()?;
/// assert!(model.value("0.weight").unwrap().iter().all(|w| w.abs() <= 0.2));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruncatedNormal {
    mean: f64,
    std: f64,
}

impl TruncatedNormal {
    /// With this mean and standard deviation, before it is cut.
    pub fn new(mean: f64, std: f64) -> Self {
        Self { mean, std }
    }
}

impl Initializer for TruncatedNormal {
    fn fill(&self, out: &mut [f64], _fans: &Fans<'_>, rng: &mut Rng) {
        for value in out {
            let mut draw = rng.normal();
            while draw.abs() > 2.0 {
                draw = rng.normal();
            }
            *value = self.mean + self.std * draw;
        }
    }
}

/// Draws evenly from `[low, high)`.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([100]).add(Linear::new(10).weight_init(Uniform::new(-0.5, 0.5))).build()?;
/// assert!(model.value("0.weight").unwrap().iter().all(|w| (-0.5..0.5).contains(w)));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uniform {
    low: f64,
    high: f64,
}

impl Uniform {
    /// Between these bounds.
    pub fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }
}

impl Initializer for Uniform {
    fn fill(&self, out: &mut [f64], _fans: &Fans<'_>, rng: &mut Rng) {
        fill_uniform(out, self.low, self.high, rng);
    }
}
