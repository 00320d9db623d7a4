//! Parts of images.

use super::{Augmentation, Image, require};
use crate::kernels::image::{Beyond, resize_part, translate};
use crate::{Result, Rng, Scalar};

/// What is put around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Padding {
    /// Zeros.
    #[default]
    Zero,
    /// The image mirrored at its border pixels, which are not repeated: `c b | a b c | b a`.
    Reflect,
}

/// Pads an image on all sides and cuts out a part of the old size: a shift by up to `padding` pixels each way.
///
/// # Examples
/// ```
/// use layerwise::augment::{Padding, Pipeline, RandomCrop};
/// use layerwise::prelude::*;
///
/// let mut x = Array4::<f32>::ones((1, 3, 32, 32)).into_dyn();
/// let augment = Pipeline::new(Seed::new(1)).add(RandomCrop::new(4).padding(Padding::Reflect));
/// augment.apply(&mut x.view_mut(), &[0], 0)?;
/// assert!(x.iter().all(|&x| x == 1.0)); // nothing but the image
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] if the padding is larger than the image.
///
/// # References
/// With 4 pixels of zeros on CIFAR: He et al. 2016 (ResNet).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomCrop {
    pixels: usize,
    padding: Padding,
}

impl RandomCrop {
    /// `pixels`: how far to pad on each side; 4 is usual for images of 32 × 32.
    pub fn new(pixels: usize) -> Self {
        Self { pixels, padding: Padding::Zero }
    }

    /// What to pad with; default zeros.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }
}

impl<F: Scalar> Augmentation<F> for RandomCrop {
    fn check(&self, [_, height, width]: [usize; 3]) -> Result<()> {
        let good = self.pixels <= height.min(width);
        require(good, "RandomCrop", "pixels", "at most the height and the width", self.pixels)
    }

    fn scratch(&self, size: [usize; 3]) -> usize {
        size.iter().product()
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        // At most a side of an image: far from the limits of `isize`.
        let mut draw = || rng.below(2 * self.pixels + 1) as isize - self.pixels as isize;
        let (offset, size) = ([draw(), draw()], image.size);
        if offset == [0, 0] {
            return;
        }
        let beyond = match self.padding {
            Padding::Zero => Beyond::Fill(F::zero()),
            Padding::Reflect => Beyond::Reflect,
        };
        image.redraw(|from, to| translate(from, to, size, offset, beyond));
    }
}

/// Cuts out a part of random area and shape and enlarges it to the old size.
///
/// # Examples
/// ```
/// use layerwise::augment::{Pipeline, RandomResizedCrop};
/// use layerwise::prelude::*;
///
/// let mut x = Array4::<f32>::from_shape_fn((1, 1, 8, 8), |(_, _, _, x)| x as f32).into_dyn();
/// let augment = Pipeline::new(Seed::new(1)).add(RandomResizedCrop::new().area(0.25, 0.25));
/// augment.apply(&mut x.view_mut(), &[0], 0)?;
/// let (left, right) = (x[[0, 0, 0, 0]], x[[0, 0, 0, 7]]);
/// assert!(right > left && right - left < 5.0); // about half the width
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless areas are `0 < low ≤ high ≤ 1` and ratios `0 < low ≤ high`.
///
/// # References
/// Szegedy et al. 2015; defaults and draws as torchvision's, but parts need not begin at whole pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomResizedCrop {
    area: [f64; 2],
    ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self::new()
    }
}

impl RandomResizedCrop {
    /// 8 % to 100 % of the area, sides of 3 : 4 to 4 : 3.
    pub fn new() -> Self {
        Self { area: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }

    /// Share of the image's area, `0 < low ≤ high ≤ 1`; default 0.08 to 1.
    pub fn area(mut self, low: f64, high: f64) -> Self {
        self.area = [low, high];
        self
    }

    /// Width over height, `0 < low ≤ high`; default 3/4 to 4/3.
    pub fn ratio(mut self, low: f64, high: f64) -> Self {
        self.ratio = [low, high];
        self
    }
}

impl<F: Scalar> Augmentation<F> for RandomResizedCrop {
    fn check(&self, _size: [usize; 3]) -> Result<()> {
        check_parts("RandomResizedCrop", self.area, self.ratio)
    }

    fn scratch(&self, size: [usize; 3]) -> usize {
        size.iter().product()
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        let size @ [_, height, width] = image.size;
        let (height, width) = (height as f64, width as f64);
        // No part of that shape fits: the whole.
        let [part_height, part_width] =
            draw_part(height, width, self.area, self.ratio, rng).unwrap_or([height, width]);
        let top = rng.between(0.0, height - part_height);
        let left = rng.between(0.0, width - part_width);
        let part = [top, left, part_height, part_width];
        image.redraw(|from, to| resize_part(from, to, size, part));
    }
}

pub(super) fn check_parts(kind: &'static str, area: [f64; 2], ratio: [f64; 2]) -> Result<()> {
    let good = 0.0 < area[0] && area[0] <= area[1] && area[1] <= 1.0;
    require(good, kind, "area", "0 < low ≤ high ≤ 1", area)?;
    let good = 0.0 < ratio[0] && ratio[0] <= ratio[1] && ratio[1].is_finite();
    require(good, kind, "ratio", "0 < low ≤ high", ratio)
}

/// Height and width of a part of the image with a random area and ratio of sides, log-uniform; `None` if ten
/// draws do not fit.
pub(super) fn draw_part(
    height: f64,
    width: f64,
    area: [f64; 2],
    ratio: [f64; 2],
    rng: &mut Rng,
) -> Option<[f64; 2]> {
    (0..10).find_map(|_| {
        let area = height * width * rng.between(area[0], area[1]);
        let ratio = rng.between(ratio[0].ln(), ratio[1].ln()).exp();
        let part = [(area / ratio).sqrt(), (area * ratio).sqrt()];
        (part[0] <= height && part[1] <= width).then_some(part)
    })
}
