//! Another shape for the same elements.

use super::door;
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Gives each sample another shape; its elements keep their row-major order.
///
/// A model passes the memory on under the new shape: nothing is copied. [`super::Flatten`] is the special case of one axis.
///
/// # Shape
/// input `[n, ..]` → output `[n, ..shape]`, with as many elements. Shapes of up to three axes; more work too, but a pass
/// then allocates a few bytes.
///
/// # Examples
/// The start of a generator, from noise to small images:
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([10]).add(Linear::new(7 * 7 * 4)).add(Reshape::new([4, 7, 7])).build()?;
/// assert_eq!(model.output_shape().dims(), [4, 7, 7]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] if the new shape has more or fewer elements. It is given in full: there is no −1
/// for an axis to be inferred.
#[doc(alias = "Unflatten")]
#[doc(alias = "View")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reshape {
    shape: Shape,
}

impl Reshape {
    /// `shape`: the axes of a sample, without the batch.
    pub fn new(shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into() }
    }
}

impl<F: Scalar> LayerSpec<F> for Reshape {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let layer = ReshapeLayer { shape: self.shape.clone() };
        layer.fit(input).map_err(|cause| Error::shape("Reshape", cause))?;
        Ok(Box::new(layer))
    }
}

/// What [`Reshape`] becomes.
#[derive(Debug, Clone)]
pub struct ReshapeLayer {
    shape: Shape,
}

impl ReshapeLayer {
    fn fit(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let (needed, shape) = (self.shape.numel(), &self.shape);
        if input.numel() == needed {
            return Ok(shape.clone());
        }
        let needs = format!("{needed} elements for the new shape {shape}");
        Err(ShapeError::new(needs, input).hint("the new shape needs as many elements as the old"))
    }
}

impl<F: Scalar> Layer<F> for ReshapeLayer {
    fn kind(&self) -> &'static str {
        "Reshape"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.fit(input)
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| y.copy_from_slice(&x));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let dy = door::slice(&pass.grad_output);
        if let Some(mut grad_input) = pass.grad_input {
            door::fill(&mut grad_input, |dx| dx.copy_from_slice(&dy));
        }
        Ok(())
    }

    fn only_reshapes(&self) -> bool {
        true
    }
}
