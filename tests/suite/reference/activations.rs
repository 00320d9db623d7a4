//! Activations, on ordinary inputs and on the largest and smallest.

use layerwise::Scalar;
use layerwise::ndarray::{ArrayD, Axis};

use super::check::{Check, Done};
use super::layers::single;

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (x, dy) = (check.tensor("x")?, check.tensor("dy")?);
    let (y, dx) = apply(check, &x, dy)?;
    check.same("y", &y)?;
    check.same("dx", &dx)
}

/// Element by element against the true values, where the case has them.
pub(super) fn check_extreme<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (x, dy) = (check.tensor("x")?, check.tensor("dy")?);
    let (y, dx) = apply(check, &x, dy)?;
    let mut want_y = values(check, "y")?;
    let mut want_dx = values(check, "dx")?;
    // At a kink the derivative is a convention; the crate's is PyTorch's.
    let torch = values(check, "dx")?;
    if check.has("y_exact") {
        want_y = values(check, "y_exact")?;
    }
    if check.has("dx_exact") {
        want_dx = values(check, "dx_exact")?;
    }
    if check.has("kink") {
        for (i, kink) in values(check, "kink")?.into_iter().enumerate() {
            if kink == 1.0 {
                want_dx[i] = torch[i];
            }
        }
    }
    follow_rounding(check, &x, &mut want_dx)?;
    check.same_each("y", &want_y, &y);
    check.same_each("dx", &want_dx, &dx);
    Ok(())
}

/// Output and input gradient of the case's activation, in the shapes of `dy` and `x`.
fn apply<F: Scalar>(
    check: &mut Check<'_, F>,
    x: &ArrayD<F>,
    dy: ArrayD<F>,
) -> Result<(ArrayD<F>, ArrayD<F>), Box<dyn std::error::Error>> {
    // A batch needs an axis for its samples' elements.
    let rows = if x.ndim() == 1 { x.clone().insert_axis(Axis(1)) } else { x.clone() };
    let mut model = single(check, &rows.shape()[1..])?;
    if check.has("alpha") {
        model.set_value("0.weight", &check.tensor("alpha")?)?;
    }
    let y = model.forward(rows.view())?.to_owned();
    let shape = dy.raw_dim();
    let dy = dy.into_shape_with_order(y.raw_dim())?;
    let dx = model.backward_to_input(dy.view())?.to_owned();
    if check.has("dalpha") {
        let weight = model.param("0.weight").ok_or("the slopes are gone")?;
        check.same("dalpha", &weight.grad().ok_or("no gradient")?.to_owned())?;
    }
    Ok((y.into_shape_with_order(shape)?, dx.into_shape_with_order(x.raw_dim())?))
}

fn values<F: Scalar>(check: &mut Check<'_, F>, name: &str) -> Result<Vec<f64>, String> {
    Ok(check.exact(name)?.iter().copied().collect())
}

/// Inputs that vanish in `F` are zero for the crate: the derivative there is the one at zero of that sign.
fn follow_rounding<F: Scalar>(check: &mut Check<'_, F>, x: &ArrayD<F>, dx: &mut [f64]) -> Done {
    let exact = values(check, "x")?;
    for (i, rounded) in x.iter().enumerate() {
        if *rounded == F::zero() && exact[i] != 0.0 {
            let zero = |x: &f64| *x == 0.0 && x.is_sign_negative() == exact[i].is_sign_negative();
            dx[i] = dx[exact.iter().position(zero).ok_or("an input vanishes, and none is zero")?];
        }
    }
    Ok(())
}
