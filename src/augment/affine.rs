//! Shifts, rotations, scalings and shears in one resampling.

use super::{Augmentation, Image, require};
use crate::kernels::image::{AffineMap, warp_affine};
use crate::{Result, Rng, Scalar};

/// Shifts, rotates, scales and shears an image about its centre by random amounts, in one bilinear resampling.
///
/// Each amount is uniform in its range; ranges not given leave the image as it is.
///
/// # Examples
/// ```
/// use layerwise::augment::{Affine, Pipeline};
/// use layerwise::prelude::*;
///
/// let mut digits = Array4::<f32>::ones((2, 1, 28, 28)).into_dyn();
/// let affine = Affine::new().shift(0.1).rotate(15.0).scale(0.9, 1.1).shear(10.0);
/// Pipeline::new(Seed::new(1)).add(affine).apply(&mut digits.view_mut(), &[0, 1], 0)?;
/// assert!((digits[[0, 0, 14, 14]] - 1.0).abs() < 1e-6 && digits.sum() < 2.0 * 784.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] for a range that is not finite, a scale of 0 or less, or a shear of 45° or more.
///
/// # References
/// As torchvision's `RandomAffine` with `interpolation=BILINEAR`, whose shear is along rows alone unless told; here it is
/// along both axes, each with an angle of its own.
#[doc(alias = "RandomAffine")]
#[doc(alias = "RandomRotation")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    shift: f64,
    degrees: f64,
    scale: [f64; 2],
    shear: f64,
    fill: f64,
}

impl Default for Affine {
    fn default() -> Self {
        Self::new()
    }
}

impl Affine {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self { shift: 0.0, degrees: 0.0, scale: [1.0, 1.0], shear: 0.0, fill: 0.0 }
    }

    /// Shifts by up to this share of the height and of the width, either way; 0.1 is usual.
    pub fn shift(mut self, share: f64) -> Self {
        self.shift = share;
        self
    }

    /// Rotates by up to this many degrees, either way; 10 to 15 are usual for digits.
    pub fn rotate(mut self, degrees: f64) -> Self {
        self.degrees = degrees;
        self
    }

    /// Scales by a factor from `low` to `high`, `0 < low ≤ high`; above 1 enlarges.
    pub fn scale(mut self, low: f64, high: f64) -> Self {
        self.scale = [low, high];
        self
    }

    /// Shears along either axis by up to this many degrees, either way, below 45.
    pub fn shear(mut self, degrees: f64) -> Self {
        self.shear = degrees;
        self
    }

    /// What lies beyond the image; default 0.
    pub fn fill(mut self, value: f64) -> Self {
        self.fill = value;
        self
    }

    /// Where the pixels of the new image come from.
    fn draw(&self, height: usize, width: usize, rng: &mut Rng) -> AffineMap {
        let (height, width) = (height as f64, width as f64);
        let mut around = |most: f64| rng.between(-most, most);
        let (angle, shears) =
            (around(self.degrees).to_radians(), [around(self.shear), around(self.shear)]);
        let shift = [around(self.shift) * width, around(self.shift) * height];
        let scale = rng.between(self.scale[0], self.scale[1]);
        let [shear_x, shear_y] = shears.map(|degrees| degrees.to_radians().tan());
        let (sin, cos) = angle.sin_cos();
        // Forwards: shear, then rotate, then scale.
        let forward = [
            [scale * (cos - sin * shear_y), scale * (cos * shear_x - sin)],
            [scale * (sin + cos * shear_y), scale * (sin * shear_x + cos)],
        ];
        AffineMap::about_centre(forward, shift, [width, height])
    }
}

impl AffineMap {
    /// The way back of `new = forward · (old − centre) + centre + shift`.
    fn about_centre([[a, b], [c, d]]: [[f64; 2]; 2], shift: [f64; 2], size: [f64; 2]) -> Self {
        let determinant = a * d - b * c;
        let (xx, xy, yx, yy) =
            (d / determinant, -b / determinant, -c / determinant, a / determinant);
        let [centre_x, centre_y] = size.map(|len| (len - 1.0) / 2.0);
        let (from_x, from_y) = (centre_x + shift[0], centre_y + shift[1]);
        Self {
            x: [xx, xy, centre_x - xx * from_x - xy * from_y],
            y: [yx, yy, centre_y - yx * from_x - yy * from_y],
        }
    }
}

impl<F: Scalar> Augmentation<F> for Affine {
    fn check(&self, _size: [usize; 3]) -> Result<()> {
        let kind = "Affine";
        let finite = |x: f64| x >= 0.0 && x.is_finite();
        require(finite(self.shift), kind, "shift", "a share of the size, at least 0", self.shift)?;
        require(finite(self.degrees), kind, "rotate", "degrees, at least 0", self.degrees)?;
        let [low, high] = self.scale;
        let good = 0.0 < low && low <= high && high.is_finite();
        require(good, kind, "scale", "0 < low ≤ high", self.scale)?;
        let good = (0.0..45.0).contains(&self.shear);
        require(good, kind, "shear", "degrees, 0 ≤ shear < 45", self.shear)?;
        require(self.fill.is_finite(), kind, "fill", "finite", self.fill)
    }

    fn scratch(&self, size: [usize; 3]) -> usize {
        size.iter().product()
    }

    fn apply(&self, image: &mut Image<'_, F>, rng: &mut Rng) {
        let size @ [_, height, width] = image.size;
        let map = self.draw(height, width, rng);
        image.redraw(|from, to| warp_affine(from, to, size, map, F::lit(self.fill)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_goes_back_to_where_a_pixel_was() {
        // 90° clockwise as seen with y downwards, then 1 to the right.
        let map = AffineMap::about_centre([[0.0, -1.0], [1.0, 0.0]], [1.0, 0.0], [3.0, 3.0]);
        let back = |x: f64, y: f64| {
            let place = |row: [f64; 3]| row[0] * x + row[1] * y + row[2];
            [place(map.x), place(map.y)]
        };
        // The pixel right of the centre went below the centre, and then right.
        assert_eq!(back(2.0, 2.0), [2.0, 1.0]);
        assert_eq!(back(2.0, 1.0), [1.0, 1.0]);
    }

    #[test]
    fn draws_stay_in_their_ranges() {
        let affine = Affine::new().rotate(30.0).scale(0.5, 2.0).shift(0.25);
        let mut rng = crate::Seed::new(1).rng();
        for _ in 0..1000 {
            let map = affine.draw(9, 9, &mut rng);
            let determinant = map.x[0] * map.y[1] - map.x[1] * map.y[0];
            assert!((0.25..=4.0).contains(&determinant));
            let angle = map.x[1].atan2(map.x[0]).to_degrees();
            assert!(angle.abs() <= 30.0, "{angle}");
        }
    }
}
