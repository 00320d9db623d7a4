//! Element-wise shift and scale, as learned from data.

use super::{Per, Transform};
use crate::layers::door;
use crate::{
    Backward, Buffer, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Scratch, Shape,
    ShapeError, layer_params,
};

/// `y = (x − shift) / scale`, with a shift and a scale for each element or each channel: a fitted
/// [`super::ChannelStandardize`], [`super::MinMax`] and their like.
///
/// As a layer it has the buffers `shift` and `scale`, which are saved with the model, and no parameter.
///
/// # Shape
/// input `[n, ..shape]` → the same.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{Per, Scaling, Transform};
///
/// // The figures that many pretrained networks for ImageNet come with.
/// let scaling = Scaling::new([3, 1, 1], Per::Channel, &[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])?;
/// let white = ndarray::Array4::<f32>::ones((1, 3, 1, 1));
/// let y = scaling.apply(&white)?;
/// assert!((y[[0, 0, 0, 0]] - 2.2489).abs() < 1e-4);
/// assert!((scaling.inverse(&y)?[[0, 2, 0, 0]] - 1.0).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As a layer, building fails with [`Error::Shape`] if its input has another shape.
#[derive(Debug, Clone)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "super::saved::Scaling<F>", into = "super::saved::Scaling<F>")
)]
pub struct Scaling<F: Scalar = f32> {
    shape: Shape,
    shift: Buffer<F>,
    scale: Buffer<F>,
}

impl<F: Scalar> Scaling<F> {
    /// From known figures, one of each for each element or channel.
    ///
    /// # Errors
    /// [`Error::Preprocessing`] unless there are as many as elements or channels, finite, and no scale is 0.
    pub fn new(shape: impl Into<Shape>, per: Per, shift: &[f64], scale: &[f64]) -> Result<Self> {
        let shape = shape.into();
        let (groups, _) = per.groups(&shape)?;
        if shift.len() != groups || scale.len() != groups {
            let (shifts, scales) = (shift.len(), scale.len());
            return Err(Error::Preprocessing(format!(
                "samples {shape} need {groups} shifts and scales, got {shifts} and {scales}"
            )));
        }
        let good =
            |&(shift, scale): &(F, F)| shift.is_finite() && scale.is_finite() && scale != F::zero();
        let rounded: Vec<(F, F)> = shift
            .iter()
            .zip(scale)
            .map(|(&shift, &scale)| (F::lit(shift), F::lit(scale)))
            .collect();
        if let Some(at) = rounded.iter().position(|pair| !good(pair)) {
            let (shift, scale) = rounded[at];
            return Err(Error::Preprocessing(format!(
                "shift {at} must be finite and scale {at} finite and not 0, got {shift} and {scale}"
            )));
        }
        let (mut shifts, mut scales) =
            (Buffer::filled(&[groups], F::zero()), Buffer::filled(&[groups], F::one()));
        for ((to_shift, to_scale), (shift, scale)) in
            shifts.as_slice_mut().iter_mut().zip(scales.as_slice_mut()).zip(rounded)
        {
            (*to_shift, *to_scale) = (shift, scale);
        }
        Ok(Self { shape, shift: shifts, scale: scales })
    }

    /// One that changes nothing: a place for the figures of a saved model.
    ///
    /// ```
    /// use layerwise::preprocessing::{Per, Scaling};
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([3, 8, 8]).add(Scaling::identity([3, 8, 8], Per::Channel)?).build()?;
    /// assert_eq!(model.value("0.scale").unwrap().as_slice(), Some(&[1.0; 3][..]));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Preprocessing`] for samples without elements or, per channel, without axes.
    pub fn identity(shape: impl Into<Shape>, per: Per) -> Result<Self> {
        let shape = shape.into();
        let (groups, _) = per.groups(&shape)?;
        Self::new(shape, per, &vec![0.0; groups], &vec![1.0; groups])
    }

    /// What is subtracted: the mean, or for a range the value that becomes 0.
    pub fn shift(&self) -> &[F] {
        self.shift.as_slice()
    }

    /// What is divided by: the standard deviation, the width of the range, or 1.
    pub fn scale(&self) -> &[F] {
        self.scale.as_slice()
    }

    /// Calls `each` with neighbouring elements that share a shift and a scale.
    fn runs(&self, from: &[F], to: &mut [F], each: impl Fn(F, F, F) -> F) {
        let numel = self.shape.numel();
        let run = numel / self.shift().len();
        for (from, to) in from.chunks_exact(numel).zip(to.chunks_exact_mut(numel)) {
            let runs = from.chunks_exact(run).zip(to.chunks_exact_mut(run));
            for ((from, to), (&shift, &scale)) in runs.zip(self.shift().iter().zip(self.scale())) {
                for (to, &from) in to.iter_mut().zip(from) {
                    *to = each(from, shift, scale);
                }
            }
        }
    }
}

impl<F: Scalar> Transform<F> for Scaling<F> {
    fn input_shape(&self) -> &Shape {
        &self.shape
    }

    fn output_shape(&self) -> &Shape {
        &self.shape
    }

    fn apply_into(&self, x: &[F], y: &mut [F], _: &mut Scratch<F>) {
        self.runs(x, y, |x, shift, scale| (x - shift) / scale);
    }

    fn inverse_into(&self, y: &[F], x: &mut [F], _: &mut Scratch<F>) {
        self.runs(y, x, |y, shift, scale| y * scale + shift);
    }
}

impl<F: Scalar> LayerSpec<F> for Scaling<F> {
    fn build(&self, _input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        Ok(Box::new(self.clone()))
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let per =
            if self.shift().len() == self.shape.numel() { Per::Element } else { Per::Channel };
        crate::persist::Record::of("Scaling", &SavedScaling { shape: self.shape.clone(), per })
    }
}

/// A [`Scaling`] whose figures are among a file's weights.
#[cfg(feature = "serde")]
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct SavedScaling {
    shape: Shape,
    per: Per,
}

#[cfg(feature = "serde")]
impl<F: Scalar> LayerSpec<F> for SavedScaling {
    fn build(&self, _input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let shape = self.shape.clone();
        // A file claims so many: none are made before it is seen to have them.
        let (groups, _) = self.per.count(&shape)?;
        let shift = init.buffer("shift", &[groups], F::zero())?;
        let scale = init.buffer("scale", &[groups], F::one())?;
        Ok(Box::new(Scaling { shape, shift, scale }))
    }

    fn record(&self) -> crate::persist::Record {
        crate::persist::Record::of("Scaling", self)
    }
}

impl<F: Scalar> Layer<F> for Scaling<F> {
    fn kind(&self) -> &'static str {
        "Scaling"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.shape.dims(), "the shape it was fitted to")
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| self.apply_into(&x, y, pass.scratch));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let dy = door::slice(&pass.grad_output);
        door::fill(&mut grad_input, |dx| self.runs(&dy, dx, |dy, _, scale| dy / scale));
        Ok(())
    }

    layer_params!(F; shift, scale);
}
