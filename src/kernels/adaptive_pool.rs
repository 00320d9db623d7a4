//! Pooling to a given size: window `i` of an axis goes from `⌊i · in / out⌋` to `⌈(i + 1) · in / out⌉`.
//!
//! Letters: a plane is `h × w`, its output `oh × ow`. A task is one plane.

use std::sync::OnceLock;

use super::elementwise::axpy;
use super::parallel::{self, Cost, Read, Shared, Write};
use super::reduce::{LANES, add_to, fold_lanes};
use super::simd::multiversion;
use crate::Scalar;

/// First and end of each window of one axis, in a table that the first pass makes: a layer costs nothing until then, whatever
/// size a file says it has.
#[derive(Debug, Clone)]
struct Windows {
    size: usize,
    out: usize,
    table: OnceLock<Vec<(usize, usize)>>,
}

impl Windows {
    fn new(size: usize, out: usize) -> Self {
        Self { size, out, table: OnceLock::new() }
    }

    fn len(&self) -> usize {
        self.out
    }

    fn iter(&self) -> std::slice::Iter<'_, (usize, usize)> {
        let (size, out) = (self.size, self.out);
        let make = || (0..out).map(|i| (i * size / out, ((i + 1) * size).div_ceil(out))).collect();
        self.table.get_or_init(make).iter()
    }
}

/// Sizes of a pooling operation and its windows.
#[derive(Debug, Clone)]
pub struct Plan {
    input: [usize; 2],
    rows: Windows,
    columns: Windows,
}

impl Plan {
    /// From `[height, width]` to `[height, width]`, neither with a 0.
    pub fn new(input: [usize; 2], output: [usize; 2]) -> Self {
        let windows = |axis: usize| Windows::new(input[axis], output[axis]);
        Self { input, rows: windows(0), columns: windows(1) }
    }

    /// Elements of an input plane.
    pub fn plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Elements of an output plane.
    pub fn out_plane(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    fn cost(&self, planes: usize) -> Cost {
        Cost::elements(planes * (2 * self.plane() + 8 * self.out_plane()))
    }

    /// Elements of scratch memory that averaging so many planes needs, forward or backward.
    pub fn scratch(&self, planes: usize) -> usize {
        parallel::sections_for(planes) * self.input[1]
    }
}

/// The mean of each window.
pub fn avg_forward<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F], scratch: &mut [F]) {
    let (plane, out, [_, w]) = (plan.plane(), plan.out_plane(), plan.input);
    let planes = x.len() / plane;
    let shared = Shared::new(y);
    parallel::each_with(planes, plan.cost(planes), scratch, w, |i, line| {
        let x = &x[i * plane..][..plane];
        // SAFETY: tasks own different planes.
        let y = unsafe { shared.at(i * out, out) };
        for (&(top, bottom), y) in plan.rows.iter().zip(y.chunks_exact_mut(plan.columns.len())) {
            // Rows first: whole registers.
            line.copy_from_slice(&x[top * w..][..w]);
            x[(top + 1) * w..bottom * w].chunks_exact(w).for_each(|row| add_to(row, line));
            for (y, &(left, right)) in y.iter_mut().zip(plan.columns.iter()) {
                let count = ((bottom - top) * (right - left)) as f64;
                *y = line[left..right].iter().copied().sum::<F>() / F::lit(count);
            }
        }
    });
}

/// Gradient of [`avg_forward`].
pub fn avg_backward<F: Scalar>(plan: &Plan, dy: &[F], dx: &mut [F], scratch: &mut [F]) {
    let (plane, out, [_, w]) = (plan.plane(), plan.out_plane(), plan.input);
    let planes = dx.len() / plane;
    let shared = Shared::new(dx);
    parallel::each_with(planes, plan.cost(planes), scratch, w, |i, line| {
        // SAFETY: tasks own different planes.
        let dx = unsafe { shared.at(i * plane, plane) };
        let mut written = 0;
        let rows = dy[i * out..][..out].chunks_exact(plan.columns.len());
        for (&(top, bottom), dy) in plan.rows.iter().zip(rows) {
            line.fill(F::zero());
            for (&dy, &(left, right)) in dy.iter().zip(plan.columns.iter()) {
                let share = dy / F::lit(((bottom - top) * (right - left)) as f64);
                line[left..right].iter_mut().for_each(|line| *line += share);
            }
            // A row that two windows share is written by the first and added to by the second.
            for row in top..bottom {
                let dx = &mut dx[row * w..][..w];
                if row < written { axpy(F::one(), line, dx) } else { dx.copy_from_slice(line) }
            }
            written = bottom;
        }
    });
}

