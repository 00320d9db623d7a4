//! Max pooling.

use super::door;
use super::window::{Pair, PoolSettings};
use crate::kernels::pool;
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Takes the largest element of each window.
///
/// The gradient goes to that element; where several are equal, to the first (row by row). Padding never
/// wins. NaN wins over everything, as in PyTorch.
///
/// # Shape
/// input `[n, channels, height, width]` →
/// output `[n, channels, ⌊(height + 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1, …]`, rounded up in
/// `ceil_mode`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 28, 28]).add(MaxPool2d::new(3).stride(2).padding(1)).build()?;
/// assert_eq!(model.output_shape().dims(), [1, 14, 14]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for a zero or a padding above half the kernel, and with
/// [`Error::Shape`] if the input is no image or the kernel larger than the padded input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MaxPool2d(PoolSettings);

impl MaxPool2d {
    /// Windows of `kernel`, a size or `(height, width)`, side by side.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        Self(PoolSettings::new(kernel.into()))
    }

    /// Steps between windows, at least 1; default the kernel. Smaller steps make windows overlap.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.0.stride = Some(stride.into());
        self
    }

    /// Rows and columns added on each side, at most half the kernel; default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.0.padding = padding.into();
        self
    }

    /// Distance between a window's elements, at least 1; default 1.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.0.dilation = dilation.into();
        self
    }

    /// Whether a last, incomplete window counts; default false.
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.0.ceil_mode = ceil_mode;
        self
    }
}

impl<F: Scalar> LayerSpec<F> for MaxPool2d {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.0.check("MaxPool2d")?;
        let (channels, geometry) =
            self.0.geometry(input).map_err(|cause| Error::shape("MaxPool2d", cause))?;
        Ok(Box::new(MaxPool2dLayer { channels, geometry }))
    }
}

/// What [`MaxPool2d`] becomes.
#[derive(Debug, Clone)]
pub struct MaxPool2dLayer {
    channels: usize,
    geometry: pool::Geometry,
}

/// Position of each winner in its plane.
#[derive(Debug, Default)]
struct Winners(Vec<u32>);

impl<F: Scalar> Layer<F> for MaxPool2dLayer {
    fn kind(&self) -> &'static str {
        "MaxPool2d"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let pool::Geometry { input: [h, w], output: [oh, ow], .. } = self.geometry;
        input
            .require(&[self.channels, h, w], "[channels, height, width]")
            .map(|_| [self.channels, oh, ow].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let winners = pass.remember.then(|| {
            let Winners(winners) = pass.cache.get_or_default();
            if winners.len() < pass.output.len() {
                winners.resize(pass.output.len(), 0);
            }
            &mut winners[..]
        });
        door::fill(&mut pass.output, |y| pool::max_forward(&self.geometry, &x, y, winners));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Winners(winners) = pass.cache.get()?;
        let dy = door::slice(&pass.grad_output);
        if let Some(mut grad_input) = pass.grad_input {
            door::fill(&mut grad_input, |dx| pool::max_backward(&self.geometry, winners, &dy, dx));
        }
        Ok(())
    }
}
