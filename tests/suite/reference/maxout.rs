//! Dense maxout, whose weight the cases keep piece by piece.

use layerwise::Scalar;
use layerwise::ndarray::{ArrayD, Axis};

use super::check::{Check, Done};
use super::layers::single;

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let x = check.tensor("x")?;
    let pieces = check.config().whole("pieces")?;
    let mut model = single(check, &x.shape()[1..])?;
    for name in ["weight", "bias"] {
        model.set_value(&format!("0.{name}"), &by_output(check.tensor(name)?)?)?;
    }
    let y = model.forward(x.view())?.to_owned();
    check.same("y", &y)?;
    let dy = check.tensor("dy")?;
    let dx = model.backward_to_input(dy.view())?.to_owned();
    check.same("dx", &dx)?;
    for name in ["weight", "bias"] {
        let param = model.param(&format!("0.{name}")).ok_or("the parameter is gone")?;
        let grad = param.grad().ok_or_else(|| format!("{name} got no gradient"))?.to_owned();
        check.same(&format!("d{name}"), &by_piece(grad, pieces)?)?;
    }
    Ok(())
}

/// From `[pieces, out, ..]` to `[out · pieces, ..]`.
fn by_output<F: Scalar>(by_piece: ArrayD<F>) -> Result<ArrayD<F>, Box<dyn std::error::Error>> {
    let mut swapped = by_piece;
    swapped.swap_axes(0, 1);
    let rows = swapped.len_of(Axis(0)) * swapped.len_of(Axis(1));
    let shape = [&[rows], &swapped.shape()[2..]].concat();
    Ok(swapped.as_standard_layout().into_owned().into_shape_with_order(shape)?)
}

/// From `[out · pieces, ..]` to `[pieces, out, ..]`.
fn by_piece<F: Scalar>(
    by_output: ArrayD<F>,
    pieces: usize,
) -> Result<ArrayD<F>, Box<dyn std::error::Error>> {
    let outputs = by_output.len_of(Axis(0)) / pieces;
    let shape = [&[outputs, pieces], &by_output.shape()[1..]].concat();
    let mut swapped = by_output.into_shape_with_order(shape)?;
    swapped.swap_axes(0, 1);
    Ok(swapped.as_standard_layout().into_owned())
}
