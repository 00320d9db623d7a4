//! Losses that are a sum over elements.

use super::parallel::{self, Cost, Read, Write};
use super::reduce;
use super::simd::multiversion;
use crate::Scalar;

/// What one element adds to a loss, and its derivative by the prediction. Both are `#[inline(always)]` and without
/// branches, like [`super::elementwise::Formula`].
pub trait Element: Sync {
    /// The loss of prediction `p` for target `t`.
    fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F;
    /// Its derivative by `p`.
    fn derivative<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F;
    /// What both take for so many elements.
    fn cost(len: usize) -> Cost {
        Cost::elements(8 * len)
    }
}

/// Elements summed in `F` before they go into an `f64`.
const PIECE: usize = 4096;

/// Elements whose losses lie on the stack.
const STRIP: usize = 256;

/// Most tasks; their sums lie on the stack.
const TASKS: usize = 64;

multiversion! {
    /// Each element's loss, as far as both go.
    fn losses<F: Scalar, E: Element>(element: &E, p: &[F], t: &[F], losses: &mut [F]) {
        for ((loss, &p), &t) in losses.iter_mut().zip(p).zip(t) {
            *loss = element.loss::<F, FUSED>(p, t);
        }
    }

    fn derivatives<F: Scalar, E: Element>(element: &E, factor: F, p: &[F], t: &[F], grad: &mut [F]) {
        for ((grad, &p), &t) in grad.iter_mut().zip(p).zip(t) {
            *grad = factor * element.derivative::<F, FUSED>(p, t);
        }
    }
}

fn sum<F: Scalar, E: Element>(element: &E, p: &[F], t: &[F]) -> F {
    let (mut strip, mut sum) = ([F::zero(); STRIP], F::zero());
    for (p, t) in p.chunks(STRIP).zip(t.chunks(STRIP)) {
        let strip = &mut strip[..p.len()];
        losses(element, p, t, strip);
        let [part, _] = reduce::deviations(strip, F::zero());
        sum += part;
    }
    sum
}

/// `Σ loss(p, t)`; and the derivatives times a factor, if there is room for them.
pub fn total<F: Scalar, E: Element>(
    element: &E,
    p: &[F],
    t: &[F],
    grad: Option<(F, &mut [F])>,
) -> f64 {
    let mut sums = [0.0; TASKS];
    let (size, cost) = (task(p.len()), E::cost(p.len()));
    let sums_used = &mut sums[..p.len().div_ceil(size)];
    let (p, t) = (Read(p, size), Read(t, size));
    match grad {
        None => parallel::chunks((p, t, Write(sums_used, 1)), cost, |_, (p, t, total)| {
            for (p, t) in p.chunks(PIECE).zip(t.chunks(PIECE)) {
                total[0] += sum(element, p, t).widen();
            }
        }),
        Some((factor, grad)) => {
            let pieces = (p, t, Write(grad, size), Write(sums_used, 1));
            parallel::chunks(pieces, cost, |_, (p, t, grad, total)| {
                let grads = grad.chunks_mut(PIECE);
                for ((p, t), grad) in p.chunks(PIECE).zip(t.chunks(PIECE)).zip(grads) {
                    total[0] += sum(element, p, t).widen();
                    derivatives(element, factor, p, t, grad);
                }
            });
        }
    }
    sums.iter().sum()
}

/// Elements of a task: whole pieces, and not too many tasks.
fn task(len: usize) -> usize {
    len.div_ceil(TASKS).next_multiple_of(PIECE).max(PIECE)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Squared;

    impl Element for Squared {
        fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
            (p - t) * (p - t)
        }
        fn derivative<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
            p - t + p - t
        }
    }

    #[test]
    fn sums_and_derivatives_equal_the_plain_ones_however_they_are_cut() {
        for len in [1, 31, 32, 33, PIECE, PIECE + 1, 64 * PIECE + 7, 200 * PIECE + 3] {
            // Small whole numbers: every order of summing is exact.
            let p: Vec<f64> = (0..len).map(|i| (i * 7 % 13) as f64).collect();
            let t: Vec<f64> = (0..len).map(|i| (i * 5 % 11) as f64).collect();
            let want: f64 = p.iter().zip(&t).map(|(p, t)| (p - t) * (p - t)).sum();
            let mut grad = vec![f64::NAN; len];
            assert_eq!(total(&Squared, &p, &t, None), want);
            assert_eq!(total(&Squared, &p, &t, Some((0.5, &mut grad))), want);
            assert!((0..len).all(|i| grad[i] == p[i] - t[i]));
        }
    }
}
