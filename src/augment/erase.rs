//! Covering parts of images.

use super::crop::{check_parts, draw_part};
use super::{Augmentation, Image, require, require_probability};
use crate::{Result, Rng, Scalar};

/// Covers a rectangle of random area, shape and place with probability `p`.
///
/// # Examples
/// ```
/// use layerwise::augment::{Pipeline, RandomErasing};
/// use layerwise::prelude::*;
///
/// let mut x = Array4::<f32>::ones((1, 1, 20, 20)).into_dyn();
/// let erasing = RandomErasing::new().p(1.0).area(0.1, 0.2);
/// Pipeline::new(Seed::new(1)).add(erasing).apply(&mut x.view_mut(), &[0], 0)?;
/// let covered = x.iter().filter(|&&x| x == 0.0).count();
/// assert!((30..100).contains(&covered)); // 40 to 80, rounded to whole pixels
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless `0 ≤ p ≤ 1`, areas are `0 < low ≤ high ≤ 1` and ratios `0 < low ≤ high`.
///
/// # References
/// Zhong et al. 2020; defaults as torchvision's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomErasing {
    p: f64,
    area: [f64; 2],
    ratio: [f64; 2],
    cover: Cover,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cover {
    Value(f64),
    Noise,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self::new()
    }
}

impl RandomErasing {
    /// With probability 1/2, 2 % to 33 % of the area, by zeros.
    pub fn new() -> Self {
        Self { p: 0.5, area: [0.02, 0.33], ratio: [0.3, 3.3], cover: Cover::Value(0.0) }
    }

    /// The probability, `0 ≤ p ≤ 1`; default 0.5.
    pub fn p(mut self, p: f64) -> Self {
        self.p = p;
        self
    }

    /// Share of the image's area, `0 < low ≤ high ≤ 1`; default 0.02 to 0.33.
    pub fn area(mut self, low: f64, high: f64) -> Self {
        self.area = [low, high];
        self
    }

    /// Width over height, `0 < low ≤ high`; default 0.3 to 3.3.
    pub fn ratio(mut self, low: f64, high: f64) -> Self {
        self.ratio = [low, high];
        self
    }

    /// Covers with this value; default 0.
    pub fn fill(mut self, value: f64) -> Self {
        self.cover = Cover::Value(value);
        self
    }

    /// Covers with noise, uniform on 0 … 1 for every value.
    pub fn noise(mut self) -> Self {
        self.cover = Cover::Noise;
        self
    }
}

impl<F: Scalar> Augmentation<F> for RandomErasing {
    fn check(&self, _size: [usize; 3]) -> Result<()> {
        require_probability(self.p, "RandomErasing")?;
        check_parts("RandomErasing", self.area, self.ratio)
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        if !rng.chance(self.p) {
            return;
        }
        let [_, height, width] = image.size;
        let part = draw_part(height as f64, width as f64, self.area, self.ratio, rng);
        let Some([part_height, part_width]) = part else { return };
        // Whole pixels, at most the image's side and at least one.
        let part_height = (part_height.round() as usize).clamp(1, height);
        let part_width = (part_width.round() as usize).clamp(1, width);
        let top = rng.below(height - part_height + 1);
        let left = rng.below(width - part_width + 1);
        each_row(image, [top, left, top + part_height, left + part_width], |row| {
            match self.cover {
                Cover::Value(value) => row.fill(F::lit(value)),
                Cover::Noise => row.fill_with(|| F::lit(rng.uniform())),
            }
        });
    }
}

/// Covers a square of `side` pixels with zeros, its centre anywhere in the image.
///
/// The part of it that lies outside covers nothing.
///
/// # Examples
/// ```
/// use layerwise::augment::{Cutout, Pipeline};
/// use layerwise::prelude::*;
///
/// let mut x = Array4::<f32>::ones((1, 3, 32, 32)).into_dyn();
/// Pipeline::new(Seed::new(1)).add(Cutout::new(16)).apply(&mut x.view_mut(), &[0], 0)?;
/// let covered = x.iter().filter(|&&x| x == 0.0).count() / 3;
/// assert!((8 * 8..=16 * 16).contains(&covered));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] for a side of 0.
///
/// # References
/// DeVries & Taylor 2017, who took 16 for CIFAR-10 and 8 for CIFAR-100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutout {
    side: usize,
}

impl Cutout {
    /// `side`: in pixels, at least 1.
    pub fn new(side: usize) -> Self {
        Self { side }
    }
}

impl<F: Scalar> Augmentation<F> for Cutout {
    fn check(&self, _size: [usize; 3]) -> Result<()> {
        require(self.side > 0, "Cutout", "side", "at least 1", self.side)
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        let [_, height, width] = image.size;
        let mut span = |len: usize| {
            let centre = rng.below(len);
            let begin = centre.saturating_sub(self.side / 2);
            (begin, centre.saturating_add(self.side.div_ceil(2)).min(len))
        };
        let ((top, bottom), (left, right)) = (span(height), span(width));
        each_row(image, [top, left, bottom, right], |row| row.fill(F::zero()));
    }
}

/// Hands out every row of the rectangle `[top, left, bottom, right]`, in every channel.
fn each_row<F: Scalar>(
    image: &mut Image<'_, F>,
    [top, left, bottom, right]: [usize; 4],
    mut each: impl FnMut(&mut [F]),
) {
    let [_, height, width] = image.size;
    for plane in image.pixels.chunks_exact_mut(height * width) {
        for row in plane.chunks_exact_mut(width).take(bottom).skip(top) {
            each(&mut row[left..right]);
        }
    }
}
