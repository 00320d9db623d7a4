//! Pooling to a given size.

use super::Pair;
use super::door;
use crate::kernels::adaptive_pool::{self, Plan};
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Takes the mean of windows that divide the image into a given number of rows and columns.
///
/// Window `i` of an axis goes from `⌊i · in / out⌋` to `⌈(i + 1) · in / out⌉`: they overlap where `out` does not divide
/// `in`. A head of fixed size for images of any.
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels, output height, output width]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 1, 4]).add(AdaptiveAvgPool2d::new((1, 2))).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[1.0, 3.0, 10.0, 20.0]]]).insert_axis(Axis(0)))?;
/// assert_eq!(y.as_slice().unwrap(), [2.0, 15.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] if the input is no image, and with [`Error::Config`] for an output size of 0 or
/// above 2²⁰.
///
/// For one window over all and output `[n, channels]` see [`super::GlobalAvgPool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AdaptiveAvgPool2d {
    output: Pair,
}

/// Takes the largest element of windows that divide the image into a given number of rows and columns.
///
/// Windows as in [`AdaptiveAvgPool2d`]. The gradient goes to the largest element; where several are equal, to the first
/// (row by row). NaN wins over everything.
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels, output height, output width]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 1, 3]).add(AdaptiveMaxPool2d::new((1, 2))).build()?;
/// // Two windows of two, which share the middle.
/// let y = model.predict(&ndarray::arr3(&[[[1.0, 3.0, 2.0]]]).insert_axis(Axis(0)))?;
/// assert_eq!(y.as_slice().unwrap(), [3.0, 3.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails as for [`AdaptiveAvgPool2d`], and for planes of 2³² elements or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AdaptiveMaxPool2d {
    output: Pair,
}

/// Takes the largest element of each channel over the whole image.
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels]`, ready for a [`super::Linear`], like
/// [`super::GlobalAvgPool`].
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 2, 2]).add(GlobalMaxPool).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[1.0, 7.0], [3.0, 2.0]]]).insert_axis(Axis(0)))?;
/// assert_eq!((y.shape(), y[[0, 0]]), (&[1, 1][..], 7.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] if the input is no image or a plane has 2³² elements or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GlobalMaxPool;

impl AdaptiveAvgPool2d {
    /// To `output` rows and columns, a number or `(height, width)`.
    pub fn new(output: impl Into<Pair>) -> Self {
        Self { output: output.into() }
    }
}

impl AdaptiveMaxPool2d {
    /// To `output` rows and columns, a number or `(height, width)`.
    pub fn new(output: impl Into<Pair>) -> Self {
        Self { output: output.into() }
    }
}

impl<F: Scalar> LayerSpec<F> for AdaptiveAvgPool2d {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let sizes = Sizes::new("AdaptiveAvgPool2d", input, self.output, true)?;
        Ok(Box::new(AdaptiveAvgPool2dLayer(sizes)))
    }
}

impl<F: Scalar> LayerSpec<F> for AdaptiveMaxPool2d {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let sizes = Sizes::new("AdaptiveMaxPool2d", input, self.output, true)?;
        Ok(Box::new(AdaptiveMaxPool2dLayer(sizes.refuse_huge()?)))
    }
}

impl<F: Scalar> LayerSpec<F> for GlobalMaxPool {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let sizes = Sizes::new("GlobalMaxPool", input, 1.into(), false)?;
        Ok(Box::new(AdaptiveMaxPool2dLayer(sizes.refuse_huge()?)))
    }
}

/// What the layers know.
#[derive(Debug, Clone)]
struct Sizes {
    kind: &'static str,
    input: Shape,
    output: Shape,
    plan: Plan,
}

impl Sizes {
    fn new(kind: &'static str, input: &Shape, output: Pair, keep_axes: bool) -> Result<Self> {
        /// More than any image; tables and products stay small.
        const MOST: usize = 1 << 20;
        let [channels, h, w] = input.image().map_err(|cause| Error::shape(kind, cause))?;
        if !output.0.iter().all(|size| (1..=MOST).contains(size)) {
            return Err(Error::config(kind, "output", "from 1 to 2^20 on both axes", output));
        }
        let [oh, ow] = output.0;
        let shape = if keep_axes { Shape::from([channels, oh, ow]) } else { [channels].into() };
        let plan = Plan::new([h, w], output.0);
        Ok(Self { kind, input: input.clone(), output: shape, plan })
    }

    fn refuse_huge(self) -> Result<Self> {
        if u32::try_from(self.plan.plane()).is_ok() {
            return Ok(self);
        }
        let cause = ShapeError::new("a plane of fewer than 2^32 elements", self.input);
        Err(Error::shape(self.kind, cause))
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "[channels, height, width]").map(|_| self.output.clone())
    }
}

/// What [`AdaptiveAvgPool2d`] becomes.
#[derive(Debug, Clone)]
pub struct AdaptiveAvgPool2dLayer(Sizes);

impl<F: Scalar> Layer<F> for AdaptiveAvgPool2dLayer {
    fn kind(&self) -> &'static str {
        self.0.kind
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.0.output_shape(input)
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let (x, plan) = (door::slice(&pass.input), &self.0.plan);
        let [scratch] = pass.scratch.take([plan.scratch(x.len() / plan.plane())]);
        door::fill(&mut pass.output, |y| adaptive_pool::avg_forward(plan, &x, y, scratch));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let (dy, plan) = (door::slice(&pass.grad_output), &self.0.plan);
        let [scratch] = pass.scratch.take([plan.scratch(dy.len() / plan.out_plane())]);
        door::fill(&mut grad_input, |dx| adaptive_pool::avg_backward(plan, &dy, dx, scratch));
        Ok(())
    }
}

/// Position of each winner in its plane.
#[derive(Debug, Default)]
struct Winners(Vec<u32>);

/// What [`AdaptiveMaxPool2d`] and [`GlobalMaxPool`] become.
#[derive(Debug, Clone)]
pub struct AdaptiveMaxPool2dLayer(Sizes);

impl<F: Scalar> Layer<F> for AdaptiveMaxPool2dLayer {
    fn kind(&self) -> &'static str {
        self.0.kind
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.0.output_shape(input)
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let plan = &self.0.plan;
        let winners = pass.remember.then(|| {
            let Winners(winners) = pass.cache.get_or_default();
            let len = if plan.is_global() { 0 } else { pass.output.len() };
            winners.resize(len.max(winners.len()), 0);
            &mut winners[..]
        });
        door::fill(&mut pass.output, |y| adaptive_pool::max_forward(plan, &x, y, winners));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Winners(winners) = pass.cache.get()?;
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let (x, y) = (door::slice(&pass.input), door::slice(&pass.output));
        let (dy, plan) = (door::slice(&pass.grad_output), &self.0.plan);
        door::fill(&mut grad_input, |dx| {
            adaptive_pool::max_backward(plan, (&x, &y), winners, &dy, dx);
        });
        Ok(())
    }
}
