//! Transposed convolution: the passes of the convolution that goes the other way.
//!
//! The [`Plan`] is that of the convolution from the output `y` to the input `x`: its `input` and `channels` are those of
//! `y`, its `output` and `filters` those of `x`. Its weight `[filters][channels / groups][kh][kw]` is ours unchanged.

use super::conv::{self, Finish, Plan, Source};
use super::elementwise::shift;
use super::parallel::{self, Cost, Write};
use super::reduce;
use crate::Scalar;

/// Elements of scratch memory that [`forward`] needs.
pub fn forward_scratch<T: Scalar>(plan: &Plan, n: usize) -> usize {
    plan.backward_input_scratch::<T>(n, false)
}

/// Elements of scratch memory that [`backward_weight`] needs.
pub fn backward_weight_scratch<T: Scalar>(plan: &Plan, n: usize) -> usize {
    plan.backward_weight_scratch::<T>(n, false)
}

/// Elements of scratch memory that [`backward_input`] needs.
pub fn backward_input_scratch<T: Scalar>(plan: &Plan, n: usize) -> usize {
    plan.forward_scratch::<T>(n)
}

/// `y` from `x`, and a bias on every plane.
pub fn forward<T: Scalar>(
    plan: &Plan,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    scratch: &mut [T],
) {
    conv::backward_input(plan, weight, Source::all(x), y, scratch);
    let Some(bias) = bias else { return };
    let plane = plan.geometry.input[0] * plan.geometry.input[1];
    let cost = Cost::elements(2 * y.len());
    parallel::chunks(Write(y, plane), cost, |i, y| shift(bias[i % bias.len()], y));
}

/// Adds the gradients by weight and bias.
pub fn backward_weight<T: Scalar>(
    plan: &Plan,
    x: &[T],
    dy: &[T],
    dw: Option<&mut [T]>,
    db: Option<&mut [T]>,
    scratch: &mut [T],
) {
    if dw.is_some() {
        conv::backward_weight(plan, dy, Source::all(x), dw, None, scratch);
    }
    if let Some(db) = db {
        reduce::add_plane_sums(dy, plan.geometry.input[0] * plan.geometry.input[1], db);
    }
}

/// Gradient by the input: the convolution itself.
pub fn backward_input<T: Scalar>(
    plan: &Plan,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    scratch: &mut [T],
) {
    conv::forward(plan, dy, weight, Finish::NOTHING, dx, scratch);
}
