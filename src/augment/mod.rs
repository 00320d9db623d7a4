//! Varying images at random while training, so that a network sees more than there is.
//!
//! A [`Pipeline`] of these changes every image of a batch in place:
//!
//! | augmentation | what it does |
//! |---|---|
//! | [`HorizontalFlip`], [`VerticalFlip`] | mirrors |
//! | [`RandomCrop`] | pads and cuts out a part of the old size: small shifts |
//! | [`RandomResizedCrop`] | enlarges a part |
//! | [`Affine`] | shifts, rotates, scales, shears, in one resampling |
//! | [`Elastic`] | distorts like handwriting |
//! | [`ColorJitter`] | brightness, contrast, saturation, hue |
//! | [`PcaColorNoise`] | shifts colours along the axes in which they vary |
//! | [`GaussianNoise`] | adds noise to every pixel |
//! | [`RandomErasing`], [`Cutout`] | covers a rectangle |
//! | [`Sometimes`] | any of these, with a probability |
//!
//! and these mix pairs of samples, with their labels: [`Mixup`], [`CutMix`]. All others leave the label alone.
//!
//! Values of colours are taken to be from 0 to 1: augment first, standardize afterwards, best by a
//! [`crate::preprocessing::Scaling`] as the first layer. Everything comes from the seed, the epoch and the sample's
//! index: the same sample in the same epoch gets the same change, in whatever batch and on any number of threads.
//!
//! ```
//! use layerwise::augment::{Affine, Pipeline};
//! use layerwise::prelude::*;
//!
//! let images = Array4::<f32>::ones((20, 1, 28, 28)).into_dyn();
//! let train = Dataset::new(images, vec![0usize; 20])?;
//! let augment = Pipeline::new(Seed::new(1)).add(Affine::new().shift(0.1).rotate(10.0));
//! let mut batches = train.batches(10)?.shuffled(Seed::new(1)).augmented(augment)?;
//!
//! let mut model = Sequential::builder([1, 28, 28]).add(Flatten).add(Linear::new(10)).build()?;
//! let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 1e-3));
//! assert!(trainer.epoch(&mut model, &mut batches)?.is_finite());
//! # Ok::<(), layerwise::Error>(())
//! ```

mod affine;
mod color;
mod crop;
mod elastic;
mod erase;
mod flip;
mod mix;
mod noise;
mod pipeline;

pub use affine::Affine;
pub use color::{ColorJitter, PcaColorNoise};
pub use crop::{Padding, RandomCrop, RandomResizedCrop};
pub use elastic::Elastic;
pub use erase::{Cutout, RandomErasing};
pub use flip::{HorizontalFlip, VerticalFlip};
pub use mix::{CutMix, Mixup};
pub use noise::GaussianNoise;
pub use pipeline::{Pipeline, Sometimes};

use std::fmt::Debug;

use crate::{Error, Result, Rng, Scalar, Shape};

/// A random change of one image, in place. The label stays.
///
/// # Examples
/// One of your own: inverts an image with probability 1/2.
/// ```
/// use layerwise::augment::{Augmentation, Image, Pipeline};
/// use layerwise::prelude::*;
///
/// #[derive(Debug)]
/// struct Invert;
///
/// impl Augmentation for Invert {
///     fn apply(&self, image: &mut Image<'_>, rng: &mut Rng) {
///         if rng.chance(0.5) {
///             image.pixels.iter_mut().for_each(|x| *x = 1.0 - *x);
///         }
///     }
/// }
///
/// let mut images = Array4::<f32>::zeros((100, 1, 2, 2)).into_dyn();
/// let samples: Vec<usize> = (0..100).collect();
/// Pipeline::new(Seed::new(1)).add(Invert).apply(&mut images.view_mut(), &samples, 0)?;
/// assert!((30..70).contains(&images.outer_iter().filter(|image| image[[0, 0, 0]] == 1.0).count()));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Augmentation<F: Scalar = f32>: Debug + Send + Sync {
    /// Whether the settings are in range and fit images `[channels, height, width]`. Called once, before any
    /// image.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Data`].
    fn check(&self, size: [usize; 3]) -> Result<()> {
        let _ = size;
        Ok(())
    }

    /// Elements of working memory that it needs for an image of this size.
    fn scratch(&self, size: [usize; 3]) -> usize {
        let _ = size;
        0
    }

    /// Changes the image. `rng` belongs to this image, this epoch and this place in the pipeline alone.
    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng);
}

/// An image that an [`Augmentation`] changes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Image<'a, F: Scalar = f32> {
    /// `[channels, height, width]`, row-major.
    pub pixels: &'a mut [F],
    /// `[channels, height, width]`
    pub size: [usize; 3],
    /// As many elements as asked for, or more; their contents are unspecified.
    pub scratch: &'a mut [F],
}

impl<F: Scalar> Image<'_, F> {
    /// Copies the image to the scratch, for `redraw` to make it anew from there.
    fn redraw(&mut self, redraw: impl FnOnce(&[F], &mut [F])) {
        let from = &mut self.scratch[..self.pixels.len()];
        from.copy_from_slice(self.pixels);
        redraw(from, self.pixels);
    }
}

/// A random change of a whole batch, samples and targets together.
pub trait BatchAugmentation<F: Scalar, T>: Debug + Send + Sync {
    /// Whether the settings are in range and fit samples of this shape. Called once, before any batch.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Data`].
    fn check(&self, sample: &Shape) -> Result<()>;

    /// Changes the batch.
    fn apply(&self, batch: BatchMut<'_, F, T>);
}

/// A batch that a [`BatchAugmentation`] changes.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchMut<'a, F: Scalar, T> {
    /// The samples, one after another.
    pub x: &'a mut [F],
    /// Their targets: the first as many as there are samples.
    pub target: &'a mut T,
    /// Shape of one sample.
    pub shape: &'a Shape,
    /// The samples' indices in the data set.
    pub samples: &'a [usize],
    /// The epoch.
    pub epoch: u64,
    /// Working memory that is kept from batch to batch.
    pub scratch: &'a mut Vec<F>,
}

/// `[channels, height, width]` of samples that are images.
fn image_size(sample: &Shape) -> Result<[usize; 3]> {
    match sample.image() {
        Ok(size) if sample.numel() > 0 => Ok(size),
        _ => Err(Error::Data(format!(
            "augmentation needs samples [channels, height, width], got {sample}; a grey image is [1, height, width]"
        ))),
    }
}

/// An error unless `good`.
fn require(
    good: bool,
    kind: &'static str,
    field: &'static str,
    must_be: &'static str,
    got: impl Debug,
) -> Result<()> {
    if good {
        return Ok(());
    }
    Err(Error::Setting { kind, field, must_be, got: format!("{got:?}") })
}

fn require_probability(p: f64, kind: &'static str) -> Result<()> {
    require((0.0..=1.0).contains(&p), kind, "p", "a probability, 0 ≤ p ≤ 1", p)
}
