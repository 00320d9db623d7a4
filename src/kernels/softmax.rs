//! Stable softmax and its logarithm: over rows of logits, and over any axis of an array.
//!
//! An array is seen as `[outer][len][inner]`, with the softmax over `len`. Rows (`inner` = 1) are computed one by one,
//! everything else in strips of neighbouring columns.

use super::parallel::{self, Cost, Read, Write};
use super::reduce::{LANES, fold_lanes};
use super::simd::multiversion;
use crate::Scalar;

/// Columns of a strip: their sums lie on the stack and fit registers and first cache.
const STRIP: usize = 64;
/// Columns of a strip of those that are left.
const NARROW: usize = 16;

/// Elements of a task, about.
const TASK: usize = 16 * 1024;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `e^xᵢ / Σ e^xⱼ`
    Plain,
    /// Its logarithm.
    Log,
}

/// How an array is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axes {
    /// Elements of the axis.
    pub len: usize,
    /// Elements behind each of them: the product of the later axes.
    pub inner: usize,
}

impl Axes {
    /// Elements of a task, a whole number of planes `[len][inner]`.
    fn piece(self) -> usize {
        let plane = self.len * self.inner;
        (TASK / plane.max(1)).max(1) * plane
    }
}

multiversion! {
    /// The largest element of a row; `−∞` for an empty one. NaN does not count.
    pub fn max<F: Scalar>(row: &[F]) -> F {
        let mut lanes = [F::neg_infinity(); LANES];
        let chunks = row.chunks_exact(LANES);
        let larger = |max: F, x: F| if x > max { x } else { max };
        let tail = chunks.remainder().iter().fold(F::neg_infinity(), |max, &x| larger(max, x));
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] = larger(lanes[l], chunk[l]);
            }
        }
        lanes.into_iter().fold(tail, larger)
    }

    /// `Σ e^(x − max)`
    pub fn sum_exp<F: Scalar>(row: &[F], max: F) -> F {
        let mut sums = [F::zero(); LANES];
        let chunks = row.chunks_exact(LANES);
        let tail = chunks.remainder().iter().fold(F::zero(), |sum, &x| sum + (x - max).straight_exp::<FUSED>());
        for chunk in chunks {
            for l in 0..LANES {
                sums[l] += (chunk[l] - max).straight_exp::<FUSED>();
            }
        }
        fold_lanes(sums) + tail
    }

    /// `out = factor · e^(x − shift)`
    pub fn scaled_exp<F: Scalar>(row: &[F], shift: F, factor: F, out: &mut [F]) {
        for (out, &x) in out.iter_mut().zip(row) {
            *out = factor * (x - shift).straight_exp::<FUSED>();
        }
    }

    fn forward_rows<F: Scalar>(form: Form, len: usize, x: &[F], y: &mut [F]) {
        for (x, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)) {
            let max = max(x);
            match form {
                Form::Plain => {
                    scaled_exp(x, max, F::one(), y);
                    let factor = F::one() / super::reduce::sum(y);
                    y.iter_mut().for_each(|y| *y *= factor);
                }
                Form::Log => {
                    let rest = sum_exp(x, max).ln();
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = x - max - rest;
                    }
                }
            }
        }
    }

    /// One strip of `width` columns, from column `first` of a plane `[len][inner]`.
    fn forward_strip<F: Scalar>(form: Form, inner: usize, first: usize, width: usize, x: &[F], y: &mut [F]) {
        // The same code each time: with a width that the compiler knows it is in whole registers.
        match width {
            STRIP => strip_forward::<F, FUSED>(form, inner, first, STRIP, x, y),
            NARROW => strip_forward::<F, FUSED>(form, inner, first, NARROW, x, y),
            _ => strip_forward::<F, FUSED>(form, inner, first, width, x, y),
        }
    }

    fn backward_rows<F: Scalar>(form: Form, len: usize, y: &[F], dy: &[F], dx: &mut [F]) {
        for ((y, dy), dx) in y.chunks_exact(len).zip(dy.chunks_exact(len)).zip(dx.chunks_exact_mut(len)) {
            match form {
                Form::Plain => {
                    let (dot, _) = super::reduce::dot_and_sum(y, dy, F::zero(), |_, dy| dy);
                    for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                        *dx = y * (dy - dot);
                    }
                }
                Form::Log => {
                    let sum = super::reduce::sum(dy);
                    for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                        *dx = dy - y.straight_exp::<FUSED>() * sum;
                    }
                }
            }
        }
    }

    fn backward_strip<F: Scalar>(
        form: Form, inner: usize, first: usize, width: usize, y: &[F], dy: &[F], dx: &mut [F],
    ) {
        match width {
            STRIP => strip_backward::<F, FUSED>(form, inner, first, STRIP, y, dy, dx),
            NARROW => strip_backward::<F, FUSED>(form, inner, first, NARROW, y, dy, dx),
            _ => strip_backward::<F, FUSED>(form, inner, first, width, y, dy, dx),
        }
    }
}

