//! Element by element: activations, masks, axpy.

use super::parallel::{self, Cost, Read, Write};
use super::simd::multiversion;
use crate::{Scalar, Seed};

/// Elements of a task: 64 KiB of `f32`.
pub const PIECE: usize = 16 * 1024;

/// An element-wise function and its derivative, for one element. Both are `#[inline(always)]` and branch only to choose
/// between two values, so that the compiler makes vector code of the loops around them.
pub trait Formula {
    /// `f(x)`
    fn value<F: Scalar>(&self, x: F) -> F;
    /// `f'(x) · dy`, where `y = f(x)`.
    fn gradient<F: Scalar>(&self, x: F, y: F, dy: F) -> F;
}

/// `x`, or the nearer of two limits if it is not between them. NaN stays NaN.
#[inline(always)]
pub fn between<F: Scalar>(low: F, high: F, x: F) -> F {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

multiversion! {
    /// `y = f(x)`
    pub fn apply<F: Scalar, A: Formula>(formula: &A, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = formula.value(x);
        }
    }

    /// `dx = f'(x) · dy`, where `y = f(x)`.
    pub fn apply_backward<F: Scalar, A: Formula>(formula: &A, x: &[F], y: &[F], dy: &[F], dx: &mut [F]) {
        for (((dx, &dy), &y), &x) in dx.iter_mut().zip(dy).zip(y).zip(x) {
            *dx = formula.gradient(x, y, dy);
        }
    }

    /// `x *= factor`
    pub fn scale<F: Scalar>(factor: F, x: &mut [F]) {
        for x in x {
            *x *= factor;
        }
    }

    /// `x += term`
    pub fn shift<F: Scalar>(term: F, x: &mut [F]) {
        for x in x {
            *x += term;
        }
    }

    /// Moves each element into `−limit ..= limit`.
    pub fn clamp<F: Scalar>(limit: F, x: &mut [F]) {
        for x in x {
            *x = x.max(-limit).min(limit);
        }
    }

    /// `y += factor · x`
    pub fn axpy<F: Scalar>(factor: F, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += factor * x;
        }
    }

    /// `y += factor · sign(x)`, with `sign(0) = 0`.
    pub fn add_sign<F: Scalar>(factor: F, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let up = if x > F::zero() { factor } else { F::zero() };
            let down = if x < F::zero() { factor } else { F::zero() };
            *y += up - down;
        }
    }

    /// `y[i] = x[i] · factor` where random number `first + i` of `seed` is below `keep`, else 0. Each 64
    /// bits of the stream decide two elements; `first` is even.
    fn mask<F: Scalar>(seed: Seed, keep: u32, factor: F, first: usize, x: &[F], y: &mut [F]) {
        for (pair, (y, x)) in y.chunks_mut(2).zip(x.chunks(2)).enumerate() {
            let bits = seed.bits((first / 2 + pair) as u64);
            // The low and the high half.
            let halves = [bits as u32, (bits >> 32) as u32];
            for ((y, &x), half) in y.iter_mut().zip(x).zip(halves) {
                *y = if half < keep { x * factor } else { F::zero() };
            }
        }
    }
}

/// Inverted dropout: each element is kept with probability `keep` and then multiplied by `1 / keep`.
/// The backward is the same function on the gradient.
pub fn dropout<F: Scalar>(seed: Seed, keep: f64, x: &[F], y: &mut [F]) {
    // 2³² steps; `as` saturates, and `keep` is in (0, 1).
    let threshold = (keep * 4_294_967_296.0) as u32;
    let factor = F::lit(1.0 / keep);
    let cost = Cost::elements(x.len() * 4);
    parallel::chunks((Read(x, PIECE), Write(y, PIECE)), cost, |i, (x, y)| {
        mask(seed, threshold, factor, i * PIECE, x, y);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_does_not_depend_on_how_it_is_cut() {
        let x = vec![1.0f32; 100];
        let (mut whole, mut parts) = (vec![0.0; 100], vec![0.0; 100]);
        mask(Seed::new(1), 1 << 31, 2.0, 0, &x, &mut whole);
        for (i, (x, y)) in x.chunks(14).zip(parts.chunks_mut(14)).enumerate() {
            mask(Seed::new(1), 1 << 31, 2.0, i * 14, x, y);
        }
        assert_eq!(whole, parts);
    }
}
