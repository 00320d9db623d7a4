//! Layers: output, gradients by input and parameters, running statistics.

use layerwise::ndarray::ArrayD;
use layerwise::{Entry, Scalar, Sequential, SequentialBuilder, Visitor};

use super::check::{Check, Done};
use super::specs::spec;

/// A model of nothing but the case's layer.
pub(super) fn single<F: Scalar>(
    check: &Check<'_, F>,
    sample: &[usize],
) -> Result<Sequential<F>, Box<dyn std::error::Error>> {
    let kind = &check.case.kind;
    let spec =
        spec::<F>(kind, check.config())?.ok_or_else(|| format!("no layer for the kind {kind}"))?;
    Ok(SequentialBuilder::<F>::new(sample).add(spec).build()?)
}

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let x = check.tensor("x")?;
    let mut model = single(check, &x.shape()[1..])?;
    let (params, buffers) = entries(&model);
    for name in params.iter().chain(&buffers) {
        let value = check.tensor(&theirs(&check.case.kind, name))?;
        model.set_value(&format!("0.{name}"), value.view())?;
    }
    let training = buffers.is_empty() || check.config().text("mode")? == "train";
    if !training {
        model.eval();
    }
    let y = model.forward(x.view())?.to_owned();
    same_output(check, &y)?;
    if buffers.is_empty() || !training {
        let predicted = model.predict(x.view())?;
        same_output(check, &predicted)?;
    }
    let dy = check.tensor("dy")?.into_shape_with_order(y.raw_dim())?;
    let dx = model.backward_to_input(dy.view())?.to_owned();
    check.same("dx", &dx)?;
    same_grads(check, &model, &params)?;
    for name in &buffers {
        let value = model.value(&format!("0.{name}")).ok_or("the buffer is gone")?;
        // In eval mode they stand still.
        check.same(&if training { format!("{name}_after") } else { name.clone() }, &value)?;
    }
    if check.case.kind == "maxpool2d" {
        // The layer does not show which element won; `dx` does. Among equal ones both take the first.
        check.set_aside("indices");
    }
    Ok(())
}

/// Ids in place of `x`, and no gradient by them.
pub(super) fn check_embedding<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let ids = check.tensor("ids")?;
    let mut model = single(check, &ids.shape()[1..])?;
    model.set_value("0.weight", check.tensor("weight")?.view())?;
    let y = model.forward(ids.view())?.to_owned();
    check.same("y", &y)?;
    let dx = model.backward_to_input(check.tensor("dy")?.view())?;
    if dx.shape() != ids.shape() || dx.iter().any(|&dx| dx != F::zero()) {
        return Err("the gradient by ids is not 0".into());
    }
    same_grads(check, &model, &["weight".into()])
}

fn same_grads<F: Scalar>(
    check: &mut Check<'_, F>,
    model: &Sequential<F>,
    params: &[String],
) -> Done {
    for name in params {
        let param = model.param(&format!("0.{name}")).ok_or("the parameter is gone")?;
        let grad = param.grad().ok_or_else(|| format!("{name} got no gradient"))?.to_owned();
        check.same(&format!("d{}", theirs(&check.case.kind, name)), &grad)?;
    }
    Ok(())
}

fn same_output<F: Scalar>(check: &mut Check<'_, F>, y: &ArrayD<F>) -> Done {
    if check.case.kind == "global_avgpool2d" {
        // Ours is `[n, channels]`, without PyTorch's two axes of length 1.
        return check.same_elements("y", y.iter().map(|&value| value.widen()));
    }
    check.same("y", y)
}

/// Names of the layer's parameters and of its buffers.
fn entries<F: Scalar>(model: &Sequential<F>) -> (Vec<String>, Vec<String>) {
    let (mut params, mut buffers) = (Vec::new(), Vec::new());
    model.visit(&mut Visitor::new(&mut |name, entry| {
        let name = name.to_string().trim_start_matches("0.").to_owned();
        match entry {
            Entry::Param(_) => params.push(name),
            _ => buffers.push(name),
        }
    }));
    (params, buffers)
}

/// The case's name for a parameter or buffer.
fn theirs(kind: &str, ours: &str) -> String {
    match (kind.contains("norm"), ours) {
        (true, "weight") => "gamma",
        (true, "bias") => "beta",
        (false, "weight") if kind == "prelu" => "alpha",
        (_, other) => other,
    }
    .into()
}

/// The case's mask cannot be forced upon the layer, which draws its own. So: the formula
/// `y = x · mask / (1 − p)`, `dx = dy · mask / (1 − p)` is compared with the case for the case's mask, and
/// with the layer for the layer's mask, on the case's `x`, `dy` and `p`.
pub(super) fn check_dropout<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let scale = 1.0 / (1.0 - check.config().number("p")?);
    let (x, dy) = (check.tensor("x")?, check.tensor("dy")?);
    let (exact_x, exact_dy) = (check.exact("x")?, check.exact("dy")?);
    let mask = check.exact("mask")?;
    check.same_elements("y", exact_x * mask * scale)?;
    check.same_elements("dx", exact_dy * mask * scale)?;

    let mut model = single(check, &x.shape()[1..])?;
    let ones = ArrayD::from_elem(x.raw_dim(), F::one());
    let drawn = model.forward(ones.view())?.mapv(|y| if y > F::zero() { 1.0 } else { 0.0 });
    // The same pass number draws the same mask.
    model.set_passes(0);
    let y = model.forward(x.view())?.to_owned();
    check.same_values("y for the drawn mask", &(exact_x * &drawn * scale), widened(&y));
    let dx = model.backward_to_input(dy.view())?.to_owned();
    check.same_values("dx for the drawn mask", &(exact_dy * &drawn * scale), widened(&dx));
    let predicted = model.predict(x.view())?;
    check.same_values("y in eval mode", exact_x, widened(&predicted));
    Ok(())
}

fn widened<F: Scalar>(array: &ArrayD<F>) -> impl Iterator<Item = f64> {
    array.iter().map(|&value| value.widen())
}