#[inline(always)]
fn strip_forward<F: Scalar, const FUSED: bool>(
    form: Form,
    inner: usize,
    first: usize,
    width: usize,
    x: &[F],
    y: &mut [F],
) {
    let (mut max, mut sum) = ([F::neg_infinity(); STRIP], [F::zero(); STRIP]);
    for x in x.chunks_exact(inner) {
        let x = &x[first..][..width];
        for c in 0..width {
            max[c] = if x[c] > max[c] { x[c] } else { max[c] };
        }
    }
    for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
        let (x, y) = (&x[first..][..width], &mut y[first..][..width]);
        for c in 0..width {
            let exp = (x[c] - max[c]).straight_exp::<FUSED>();
            sum[c] += exp;
            if form == Form::Plain {
                y[c] = exp;
            }
        }
    }
    for sum in &mut sum[..width] {
        *sum = match form {
            Form::Plain => F::one() / *sum,
            Form::Log => sum.straight_ln::<FUSED>(),
        };
    }
    for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
        let (x, y) = (&x[first..][..width], &mut y[first..][..width]);
        for c in 0..width {
            y[c] = match form {
                Form::Plain => y[c] * sum[c],
                Form::Log => x[c] - max[c] - sum[c],
            };
        }
    }
}

#[inline(always)]
fn strip_backward<F: Scalar, const FUSED: bool>(
    form: Form,
    inner: usize,
    first: usize,
    width: usize,
    y: &[F],
    dy: &[F],
    dx: &mut [F],
) {
    let mut sum = [F::zero(); STRIP];
    for (y, dy) in y.chunks_exact(inner).zip(dy.chunks_exact(inner)) {
        let (y, dy) = (&y[first..][..width], &dy[first..][..width]);
        for c in 0..width {
            sum[c] += if form == Form::Plain { y[c] * dy[c] } else { dy[c] };
        }
    }
    let rows = y.chunks_exact(inner).zip(dy.chunks_exact(inner)).zip(dx.chunks_exact_mut(inner));
    for ((y, dy), dx) in rows {
        let (y, dy, dx) = (&y[first..][..width], &dy[first..][..width], &mut dx[first..][..width]);
        for c in 0..width {
            dx[c] = match form {
                Form::Plain => y[c] * (dy[c] - sum[c]),
                Form::Log => dy[c] - y[c].straight_exp::<FUSED>() * sum[c],
            };
        }
    }
}

/// Begin and width of every strip of a plane with `inner` columns.
fn strips(inner: usize) -> impl Iterator<Item = (usize, usize)> {
    let wide = inner / STRIP * STRIP;
    let narrow = (wide..inner).step_by(NARROW);
    let of_width = move |width: usize| move |first| (first, width.min(inner - first));
    (0..wide).step_by(STRIP).map(of_width(STRIP)).chain(narrow.map(of_width(NARROW)))
}

