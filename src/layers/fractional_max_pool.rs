//! Max pooling by a factor between 1 and 2, over random regions.

use super::door;
use super::window::Pair;
use crate::kernels::fractional_pool::{self as pool, Geometry, Regions};
use crate::{
    Backward, Error, Forward, Init, Layer, LayerSpec, Mode, Result, Scalar, Seed, Shape, ShapeError,
};

/// Takes the largest element of regions of one or two rows and columns, drawn anew for each training pass.
///
/// Images shrink by a factor `α` between 1 and 2, gently enough for many pooling layers in a row, and the randomness
/// regularizes: each pass sees the image slightly distorted. An axis of `N_in` positions is cut at
/// `a₀ = 0 < a₁ < … = N_in` in steps of 1 and 2; rows and columns are drawn apart, for all samples and channels of a pass
/// alike. Region `i` is `aᵢ .. aᵢ₊₁`, or `aᵢ ..= aᵢ₊₁` if [`FractionalMaxPool2d::overlapping`]: every row and column is in
/// one.
///
/// - *Random* (the default): as many steps of 1 and 2 as are needed, in a random order.
/// - *Pseudo-random*: `aᵢ = ⌈α (i + u)⌉ − 1` with one random `u` for all steps: spread evenly, a weaker distortion. `u` is below
///   `min(1, 3/α − 1)`, so that no step leaves 1 and 2.
///
/// In eval mode the regions are pseudo-random with `u = ½`, the same always; or drawn as in training, if
/// [`FractionalMaxPool2d::sample_in_eval`], as in the paper, which averages several such predictions:
/// [`crate::Sequential::predict_sampled`].
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels, ⌊height / α⌋, ⌊width / α⌋]`, but at least half the input,
/// rounded up.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 7, 10]).add(FractionalMaxPool2d::new(2f64.sqrt())).build()?;
/// assert_eq!(model.output_shape().dims(), [1, 4, 7]);
///
/// let pool = FractionalMaxPool2d::to_size((3, 1)).overlapping(true);
/// let mut model = Sequential::builder([1, 4, 1]).add(pool).build()?;
/// let column = Array4::from_shape_vec((1, 1, 4, 1), vec![1.0, 2.0, 3.0, 4.0])?;
/// // One step of 2 among two of 1: [0, 1, 2, 4], [0, 1, 3, 4] or [0, 2, 3, 4].
/// let y = model.forward(&column)?.iter().copied().collect::<Vec<_>>();
/// assert!([[2.0, 3.0, 4.0], [2.0, 4.0, 4.0], [3.0, 4.0, 4.0]].contains(&y[..].try_into()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless `1 < α < 2`, or for an output size of 0, and with [`Error::Shape`] if the
/// input is no image, or not between an output size and twice it.
///
/// # References
/// Graham 2014, whose sequences count from 1 and leave the last row out of disjoint regions; here as in TensorFlow, all are
/// covered. PyTorch's layer of this name has windows of one size at random distances for each sample and channel: another
/// function.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FractionalMaxPool2d {
    size: Size,
    pseudo_random: bool,
    overlapping: bool,
    sample_in_eval: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Size {
    Ratio(f64),
    Output(Pair),
}

impl FractionalMaxPool2d {
    /// Shrinks height and width by `ratio`, above 1 and below 2; √2 halves the area.
    pub fn new(ratio: f64) -> Self {
        Self::sized(Size::Ratio(ratio))
    }

    /// Shrinks images to `output`, a size or `(height, width)`, at least half of theirs and at most all.
    pub fn to_size(output: impl Into<Pair>) -> Self {
        Self::sized(Size::Output(output.into()))
    }

    fn sized(size: Size) -> Self {
        Self { size, pseudo_random: false, overlapping: false, sample_in_eval: false }
    }

    /// Whether steps are spread evenly; default false. The paper's choice together with dropout or augmentation, where random
    /// sequences may distort too much.
    pub fn pseudo_random(mut self, pseudo_random: bool) -> Self {
        self.pseudo_random = pseudo_random;
        self
    }

    /// Whether neighbouring regions share a row or column; default false, as in TensorFlow. The paper found true better.
    pub fn overlapping(mut self, overlapping: bool) -> Self {
        self.overlapping = overlapping;
        self
    }

    /// Whether eval mode draws regions too; default false: it always has the same.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let pool = FractionalMaxPool2d::new(1.5).sample_in_eval(true);
    /// let model = Sequential::builder([1, 9, 9]).add(pool).build()?;
    /// let image = Array4::from_shape_fn((1, 1, 9, 9), |(.., row, column)| (row * 9 + column) as f32);
    /// let mut workspace = Workspace::new();
    /// let mut sample = |i| Ok::<_, Error>(model.predict_sampled(&image, Seed::new(i), &mut workspace)?.to_owned());
    /// assert_eq!(sample(0)?, sample(0)?);
    /// assert_ne!(sample(0)?, sample(1)?);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn sample_in_eval(mut self, sample: bool) -> Self {
        self.sample_in_eval = sample;
        self
    }

    fn geometry(&self, [height, width]: [usize; 2], input: &Shape) -> Result<Geometry, ShapeError> {
        let output = match self.size {
            // Not below half, where steps of 2 would not do.
            Size::Ratio(ratio) => [height, width].map(|len| {
                // Rounding down is the purpose.
                ((len as f64 / ratio) as usize).max(len.div_ceil(2))
            }),
            Size::Output(Pair(output)) => output,
        };
        let fits = |(&input, &output): (&usize, &usize)| {
            output <= input && input <= output.saturating_mul(2)
        };
        if ![height, width].iter().zip(&output).all(fits) {
            let needs = format!("an image between the output size {} and twice it", Pair(output));
            return Err(ShapeError::new(needs, input).hint("change the output size"));
        }
        if u32::try_from(height.saturating_mul(width)).is_err() {
            return Err(ShapeError::new("a plane of fewer than 2^32 elements", input));
        }
        Ok(Geometry { input: [height, width], output, overlapping: self.overlapping })
    }
}

impl<F: Scalar> LayerSpec<F> for FractionalMaxPool2d {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        const KIND: &str = "FractionalMaxPool2d";
        match self.size {
            Size::Ratio(ratio) if !(ratio > 1.0 && ratio < 2.0) => {
                return Err(Error::config(KIND, "ratio", "above 1 and below 2", ratio));
            }
            Size::Output(output) if output.has_zero() => {
                return Err(Error::config(KIND, "output size", "at least 1", output));
            }
            _ => {}
        }
        let shape_error = |cause| Error::shape(KIND, cause);
        let [channels, height, width] = input.image().map_err(shape_error)?;
        let geometry = self.geometry([height, width], input).map_err(shape_error)?;
        Ok(Box::new(FractionalMaxPool2dLayer { channels, geometry, spec: *self }))
    }
}

/// What [`FractionalMaxPool2d`] becomes.
#[derive(Debug, Clone)]
pub struct FractionalMaxPool2dLayer {
    channels: usize,
    geometry: Geometry,
    spec: FractionalMaxPool2d,
}

/// A pass's regions, and the position of each winner in its plane.
#[derive(Debug, Default)]
struct Memory {
    regions: Regions,
    winners: Vec<u32>,
}

impl FractionalMaxPool2dLayer {
    fn draw(&self, mode: Mode, seed: Seed, regions: &mut Regions) {
        let fixed = mode == Mode::Eval && !self.spec.sample_in_eval;
        let Geometry { input, output, .. } = self.geometry;
        for (axis, sequence) in regions.sequences.iter_mut().enumerate() {
            let (input, output) = (input[axis], output[axis]);
            let mut rng = seed.fold(axis as u64).rng();
            if fixed {
                pool::pseudo_random(0.5, input, output, sequence);
            } else if self.spec.pseudo_random {
                let u = rng.uniform() * pool::limit(input, output);
                pool::pseudo_random(u, input, output, sequence);
            } else {
                pool::random(&mut rng, input, output, sequence);
            }
        }
    }
}

impl<F: Scalar> Layer<F> for FractionalMaxPool2dLayer {
    fn kind(&self) -> &'static str {
        "FractionalMaxPool2d"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let Geometry { input: [h, w], output: [oh, ow], .. } = self.geometry;
        input
            .require(&[self.channels, h, w], "[channels, height, width]")
            .map(|_| [self.channels, oh, ow].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let Memory { regions, winners } = pass.cache.get_or_default();
        self.draw(pass.mode, pass.seed, regions);
        let len = pass.output.len();
        let winners = pass.remember.then(|| {
            if winners.len() < len {
                winners.resize(len, 0);
            }
            &mut winners[..]
        });
        door::fill(&mut pass.output, |y| pool::forward(&self.geometry, regions, &x, y, winners));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Memory { winners, .. } = pass.cache.get()?;
        let dy = door::slice(&pass.grad_output);
        if let Some(mut grad_input) = pass.grad_input {
            door::fill(&mut grad_input, |dx| pool::backward(&self.geometry, winners, &dy, dx));
        }
        Ok(())
    }
}
