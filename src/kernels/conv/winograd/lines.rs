//! The four transforms of F(4, 3) in one dimension, on eight channels side by side.
//!
//! Interpolation points 0, ±a, ±b and ∞ with `a = 5/8`, `b = 3/2` (Barabasz et al. 2020 search such points):
//! the usual 0, ±1, ±2, ∞ lose four times as many digits. Both are dyadic, so every coefficient but the
//! reciprocals in `weight` is exact.

use std::ops::{Add, Mul, Sub};

use crate::Scalar;

/// Channels that are transformed together: one vector, or a few.
pub(super) const LANES: usize = 8;

const A: f64 = 0.625;
const B: f64 = 1.5;
const A2: f64 = A * A;
const B2: f64 = B * B;
/// `Π (p − q)` over the other finite points `q`: for `p` = 0, ±a and ±b.
const SCALE: [f64; 3] = [A2 * B2, 2.0 * A2 * (A2 - B2), 2.0 * B2 * (B2 - A2)];

/// The same number of eight channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lanes<F>([F; LANES]);

impl<F: Scalar> Lanes<F> {
    /// The first eight elements.
    #[inline(always)]
    pub(super) fn load(from: &[F]) -> Self {
        let mut lanes = [F::zero(); LANES];
        lanes.copy_from_slice(&from[..LANES]);
        Self(lanes)
    }

    /// Writes the first eight elements.
    #[inline(always)]
    pub(super) fn store(self, to: &mut [F]) {
        to[..LANES].copy_from_slice(&self.0);
    }
}

impl<F: Scalar> Add for Lanes<F> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl<F: Scalar> Sub for Lanes<F> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
}

impl<F: Scalar> Mul<f64> for Lanes<F> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: f64) -> Self {
        let factor = F::lit(factor);
        Self(std::array::from_fn(|i| self.0[i] * factor))
    }
}

/// A transform of a line of `TAPS` pixels, 4 pixels further for each tile, to six points.
pub(super) trait Spread {
    /// Pixels of a tile.
    const TAPS: usize;
    /// The six points.
    fn line<F: Scalar>(d: impl Fn(usize) -> Lanes<F>) -> [Lanes<F>; 6];
}

/// `Bᵀ d`: pixels of the input, tiles overlapping by two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input;

impl Spread for Input {
    const TAPS: usize = 6;

    #[inline(always)]
    fn line<F: Scalar>(d: impl Fn(usize) -> Lanes<F>) -> [Lanes<F>; 6] {
        let d = [d(0), d(1), d(2), d(3), d(4), d(5)];
        let (even_a, odd_a) = (d[4] - d[2] * B2, (d[3] - d[1] * B2) * A);
        let (even_b, odd_b) = (d[4] - d[2] * A2, (d[3] - d[1] * A2) * B);
        [
            d[0] * (A2 * B2) - d[2] * (A2 + B2) + d[4],
            even_a + odd_a,
            even_a - odd_a,
            even_b + odd_b,
            even_b - odd_b,
            d[1] * (A2 * B2) - d[3] * (A2 + B2) + d[5],
        ]
    }
}

/// `A y`: pixels of the output's gradient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gradient;

impl Spread for Gradient {
    const TAPS: usize = 4;

    #[inline(always)]
    fn line<F: Scalar>(y: impl Fn(usize) -> Lanes<F>) -> [Lanes<F>; 6] {
        let y = [y(0), y(1), y(2), y(3)];
        let (even_a, odd_a) = (y[0] + y[2] * A2, y[1] * A + y[3] * (A * A2));
        let (even_b, odd_b) = (y[0] + y[2] * B2, y[1] * B + y[3] * (B * B2));
        [y[0], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, y[3]]
    }
}

/// `Aᵀ m`: six points back to four pixels of the output.
#[inline(always)]
pub(super) fn output<F: Scalar>(m: [Lanes<F>; 6]) -> [Lanes<F>; 4] {
    let (sum_a, difference_a) = (m[1] + m[2], m[1] - m[2]);
    let (sum_b, difference_b) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + sum_a + sum_b,
        difference_a * A + difference_b * B,
        sum_a * A2 + sum_b * B2,
        difference_a * (A * A2) + difference_b * (B * B2) + m[5],
    ]
}

/// `G g`: three elements of a kernel to six points.
#[inline(always)]
pub(super) fn weight<F: Scalar>(g: [Lanes<F>; 3]) -> [Lanes<F>; 6] {
    let [zero, a, b] = SCALE.map(f64::recip);
    let (even_a, odd_a) = (g[0] * a + g[2] * (A2 * a), g[1] * (A * a));
    let (even_b, odd_b) = (g[0] * b + g[2] * (B2 * b), g[1] * (B * b));
    [g[0] * zero, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g[2]]
}

/// `Gᵀ u`: six points of a weight's gradient to three elements.
#[inline(always)]
pub(super) fn weight_gradient<F: Scalar>(u: [Lanes<F>; 6]) -> [Lanes<F>; 3] {
    let [zero, a, b] = SCALE.map(f64::recip);
    let (sum_a, sum_b) = (u[1] + u[2], u[3] + u[4]);
    [
        u[0] * zero + sum_a * a + sum_b * b,
        (u[1] - u[2]) * (A * a) + (u[3] - u[4]) * (B * b),
        sum_a * (A2 * a) + sum_b * (B2 * b) + u[5],
    ]
}
