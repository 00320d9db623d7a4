//! Element by element: activations, masks, axpy.

use super::parallel::{self, Cost, Read, Write};
use super::simd::multiversion;
use crate::{Scalar, Seed};

/// Elements of a task: 64 KiB of `f32`.
pub const PIECE: usize = 16 * 1024;

multiversion! {
    /// `y = max(0, x)`; NaN stays NaN.
    pub fn relu<F: Scalar>(x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x < F::zero() { F::zero() } else { x };
        }
    }

    /// `dx = dy` where `y > 0`, else 0.
    pub fn relu_backward<F: Scalar>(y: &[F], dy: &[F], dx: &mut [F]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = if y > F::zero() { dy } else { F::zero() };
        }
    }

    /// `y = x` where `x ≥ 0`, else `slope · x`.
    pub fn leaky_relu<F: Scalar>(slope: F, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x > F::zero() { x } else { slope * x };
        }
    }

    /// `dx = dy` where `x > 0`, else `slope · dy`.
    pub fn leaky_relu_backward<F: Scalar>(slope: F, x: &[F], dy: &[F], dx: &mut [F]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = if x > F::zero() { dy } else { slope * dy };
        }
    }

    /// `y = 1 / (1 + e^−x)`
    pub fn sigmoid<F: Scalar>(x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            // e^−|x| never overflows, and for large −x the quotient keeps its relative accuracy.
            let e = (-x.abs()).straight_exp();
            let top = if x < F::zero() { e } else { F::one() };
            *y = top / (F::one() + e);
        }
    }

    /// `y = tanh x`
    pub fn tanh<F: Scalar>(x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x.straight_tanh();
        }
    }

    /// `dx = dy · y · (1 − y)`
    pub fn sigmoid_backward<F: Scalar>(y: &[F], dy: &[F], dx: &mut [F]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = dy * y * (F::one() - y);
        }
    }

    /// `dx = dy · (1 − y²)`
    pub fn tanh_backward<F: Scalar>(y: &[F], dy: &[F], dx: &mut [F]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = dy * (F::one() - y) * (F::one() + y);
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
    fn nan_passes_through_relu() {
        let mut y = [0.0f32; 3];
        relu(&[f32::NAN, -1.0, 2.0], &mut y);
        assert!(y[0].is_nan());
        assert_eq!(y[1..], [0.0, 2.0]);
    }

    #[test]
    fn sigmoid_is_finite_everywhere() {
        let mut y = [f64::NAN; 5];
        sigmoid(&[-1e4, 1e4, 0.0, -700.0, f64::NAN], &mut y);
        assert_eq!(y[..3], [0.0, 1.0, 0.5]);
        assert!((y[3] / (-700f64).exp() - 1.0).abs() < 1e-15);
        assert!(y[4].is_nan());
    }

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