/// `y = softmax(x)` or its logarithm, over the middle axis. NaN, `+∞` or nothing but `−∞` in a row gives a row of NaN.
pub fn forward<F: Scalar>(form: Form, axes: Axes, x: &[F], y: &mut [F]) {
    let (piece, Axes { len, inner }) = (axes.piece(), axes);
    parallel::chunks(
        (Read(x, piece), Write(y, piece)),
        Cost::functions(x.len() / 4),
        |_, (x, y)| {
            if inner == 1 {
                return forward_rows(form, len, x, y);
            }
            for (x, y) in x.chunks_exact(len * inner).zip(y.chunks_exact_mut(len * inner)) {
                strips(inner)
                    .for_each(|(first, width)| forward_strip(form, inner, first, width, x, y));
            }
        },
    );
}

/// The gradient by `x`: `dxᵢ = yᵢ (dyᵢ − Σ y dy)`, or `dxᵢ = dyᵢ − e^yᵢ Σ dy` for the logarithm.
pub fn backward<F: Scalar>(form: Form, axes: Axes, y: &[F], dy: &[F], dx: &mut [F]) {
    let (piece, Axes { len, inner }) = (axes.piece(), axes);
    let pieces = (Read(y, piece), Read(dy, piece), Write(dx, piece));
    parallel::chunks(pieces, Cost::functions(y.len() / 4), |_, (y, dy, dx)| {
        if inner == 1 {
            return backward_rows(form, len, y, dy, dx);
        }
        let plane = len * inner;
        let planes =
            y.chunks_exact(plane).zip(dy.chunks_exact(plane)).zip(dx.chunks_exact_mut(plane));
        for ((y, dy), dx) in planes {
            strips(inner)
                .for_each(|(first, width)| backward_strip(form, inner, first, width, y, dy, dx));
        }
    });
}

/// The softmax of one row, ready for its logarithms and its gradient.
#[derive(Debug, Clone, Copy)]
pub struct Distribution<F> {
    max: F,
    /// `Σ e^(x − max)`
    sum: F,
    /// Its logarithm. Apart from `max`: the sum of both would lose its digits where `max` is large.
    log_sum: F,
}

impl<F: Scalar> Distribution<F> {
    /// Of this row; leaves `e^(x − max)` in `exps` for [`Distribution::scale`], if there is room for it.
    pub fn of(row: &[F], exps: Option<&mut [F]>) -> Self {
        let max = max(row);
        // All −∞ (nothing has any weight) or +∞ among them: the plain formula says which.
        let max = if max.is_finite() { max } else { F::zero() };
        let sum = match exps {
            None => sum_exp(row, max),
            Some(exps) => {
                scaled_exp(row, max, F::one(), exps);
                super::reduce::sum(exps)
            }
        };
        Self { max, sum, log_sum: sum.ln() }
    }

    /// The logarithm of the probability of the element with this score; NaN if the row holds NaN.
    pub fn log(&self, score: F) -> F {
        score - self.max - self.log_sum
    }

    /// The sum of the logarithms of all probabilities of its row.
    pub fn sum_of_logs(&self, row: &[F]) -> F {
        let [sum, _] = super::reduce::deviations(row, self.max);
        sum - F::lit(row.len() as f64) * self.log_sum
    }

    /// From what [`Distribution::of`] left to `factor` times the probabilities.
    pub fn scale(&self, factor: F, exps: &mut [F]) {
        super::elementwise::scale(factor / self.sum, exps);
    }
}

