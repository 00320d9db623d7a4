//! Noise.

use super::{Augmentation, Image, require};
use crate::{Result, Rng, Scalar};

/// Adds normal noise of standard deviation `std` to every value.
///
/// Results are not clipped.
///
/// # Examples
/// ```
/// use layerwise::augment::{GaussianNoise, Pipeline};
/// use layerwise::prelude::*;
///
/// let mut x = Array4::<f32>::zeros((1, 1, 100, 100)).into_dyn();
/// Pipeline::new(Seed::new(1)).add(GaussianNoise::new(0.1)).apply(&mut x.view_mut(), &[0], 0)?;
/// assert!((x.std(0.0) - 0.1).abs() < 0.004);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless `std` is finite and at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianNoise {
    std: f64,
}

impl GaussianNoise {
    /// `std`: in units of the values, at least 0.
    pub fn new(std: f64) -> Self {
        Self { std }
    }
}

impl<F: Scalar> Augmentation<F> for GaussianNoise {
    fn check(&self, _size: [usize; 3]) -> Result<()> {
        require(
            self.std >= 0.0 && self.std.is_finite(),
            "GaussianNoise",
            "std",
            "at least 0",
            self.std,
        )
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        for x in image.pixels.iter_mut() {
            *x += F::lit(self.std * rng.normal());
        }
    }
}
