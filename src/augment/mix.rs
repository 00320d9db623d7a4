//! Pairs of samples, mixed with their labels.

use ndarray::ArrayD;

use super::{BatchAugmentation, BatchMut, image_size, require};
use crate::kernels::image::mix;
use crate::kernels::parallel::{self, Cost, Read, Write};
use crate::{Result, Scalar, Seed, Shape};

/// Mixes every sample with another of its batch, and their labels in the same proportion.
///
/// `x = λ·x + (1 − λ)·x′`, `y = λ·y + (1 − λ)·y′`, where `λ` is drawn for each sample from Beta(`alpha`, `alpha`) and
/// the larger of `λ` and `1 − λ` is taken, so that a sample stays mostly itself.
///
/// # Shape
/// samples `[n, ..]`, targets `[n, classes]`: see [`crate::data::Dataset::one_hot`].
///
/// # Examples
/// ```
/// use layerwise::augment::Mixup;
/// use layerwise::prelude::*;
///
/// let x = ndarray::arr2(&[[0.0f32], [1.0], [0.0], [1.0]]).into_dyn();
/// let data = Dataset::new(x, vec![0, 1, 0, 1])?.one_hot(2)?;
/// let mut batches = data.batches(4)?.augmented(Mixup::new(0.4, Seed::new(1)))?;
/// let batch = batches.next_batch()?.unwrap();
/// for (x, y) in batch.x.outer_iter().zip(batch.target.outer_iter()) {
///     assert_eq!(x[0], y[1]); // the label is mixed as the sample is
/// }
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless `alpha` is above 0.
///
/// # References
/// Zhang et al. 2018, with one `λ` for the whole batch; one for each sample and the larger share as in fastai.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixup {
    alpha: f64,
    seed: Seed,
}

/// Replaces a rectangle of every image by that of another of its batch, and mixes their labels by area.
///
/// The rectangle has the image's shape of sides, the area `1 − λ` with `λ` from Beta(`alpha`, `alpha`) for each sample,
/// and its centre anywhere; labels are mixed by the area that lies inside.
///
/// # Shape
/// samples `[n, channels, height, width]`, targets `[n, classes]`: see [`crate::data::Dataset::one_hot`].
///
/// # Examples
/// ```
/// use layerwise::augment::CutMix;
/// use layerwise::prelude::*;
///
/// let x = Array4::<f32>::from_shape_fn((4, 1, 8, 8), |(n, ..)| (n % 2) as f32).into_dyn();
/// let data = Dataset::new(x, vec![0, 1, 0, 1])?.one_hot(2)?;
/// let mut batches = data.batches(4)?.augmented(CutMix::new(1.0, Seed::new(1)))?;
/// let batch = batches.next_batch()?.unwrap();
/// for (x, y) in batch.x.outer_iter().zip(batch.target.outer_iter()) {
///     assert_eq!(x.mean().unwrap(), y[1]); // by area
/// }
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless `alpha` is above 0; [`crate::Error::Data`] for samples that are not images.
///
/// # References
/// Yun et al. 2019, with one rectangle for the whole batch; here each sample has its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutMix {
    alpha: f64,
    seed: Seed,
}

impl Mixup {
    /// `alpha`: above 0; 0.2 to 0.4 are usual, larger mixes more evenly.
    pub fn new(alpha: f64, seed: Seed) -> Self {
        Self { alpha, seed }
    }
}

impl CutMix {
    /// `alpha`: above 0; 1, the usual, makes every area as likely as any other.
    pub fn new(alpha: f64, seed: Seed) -> Self {
        Self { alpha, seed }
    }
}

impl<F: Scalar> BatchAugmentation<F, ArrayD<F>> for Mixup {
    fn check(&self, _sample: &Shape) -> Result<()> {
        check_alpha("Mixup", self.alpha)
    }

    fn apply(&self, batch: BatchMut<'_, F, ArrayD<F>>) {
        let seed = self.seed.fold(batch.epoch);
        mix_pairs(batch, self.seed, |sample, images| {
            let share = seed.fold(sample as u64).rng().beta(self.alpha);
            let keep = F::lit(share.max(1.0 - share));
            if let Some((x, other)) = images {
                mix(x, other, keep);
            }
            keep
        });
    }
}

impl<F: Scalar> BatchAugmentation<F, ArrayD<F>> for CutMix {
    fn check(&self, sample: &Shape) -> Result<()> {
        image_size(sample)?;
        check_alpha("CutMix", self.alpha)
    }

    fn apply(&self, batch: BatchMut<'_, F, ArrayD<F>>) {
        let Ok([_, height, width]) = image_size(batch.shape) else { return };
        let seed = self.seed.fold(batch.epoch);
        mix_pairs(batch, self.seed, |sample, images| {
            let mut rng = seed.fold(sample as u64).rng();
            let side = (1.0 - rng.beta(self.alpha)).max(0.0).sqrt();
            let mut span = |len: usize| {
                // Half of at most `len`, and a place below `len`.
                let (centre, half) = (rng.below(len), (side * len as f64 / 2.0).round() as usize);
                (centre.saturating_sub(half), (centre + half).min(len))
            };
            let ((top, bottom), (left, right)) = (span(height), span(width));
            if let Some((x, other)) = images {
                let planes =
                    x.chunks_exact_mut(height * width).zip(other.chunks_exact(height * width));
                for (x, other) in planes {
                    for row in top..bottom {
                        let part = row * width + left..row * width + right;
                        x[part.clone()].copy_from_slice(&other[part]);
                    }
                }
            }
            F::one() - F::lit(((bottom - top) * (right - left)) as f64 / (height * width) as f64)
        });
    }
}

/// Hands every sample's index, the sample and another of the batch to `pair`, which mixes them and returns the share
/// that is kept; then mixes the targets by the same shares, for which `pair` draws again.
fn mix_pairs<F: Scalar>(
    batch: BatchMut<'_, F, ArrayD<F>>,
    seed: Seed,
    pair: impl Fn(usize, Option<(&mut [F], &[F])>) -> F + Sync,
) {
    let BatchMut { x, target, shape, samples, epoch, scratch } = batch;
    let [first, _, ..] = *samples else { return };
    let (count, numel) = (samples.len(), shape.numel());
    let width = target.len() / target.shape().first().copied().unwrap_or(1).max(1);
    let Some(target) = target.as_slice_mut() else { return };
    let target = &mut target[..count * width];
    // What they were, while they change.
    scratch.clear();
    scratch.extend_from_slice(x);
    scratch.extend_from_slice(target);
    let (old_x, old_target) = scratch.split_at(count * numel);
    // Every sample's partner is so many places further on: another one for each.
    let distance = 1 + seed.fold(epoch).fold(first as u64).rng().below(count - 1);
    let partner = |place: usize, width: usize| {
        let other = (place + distance) % count;
        other * width..(other + 1) * width
    };
    let cost = Cost::elements(3 * x.len());
    parallel::chunks((Write(x, numel), Read(samples, 1)), cost, |place, (x, sample)| {
        pair(sample[0], Some((x, &old_x[partner(place, numel)])));
    });
    for (place, (target, &sample)) in target.chunks_exact_mut(width.max(1)).zip(samples).enumerate()
    {
        mix(target, &old_target[partner(place, width)], pair(sample, None));
    }
}

fn check_alpha(kind: &'static str, alpha: f64) -> Result<()> {
    require(alpha > 0.0 && alpha.is_finite(), kind, "alpha", "above 0", alpha)
}