/// The largest element of each window and, if `winners` is given, its position in the plane; the first one wins, NaN wins
/// over all.
pub fn max_forward<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F], winners: Option<&mut [u32]>) {
    let (plane, out) = (plan.plane(), plan.out_plane());
    let planes = x.len() / plane;
    match winners {
        Some(winners) => {
            let pieces = (Read(x, plane), Write(y, out), Write(&mut winners[..planes * out], out));
            parallel::chunks(pieces, plan.cost(2 * planes), |_, (x, y, winners)| {
                max_plane(plan, x, y, Some(winners));
            });
        }
        None => {
            parallel::chunks(
                (Read(x, plane), Write(y, out)),
                plan.cost(2 * planes),
                |_, (x, y)| {
                    max_plane(plan, x, y, None);
                },
            );
        }
    }
}

fn max_plane<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F], mut winners: Option<&mut [u32]>) {
    let w = plan.input[1];
    if plan.out_plane() == 1 {
        let (value, place) = largest(x);
        y[0] = value;
        if let Some(winners) = winners {
            winners[0] = place;
        }
        return;
    }
    let mut strip = Strip { best: [F::zero(); STRIP], places: [0; STRIP] };
    for (i, &(top, bottom)) in plan.rows.iter().enumerate() {
        // Which columns the strip has.
        let (mut first, mut end) = (0, 0);
        for (j, &(left, right)) in plan.columns.iter().enumerate() {
            let mut winner = None;
            for column in left..right {
                if !(first..end).contains(&column) {
                    (first, end) = (column, (column + STRIP).min(w));
                    column_winners(w, top..bottom, first..end, x, &mut strip);
                }
                let (value, place) = (strip.best[column - first], strip.places[column - first]);
                winner = match winner {
                    Some((best, at)) if !beats(value, best) && (value < best || place > at) => {
                        Some((best, at))
                    }
                    _ => Some((value, place)),
                };
            }
            // No window is empty.
            let (best, place) = winner.unwrap_or((F::nan(), 0));
            let at = i * plan.columns.len() + j;
            y[at] = best;
            if let Some(winners) = winners.as_deref_mut() {
                winners[at] = place;
            }
        }
    }
}

/// Columns whose winners are found together.
const STRIP: usize = 64;

/// The largest element of each column of some rows, and its place in the plane.
struct Strip<F> {
    best: [F; STRIP],
    places: [u32; STRIP],
}

/// Whether `value` is larger than `best`, or the first NaN.
#[inline(always)]
fn beats<F: Scalar>(value: F, best: F) -> bool {
    (value > best) | (value.is_nan() & !best.is_nan())
}

/// The largest element of a plane and the first place that has it.
fn largest<F: Scalar>(x: &[F]) -> (F, u32) {
    let best = largest_value(x);
    let place = if best.is_nan() {
        x.iter().position(|value| value.is_nan()).unwrap_or(0)
    } else {
        place_of(x, best)
    };
    // Planes of 2³² elements are refused when the layer is built.
    (best, place as u32)
}

multiversion! {
    /// Fills `strip`: of equal elements the first wins.
    fn column_winners<F: Scalar>(
        w: usize, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, x: &[F], strip: &mut Strip<F>,
    ) {
        let n = columns.len();
        let (best, places) = (&mut strip.best[..n], &mut strip.places[..n]);
        for row in rows.clone() {
            let from = row * w + columns.start;
            for (c, ((best, place), &value)) in
                best.iter_mut().zip(&mut *places).zip(&x[from..][..n]).enumerate()
            {
                let wins = (row == rows.start) | beats(value, *best);
                *best = if wins { value } else { *best };
                // Planes of 2³² elements are refused when the layer is built.
                *place = if wins { (from + c) as u32 } else { *place };
            }
        }
    }

    /// The first place of an element that is there.
    fn place_of<F: Scalar>(x: &[F], wanted: F) -> usize {
        let (chunks, tail) = x.as_chunks::<LANES>();
        let has = |chunk: &[F; LANES]| chunk.iter().fold(false, |has, &x| has | (x == wanted));
        let chunk = chunks.iter().position(has);
        let (from, part) = chunk.map_or((x.len() - tail.len(), tail), |i| (i * LANES, &chunks[i]));
        from + part.iter().position(|&x| x == wanted).unwrap_or(0)
    }

    /// NaN if there is one.
    fn largest_value<F: Scalar>(x: &[F]) -> F {
        let mut best = [F::neg_infinity(); LANES];
        // 0 · x is NaN where x is, and for ±∞, which are looked at again below.
        let mut odd = [F::zero(); LANES];
        let (chunks, tail) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                best[l] = if chunk[l] > best[l] { chunk[l] } else { best[l] };
                odd[l] += F::zero() * chunk[l];
            }
        }
        let larger = |a: F, b: F| if a > b { a } else { b };
        let mut half = LANES / 2;
        while half > 0 {
            for l in 0..half {
                best[l] = larger(best[l + half], best[l]);
            }
            half /= 2;
        }
        let most = tail.iter().fold(best[0], |most, &x| larger(x, most));
        let suspect = fold_lanes(odd).is_nan() || tail.iter().any(|x| x.is_nan());
        if suspect && x.iter().any(|x| x.is_nan()) { F::nan() } else { most }
    }
}

