//! Colours.

use super::{Augmentation, Image, require};
use crate::kernels::image::{brighten, saturate, stretch, turn_hue};
use crate::kernels::reduce::sum;
use crate::preprocessing::{Covariance, Statistics};
use crate::{Error, IntoView, Result, Rng, Scalar, Shape};

/// Changes brightness, contrast, saturation and hue by random amounts. Values are from 0 to 1 and stay there.
///
/// Brightness: times a factor. Contrast: away from, or towards, the image's mean grey. Saturation: each pixel away
/// from, or towards, its own grey. Hue: turned around the colour circle. Grey is
/// `0.299 red + 0.587 green + 0.114 blue`.
///
/// # Shape
/// `[3, height, width]`, red, green, blue; brightness and contrast also `[1, height, width]`.
///
/// # Examples
/// ```
/// use layerwise::augment::{ColorJitter, Pipeline};
/// use layerwise::prelude::*;
///
/// let mut grey = Array4::<f32>::from_elem((1, 3, 4, 4), 0.5).into_dyn();
/// let jitter = ColorJitter::new().saturation(0.5).hue(0.5);
/// Pipeline::new(Seed::new(1)).add(jitter).apply(&mut grey.view_mut(), &[0], 0)?;
/// assert!(grey.iter().all(|x| (x - 0.5).abs() < 1e-6)); // grey has neither
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for an amount out of range; [`Error::Data`] for images of other channels.
///
/// # References
/// As torchvision's `ColorJitter`, in the fixed order above instead of a random one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ColorJitter {
    brightness: f64,
    contrast: f64,
    saturation: f64,
    hue: f64,
}

impl ColorJitter {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A factor from `1 − amount`, but at least 0, to `1 + amount`; 0.2 to 0.4 are usual.
    pub fn brightness(mut self, amount: f64) -> Self {
        self.brightness = amount;
        self
    }

    /// A factor from `1 − amount`, but at least 0, to `1 + amount`; 0.2 to 0.4 are usual.
    pub fn contrast(mut self, amount: f64) -> Self {
        self.contrast = amount;
        self
    }

    /// A factor from `1 − amount`, but at least 0, to `1 + amount`; 0.2 to 0.4 are usual.
    pub fn saturation(mut self, amount: f64) -> Self {
        self.saturation = amount;
        self
    }

    /// Up to this share of the colour circle either way, `0 ≤ amount ≤ 0.5`; 0.1 is usual.
    pub fn hue(mut self, amount: f64) -> Self {
        self.hue = amount;
        self
    }
}

impl<F: Scalar> Augmentation<F> for ColorJitter {
    fn check(&self, [channels, ..]: [usize; 3]) -> Result<()> {
        for (field, amount) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            require(
                amount >= 0.0 && amount.is_finite(),
                "ColorJitter",
                field,
                "at least 0",
                amount,
            )?;
        }
        let good = (0.0..=0.5).contains(&self.hue);
        require(good, "ColorJitter", "hue", "from 0 to 0.5", self.hue)?;
        let colours = self.saturation > 0.0 || self.hue > 0.0;
        if channels == 3 || (channels == 1 && !colours) {
            return Ok(());
        }
        let needs = if colours { "3 channels" } else { "1 or 3 channels" };
        Err(Error::Data(format!("ColorJitter needs images of {needs}, got {channels}")))
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        let mut factor = |amount: f64| F::lit(rng.between((1.0 - amount).max(0.0), 1.0 + amount));
        // Always drawn: one amount does not change what another draws.
        let [brightness, contrast, saturation] =
            [factor(self.brightness), factor(self.contrast), factor(self.saturation)];
        let turns = F::lit(rng.between(-self.hue, self.hue));
        if self.brightness > 0.0 {
            brighten(image.pixels, brightness);
        }
        if self.contrast > 0.0 {
            let middle = mean_grey(image);
            stretch(image.pixels, middle, contrast);
        }
        let Some([red, green, blue]) = channels(image) else { return };
        if self.saturation > 0.0 {
            saturate(red, green, blue, saturation);
        }
        if self.hue > 0.0 {
            turn_hue(red, green, blue, turns);
        }
    }
}

/// Red, green and blue, if these are the channels.
fn channels<'a, F: Scalar>(image: &'a mut Image<'_, F>) -> Option<[&'a mut [F]; 3]> {
    let [3, height, width] = image.size else { return None };
    let (red, rest) = image.pixels.split_at_mut(height * width);
    let (green, blue) = rest.split_at_mut(height * width);
    Some([red, green, blue])
}

