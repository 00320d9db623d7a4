//! The four transforms of F(4, 3) in one dimension, on a register of channels side by side.
//!
//! Interpolation points 0, ±a, ±b and ∞ with `a = 5/8`, `b = 3/2` (Barabasz et al. 2020 search such points):
//! the usual 0, ±1, ±2, ∞ lose four times as many digits. Both are dyadic, so every coefficient but the
//! reciprocals in `weight` is exact.
//!
//! # Safety
//! Every function here needs the instructions of its register type `V`; [`load`] reads what it names.

use crate::Scalar;
use crate::kernels::vector::Vector;

const A: f64 = 0.625;
const B: f64 = 1.5;
const A2: f64 = A * A;
const B2: f64 = B * B;
/// `Π (p − q)` over the other finite points `q`: for `p` = 0, ±a and ±b.
const SCALE: [f64; 3] = [A2 * B2, 2.0 * A2 * (A2 - B2), 2.0 * B2 * (B2 - A2)];

/// The same number in every lane.
#[inline(always)]
unsafe fn all<F: Scalar, V: Vector<Element = F>>(x: f64) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::splat(F::lit(x)) }
}

/// `x · factor + term`
#[inline(always)]
unsafe fn fma<F: Scalar, V: Vector<Element = F>>(x: V, factor: f64, term: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.mul_add(all(factor), term) }
}

/// `x · factor`
#[inline(always)]
unsafe fn times<F: Scalar, V: Vector<Element = F>>(x: V, factor: f64) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.mul(all(factor)) }
}

/// `even ± odd · factor`
#[inline(always)]
unsafe fn pair<F: Scalar, V: Vector<Element = F>>(even: V, odd: V, factor: f64) -> [V; 2] {
    // SAFETY: the caller's promise.
    unsafe { [fma(odd, factor, even), fma(odd, -factor, even)] }
}

/// `count` registers, each `stride` elements after the one before. A loop, since a closure given to
/// `array::from_fn` may stay a call, without the caller's instructions.
#[inline(always)]
pub(super) unsafe fn load<F: Scalar, V: Vector<Element = F>>(
    from: *const F,
    stride: usize,
    count: usize,
) -> [V; 6] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = [V::splat(F::zero()); 6];
        for (i, value) in values.iter_mut().enumerate().take(count) {
            *value = V::load(from.add(i * stride));
        }
        values
    }
}

/// A transform of a line of `TAPS` pixels, 4 pixels further for each tile, to six points.
pub(super) trait Spread {
    /// Pixels of a tile.
    const TAPS: usize;
    /// The six points of the first `TAPS` of six pixels.
    unsafe fn line<F: Scalar, V: Vector<Element = F>>(d: [V; 6]) -> [V; 6];
}

/// `Bᵀ d`: pixels of the input, tiles overlapping by two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input;

impl Spread for Input {
    const TAPS: usize = 6;

    #[inline(always)]
    unsafe fn line<F: Scalar, V: Vector<Element = F>>(d: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a0, a1] = pair(fma(d[2], -B2, d[4]), fma(d[1], -B2, d[3]), A);
            let [b0, b1] = pair(fma(d[2], -A2, d[4]), fma(d[1], -A2, d[3]), B);
            [
                fma(d[0], A2 * B2, fma(d[2], -(A2 + B2), d[4])),
                a0,
                a1,
                b0,
                b1,
                fma(d[1], A2 * B2, fma(d[3], -(A2 + B2), d[5])),
            ]
        }
    }
}

/// `A y`: pixels of the output's gradient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gradient;

impl Spread for Gradient {
    const TAPS: usize = 4;

    #[inline(always)]
    unsafe fn line<F: Scalar, V: Vector<Element = F>>(y: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a0, a1] = pair(fma(y[2], A2, y[0]), fma(y[3], A2, y[1]), A);
            let [b0, b1] = pair(fma(y[2], B2, y[0]), fma(y[3], B2, y[1]), B);
            [y[0], a0, a1, b0, b1, y[3]]
        }
    }
}

/// `Aᵀ m`: six points back to four pixels of the output.
#[inline(always)]
pub(super) unsafe fn output<F: Scalar, V: Vector<Element = F>>(m: [V; 6]) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (sum_a, difference_a) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (sum_b, difference_b) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(sum_a).add(sum_b),
            fma(difference_a, A, times(difference_b, B)),
            fma(sum_a, A2, times(sum_b, B2)),
            fma(difference_a, A * A2, fma(difference_b, B * B2, m[5])),
        ]
    }
}

/// `G g`: three elements of a kernel to six points.
#[inline(always)]
pub(super) unsafe fn weight<F: Scalar, V: Vector<Element = F>>(g: [V; 3]) -> [V; 6] {
    let [zero, a, b] = SCALE.map(f64::recip);
    // SAFETY: the caller's promise.
    unsafe {
        let [a0, a1] = pair(fma(g[0], a, times(g[2], A2 * a)), g[1], A * a);
        let [b0, b1] = pair(fma(g[0], b, times(g[2], B2 * b)), g[1], B * b);
        [times(g[0], zero), a0, a1, b0, b1, g[2]]
    }
}

/// `Gᵀ u`: six points of a weight's gradient to three elements.
#[inline(always)]
pub(super) unsafe fn weight_gradient<F: Scalar, V: Vector<Element = F>>(u: [V; 6]) -> [V; 3] {
    let [zero, a, b] = SCALE.map(f64::recip);
    // SAFETY: the caller's promise.
    unsafe {
        let (sum_a, sum_b) = (u[1].add(u[2]), u[3].add(u[4]));
        [
            fma(u[0], zero, fma(sum_a, a, times(sum_b, b))),
            fma(u[1].sub(u[2]), A * a, times(u[3].sub(u[4]), B * b)),
            fma(sum_a, A2 * a, fma(sum_b, B2 * b, u[5])),
        ]
    }
}