/// The two parts of `log Σ exp(x)`: the largest element, and `log Σ exp(x − largest)`. Kept apart, because
/// their sum loses the digits of the second when the first is large. NaN if an element is.
pub fn log_sum_exp<F: Scalar>(row: &[F]) -> (F, F) {
    let largest = row.iter().copied().fold(F::neg_infinity(), F::max);
    if !largest.is_finite() {
        // All −∞ (nothing has any weight), or +∞ among them: the plain formula says which.
        return (F::zero(), row.iter().map(|x| x.exp()).sum::<F>().ln());
    }
    (largest, row.iter().map(|&x| (x - largest).exp()).sum::<F>().ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sum_exp_survives_extremes() {
        assert_eq!(log_sum_exp(&[1e4f64, 1e4]), (1e4, 2f64.ln()));
        assert_eq!(log_sum_exp(&[-1e4f64, -1e4]), (-1e4, 2f64.ln()));
        assert!(log_sum_exp(&[0.0, f64::NAN]).1.is_nan());
        assert_eq!(log_sum_exp(&[0.0, f64::INFINITY]).1, f64::INFINITY);
        assert_eq!(log_sum_exp(&[f64::NEG_INFINITY, 0.0]), (0.0, 0.0));
    }

    #[test]
    fn a_distribution_survives_extremes() {
        let log = |row: &[f64], score| Distribution::of(row, None).log(score);
        assert_eq!(log(&[1e4, 1e4], 1e4), -(2f64.ln()));
        assert_eq!(log(&[-1e4, -1e4], -1e4), -(2f64.ln()));
        assert!(log(&[0.0, f64::NAN], 0.0).is_nan());
        assert_eq!(log(&[0.0, f64::INFINITY], 0.0), f64::NEG_INFINITY);
        assert_eq!(log(&[f64::NEG_INFINITY, 0.0], 0.0), 0.0);
        let mut probabilities = [0.0; 3];
        Distribution::of(&[1e4, 1e4, 0.0], Some(&mut probabilities)).scale(2.0, &mut probabilities);
        assert_eq!(probabilities, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn the_largest_is_found_wherever_it_stands() {
        for len in [1, 31, 32, 33, 100] {
            for at in 0..len {
                let mut row = vec![-2.0f32; len];
                row[at] = -1.0;
                assert_eq!(max(&row), -1.0);
            }
        }
    }

    /// The definition, in `f64`, and its derivative.
    fn naive(form: Form, axes: Axes, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut y, mut dx) = (x.to_vec(), x.to_vec());
        let Axes { len, inner } = axes;
        for outer in 0..x.len() / (len * inner) {
            for column in 0..inner {
                let at = |i: usize| (outer * len + i) * inner + column;
                let sum: f64 = (0..len).map(|i| x[at(i)].exp()).sum();
                let share = |i: usize| x[at(i)].exp() / sum;
                let dot: f64 = (0..len).map(|j| share(j) * dy[at(j)]).sum();
                let total: f64 = (0..len).map(|j| dy[at(j)]).sum();
                for i in 0..len {
                    (y[at(i)], dx[at(i)]) = match form {
                        Form::Plain => (share(i), share(i) * (dy[at(i)] - dot)),
                        Form::Log => (share(i).ln(), dy[at(i)] - share(i) * total),
                    };
                }
            }
        }
        (y, dx)
    }

    #[test]
    fn rows_and_strips_equal_the_definition() {
        let mut rng = crate::Seed::new(1).rng();
        for form in [Form::Plain, Form::Log] {
            for (outer, len, inner) in [
                (1, 1, 1),
                (5, 10, 1),
                (3, 77, 1),
                (2, 3, 5),
                (2, 5, 64),
                (3, 4, 150),
                (300, 2, 70),
            ] {
                let (axes, count) = (Axes { len, inner }, outer * len * inner);
                let x: Vec<f64> = (0..count).map(|_| 3.0 * rng.normal()).collect();
                let dy: Vec<f64> = (0..count).map(|_| rng.normal()).collect();
                let (mut y, mut dx) = (vec![f64::NAN; count], vec![f64::NAN; count]);
                forward(form, axes, &x, &mut y);
                backward(form, axes, &y, &dy, &mut dx);
                let (want_y, want_dx) = naive(form, axes, &x, &dy);
                for (got, want) in y.iter().chain(&dx).zip(want_y.iter().chain(&want_dx)) {
                    // A sum of at most 77 terms, each within a few units.
                    assert!((got - want).abs() < 1e-13 * (1.0 + want.abs()), "{form:?} {axes:?}");
                }
            }
        }
    }
}
