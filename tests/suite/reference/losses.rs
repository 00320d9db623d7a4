//! Losses: value and gradient by the prediction.

use layerwise::losses::{
    BinaryCrossEntropy, CrossEntropy, Huber, KlDivergence, Mae, Mse, MulticlassHinge, Nll,
    Reduction, SmoothL1, SoftCrossEntropy,
};
use layerwise::ndarray::{ArrayD, ArrayRef, Axis, IxDyn, Slice};
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
        loss = loss.class_weights(weights(check, "class_weights")?);
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

pub(super) fn check_nll<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let mut loss = Nll::new().reduction(reduction(check.config())?);
    if check.config().flag("class_weights")? {
        loss = loss.class_weights(weights(check, "class_weights")?);
    }
    let target = check.classes("target")?;
    check_one(check, loss, &target[..])
}

pub(super) fn check_soft<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let smoothing = check.config().number("label_smoothing")?;
    check_values(
        check,
        SoftCrossEntropy::new().label_smoothing(smoothing),
        SoftCrossEntropy::reduction,
    )
}

pub(super) fn check_mse<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check_values(check, Mse::new(), Mse::reduction)
}

pub(super) fn check_mae<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check_values(check, Mae::new(), Mae::reduction)
}

pub(super) fn check_huber<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check_values(check, Huber::new(check.config().number("delta")?), Huber::reduction)
}

pub(super) fn check_smooth_l1<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check_values(check, SmoothL1::new(check.config().number("beta")?), SmoothL1::reduction)
}

pub(super) fn check_bce<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check_values(check, BinaryCrossEntropy::from_probabilities(), BinaryCrossEntropy::reduction)
}

pub(super) fn check_bce_with_logits<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let mut loss = BinaryCrossEntropy::new();
    if check.config().flag("pos_weight")? {
        loss = loss.pos_weight(weights(check, "pos_weight")?);
    }
    if check.config().text("reduction")? == "none" {
        return check_each_element(check, loss.reduction(Reduction::Sum));
    }
    check_values(check, loss, BinaryCrossEntropy::reduction)
}

/// PyTorch's `mean` divides by the classes as well; the crate's is its `batchmean`.
pub(super) fn check_kl<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    if check.config().flag("log_target")? {
        return Err("targets that are logarithms".into());
    }
    let (reduction, classes) = match check.config().text("reduction")? {
        "batchmean" => (Reduction::Mean, 1),
        "mean" => (Reduction::Mean, check.exact("x")?.len_of(Axis(1))),
        "sum" => (Reduction::Sum, 1),
        other => return Err(format!("reduction {other}").into()),
    };
    let (x, target) = (check.tensor("x")?, check.tensor("target")?);
    let mut grad = x.clone();
    let loss = KlDivergence::new().reduction(reduction);
    let value = loss.value_and_grad(x.view(), &target, grad.view_mut())?;
    let classes = F::lit(classes as f64);
    check.same_elements("value", [(value / classes).widen()])?;
    check.same_elements("value", [(loss.value(x.view(), &target)? / classes).widen()])?;
    check.same("dx", &(grad / classes))
}

fn weights<F: Scalar>(check: &mut Check<'_, F>, name: &str) -> Result<Vec<f64>, String> {
    Ok(check.exact(name)?.iter().copied().collect())
}

/// A loss that compares with values, under the case's reduction.
fn check_values<F: Scalar, L: Loss<F, Target = ArrayRef<F, IxDyn>>>(
    check: &mut Check<'_, F>,
    loss: L,
    set: fn(L, Reduction) -> L,
) -> Done {
    let loss = set(loss, reduction(check.config())?);
    let target = check.tensor("target")?;
    check_one(check, loss, &*target)
}

/// PyTorch's reduction `none` of a loss by element: here one call for each.
fn check_each_element<F: Scalar>(check: &mut Check<'_, F>, loss: BinaryCrossEntropy) -> Done {
    let (x, dy, target) = (check.tensor("x")?, check.tensor("dy")?, check.tensor("target")?);
    let (mut values, mut grads) = (Vec::new(), x.clone());
    for (((grad, &x), &t), &dy) in grads.iter_mut().zip(&x).zip(&target).zip(&dy) {
        let one = |x: F| ArrayD::from_elem(IxDyn(&[1]), x);
        let mut place = one(F::nan());
        values.push(loss.value_and_grad(one(x).view(), &one(t), place.view_mut())?.widen());
        *grad = dy * place[0];
    }
    check.same_elements("value", values)?;
    check.same("dx", &grads)
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
