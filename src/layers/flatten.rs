//! Images to features.

use super::door;
use crate::{Backward, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Makes one axis of all: what a [`super::Linear`] needs after images.
///
/// A model passes the memory on under the new shape: nothing is copied.
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, channels · height · width]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([16, 5, 5]).add(Flatten).build()?;
/// assert_eq!(model.output_shape().dims(), [400]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Flatten;

impl<F: Scalar> LayerSpec<F> for Flatten {
    fn build(&self, _input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        Ok(Box::new(FlattenLayer))
    }
}

/// What [`Flatten`] becomes.
#[derive(Debug, Clone)]
pub struct FlattenLayer;

impl<F: Scalar> Layer<F> for FlattenLayer {
    fn kind(&self) -> &'static str {
        "Flatten"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok([input.numel()].into())
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
