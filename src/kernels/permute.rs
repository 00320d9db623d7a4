//! Reordering axes: a copy in which every axis of a sample takes another place.

use super::parallel::{self, Cost, Read, Write};
use super::transpose;
use crate::Scalar;

/// Elements of a task.
const TASK: usize = 16 * 1024;
/// Side of the squares that a transposition goes through: their cache lines stay in L1.
const SQUARE: usize = 16;

/// How a sample's elements move. Axes that stay together are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Length of each axis of the result.
    lens: Vec<usize>,
    /// How far apart the source has an axis's elements.
    strides: Vec<usize>,
}

impl Plan {
    /// For samples of shape `dims`, of which axis `order[i]` becomes axis `i`: a permutation.
    pub fn new(dims: &[usize], order: &[usize]) -> Self {
        let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
        let (mut lens, mut strides) = (Vec::<usize>::new(), Vec::<usize>::new());
        // An axis of one element moves nothing.
        for &axis in order.iter().filter(|&&axis| dims[axis] > 1) {
            match (lens.last_mut(), strides.last_mut()) {
                (Some(len), Some(outer)) if *outer == dims[axis] * stride(axis) => {
                    (*len, *outer) = (*len * dims[axis], stride(axis));
                }
                _ => {
                    lens.push(dims[axis]);
                    strides.push(stride(axis));
                }
            }
        }
        Self { lens, strides }
    }

    /// Whether every element stays where it is.
    pub fn is_identity(&self) -> bool {
        self.strides.len() <= 1
    }

    fn sample(&self) -> usize {
        self.lens.iter().product()
    }
}

/// Writes each sample of `x` in its new order.
pub fn permute<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F]) {
    let size = plan.sample();
    let task = (TASK / size).max(1) * size;
    // A permutation reads or writes in short pieces.
    let cost = Cost::elements(4 * x.len());
    parallel::chunks((Read(x, task), Write(y, task)), cost, |_, (x, y)| {
        for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
            one(plan, x, y);
        }
    });
}

fn one<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F]) {
    match (&plan.lens[..], &plan.strides[..]) {
        ([] | [_], _) => y.copy_from_slice(x),
        (&[_, rows], &[1, stride]) => {
            transpose::pack(F::micro(), x, stride, rows, rows, y);
        }
        (&[ref outer @ .., len], &[ref strides @ .., 1]) => {
            for (i, y) in y.chunks_exact_mut(len).enumerate() {
                y.copy_from_slice(&x[source(i, outer, strides)..][..len]);
            }
        }
        _ => squares(plan, x, y),
    }
}

/// Where element number `i` of some axes begins in the source.
fn source(mut i: usize, lens: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (&len, &stride) in lens.iter().zip(strides).rev() {
        at += i % len * stride;
        i /= len;
    }
    at
}

/// The last axis of the source and that of the result differ: squares of both, for every place of the other axes.
fn squares<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F]) {
    let last = plan.lens.len() - 1;
    let (width, stride) = (plan.lens[last], plan.strides[last]);
    let axis = plan.strides.iter().position(|&stride| stride == 1).unwrap_or(last);
    let (before, within) = (&plan.lens[..axis], &plan.lens[axis + 1..last]);
    let inner: usize = within.iter().product();
    for (outer, y) in y.chunks_exact_mut(plan.lens[axis] * inner * width).enumerate() {
        let first = source(outer, before, &plan.strides[..axis]);
        for place in 0..inner {
            let x = &x[first + source(place, within, &plan.strides[axis + 1..last])..];
            for i0 in (0..plan.lens[axis]).step_by(SQUARE) {
                for j0 in (0..width).step_by(SQUARE) {
                    for i in i0..plan.lens[axis].min(i0 + SQUARE) {
                        let row = &mut y[(i * inner + place) * width..][..width];
                        for (j, y) in row.iter_mut().enumerate().take(j0 + SQUARE).skip(j0) {
                            *y = x[i + j * stride];
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order of the axes below `count`.
    fn orders(count: usize) -> Vec<Vec<usize>> {
        if count == 0 {
            return vec![vec![]];
        }
        let shorter = orders(count - 1);
        (0..count)
            .flat_map(|at| {
                shorter.iter().map(move |order| {
                    let mut order = order.clone();
                    order.insert(at, count - 1);
                    order
                })
            })
            .collect()
    }

    #[test]
    fn every_order_of_up_to_four_axes_equals_ndarray_s() {
        for dims in [
            vec![5],
            vec![3, 1],
            vec![17, 33],
            vec![4, 20, 18],
            vec![2, 3, 17, 5],
            vec![2, 1, 3, 2],
        ] {
            for order in orders(dims.len()) {
                let shape = [&[3], &dims[..]].concat();
                let x = ndarray::ArrayD::from_shape_fn(shape, |index| {
                    (0..dims.len() + 1).fold(0.0, |number, axis| number * 40.0 + index[axis] as f64)
                });
                let axes: Vec<usize> =
                    std::iter::once(0).chain(order.iter().map(|axis| axis + 1)).collect();
                let want: Vec<f64> = x.view().permuted_axes(axes).iter().copied().collect();
                let mut y = vec![f64::NAN; want.len()];
                permute(&Plan::new(&dims, &order), x.as_slice().unwrap(), &mut y);
                assert_eq!(y, want, "{dims:?} as {order:?}");
            }
        }
    }

    #[test]
    fn axes_that_stay_together_are_one() {
        let plan = Plan::new(&[3, 4, 5], &[1, 2, 0]);
        assert_eq!((plan.lens, plan.strides), (vec![20, 3], vec![1, 20]));
        assert!(Plan::new(&[3, 1, 5], &[1, 0, 2]).is_identity());
        assert!(!Plan::new(&[3, 4], &[1, 0]).is_identity());
    }
}
