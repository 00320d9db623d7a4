//! Planes of another size: nearest neighbour and bilinear.
//!
//! Letters: a plane `h × w` becomes `oh × ow`. Both axes are separate, so a row is resampled along its columns once, into
//! a line of `ow` elements; rows of the result are one line, or blends of two.

use super::elementwise::axpy;
use super::parallel::{self, Cost, Shared};
use super::simd::multiversion;
use crate::Scalar;

/// Where one element of the result comes from, along one axis: `(1 − weight) · x[low] + weight · x[high]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap<F> {
    /// First source.
    pub low: usize,
    /// Second source: the next one, or the same at the end.
    pub high: usize,
    /// Share of the second.
    pub weight: F,
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis<F> {
    /// Length of the source.
    pub input: usize,
    /// For each element of the result.
    pub taps: Vec<Tap<F>>,
}

impl<F: Scalar> Axis<F> {
    /// Element `i` comes from `⌊i · input / output⌋`.
    pub fn nearest(input: usize, output: usize) -> Self {
        let tap = |i: usize| {
            let low = i * input / output;
            Tap { low, high: low, weight: F::zero() }
        };
        Self { input, taps: (0..output).map(tap).collect() }
    }

    /// Element `i` lies at `(i + ½) · input / output − ½`, or with `align_corners` at `i · (input − 1) / (output − 1)`,
    /// but not outside the source.
    pub fn linear(input: usize, output: usize, align_corners: bool) -> Self {
        let tap = |i: usize| {
            let place = if !align_corners {
                (i as f64 + 0.5) * (input as f64 / output as f64) - 0.5
            } else if output > 1 {
                i as f64 * ((input - 1) as f64 / (output - 1) as f64)
            } else {
                0.0
            };
            let place = place.clamp(0.0, (input - 1) as f64);
            // Rounding down is the purpose.
            let low = place as usize;
            Tap { low, high: (low + 1).min(input - 1), weight: F::lit(place - low as f64) }
        };
        Self { input, taps: (0..output).map(tap).collect() }
    }

    /// How often each source element is repeated, if all are as often and nothing is blended.
    fn repeats(&self) -> Option<usize> {
        let times = self.taps.len() / self.input;
        (times * self.input == self.taps.len()
            && self
                .taps
                .iter()
                .enumerate()
                .all(|(i, tap)| tap.low == i / times && tap.high == tap.low))
        .then_some(times)
    }
}

/// How planes are resampled.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<F> {
    rows: Axis<F>,
    columns: Axis<F>,
    blend: bool,
    repeats: Option<usize>,
}

impl<F: Scalar> Plan<F> {
    /// Rows and columns, both nearest or both linear.
    pub fn new(rows: Axis<F>, columns: Axis<F>) -> Self {
        let blends = |axis: &Axis<F>| axis.taps.iter().any(|tap| tap.low != tap.high);
        let blend = blends(&rows) || blends(&columns);
        let repeats = columns.repeats();
        Self { rows, columns, blend, repeats }
    }

    fn planes(&self) -> (usize, usize, usize) {
        let (w, ow) = (self.columns.input, self.columns.taps.len());
        (self.rows.input * w, self.rows.taps.len() * ow, ow)
    }

    fn cost(&self, planes: usize) -> Cost {
        let (plane, out, _) = self.planes();
        Cost::elements(4 * planes * (plane + out))
    }

    /// Elements of scratch memory that either pass needs for so many planes.
    pub fn scratch(&self, planes: usize) -> usize {
        parallel::sections_for(planes) * 2 * self.columns.taps.len()
    }
}

/// Resamples every plane of `x`.
pub fn forward<F: Scalar>(plan: &Plan<F>, x: &[F], y: &mut [F], scratch: &mut [F]) {
    let (plane, out, ow) = plan.planes();
    let planes = x.len() / plane;
    let shared = Shared::new(y);
    parallel::each_with(planes, plan.cost(planes), scratch, 2 * ow, |i, lines| {
        // SAFETY: tasks own different planes.
        let y = unsafe { shared.at(i * out, out) };
        let x = &x[i * plane..][..plane];
        if plan.blend { blend_plane(plan, x, y, lines) } else { repeat_plane(plan, x, y) }
    });
}

