//! Axes in another order.

use super::door;
use crate::kernels::permute::{self, Plan};
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Puts a sample's axes into another order: axis `order[i]` becomes axis `i`.
///
/// # Shape
/// input `[n, d₀, d₁, ..]` → output `[n, d_order[0], d_order[1], ..]`. The batch stays in front.
///
/// # Examples
/// Images with their channels last, as TensorFlow and image files have them, for a convolution:
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([28, 30, 3]).add(Permute::new([2, 0, 1])).add(Conv2d::new(8, 3)).build()?;
/// assert_eq!(model.output_shape().dims(), [8, 26, 28]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless `order` names each axis of a sample once.
///
/// Axes are counted from 0 without the batch; Keras's layer of this name counts them from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Permute {
    order: Vec<usize>,
}

impl Permute {
    /// The axes, counted from 0 without the batch, in their new order.
    pub fn new(order: impl Into<Vec<usize>>) -> Self {
        Self { order: order.into() }
    }
}

impl<F: Scalar> LayerSpec<F> for Permute {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..input.rank()) {
            let got = format!("{:?} for {input}", self.order);
            let must_be = "every axis of a sample once, counted from 0";
            return Err(Error::config("Permute", "order", must_be, got));
        }
        let dims = input.dims();
        let output: Vec<usize> = self.order.iter().map(|&axis| dims[axis]).collect();
        let mut back = vec![0; sorted.len()];
        for (to, &from) in self.order.iter().enumerate() {
            back[from] = to;
        }
        Ok(Box::new(PermuteLayer {
            input: input.clone(),
            forward: Plan::new(dims, &self.order),
            backward: Plan::new(&output, &back),
            output: output.into(),
        }))
    }
}

/// What [`Permute`] becomes.
#[derive(Debug, Clone)]
pub struct PermuteLayer {
    input: Shape,
    output: Shape,
    forward: Plan,
    backward: Plan,
}

impl<F: Scalar> Layer<F> for PermuteLayer {
    fn kind(&self) -> &'static str {
        "Permute"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "the shape it was built for").map(|_| self.output.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| permute::permute(&self.forward, &x, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let dy = door::slice(&pass.grad_output);
        door::fill(&mut grad_input, |dx| permute::permute(&self.backward, &dy, dx));
        Ok(())
    }

    fn only_reshapes(&self) -> bool {
        self.forward.is_identity()
    }
}
