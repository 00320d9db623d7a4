//! The innermost passes of normalization: sums over the planes of a channel, and what is written of them.

use super::{BLOCK, Sizes};
use crate::Scalar;
use crate::kernels::reduce::{self, LANES};
use crate::kernels::simd::multiversion;

/// What follows normalization within the same pass.
pub(super) trait Finish: Copy + Send + Sync {
    /// The function.
    fn apply<F: Scalar>(y: F) -> F;
    /// Its derivative at `y` times `dy`.
    fn gradient<F: Scalar>(y: F, dy: F) -> F;
}

/// Nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

impl Finish for Plain {
    #[inline(always)]
    fn apply<F: Scalar>(y: F) -> F {
        y
    }
    #[inline(always)]
    fn gradient<F: Scalar>(_y: F, dy: F) -> F {
        dy
    }
}

/// `max(0, y)`; NaN stays NaN.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rectified;

impl Finish for Rectified {
    #[inline(always)]
    fn apply<F: Scalar>(y: F) -> F {
        if y < F::zero() { F::zero() } else { y }
    }
    #[inline(always)]
    fn gradient<F: Scalar>(y: F, dy: F) -> F {
        if y > F::zero() { dy } else { F::zero() }
    }
}

/// What a channel's elements are shifted and scaled by: `y = (x − center) · factor + shift`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line<F> {
    /// Subtracted first.
    pub center: F,
    /// Multiplied with.
    pub factor: F,
    /// Added last.
    pub shift: F,
}

impl<F: Scalar> Line<F> {
    /// Centred first, for the digits when the mean is large.
    #[inline(always)]
    pub(super) fn at(self, x: F) -> F {
        (x - self.center) * self.factor + self.shift
    }
}

/// `K` sums for each of a task's channels: `add(range, channel, sums)` adds the plane of a sample that lies
/// at `range` to partial sums, which go into `f64` totals after every thousand elements or so.
pub(super) fn plane_sums<F: Scalar, const K: usize>(
    sizes: Sizes,
    first: usize,
    channels: usize,
    add: impl Fn(std::ops::Range<usize>, usize, &mut [[F; LANES]; K]),
) -> [[f64; K]; BLOCK] {
    /// Elements of a channel between two additions to the totals.
    const ELEMENTS: usize = 1024;
    let Sizes { n, c, p } = sizes;
    let samples = ELEMENTS.div_ceil(p);
    let mut sums = [[[F::zero(); LANES]; K]; BLOCK];
    let mut totals = [[0.0; K]; BLOCK];
    for from in (0..n).step_by(samples) {
        for i in from..n.min(from + samples) {
            for (channel, sums) in sums.iter_mut().enumerate().take(channels) {
                let at = (i * c + first + channel) * p;
                add(at..at + p, channel, sums);
            }
        }
        for (totals, sums) in totals.iter_mut().zip(&mut sums).take(channels) {
            for (total, sums) in totals.iter_mut().zip(sums) {
                *total += reduce::fold_lanes(std::mem::replace(sums, [F::zero(); LANES])).widen();
            }
        }
    }
    totals
}

multiversion! {
    /// Adds `f(x)` of each element to one of the partial sums.
    pub(super) fn add_lanes<F: Scalar, G: Fn(F) -> F>(x: &[F], sums: &mut [[F; LANES]; 1], f: G) {
        let mut partial = sums[0];
        let chunks = x.chunks_exact(LANES);
        for (sum, &x) in partial.iter_mut().zip(chunks.remainder()) {
            *sum += f(x);
        }
        for chunk in chunks {
            for l in 0..LANES {
                partial[l] += f(chunk[l]);
            }
        }
        sums[0] = partial;
    }

    /// Adds `g · (x − center)` and `g` of each element to partial sums, with `g = gradient(x, dy)`.
    pub(super) fn add_dots<F: Scalar, R: Finish>(line: Line<F>, x: &[F], dy: &[F], sums: &mut [[F; LANES]; 2]) {
        let [mut dots, mut totals] = *sums;
        let (chunks_x, chunks_dy) = (x.chunks_exact(LANES), dy.chunks_exact(LANES));
        for (l, (&x, &dy)) in chunks_x.remainder().iter().zip(chunks_dy.remainder()).enumerate() {
            let gradient = R::gradient(line.at(x), dy);
            dots[l] += gradient * (x - line.center);
            totals[l] += gradient;
        }
        for (x, dy) in chunks_x.zip(chunks_dy) {
            for l in 0..LANES {
                let gradient = R::gradient(line.at(x[l]), dy[l]);
                dots[l] += gradient * (x[l] - line.center);
                totals[l] += gradient;
            }
        }
        *sums = [dots, totals];
    }
}

multiversion! {
    pub(super) fn planes_forward<F: Scalar, R: Finish>(lines: &[Line<F>], p: usize, x: &[F], y: &mut [F]) {
        for ((y, x), &line) in y.chunks_exact_mut(p).zip(x.chunks_exact(p)).zip(lines) {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = R::apply(line.at(x));
            }
        }
    }

    pub(super) fn planes_in_place<F: Scalar, R: Finish>(lines: &[Line<F>], p: usize, y: &mut [F]) {
        for (y, &line) in y.chunks_exact_mut(p).zip(lines) {
            for y in y {
                *y = R::apply(line.at(*y));
            }
        }
    }

    pub(super) fn columns_forward<F: Scalar, R: Finish>(lines: &[Line<F>], x: &[F], y: &mut [F]) {
        for ((y, &x), line) in y.iter_mut().zip(x).zip(lines) {
            *y = R::apply(line.at(x));
        }
    }

    /// `dx = (dy − a − (x − center) · b) · factor`
    pub(super) fn planes_backward<F: Scalar, R: Finish>(
        lines: &[Line<F>], terms: &[(F, F)], p: usize, x: &[F], dy: &[F], dx: &mut [F],
    ) {
        let planes = dx.chunks_exact_mut(p).zip(dy.chunks_exact(p).zip(x.chunks_exact(p)));
        for ((dx, (dy, x)), (&line, &(a, b))) in planes.zip(lines.iter().zip(terms)) {
            for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
                *dx = (R::gradient(line.at(x), dy) - a - (x - line.center) * b) * line.factor;
            }
        }
    }

    pub(super) fn columns_backward<F: Scalar, R: Finish>(
        lines: &[Line<F>], terms: &[(F, F)], x: &[F], dy: &[F], dx: &mut [F],
    ) {
        for (((dx, (&dy, &x)), line), &(a, b)) in
            dx.iter_mut().zip(dy.iter().zip(x)).zip(lines).zip(terms)
        {
            *dx = (R::gradient(line.at(x), dy) - a - (x - line.center) * b) * line.factor;
        }
    }
}
