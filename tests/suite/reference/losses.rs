//! Losses: value and gradient by the prediction.

use layerwise::losses::{CrossEntropy, Mse, MulticlassHinge, Reduction};
use layerwise::ndarray::{ArrayD, Axis, Slice};
use layerwise::{Loss, Scalar};

use super::cases::Config;
use super::check::{Check, Done};

pub(super) fn reduction(config: Config<'_>) -> Result<Reduction, String> {
    match config.text("reduction")? {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        other => Err(format!("reduction {other}")),
    }
}

pub(super) fn check_cross_entropy<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let config = check.config();
    let mut loss = CrossEntropy::new().label_smoothing(config.number("label_smoothing")?);
    if config.flag("class_weights")? {
        loss =
            loss.class_weights(check.exact("class_weights")?.iter().copied().collect::<Vec<_>>());
    }
    if config.text("reduction")? == "none" {
        return check_each_row(check, loss.reduction(Reduction::Sum));
    }
    let target = check.classes("target")?;
    check_one(check, loss.reduction(reduction(config)?), &target[..])
}

/// PyTorch's reduction `none`: here a batch of one row for each loss, with its gradient scaled by `dy`.
fn check_each_row<F: Scalar>(check: &mut Check<'_, F>, loss: CrossEntropy) -> Done {
    let (x, dy, target) = (check.tensor("x")?, check.tensor("dy")?, check.classes("target")?);
    let (mut values, mut grads) = (Vec::new(), ArrayD::zeros(x.raw_dim()));
    for row in 0..x.len_of(Axis(0)) {
        let at = Slice::from(row..row + 1);
        let mut grad = grads.slice_axis_mut(Axis(0), at);
        let value =
            loss.value_and_grad(x.slice_axis(Axis(0), at), &target[row..=row], grad.view_mut())?;
        let factor = dy.as_slice().ok_or("dy is not contiguous")?[row];
        grad.mapv_inplace(|grad| grad * factor);
        values.push(value.widen());
    }
    check.same_elements("value", values)?;
    check.same("dx", &grads)
}

pub(super) fn check_hinge<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let config = check.config();
    let squared = match config.whole("p")? {
        1 => false,
        2 => true,
        p => return Err(format!("hinge to the power of {p}").into()),
    };
    if config.text("reduction")? != "mean over the batch" {
        return Err(format!("reduction {}", config.text("reduction")?).into());
    }
    let loss = MulticlassHinge::new().margin(config.number("margin")?).squared(squared);
    let target = check.classes("target")?;
    check_one(check, loss, &target[..])
}

pub(super) fn check_mse<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let loss = Mse::new().reduction(reduction(check.config())?);
    let target = check.tensor("target")?;
    check_one(check, loss, &*target)
}

/// A loss that is one number: with and without its gradient.
fn check_one<F: Scalar, L: Loss<F>>(check: &mut Check<'_, F>, loss: L, target: &L::Target) -> Done {
    let x = check.tensor("x")?;
    let mut grad = ArrayD::from_elem(x.raw_dim(), F::nan());
    let value = loss.value_and_grad(x.view(), target, grad.view_mut())?;
    check.same_elements("value", [value.widen()])?;
    check.same_elements("value", [loss.value(x.view(), target)?.widen()])?;
    check.same("dx", &grad)
}