/// Gradient of [`max_forward`]: each output's gradient goes to its winner, added where windows overlap.
pub fn max_backward<F: Scalar>(plan: &Plan, winners: &[u32], dy: &[F], dx: &mut [F]) {
    let (plane, out) = (plan.plane(), plan.out_plane());
    let pieces = (Write(dx, plane), Read(dy, out), Read(&winners[..dy.len()], out));
    parallel::chunks(pieces, plan.cost(dy.len() / out), |_, (dx, dy, winners)| {
        dx.fill(F::zero());
        for (&dy, &winner) in dy.iter().zip(winners) {
            dx[winner as usize] += dy;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    #[test]
    fn all_passes_equal_the_definition_at_every_level() {
        let sizes = [
            ([7, 8], [3, 3]),
            ([6, 6], [2, 3]),
            ([3, 4], [5, 6]),
            ([9, 70], [1, 1]),
            ([5, 1], [2, 1]),
            ([4, 4], [4, 4]),
        ];
        simd::at_every_level(|| {
            for (input, output) in sizes {
                let plan = Plan::new(input, output);
                let mut rng = Seed::new(1).rng();
                // Small whole numbers: ties, and sums that are exact in any order. And NaN and ∞ in places.
                let x: Vec<f64> = (0..3 * plan.plane())
                    .map(|i| {
                        if i == 5 {
                            f64::NAN
                        } else if i == 8 {
                            f64::INFINITY
                        } else {
                            rng.below(9) as f64
                        }
                    })
                    .collect();
                let dy: Vec<f64> = (0..3 * plan.out_plane()).map(|_| rng.below(9) as f64).collect();
                let mut y = vec![-1.0; dy.len()];
                let mut winners = vec![9999; dy.len()];
                max_forward(&plan, &x, &mut y, Some(&mut winners));
                let mut without = vec![-1.0; dy.len()];
                max_forward(&plan, &x, &mut without, None);
                let (mut mean, mut dx) = (vec![-1.0; dy.len()], vec![-1.0; x.len()]);
                let mut scratch = vec![f64::NAN; plan.scratch(3)];
                avg_forward(&plan, &x, &mut mean, &mut scratch);
                avg_backward(&plan, &dy, &mut dx, &mut scratch);
                let mut want_dx = vec![0.0; x.len()];
                for p in 0..3 {
                    for (i, &(top, bottom)) in plan.rows.iter().enumerate() {
                        for (j, &(left, right)) in plan.columns.iter().enumerate() {
                            let at = (p * plan.rows.len() + i) * plan.columns.len() + j;
                            let window: Vec<usize> = (top..bottom)
                                .flat_map(|r| (left..right).map(move |c| r * input[1] + c))
                                .collect();
                            let x = &x[p * plan.plane()..];
                            let mut best = window[0];
                            for &place in &window {
                                if x[place] > x[best] || (x[place].is_nan() && !x[best].is_nan()) {
                                    best = place;
                                }
                            }
                            assert_eq!(winners[at] as usize, best, "{plan:?}");
                            assert_eq!(y[at].to_bits(), x[best].to_bits());
                            assert_eq!(y[at].to_bits(), without[at].to_bits());
                            let total: f64 = window.iter().map(|&place| x[place]).sum();
                            let want = total / window.len() as f64;
                            assert!(mean[at] == want || (mean[at].is_nan() && want.is_nan()));
                            for &place in &window {
                                want_dx[p * plan.plane() + place] += dy[at] / window.len() as f64;
                            }
                        }
                    }
                }
                assert!(dx.iter().zip(&want_dx).all(|(a, b)| (a - b).abs() < 1e-12), "{plan:?}");
                max_backward(&plan, &winners, &dy, &mut dx);
                assert_eq!(dx.iter().sum::<f64>(), dy.iter().sum::<f64>());
            }
        });
    }
}
