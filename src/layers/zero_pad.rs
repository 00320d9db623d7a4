//! A border of zeros.

use super::Pair;
use super::door;
use crate::kernels::pad::{self, Border};
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Surrounds each channel of an image with zeros.
///
/// Convolutions pad by themselves ([`super::Conv2d::padding`]); this layer is for borders that differ from side to side.
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels, height + top + bottom, width + left + right]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 1, 2]).add(ZeroPad::sides(1, 0, 0, 1)).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[5.0, 6.0]]]).insert_axis(Axis(0)))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 0.0, 0.0, 5.0, 6.0, 0.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] if the input is no image, and with [`Error::Config`] for a border that is too
/// large for memory.
#[doc(alias = "ZeroPad2d")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ZeroPad {
    sides: [usize; 4],
}

impl ZeroPad {
    /// The same on opposite sides: one number of rows and columns, or `(rows, columns)`.
    pub fn new(padding: impl Into<Pair>) -> Self {
        let Pair([rows, columns]) = padding.into();
        Self { sides: [rows, rows, columns, columns] }
    }

    /// Rows above and below, columns on the left and on the right. PyTorch's order is left, right, top, bottom.
    pub fn sides(top: usize, bottom: usize, left: usize, right: usize) -> Self {
        Self { sides: [top, bottom, left, right] }
    }
}

impl<F: Scalar> LayerSpec<F> for ZeroPad {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        /// Far more than any image, and no sum of such numbers overflows.
        const MOST: usize = 1 << 30;
        let [channels, h, w] = input.image().map_err(|cause| Error::shape("ZeroPad", cause))?;
        if let Some(side) = self.sides.iter().find(|&&side| side > MOST) {
            return Err(Error::config("ZeroPad", "padding", "at most 2^30 on each side", side));
        }
        let border = Border { plane: [h, w], sides: self.sides };
        Ok(Box::new(ZeroPadLayer { channels, border }))
    }
}

/// What [`ZeroPad`] becomes.
#[derive(Debug, Clone)]
pub struct ZeroPadLayer {
    channels: usize,
    border: Border,
}

impl<F: Scalar> Layer<F> for ZeroPadLayer {
    fn kind(&self) -> &'static str {
        "ZeroPad"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let ([h, w], [oh, ow]) = (self.border.plane, self.border.padded());
        input
            .require(&[self.channels, h, w], "[channels, height, width]")
            .map(|_| [self.channels, oh, ow].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| pad::pad(&self.border, &x, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let dy = door::slice(&pass.grad_output);
        door::fill(&mut grad_input, |dx| pad::crop(&self.border, &dy, dx));
        Ok(())
    }
}
