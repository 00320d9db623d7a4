//! Images of another size.

use std::sync::{Arc, OnceLock};

use super::Pair;
use super::door;
use crate::kernels::resample::{self, Axis, Plan};
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Resizes each channel of an image, by nearest neighbour or bilinearly.
///
/// Nearest: pixel `i` of `out` is pixel `⌊i · in / out⌋` of `in`. Bilinear: it lies at `(i + ½) · in / out − ½`, moved to
/// the border if it is outside, and is blended from the two pixels around it on each axis; with
/// [`Upsample::align_corners`] at `i · (in − 1) / (out − 1)`. Smaller sizes are allowed; like PyTorch's, they are not
/// smoothed beforehand.
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels, height · factor, width · factor]`, or the size given.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let x = ndarray::arr3(&[[[1.0, 5.0]]]).insert_axis(Axis(0));
/// let model = Sequential::builder([1, 1, 2]).add(Upsample::new((1, 2))).build()?;
/// assert_eq!(model.predict(&x)?.as_slice().unwrap(), [1.0, 1.0, 5.0, 5.0]);
/// let model = Sequential::builder([1, 1, 2]).add(Upsample::new((1, 2)).bilinear()).build()?;
/// assert_eq!(model.predict(&x)?.as_slice().unwrap(), [1.0, 2.0, 4.0, 5.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] if the input is no image, and with [`Error::Config`] for a size that is 0 or above
/// 2²⁰, or for aligned corners without [`Upsample::bilinear`].
///
/// Factors are whole numbers; for any other use [`Upsample::to`]. PyTorch rounds `in / out` to `f32` before it looks for the
/// nearest pixel, which for a few sizes gives the one beside it.
#[doc(alias = "UpSampling2D")]
#[doc(alias = "Resize")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Upsample {
    size: Size,
    bilinear: bool,
    align_corners: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Size {
    Factor(Pair),
    To(Pair),
}

impl Upsample {
    /// `factor` times as large, a number or `(height, width)`, at least 1; by nearest neighbour.
    pub fn new(factor: impl Into<Pair>) -> Self {
        Self { size: Size::Factor(factor.into()), bilinear: false, align_corners: false }
    }

    /// To this size, a number or `(height, width)`, at least 1; by nearest neighbour.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([3, 20, 30]).add(Upsample::to((32, 48)).bilinear()).build()?;
    /// assert_eq!(model.output_shape().dims(), [3, 32, 48]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn to(size: impl Into<Pair>) -> Self {
        Self { size: Size::To(size.into()), bilinear: false, align_corners: false }
    }

    /// Blends neighbouring pixels instead of repeating the nearest.
    pub fn bilinear(mut self) -> Self {
        self.bilinear = true;
        self
    }

    /// Whether the centres of the corner pixels stay at the corners; default false. Only for bilinear.
    pub fn align_corners(mut self, align_corners: bool) -> Self {
        self.align_corners = align_corners;
        self
    }

    /// Height and width of the output.
    fn output(&self, input: [usize; 2]) -> Result<[usize; 2]> {
        /// More than any image; tables and products stay small.
        const MOST: usize = 1 << 20;
        let (field, given) = match self.size {
            Size::Factor(factor) => ("factor", factor),
            Size::To(size) => ("size", size),
        };
        let size = |axis: usize| match self.size {
            Size::Factor(factor) => factor.0[axis].checked_mul(input[axis]),
            Size::To(size) => Some(size.0[axis]),
        };
        let output = [0, 1].map(|axis| size(axis).filter(|size| (1..=MOST).contains(size)));
        match output {
            [Some(height), Some(width)] => Ok([height, width]),
            _ => {
                let must_be = "such that height and width are from 1 to 2^20";
                Err(Error::config("Upsample", field, must_be, given))
            }
        }
    }
}

impl<F: Scalar> LayerSpec<F> for Upsample {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let [channels, h, w] = input.image().map_err(|cause| Error::shape("Upsample", cause))?;
        if self.align_corners && !self.bilinear {
            return Err(Error::config("Upsample", "align_corners", "false unless bilinear", true));
        }
        let output = self.output([h, w])?;
        let plan = Arc::new(OnceLock::new());
        Ok(Box::new(UpsampleLayer { channels, input: [h, w], output, spec: *self, plan }))
    }
}

/// What [`Upsample`] becomes.
#[derive(Debug, Clone)]
pub struct UpsampleLayer<F: Scalar = f32> {
    channels: usize,
    input: [usize; 2],
    output: [usize; 2],
    spec: Upsample,
    /// Tables that the first pass makes: a layer costs nothing until then, whatever size a file says it has.
    plan: Arc<OnceLock<Plan<F>>>,
}

impl<F: Scalar> UpsampleLayer<F> {
    fn plan(&self) -> &Plan<F> {
        let ([h, w], [oh, ow]) = (self.input, self.output);
        let axis = |input, output| {
            if self.spec.bilinear {
                Axis::linear(input, output, self.spec.align_corners)
            } else {
                Axis::nearest(input, output)
            }
        };
        self.plan.get_or_init(|| Plan::new(axis(h, oh), axis(w, ow)))
    }
}

impl<F: Scalar> Layer<F> for UpsampleLayer<F> {
    fn kind(&self) -> &'static str {
        "Upsample"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let ([h, w], [oh, ow]) = (self.input, self.output);
        input
            .require(&[self.channels, h, w], "[channels, height, width]")
            .map(|_| [self.channels, oh, ow].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let (x, plan) = (door::slice(&pass.input), self.plan());
        let planes = x.len() / self.input.iter().product::<usize>();
        let [scratch] = pass.scratch.take([plan.scratch(planes)]);
        door::fill(&mut pass.output, |y| resample::forward(plan, &x, y, scratch));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let (dy, plan) = (door::slice(&pass.grad_output), self.plan());
        let planes = dy.len() / self.output.iter().product::<usize>();
        let [scratch] = pass.scratch.take([plan.scratch(planes)]);
        door::fill(&mut grad_input, |dx| resample::backward(plan, &dy, dx, scratch));
        Ok(())
    }
}
