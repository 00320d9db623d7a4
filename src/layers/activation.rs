//! From an element-wise function to a layer.

use std::any::TypeId;

use super::door;
use crate::activations::Relu;
use crate::kernels::elementwise::PIECE;
use crate::kernels::parallel::{self, Cost, Read, Write};
use crate::{
    Activation, Backward, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError,
};

/// What an [`Activation`] becomes in a model: it is applied element by element, in parallel.
///
/// # Shape
/// input `[n, ..]` → the same.
#[derive(Debug, Clone)]
pub struct ActivationLayer<A>(A);

impl<F: Scalar, A: Activation + Clone + 'static> LayerSpec<F> for A {
    fn build(&self, _input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.check()?;
        Ok(Box::new(ActivationLayer(self.clone())))
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let missing = || crate::persist::Record::missing(format!("{self:?}"));
        Activation::record(self).or_else(|| crate::persist::record(self)).unwrap_or_else(missing)
    }
}

impl<F: Scalar, A: Activation + Clone + 'static> Layer<F> for ActivationLayer<A> {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn is_relu(&self) -> bool {
        TypeId::of::<A>() == TypeId::of::<Relu>()
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| apply(&self.0, &x, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let (x, y, dy) =
            (door::slice(&pass.input), door::slice(&pass.output), door::slice(&pass.grad_output));
        door::fill(&mut grad_input, |dx| apply_backward(&self.0, &x, &y, &dy, dx));
        Ok(())
    }
}

/// `y = a(x)`, in parallel.
pub(super) fn apply<F: Scalar>(activation: &impl Activation, x: &[F], y: &mut [F]) {
    let cost = Cost::elements(4 * x.len());
    parallel::chunks((Read(x, PIECE), Write(y, PIECE)), cost, |_, (x, y)| activation.forward(x, y));
}

/// `dx = a'(x) · dy`, in parallel.
pub(super) fn apply_backward<F: Scalar>(
    activation: &impl Activation,
    x: &[F],
    y: &[F],
    dy: &[F],
    dx: &mut [F],
) {
    let pieces = (Read(x, PIECE), Read(y, PIECE), Read(dy, PIECE), Write(dx, PIECE));
    parallel::chunks(pieces, Cost::elements(4 * x.len()), |_, (x, y, dy, dx)| {
        activation.backward(x, y, dy, dx);
    });
}
