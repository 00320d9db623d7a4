//! From the views that a pass hands over to the slices that kernels want. A model's arrays are
//! contiguous and cost nothing here; a layer or loss called by hand with another layout pays for a copy.

use std::borrow::Cow;

use ndarray::{ArrayD, IxDyn};

use crate::{Param, Role, Scalar, View, ViewMut};

/// The elements in row-major order.
pub(crate) fn slice<'a, F: Scalar>(view: &'a View<'_, F>) -> Cow<'a, [F]> {
    match view.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(view.iter().copied().collect()),
    }
}

/// Lets `write` fill the elements in row-major order.
pub(crate) fn fill<F: Scalar, R>(
    view: &mut ViewMut<'_, F>,
    write: impl FnOnce(&mut [F]) -> R,
) -> R {
    if let Some(slice) = view.as_slice_mut() {
        return write(slice);
    }
    let mut copy = vec![F::zero(); view.len()];
    let result = write(&mut copy);
    for (to, from) in view.iter_mut().zip(copy) {
        *to = from;
    }
    result
}

/// Like [`fill`], for a `change` that reads what is there.
pub(crate) fn change<F: Scalar, R>(
    view: &mut ViewMut<'_, F>,
    change: impl FnOnce(&mut [F]) -> R,
) -> R {
    if let Some(slice) = view.as_slice_mut() {
        return change(slice);
    }
    let mut copy: Vec<F> = view.iter().copied().collect();
    let result = change(&mut copy);
    for (to, from) in view.iter_mut().zip(copy) {
        *to = from;
    }
    result
}

/// Multiplies and shifts each output of a layer `weight · x + bias` from now on; see [`crate::Layer::absorb_affine`].
pub(crate) fn absorb<F: Scalar>(
    weight: &mut Param<F>,
    bias: &mut Option<Param<F>>,
    scale: &[F],
    shift: &[F],
) -> bool {
    let outputs = weight.shape().first().copied().unwrap_or(0);
    if outputs == 0 || scale.len() != outputs || shift.len() != outputs {
        return false;
    }
    let row = weight.numel() / outputs;
    for (row, &scale) in weight.as_slice_mut().chunks_mut(row.max(1)).zip(scale) {
        row.iter_mut().for_each(|weight| *weight *= scale);
    }
    self::shift(bias, scale, shift);
    true
}

/// The bias of a layer whose outputs are multiplied and shifted from now on.
pub(crate) fn shift<F: Scalar>(bias: &mut Option<Param<F>>, scale: &[F], shift: &[F]) {
    let zeros = || Param::new(ArrayD::zeros(IxDyn(&[scale.len()])), Role::Bias);
    let bias = bias.get_or_insert_with(zeros);
    for ((bias, &scale), &shift) in bias.as_slice_mut().iter_mut().zip(scale).zip(shift) {
        *bias = *bias * scale + shift;
    }
}
