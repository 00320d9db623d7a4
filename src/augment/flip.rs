//! Mirroring.

use super::{Augmentation, Image, require_probability};
use crate::kernels::image;
use crate::{Result, Rng, Scalar};

/// Exchanges left and right with probability `p`.
///
/// Not for digits or letters, whose mirror images are others, or none.
///
/// # Examples
/// ```
/// use layerwise::augment::{HorizontalFlip, Pipeline};
/// use layerwise::prelude::*;
///
/// let mut x = ndarray::arr2(&[[1.0f32, 2.0, 3.0]]).into_shape_with_order((1, 1, 1, 3)).unwrap().into_dyn();
/// Pipeline::new(Seed::new(1)).add(HorizontalFlip::new().p(1.0)).apply(&mut x.view_mut(), &[0], 0)?;
/// assert_eq!(x.as_slice().unwrap(), [3.0, 2.0, 1.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless `0 ≤ p ≤ 1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizontalFlip {
    p: f64,
}

/// Exchanges top and bottom with probability `p`.
///
/// For images that have no upright position, such as those of microscopes and satellites.
///
/// # Examples
/// ```
/// use layerwise::augment::{Pipeline, VerticalFlip};
/// use layerwise::prelude::*;
///
/// let mut x = ndarray::arr2(&[[1.0f32], [2.0], [3.0]]).into_shape_with_order((1, 1, 3, 1)).unwrap().into_dyn();
/// Pipeline::new(Seed::new(1)).add(VerticalFlip::new().p(1.0)).apply(&mut x.view_mut(), &[0], 0)?;
/// assert_eq!(x.as_slice().unwrap(), [3.0, 2.0, 1.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless `0 ≤ p ≤ 1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerticalFlip {
    p: f64,
}

macro_rules! flip {
    ($name:ident, $kernel:path) => {
        impl $name {
            /// With probability 1/2.
            pub fn new() -> Self {
                Self { p: 0.5 }
            }

            /// The probability, `0 ≤ p ≤ 1`; default 0.5.
            pub fn p(mut self, p: f64) -> Self {
                self.p = p;
                self
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<F: Scalar> Augmentation<F> for $name {
            fn check(&self, _size: [usize; 3]) -> Result<()> {
                require_probability(self.p, stringify!($name))
            }

            fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
                if rng.chance(self.p) {
                    $kernel(image.pixels, image.size);
                }
            }
        }
    };
}
flip!(HorizontalFlip, image::flip_horizontal);
flip!(VerticalFlip, image::flip_vertical);
