//! Two parameters whose gradients a test sets, under a real driver.

use layerwise::ndarray::ArrayD;
use layerwise::{
    Backward, EntryMut, Forward, Layer, Param, Result, Role, Scalar, Sequential, SequentialBuilder,
    Shape, ShapeError, VisitorMut, layer_params,
};

/// Passes its input on and holds two parameters.
#[derive(Debug, Clone)]
struct Held<F: Scalar> {
    w: Param<F>,
    b: Param<F>,
}

impl<F: Scalar> Layer<F> for Held<F> {
    fn kind(&self) -> &'static str {
        "Held"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        pass.output.assign(&pass.input);
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        if let Some(mut grad_input) = pass.grad_input {
            grad_input.assign(&pass.grad_output);
        }
        Ok(())
    }

    layer_params!(F; w, b);
}

/// A model whose parameters are `0.w` and `0.b`.
pub(super) fn model<F: Scalar>(w: ArrayD<F>, b: ArrayD<F>) -> Result<Sequential<F>> {
    let held = Held { w: Param::new(w, Role::Weight), b: Param::new(b, Role::Bias) };
    SequentialBuilder::<F>::new([1]).add_layer(held).build()
}

/// Sets both gradients, as a backward would.
pub(super) fn set_grads<F: Scalar>(model: &mut Sequential<F>, w: &ArrayD<F>, b: &ArrayD<F>) {
    model.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
        if let EntryMut::Param(param) = entry
            && let Some(mut grad) = param.grad_mut()
        {
            grad.assign(if name.to_string() == "0.w" { w } else { b });
        }
    }));
}
