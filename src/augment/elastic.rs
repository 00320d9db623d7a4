//! Elastic distortions.

use super::{Augmentation, Image, require};
use crate::kernels::image::{blur, warp_field};
use crate::{Result, Rng, Scalar};

/// Moves every pixel by a smooth random field, as hands do when they write.
///
/// Displacements are uniform on −1 … 1 for each pixel and axis, smoothed by a Gaussian of standard deviation
/// `sigma` pixels, times `alpha`; then the image is resampled bilinearly.
///
/// # Examples
/// ```
/// use layerwise::augment::{Elastic, Pipeline};
/// use layerwise::prelude::*;
///
/// let mut digits = Array4::<f32>::ones((1, 1, 28, 28)).into_dyn();
/// Pipeline::new(Seed::new(1)).add(Elastic::new(34.0, 4.0)).apply(&mut digits.view_mut(), &[0], 0)?;
/// assert!((digits[[0, 0, 14, 14]] - 1.0).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless `alpha ≥ 0` and `0 < sigma ≤ 100`.
///
/// # References
/// Simard, Steinkraus & Platt 2003, who took `alpha` 34 and `sigma` 4 for MNIST.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Elastic {
    alpha: f64,
    sigma: f64,
}

impl Elastic {
    /// `alpha`: strength, at least 0; `sigma`: smoothness in pixels, above 0 and at most 100.
    pub fn new(alpha: f64, sigma: f64) -> Self {
        Self { alpha, sigma }
    }

    /// Length of the smoothing kernel: three standard deviations each way.
    fn taps(&self) -> usize {
        // At most 601: sigma is checked.
        2 * (3.0 * self.sigma).ceil() as usize + 1
    }

    /// The smoothing kernel, with sum 1.
    fn fill_weights<F: Scalar>(&self, weights: &mut [F]) {
        let radius = (weights.len() / 2) as f64;
        let bell = |tap: usize| (-0.5 * ((tap as f64 - radius) / self.sigma).powi(2)).exp();
        let sum: f64 = (0..weights.len()).map(bell).sum();
        for (tap, weight) in weights.iter_mut().enumerate() {
            *weight = F::lit(bell(tap) / sum);
        }
    }
}

impl<F: Scalar> Augmentation<F> for Elastic {
    fn check(&self, _size: [usize; 3]) -> Result<()> {
        let good = self.alpha >= 0.0 && self.alpha.is_finite();
        require(good, "Elastic", "alpha", "at least 0", self.alpha)?;
        let good = 0.0 < self.sigma && self.sigma <= 100.0;
        require(good, "Elastic", "sigma", "0 < sigma ≤ 100", self.sigma)
    }

    fn scratch(&self, size: [usize; 3]) -> usize {
        let [_, height, width] = size;
        size.iter().product::<usize>() + 3 * height * width + self.taps()
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        let [_, height, width] = image.size;
        let plane = height * width;
        let (from, rest) = image.scratch.split_at_mut(image.pixels.len());
        let (dx, rest) = rest.split_at_mut(plane);
        let (dy, rest) = rest.split_at_mut(plane);
        let (spare, rest) = rest.split_at_mut(plane);
        let weights = &mut rest[..self.taps()];
        self.fill_weights(weights);
        for field in [&mut *dx, &mut *dy] {
            field.fill_with(|| F::lit(rng.between(-self.alpha, self.alpha)));
            blur(field, spare, width, weights);
        }
        from.copy_from_slice(image.pixels);
        warp_field(from, image.pixels, image.size, dx, dy, F::zero());
    }
}