fn mean_grey<F: Scalar>(image: &mut Image<'_, F>) -> F {
    let pixels = F::lit((image.size[1] * image.size[2]) as f64);
    match channels(image) {
        Some([red, green, blue]) => {
            let weights = [0.299, 0.587, 0.114].map(F::lit);
            (weights[0] * sum(red) + weights[1] * sum(green) + weights[2] * sum(blue)) / pixels
        }
        None => sum(image.pixels) / pixels,
    }
}

/// Shifts all pixels of an image along the axes in which the colours of the training data vary: a change of light.
///
/// To every pixel `Σ pᵢ αᵢ λᵢ` is added, where `pᵢ`, `λᵢ` are eigenvectors and eigenvalues of the covariance of red,
/// green and blue, and `αᵢ` is drawn once for the image from a normal distribution.
///
/// # Shape
/// `[3, height, width]`
///
/// # Examples
/// ```
/// use layerwise::augment::{PcaColorNoise, Pipeline};
/// use layerwise::prelude::*;
///
/// // All colours are grey: so is the noise.
/// let images = Array4::<f32>::from_shape_fn((10, 3, 4, 4), |(n, _, y, _)| (n + y) as f32 / 13.0).into_dyn();
/// let augment = Pipeline::new(Seed::new(1)).add(PcaColorNoise::fit(&images)?);
/// let mut x = Array4::<f32>::from_elem((1, 3, 1, 1), 0.5).into_dyn();
/// augment.apply(&mut x.view_mut(), &[0], 0)?;
/// assert!(x[[0, 0, 0, 0]] != 0.5 && (x[[0, 0, 0, 0]] - x[[0, 2, 0, 0]]).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for a negative `std`; [`Error::Data`] for images of other than three channels.
///
/// # References
/// Krizhevsky et al. 2012 (AlexNet). Results are not clipped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PcaColorNoise {
    std: f64,
    /// `λᵢ pᵢ`
    axes: [[f64; 3]; 3],
}

impl PcaColorNoise {
    /// With the colours of ImageNet, for values from 0 to 1.
    pub fn imagenet() -> Self {
        let values = [0.2175, 0.0188, 0.0045];
        let vectors =
            [[-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203]];
        Self::new(values, vectors)
    }

    /// With the colours of these images, `[n, 3, height, width]`.
    ///
    /// # Errors
    /// [`Error::Data`] for images of other than three channels; [`Error::Preprocessing`] for none, or values that are
    /// not finite.
    pub fn fit<'a, F: Scalar>(images: impl IntoView<'a, F>) -> Result<Self> {
        let images = images.into_view();
        if images.ndim() != 4 || images.shape()[1] != 3 {
            let got = Shape::from(images.shape());
            return Err(Error::Data(format!(
                "PcaColorNoise needs images [n, 3, height, width], got {got}"
            )));
        }
        let mut covariance = Covariance::new(&[3].into())?;
        for image in images.outer_iter() {
            let colours: Vec<F> = image.permuted_axes(vec![1, 2, 0]).iter().copied().collect();
            covariance.update(&colours);
        }
        let (values, vectors) = covariance.axes()?;
        let row = |axis: usize| std::array::from_fn(|channel| vectors[axis * 3 + channel]);
        Ok(Self::new([values[0], values[1], values[2]], [row(0), row(1), row(2)]))
    }

    fn new(values: [f64; 3], vectors: [[f64; 3]; 3]) -> Self {
        let axis = |axis: usize| vectors[axis].map(|x: f64| x * values[axis]);
        Self { std: 0.1, axes: [axis(0), axis(1), axis(2)] }
    }

    /// Standard deviation of `α`, at least 0; default 0.1.
    pub fn std(mut self, std: f64) -> Self {
        self.std = std;
        self
    }
}

impl<F: Scalar> Augmentation<F> for PcaColorNoise {
    fn check(&self, [channels, ..]: [usize; 3]) -> Result<()> {
        require(
            self.std >= 0.0 && self.std.is_finite(),
            "PcaColorNoise",
            "std",
            "at least 0",
            self.std,
        )?;
        if channels == 3 {
            return Ok(());
        }
        Err(Error::Data(format!("PcaColorNoise needs images of 3 channels, got {channels}")))
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        let alphas: [f64; 3] = std::array::from_fn(|_| self.std * rng.normal());
        let [_, height, width] = image.size;
        for (channel, plane) in image.pixels.chunks_exact_mut(height * width).enumerate() {
            let add: f64 =
                self.axes.iter().zip(alphas).map(|(axis, alpha)| alpha * axis[channel]).sum();
            plane.iter_mut().for_each(|x| *x += F::lit(add));
        }
    }
}
