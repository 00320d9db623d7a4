//! Element by element: activations, axpy.

use super::simd::multiversion;
use crate::Scalar;

/// Elements of a task: 64 KiB of `f32`.
pub const PIECE: usize = 16 * 1024;

/// An element-wise function and its derivative, for one element. Both are `#[inline(always)]` and branch only to choose
/// between two values, so that the compiler makes vector code of the loops around them.
pub trait Formula {
    /// `f(x)`
    fn value<F: Scalar, const FUSED: bool>(&self, x: F) -> F;
    /// `f'(x) · dy`, where `y = f(x)`.
    fn gradient<F: Scalar, const FUSED: bool>(&self, x: F, y: F, dy: F) -> F;
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
            *y = formula.value::<F, FUSED>(x);
        }
    }

    /// `dx = f'(x) · dy`, where `y = f(x)`.
    pub fn apply_backward<F: Scalar, A: Formula>(formula: &A, x: &[F], y: &[F], dy: &[F], dx: &mut [F]) {
        for (((dx, &dy), &y), &x) in dx.iter_mut().zip(dy).zip(y).zip(x) {
            *dx = formula.gradient::<F, FUSED>(x, y, dy);
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
}
