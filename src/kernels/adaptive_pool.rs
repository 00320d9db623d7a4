//! Pooling to a given size: window `i` of an axis goes from `⌊i · in / out⌋` to `⌈(i + 1) · in / out⌉`.
//!
//! Letters: a plane is `h × w`, its output `oh × ow`. A task is one plane.

use std::sync::OnceLock;

use super::elementwise::axpy;
use super::micro::MAX_LANES;
use super::parallel::{self, Cost, Read, Shared, Write};
use super::reduce::{LANES, add_to, fold_lanes};
use super::simd::multiversion;
use super::vector::vectorized;
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

    /// Whether all of a plane is one window.
    pub fn is_global(&self) -> bool {
        self.out_plane() == 1
    }

    fn cost(&self, planes: usize) -> Cost {
        Cost::elements(planes * (2 * self.plane() + 8 * self.out_plane()))
    }

    /// Elements of scratch memory that averaging so many planes needs, forward or backward.
    pub fn scratch(&self, planes: usize) -> usize {
        parallel::sections_for(planes) * self.input[1]
    }
}

/// Planes of a task, where a plane is one window.
const PLANES: usize = 32;

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
/// over all. Of whole planes no winner is written: [`max_backward`] finds it again.
pub fn max_forward<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F], winners: Option<&mut [u32]>) {
    let (plane, out) = (plan.plane(), plan.out_plane());
    let (planes, cost) = (x.len() / plane, plan.cost(2 * (x.len() / plane)));
    if plan.is_global() {
        let cut = (Read(x, PLANES * plane), Write(y, PLANES));
        return parallel::chunks(cut, cost, |_, (x, y)| largest(plane, x, y));
    }
    match winners {
        Some(winners) => {
            let pieces = (Read(x, plane), Write(y, out), Write(&mut winners[..planes * out], out));
            parallel::chunks(pieces, cost, |_, (x, y, winners)| {
                max_plane(plan, x, y, Some(winners));
            });
        }
        None => parallel::chunks((Read(x, plane), Write(y, out)), cost, |_, (x, y)| {
            max_plane(plan, x, y, None);
        }),
    }
}

fn max_plane<F: Scalar>(plan: &Plan, x: &[F], y: &mut [F], mut winners: Option<&mut [u32]>) {
    let w = plan.input[1];
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

    /// The first place of the largest element of a plane, which is `wanted`.
    fn place_of<F: Scalar>(x: &[F], wanted: F) -> usize {
        if wanted.is_nan() {
            return x.iter().position(|x| x.is_nan()).unwrap_or(0);
        }
        let mut from = 0;
        for chunk in x.as_chunks::<LANES>().0 {
            let mut has = false;
            for &x in chunk {
                has |= x == wanted;
            }
            if has {
                break;
            }
            from += LANES;
        }
        from + x[from..].iter().position(|&x| x == wanted).unwrap_or(0)
    }
}

/// The largest element of each plane, NaN if it has one.
fn largest<F: Scalar>(plane: usize, x: &[F], y: &mut [F]) {
    for (x, y) in x.chunks_exact(plane).zip(y) {
        // SAFETY: it reads the plane and writes the element.
        unsafe { largest_of(x, y) }
        // Infinities are suspect too.
        if y.is_nan() {
            let larger = |most: F, &x: &F| if x > most || x.is_nan() { x } else { most };
            *y = x.iter().fold(F::neg_infinity(), larger);
        }
    }
}

vectorized! {
    /// The largest element; NaN if one is not finite.
    ///
    /// # Safety
    /// None is needed.
    unsafe fn largest_of<F, V>(x: &[F], largest: &mut F) {
        let mut best = [V::splat(F::neg_infinity()); 4];
        // 0 · x is NaN where x is not finite.
        let (zero, mut odd) = (V::splat(F::zero()), [V::splat(F::zero()); 4]);
        let (mut at, end) = (x.as_ptr(), x.as_ptr().add(x.len()));
        for _ in 0..x.len() / (4 * V::LANES) {
            for i in 0..4 {
                let x = V::load(at.add(i * V::LANES));
                best[i] = x.larger(best[i]);
                odd[i] = x.mul_add(zero, odd[i]);
            }
            at = at.add(4 * V::LANES);
        }
        let ([a, b, c, d], [e, f, g, h]) = (best, odd);
        let (mut most, mut odd) = ([F::neg_infinity(); MAX_LANES], [F::zero(); MAX_LANES]);
        a.larger(b).larger(c.larger(d)).store(most.as_mut_ptr());
        e.add(f).add(g.add(h)).store(odd.as_mut_ptr());
        let mut suspicion = fold_lanes(odd);
        let mut half = MAX_LANES / 2;
        while half > 0 {
            for i in 0..half {
                most[i] = if most[i + half] > most[i] { most[i + half] } else { most[i] };
            }
            half /= 2;
        }
        let mut best = most[0];
        while at < end {
            suspicion += F::zero() * *at;
            best = if *at > best { *at } else { best };
            at = at.add(1);
        }
        *largest = if suspicion.is_nan() { suspicion } else { best };
    }
}

/// Gradient of [`max_forward`]: each output's gradient goes to its winner, added where windows overlap.
pub fn max_backward<F: Scalar>(
    plan: &Plan,
    (x, y): (&[F], &[F]),
    winners: &[u32],
    dy: &[F],
    dx: &mut [F],
) {
    let (plane, out) = (plan.plane(), plan.out_plane());
    let cost = plan.cost(dy.len() / out);
    if plan.is_global() {
        let cut = (Read(x, plane), Read(y, 1), Read(dy, 1), Write(dx, plane));
        return parallel::chunks(cut, cost, |_, (x, y, dy, dx)| {
            dx.fill(F::zero());
            // There, unless the arrays are of different passes.
            if let Some(dx) = dx.get_mut(place_of(x, y[0])) {
                *dx = dy[0];
            }
        });
    }
    let pieces = (Write(dx, plane), Read(dy, out), Read(&winners[..dy.len()], out));
    parallel::chunks(pieces, cost, |_, (dx, dy, winners)| {
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

    /// A layer called by hand may get an output of another pass.
    #[test]
    fn a_largest_element_that_is_not_there_gets_no_gradient() {
        let plan = Plan::new([4, LANES / 4], [1, 1]);
        let (x, mut dx) = (vec![1.0f32; LANES], vec![f32::NAN; LANES]);
        max_backward(&plan, (&x, &[2.0]), &[], &[1.0], &mut dx);
        assert!(dx.iter().all(|&dx| dx == 0.0));
    }

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
                            let place = if plan.is_global() {
                                place_of(&x[..plan.plane()], y[at])
                            } else {
                                winners[at] as usize
                            };
                            assert_eq!(place, best, "{plan:?}");
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
                max_backward(&plan, (&x, &y), &winners, &dy, &mut dx);
                assert_eq!(dx.iter().sum::<f64>(), dy.iter().sum::<f64>());
            }
        });
    }
}