/// Gradient of [`forward`].
pub fn backward<F: Scalar>(plan: &Plan<F>, dy: &[F], dx: &mut [F], scratch: &mut [F]) {
    let (plane, out, ow) = plan.planes();
    let planes = dx.len() / plane;
    let shared = Shared::new(dx);
    parallel::each_with(planes, plan.cost(planes), scratch, 2 * ow, |i, lines| {
        // SAFETY: tasks own different planes.
        let dx = unsafe { shared.at(i * plane, plane) };
        gather_plane(plan, &dy[i * out..][..out], dx, lines);
    });
}

/// Nearest neighbour: copies.
fn repeat_plane<F: Scalar>(plan: &Plan<F>, x: &[F], y: &mut [F]) {
    let (w, ow) = (plan.columns.input, plan.columns.taps.len());
    let mut last = None;
    for (i, tap) in plan.rows.taps.iter().enumerate() {
        if last == Some(tap.low) {
            y.copy_within((i - 1) * ow..i * ow, i * ow);
            continue;
        }
        last = Some(tap.low);
        let (x, y) = (&x[tap.low * w..][..w], &mut y[i * ow..][..ow]);
        match plan.repeats {
            Some(times) => repeat(times, x, y),
            None => y.iter_mut().zip(&plan.columns.taps).for_each(|(y, tap)| *y = x[tap.low]),
        }
    }
}

/// Two lines, and which source row each holds.
struct Lines<'a, F> {
    lines: [&'a mut [F]; 2],
    rows: [Option<usize>; 2],
}

impl<'a, F: Scalar> Lines<'a, F> {
    fn new(scratch: &'a mut [F], ow: usize) -> Self {
        let (a, b) = scratch.split_at_mut(ow);
        Self { lines: [a, &mut b[..ow]], rows: [None; 2] }
    }

    /// The line of `row`; if neither is, one that does not hold `other` is replaced by
    /// `change(its row before, line)`.
    fn of(
        &mut self,
        row: usize,
        other: usize,
        mut change: impl FnMut(Option<usize>, &mut [F]),
    ) -> usize {
        if let Some(k) = self.rows.iter().position(|&held| held == Some(row)) {
            return k;
        }
        let k = usize::from(self.rows[0] == Some(other));
        change(self.rows[k], self.lines[k]);
        self.rows[k] = Some(row);
        k
    }
}

fn blend_plane<F: Scalar>(plan: &Plan<F>, x: &[F], y: &mut [F], scratch: &mut [F]) {
    let (w, ow) = (plan.columns.input, plan.columns.taps.len());
    let mut held = Lines::new(scratch, ow);
    for (tap, y) in plan.rows.taps.iter().zip(y.chunks_exact_mut(ow)) {
        let mut line = |row: usize, other: usize| {
            held.of(row, other, |_, line| stretch(&plan.columns, &x[row * w..][..w], line))
        };
        let (a, b) = (line(tap.low, tap.high), line(tap.high, tap.low));
        blend(tap.weight, held.lines[a], held.lines[b], y);
    }
}

/// The way back: each row of `dy` goes to its lines, and a finished line goes to its row of `dx`.
fn gather_plane<F: Scalar>(plan: &Plan<F>, dy: &[F], dx: &mut [F], scratch: &mut [F]) {
    let (w, ow) = (plan.columns.input, plan.columns.taps.len());
    dx.fill(F::zero());
    let mut held = Lines::new(scratch, ow);
    let mut finish = |row: Option<usize>, line: &mut [F]| {
        if let Some(row) = row {
            squeeze(plan, line, &mut dx[row * w..][..w]);
        }
        line.fill(F::zero());
    };
    for (tap, dy) in plan.rows.taps.iter().zip(dy.chunks_exact(ow)) {
        let low = held.of(tap.low, tap.high, &mut finish);
        let one = F::one();
        axpy(one - tap.weight, dy, held.lines[low]);
        if plan.blend {
            let high = held.of(tap.high, tap.low, &mut finish);
            axpy(tap.weight, dy, held.lines[high]);
        }
    }
    for (row, line) in held.rows.into_iter().zip(held.lines) {
        finish(row, line);
    }
}

