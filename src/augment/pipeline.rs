//! Augmentations one after another.

use super::{Augmentation, BatchAugmentation, BatchMut, Image, image_size, require_probability};
use crate::kernels::parallel::{self, Cost, Read, Write};
use crate::{Error, Result, Rng, Scalar, Seed, Shape, ViewMut};

/// Augmentations one after another, on every image of a batch, in place and in parallel.
///
/// # Shape
/// samples `[n, channels, height, width]` → the same.
///
/// # Examples
/// ```
/// use layerwise::augment::{ColorJitter, HorizontalFlip, Pipeline, RandomCrop};
/// use layerwise::prelude::*;
///
/// let augment = Pipeline::new(Seed::new(1))
///     .add(RandomCrop::new(4))
///     .add(HorizontalFlip::new())
///     .add(ColorJitter::new().brightness(0.2).contrast(0.2).saturation(0.2));
/// let mut images = Array4::<f32>::from_elem((8, 3, 32, 32), 0.5).into_dyn();
/// augment.apply(&mut images.view_mut(), &[0, 1, 2, 3, 4, 5, 6, 7], 0)?;
/// assert!(images.iter().all(|x| (0.0..=1.0).contains(x)));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::data::Batches::augmented`] and [`Pipeline::apply`] fail with [`Error::Setting`] for a setting out of
/// range, and with [`Error::Data`] for samples that are not images, or not of as many channels as needed.
#[derive(Debug)]
pub struct Pipeline<F: Scalar = f32> {
    seed: Seed,
    steps: Vec<Box<dyn Augmentation<F>>>,
}

/// Images that a task works on with one piece of scratch memory.
const GROUP: usize = 8;

impl<F: Scalar> Pipeline<F> {
    /// An empty pipeline. All randomness comes from the seed, the epoch and the sample's index.
    pub fn new(seed: Seed) -> Self {
        Self { seed, steps: Vec::new() }
    }

    /// Adds an augmentation after the others.
    #[allow(clippy::should_implement_trait)]
    pub fn add(mut self, augmentation: impl Augmentation<F> + 'static) -> Self {
        self.steps.push(Box::new(augmentation));
        self
    }

    /// Changes images by hand: outside of batches, or to look at the result. `samples`: for each image a number
    /// of its own, such as its index in the data set.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting out of range; [`Error::Data`] if these are not images, or if there are
    /// not as many numbers.
    pub fn apply(&self, x: &mut ViewMut<'_, F>, samples: &[usize], epoch: u64) -> Result<()> {
        let (count, shape) = match x.shape().split_first() {
            Some((&count, shape)) => (count, Shape::from(shape)),
            None => (0, Shape::from([])),
        };
        BatchAugmentation::<F, ()>::check(self, &shape)?;
        if count != samples.len() {
            let got = samples.len();
            return Err(Error::Data(format!(
                "{count} images but {got} sample numbers; each image needs one"
            )));
        }
        let mut scratch = Vec::new();
        if let Some(x) = x.as_slice_mut() {
            self.run(x, &shape, samples, epoch, &mut scratch);
            return Ok(());
        }
        let mut copy: Vec<F> = x.iter().copied().collect();
        self.run(&mut copy, &shape, samples, epoch, &mut scratch);
        x.iter_mut().zip(copy).for_each(|(to, from)| *to = from);
        Ok(())
    }

    fn run(&self, x: &mut [F], shape: &Shape, samples: &[usize], epoch: u64, scratch: &mut Vec<F>) {
        let Ok(size) = image_size(shape) else { return };
        let numel = shape.numel();
        let room = self.steps.iter().map(|step| step.scratch(size)).max().unwrap_or(0);
        let needed = samples.len().div_ceil(GROUP) * room;
        if scratch.len() < needed {
            scratch.resize(needed, F::zero());
        }
        // A change costs about two nanoseconds an element.
        let cost = Cost::elements(x.len().saturating_mul(16).saturating_mul(self.steps.len()));
        let seed = self.seed.fold(epoch);
        let groups =
            (Write(x, GROUP * numel), Write(&mut scratch[..needed], room), Read(samples, GROUP));
        parallel::chunks(groups, cost, |_, (x, scratch, samples)| {
            for (pixels, &sample) in x.chunks_exact_mut(numel).zip(samples) {
                let seed = seed.fold(sample as u64);
                let mut image = Image { pixels, size, scratch: &mut *scratch };
                for (place, step) in self.steps.iter().enumerate() {
                    step.apply(&mut image, &mut seed.fold(place as u64).rng());
                }
            }
        });
    }
}

impl<F: Scalar, T> BatchAugmentation<F, T> for Pipeline<F> {
    fn check(&self, sample: &Shape) -> Result<()> {
        let size = image_size(sample)?;
        self.steps.iter().try_for_each(|step| step.check(size))
    }

    fn apply(&self, batch: BatchMut<'_, F, T>) {
        self.run(batch.x, batch.shape, batch.samples, batch.epoch, batch.scratch);
    }
}

/// Applies an augmentation with probability `p`, and else leaves the image alone.
///
/// # Examples
/// ```
/// use layerwise::augment::{GaussianNoise, Pipeline, Sometimes};
/// use layerwise::prelude::*;
///
/// let augment = Pipeline::new(Seed::new(1)).add(Sometimes::new(0.25, GaussianNoise::new(0.1)));
/// let mut images = Array4::<f32>::zeros((400, 1, 2, 2)).into_dyn();
/// augment.apply(&mut images.view_mut(), &(0..400).collect::<Vec<_>>(), 0)?;
/// let noisy = images.outer_iter().filter(|image| image[[0, 0, 0]] != 0.0).count();
/// assert!((60..140).contains(&noisy)); // 100 ± 9
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] unless `0 ≤ p ≤ 1`, and what the augmentation reports.
#[derive(Debug, Clone)]
pub struct Sometimes<A> {
    p: f64,
    augmentation: A,
}

impl<A> Sometimes<A> {
    /// `p`: the probability, `0 ≤ p ≤ 1`.
    pub fn new(p: f64, augmentation: A) -> Self {
        Self { p, augmentation }
    }
}

impl<F: Scalar, A: Augmentation<F>> Augmentation<F> for Sometimes<A> {
    fn check(&self, size: [usize; 3]) -> Result<()> {
        require_probability(self.p, "Sometimes")?;
        self.augmentation.check(size)
    }

    fn scratch(&self, size: [usize; 3]) -> usize {
        self.augmentation.scratch(size)
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        if rng.chance(self.p) {
            self.augmentation.apply(image, rng);
        }
    }
}
