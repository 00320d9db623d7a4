//! Average pooling, by windows and over the whole image.

use super::door;
use super::window::{Pair, PoolSettings};
use crate::kernels::pool;
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Takes the mean of each window.
///
/// # Shape
/// input `[n, channels, height, width]` →
/// output `[n, channels, ⌊(height + 2·padding − kernel)/stride⌋ + 1, …]`, rounded up in `ceil_mode`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 2, 2]).add(AvgPool2d::new(2)).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[1.0, 2.0], [3.0, 6.0]]]).insert_axis(Axis(0)))?;
/// assert_eq!(y[[0, 0, 0, 0]], 3.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails as for [`super::MaxPool2d`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AvgPool2d {
    settings: PoolSettings,
    count_include_pad: bool,
}

impl AvgPool2d {
    /// Windows of `kernel`, a size or `(height, width)`, side by side.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        Self { settings: PoolSettings::new(kernel.into()), count_include_pad: true }
    }

    /// Steps between windows, at least 1; default the kernel.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.settings.stride = Some(stride.into());
        self
    }

    /// Rows and columns of zeros on each side, at most half the kernel; default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.settings.padding = padding.into();
        self
    }

    /// Whether a last, incomplete window counts; default false.
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.settings.ceil_mode = ceil_mode;
        self
    }

    /// Whether padding counts in the divisor; default true as in PyTorch (Keras: false). What `ceil_mode`
    /// adds beyond the padding never counts.
    pub fn count_include_pad(mut self, count_include_pad: bool) -> Self {
        self.count_include_pad = count_include_pad;
        self
    }
}

impl<F: Scalar> LayerSpec<F> for AvgPool2d {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.settings.check("AvgPool2d")?;
        let (channels, geometry) =
            self.settings.geometry(input).map_err(|cause| Error::shape("AvgPool2d", cause))?;
        Ok(Box::new(AvgPool2dLayer {
            channels,
            geometry,
            count_include_pad: self.count_include_pad,
        }))
    }
}

/// What [`AvgPool2d`] becomes.
#[derive(Debug, Clone)]
pub struct AvgPool2dLayer {
    channels: usize,
    geometry: pool::Geometry,
    count_include_pad: bool,
}

impl<F: Scalar> Layer<F> for AvgPool2dLayer {
    fn kind(&self) -> &'static str {
        "AvgPool2d"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let pool::Geometry { input: [h, w], output: [oh, ow], .. } = self.geometry;
        input
            .require(&[self.channels, h, w], "[channels, height, width]")
            .map(|_| [self.channels, oh, ow].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| {
            pool::avg_forward(&self.geometry, self.count_include_pad, &x, y)
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let dy = door::slice(&pass.grad_output);
        if let Some(mut grad_input) = pass.grad_input {
            door::fill(&mut grad_input, |dx| {
                pool::avg_backward(&self.geometry, self.count_include_pad, &dy, dx);
            });
        }
        Ok(())
    }
}

/// Takes the mean of each channel over the whole image (Lin, Chen & Yan 2014).
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels]`, ready for a [`super::Linear`].
/// PyTorch's `AdaptiveAvgPool2d(1)` keeps two axes of length 1; a [`super::Flatten`] after this layer
/// changes nothing, so positions and names agree with such a model.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([64, 4, 4]).add(GlobalAvgPool).add(Linear::new(10)).build()?;
/// assert_eq!(model.output_shape().dims(), [10]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] if the input is no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GlobalAvgPool;

impl<F: Scalar> LayerSpec<F> for GlobalAvgPool {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let [channels, height, width] =
            input.image().map_err(|cause| Error::shape("GlobalAvgPool", cause))?;
        Ok(Box::new(GlobalAvgPoolLayer { channels, plane: [height, width] }))
    }
}

/// What [`GlobalAvgPool`] becomes.
#[derive(Debug, Clone)]
pub struct GlobalAvgPoolLayer {
    channels: usize,
    plane: [usize; 2],
}

impl<F: Scalar> Layer<F> for GlobalAvgPoolLayer {
    fn kind(&self) -> &'static str {
        "GlobalAvgPool"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let [h, w] = self.plane;
        input
            .require(&[self.channels, h, w], "[channels, height, width]")
            .map(|_| [self.channels].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let [h, w] = self.plane;
        door::fill(&mut pass.output, |y| pool::global_avg_forward(h * w, &x, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let dy = door::slice(&pass.grad_output);
        let [h, w] = self.plane;
        if let Some(mut grad_input) = pass.grad_input {
            door::fill(&mut grad_input, |dx| pool::global_avg_backward(h * w, &dy, dx));
        }
        Ok(())
    }
}