/// `x += Σ` of what came from it.
fn squeeze<F: Scalar>(plan: &Plan<F>, line: &[F], x: &mut [F]) {
    if let Some(times) = plan.repeats {
        return sum_repeats(times, line, x);
    }
    for (&value, tap) in line.iter().zip(&plan.columns.taps) {
        x[tap.low] += (F::one() - tap.weight) * value;
        if tap.high != tap.low {
            x[tap.high] += tap.weight * value;
        }
    }
}

/// One row along its columns.
fn stretch<F: Scalar>(columns: &Axis<F>, x: &[F], line: &mut [F]) {
    for (line, tap) in line.iter_mut().zip(&columns.taps) {
        *line = (F::one() - tap.weight) * x[tap.low] + tap.weight * x[tap.high];
    }
}

multiversion! {
    fn repeat<F: Scalar>(times: usize, x: &[F], y: &mut [F]) {
        if times == 2 {
            // Known to the compiler: registers are interleaved.
            for (y, &x) in y.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                *y = [x, x];
            }
            return;
        }
        for (y, &x) in y.chunks_exact_mut(times).zip(x) {
            y.fill(x);
        }
    }

    fn sum_repeats<F: Scalar>(times: usize, line: &[F], x: &mut [F]) {
        if times == 2 {
            for (x, line) in x.iter_mut().zip(line.as_chunks::<2>().0) {
                *x += line[0] + line[1];
            }
            return;
        }
        for (x, line) in x.iter_mut().zip(line.chunks_exact(times)) {
            *x += line.iter().copied().sum();
        }
    }

    fn blend<F: Scalar>(weight: F, a: &[F], b: &[F], y: &mut [F]) {
        let other = F::one() - weight;
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = other * a + weight * b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    #[test]
    fn both_passes_equal_the_definition_at_every_level() {
        let sizes = [
            ([3, 4], [6, 8]),
            ([5, 7], [5, 7]),
            ([4, 3], [9, 12]),
            ([6, 7], [4, 3]),
            ([1, 1], [3, 2]),
            ([2, 5], [1, 11]),
        ];
        simd::at_every_level(|| {
            for ([h, w], [oh, ow]) in sizes {
                let nearest = (Axis::nearest(h, oh), Axis::nearest(w, ow));
                let linear = |corners| (Axis::linear(h, oh, corners), Axis::linear(w, ow, corners));
                for (rows, columns) in [nearest, linear(false), linear(true)] {
                    let plan = Plan::<f64>::new(rows.clone(), columns.clone());
                    let mut rng = Seed::new(1).rng();
                    let x: Vec<f64> = (0..3 * h * w).map(|_| rng.normal()).collect();
                    let dy: Vec<f64> = (0..3 * oh * ow).map(|_| rng.normal()).collect();
                    let (mut y, mut dx) = (vec![f64::NAN; dy.len()], vec![f64::NAN; x.len()]);
                    let mut scratch = vec![f64::NAN; plan.scratch(3)];
                    forward(&plan, &x, &mut y, &mut scratch);
                    backward(&plan, &dy, &mut dx, &mut scratch);
                    let (mut want_y, mut want_dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
                    for p in 0..3 {
                        for (i, r) in rows.taps.iter().enumerate() {
                            for (j, c) in columns.taps.iter().enumerate() {
                                for (row, a) in [(r.low, 1.0 - r.weight), (r.high, r.weight)] {
                                    for (column, b) in [(c.low, 1.0 - c.weight), (c.high, c.weight)]
                                    {
                                        let (from, to) =
                                            ((p * h + row) * w + column, (p * oh + i) * ow + j);
                                        want_y[to] += a * b * x[from];
                                        want_dx[from] += a * b * dy[to];
                                    }
                                }
                            }
                        }
                    }
                    for (got, want) in y.iter().chain(&dx).zip(want_y.iter().chain(&want_dx)) {
                        assert!((got - want).abs() < 1e-13, "{h}×{w} to {oh}×{ow}");
                    }
                }
            }
        });
    }

    #[test]
    fn aligned_corners_keep_the_corners() {
        let axis = Axis::<f64>::linear(4, 7, true);
        assert_eq!(axis.taps[0], Tap { low: 0, high: 1, weight: 0.0 });
        assert_eq!(axis.taps[6], Tap { low: 3, high: 3, weight: 0.0 });
        assert_eq!(axis.taps[1], Tap { low: 0, high: 1, weight: 0.5 });
    }
}
