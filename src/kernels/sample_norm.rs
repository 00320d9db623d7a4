//! Normalization of each sample by itself: layer, group and instance normalization are one kernel.
//!
//! Letters: a batch is rows of `len` elements, each normalized by its own mean and variance; a sample has `groups`
//! rows. A row consists of runs of `run` elements that share a scale and a shift: a run is a channel's pixels, or one
//! element where every element has parameters of its own.

use super::parallel::{self, Cost, Read, Shared, Write};
use super::reduce::{self, LANES, fold_lanes};
use super::simd::multiversion;
use crate::Scalar;

/// Elements of a task.
const TASK: usize = 16 * 1024;
/// Lanes for what is too short for all.
const FEW: usize = 8;
/// Elements summed in `F` before they go into an `f64` total.
const PIECE: usize = 4096;
/// Most parts of a batch with gradient sums of their own, where every element has its own parameters.
const PARTS: usize = 16;

/// Sizes of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of a sample.
    pub groups: usize,
    /// Elements of a row.
    pub len: usize,
    /// Elements that share a scale and a shift.
    pub run: usize,
}

impl Sizes {
    /// Scales, and shifts, of a sample.
    pub fn params(&self) -> usize {
        self.groups * self.len / self.run
    }

    /// Rows of a batch of so many elements.
    pub fn rows(&self, elements: usize) -> usize {
        elements / self.len
    }

    fn rows_per_task(&self) -> usize {
        (TASK / self.len).max(1)
    }

    /// The parameters of row number `row`.
    #[inline(always)]
    fn params_of<'a, F>(&self, row: usize, all: &'a [F]) -> &'a [F] {
        let runs = self.len / self.run;
        &all[row % self.groups * runs..][..runs]
    }

    /// Samples whose gradients by the parameters are summed one after the other.
    fn samples_per_part(&self, samples: usize) -> usize {
        if self.run == 1 { samples.div_ceil(PARTS).max(1) } else { 1 }
    }

    /// Elements of scratch memory that [`backward`] needs for a batch of so many elements.
    pub fn backward_scratch(&self, elements: usize) -> usize {
        let samples = elements / (self.groups * self.len);
        2 * samples.div_ceil(self.samples_per_part(samples)) * self.params()
    }
}

/// Scale and shift of each run; without them 1 and 0.
pub type Affine<'a, F> = Option<(&'a [F], &'a [F])>;

/// `y = scale · (x − mean) / √(var + eps) + shift`. `stats` receives mean and `1 / √(var + eps)` of each row in turn.
pub fn forward<F: Scalar>(
    sizes: Sizes,
    eps: F,
    x: &[F],
    affine: Affine<'_, F>,
    stats: &mut [F],
    y: &mut [F],
) {
    let rows = sizes.rows_per_task();
    let pieces = (Read(x, rows * sizes.len), Write(y, rows * sizes.len), Write(stats, 2 * rows));
    parallel::chunks(pieces, Cost::elements(4 * x.len()), |task, (x, y, stats)| {
        forward_rows(sizes, eps, task * rows, x, affine, stats, y);
    });
}

/// `Σ (x − center)` and `Σ (x − center)²`, pieces in `f64`.
#[inline(always)]
fn totals<F: Scalar>(x: &[F], center: F) -> [f64; 2] {
    let mut totals = [0.0; 2];
    for piece in x.chunks(PIECE) {
        let [sum, squares] = reduce::deviations(piece, center);
        totals[0] += sum.widen();
        totals[1] += squares.widen();
    }
    totals
}

multiversion! {
    fn forward_rows<F: Scalar>(
        sizes: Sizes, eps: F, first: usize, x: &[F], affine: Affine<'_, F>, stats: &mut [F], y: &mut [F],
    ) {
        let Sizes { len, run, .. } = sizes;
        let rows = x.chunks_exact(len).zip(y.chunks_exact_mut(len)).zip(stats.chunks_exact_mut(2));
        for (i, ((x, y), stats)) in rows.enumerate() {
            // Two passes: the one-pass variance loses all digits when mean² ≫ variance.
            let mean = F::lit(totals(x, F::zero())[0] / len as f64);
            let var = F::lit(totals(x, mean)[1] / len as f64);
            let inv_std = F::one() / (var + eps).sqrt();
            (stats[0], stats[1]) = (mean, inv_std);
            let Some((scale, shift)) = affine else {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - mean) * inv_std;
                }
                continue;
            };
            let (scale, shift) = (sizes.params_of(first + i, scale), sizes.params_of(first + i, shift));
            if run == 1 {
                for (((y, &x), &scale), &shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                    *y = (x - mean) * inv_std * scale + shift;
                }
                continue;
            }
            let runs = x.chunks_exact(run).zip(y.chunks_exact_mut(run));
            for ((x, y), (&scale, &shift)) in runs.zip(scale.iter().zip(shift)) {
                let factor = inv_std * scale;
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - mean) * factor + shift;
                }
            }
        }
    }
}

/// Where the gradients of a backward pass go.
#[derive(Debug)]
pub struct Gradients<'a, F> {
    /// By the scale, added to.
    pub scale: Option<&'a mut [F]>,
    /// By the shift, added to.
    pub shift: Option<&'a mut [F]>,
    /// By the input, written.
    pub input: Option<&'a mut [F]>,
}

/// Gradient of [`forward`]: with `x̂ = (x − mean) · inv_std` and `g = dy · scale`,
/// `dx = inv_std · (g − mean(g) − x̂ · mean(g · x̂))`, `dscale = Σ dy · x̂`, `dshift = Σ dy`.
pub fn backward<F: Scalar>(
    sizes: Sizes,
    x: &[F],
    dy: &[F],
    scale: Option<&[F]>,
    stats: &[F],
    scratch: &mut [F],
    gradients: Gradients<'_, F>,
) {
    let (sample, params) = (sizes.groups * sizes.len, sizes.params());
    let samples = sizes.samples_per_part(x.len() / sample);
    let (dots, sums) = scratch.split_at_mut(sizes.backward_scratch(x.len()) / 2);
    let sums = &mut sums[..dots.len()];
    let learns = gradients.scale.is_some() || gradients.shift.is_some();
    let out = gradients.input.map(Shared::new);
    let work = (
        Read(x, samples * sample),
        Read(dy, samples * sample),
        Read(stats, samples * 2 * sizes.groups),
        (Write(dots, params), Write(sums, params)),
    );
    parallel::chunks(work, Cost::elements(5 * x.len()), |part, (x, dy, stats, (dots, sums))| {
        // SAFETY: parts own different samples.
        let dx = out.as_ref().map(|out| unsafe { out.at(part * samples * sample, x.len()) });
        if sizes.run == 1 {
            dots.fill(F::zero());
            sums.fill(F::zero());
            backward_elements(sizes, x, dy, scale, stats, learns, dots, sums, dx);
        } else {
            backward_runs(sizes, x, dy, scale, stats, dots, sums, dx);
        }
    });
    if let Some(grad) = gradients.scale {
        reduce::add_rows(dots, grad);
    }
    if let Some(grad) = gradients.shift {
        reduce::add_rows(sums, grad);
    }
}

/// What a row's mean and variance depend on: `dx = (g − a − (x − mean) · b) · inv_std`.
#[inline(always)]
fn terms<F: Scalar>(len: usize, inv_std: F, (dot, sum): (f64, f64)) -> (F, F) {
    let count = len as f64;
    (F::lit(sum / count), F::lit(dot / count) * inv_std * inv_std)
}

/// `Σ g · (x − mean)` and `Σ g` with `g = gradient(dy, w)`.
#[inline(always)]
fn dot_and_sum<F: Scalar>(
    x: &[F],
    dy: &[F],
    w: &[F],
    mean: F,
    gradient: impl Fn(F, F) -> F,
) -> (f64, f64) {
    let (mut dot, mut sum) = (0.0, 0.0);
    for ((x, dy), w) in x.chunks(PIECE).zip(dy.chunks(PIECE)).zip(w.chunks(PIECE)) {
        let (mut dots, mut sums) = ([F::zero(); LANES], [F::zero(); LANES]);
        let ((x, last_x), (dy, last_dy), (w, last_w)) =
            (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>(), w.as_chunks::<LANES>());
        for ((x, dy), w) in x.iter().zip(dy).zip(w) {
            for l in 0..LANES {
                let g = gradient(dy[l], w[l]);
                dots[l] += g * (x[l] - mean);
                sums[l] += g;
            }
        }
        // Runs are often shorter than all lanes.
        let ((x, last_x), (dy, last_dy), (w, last_w)) =
            (last_x.as_chunks::<FEW>(), last_dy.as_chunks::<FEW>(), last_w.as_chunks::<FEW>());
        for ((x, dy), w) in x.iter().zip(dy).zip(w) {
            for l in 0..FEW {
                let g = gradient(dy[l], w[l]);
                dots[l] += g * (x[l] - mean);
                sums[l] += g;
            }
        }
        let mut tail = (F::zero(), F::zero());
        for ((&x, &dy), &w) in last_x.iter().zip(last_dy).zip(last_w) {
            let g = gradient(dy, w);
            tail.0 += g * (x - mean);
            tail.1 += g;
        }
        dot += (fold_lanes(dots) + tail.0).widen();
        sum += (fold_lanes(sums) + tail.1).widen();
    }
    (dot, sum)
}

/// `dx` of one row whose elements have scales of their own.
#[inline(always)]
fn row<F: Scalar>(
    x: &[F],
    dy: &[F],
    w: &[F],
    (mean, inv_std): (F, F),
    gradient: impl Fn(F, F) -> F + Copy,
    dx: &mut [F],
) {
    let (a, b) = terms(x.len(), inv_std, dot_and_sum(x, dy, w, mean, gradient));
    for (((dx, &dy), &w), &x) in dx.iter_mut().zip(dy).zip(w).zip(x) {
        *dx = (gradient(dy, w) - a - (x - mean) * b) * inv_std;
    }
}

multiversion! {
    /// Samples whose elements have parameters of their own.
    fn backward_elements<F: Scalar>(
        sizes: Sizes, x: &[F], dy: &[F], scale: Option<&[F]>, stats: &[F], learns: bool,
        dots: &mut [F], sums: &mut [F], dx: Option<&mut [F]>,
    ) {
        let len = sizes.len;
        let mut dx = dx;
        for (i, ((x, dy), stats)) in
            x.chunks_exact(len).zip(dy.chunks_exact(len)).zip(stats.chunks_exact(2)).enumerate()
        {
            let (mean, inv_std) = (stats[0], stats[1]);
            if let Some(dx) = dx.as_deref_mut() {
                let dx = &mut dx[i * len..][..len];
                match scale {
                    Some(w) => row(x, dy, sizes.params_of(i, w), (mean, inv_std), |dy, w| dy * w, dx),
                    None => row(x, dy, dy, (mean, inv_std), |dy, _| dy, dx),
                }
            }
            if learns {
                let at = i % sizes.groups * len;
                let (dots, sums) = (&mut dots[at..][..len], &mut sums[at..][..len]);
                for (((dot, sum), &dy), &x) in dots.iter_mut().zip(sums).zip(dy).zip(x) {
                    *dot += dy * ((x - mean) * inv_std);
                    *sum += dy;
                }
            }
        }
    }

    /// One sample whose runs have parameters.
    fn backward_runs<F: Scalar>(
        sizes: Sizes, x: &[F], dy: &[F], scale: Option<&[F]>, stats: &[F],
        dots: &mut [F], sums: &mut [F], dx: Option<&mut [F]>,
    ) {
        let Sizes { len, run, .. } = sizes;
        let runs = len / run;
        let mut dx = dx;
        for (i, ((x, dy), stats)) in
            x.chunks_exact(len).zip(dy.chunks_exact(len)).zip(stats.chunks_exact(2)).enumerate()
        {
            let (mean, inv_std) = (stats[0], stats[1]);
            let (dots, sums) = (&mut dots[i * runs..][..runs], &mut sums[i * runs..][..runs]);
            let scale = |k: usize| scale.map_or(F::one(), |scale| scale[i * runs + k]);
            let mut all = (0.0, 0.0);
            for (k, (x, dy)) in x.chunks_exact(run).zip(dy.chunks_exact(run)).enumerate() {
                let (dot, sum) = dot_and_sum(x, dy, dy, mean, |dy, _| dy);
                all.0 += dot * scale(k).widen();
                all.1 += sum * scale(k).widen();
                (dots[k], sums[k]) = (F::lit(dot) * inv_std, F::lit(sum));
            }
            let Some(dx) = dx.as_deref_mut() else { continue };
            let (a, b) = terms(len, inv_std, all);
            let dx = dx[i * len..][..len].chunks_exact_mut(run);
            for (k, ((dx, dy), x)) in dx.zip(dy.chunks_exact(run)).zip(x.chunks_exact(run)).enumerate() {
                let scale = scale(k);
                for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
                    *dx = (dy * scale - a - (x - mean) * b) * inv_std;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    fn random(len: usize, seed: u64) -> Vec<f64> {
        let mut rng = Seed::new(seed).rng();
        (0..len).map(|_| rng.normal() + 3.0).collect()
    }

    /// The formulas, element by element.
    fn naive(sizes: Sizes, x: &[f64], dy: &[f64], scale: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let Sizes { groups, len, run } = sizes;
        let (mut y, mut dx, mut dscale) = (vec![], vec![], vec![0.0; sizes.params()]);
        for (r, (x, dy)) in x.chunks(len).zip(dy.chunks(len)).enumerate() {
            let param = |j: usize| r % groups * (len / run) + j / run;
            let mean = x.iter().sum::<f64>() / len as f64;
            let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / len as f64;
            let inv = 1.0 / (var + 1e-5).sqrt();
            let hat: Vec<f64> = x.iter().map(|x| (x - mean) * inv).collect();
            let g: Vec<f64> = dy.iter().enumerate().map(|(j, dy)| dy * scale[param(j)]).collect();
            let mean_g = g.iter().sum::<f64>() / len as f64;
            let mean_gx = g.iter().zip(&hat).map(|(g, x)| g * x).sum::<f64>() / len as f64;
            for j in 0..len {
                y.push(hat[j] * scale[param(j)] + 0.5);
                dx.push(inv * (g[j] - mean_g - hat[j] * mean_gx));
                dscale[param(j)] += dy[j] * hat[j];
            }
        }
        (y, dx, dscale)
    }

    #[test]
    fn rows_and_runs_equal_the_formulas_at_every_level() {
        let shapes =
            [(1, 7, 1), (1, 5000, 1), (3, 66, 33), (2, 12, 3), (5, 40, 40), (3, 4, 1), (1, 1, 1)];
        simd::at_every_level(|| {
            for (groups, len, run) in shapes {
                for samples in [1, 2, 37] {
                    let sizes = Sizes { groups, len, run };
                    let elements = samples * groups * len;
                    let (x, dy) = (random(elements, 1), random(elements, 2));
                    let (scale, shift) = (random(sizes.params(), 3), vec![0.5; sizes.params()]);
                    let (want_y, want_dx, want_dscale) = naive(sizes, &x, &dy, &scale);
                    let (mut y, mut dx) = (vec![f64::NAN; elements], vec![f64::NAN; elements]);
                    let mut stats = vec![f64::NAN; 2 * sizes.rows(elements)];
                    forward(sizes, 1e-5, &x, Some((&scale, &shift)), &mut stats, &mut y);
                    let (mut dscale, mut dshift) =
                        (vec![0.0; sizes.params()], vec![0.0; sizes.params()]);
                    let mut scratch = vec![f64::NAN; sizes.backward_scratch(elements)];
                    let gradients = Gradients {
                        scale: Some(&mut dscale),
                        shift: Some(&mut dshift),
                        input: Some(&mut dx),
                    };
                    backward(sizes, &x, &dy, Some(&scale), &stats, &mut scratch, gradients);
                    for (got, want) in [(y, want_y), (dx, want_dx), (dscale, want_dscale)] {
                        let worst =
                            got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                        let largest = want.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
                        assert!(worst < 1e-10 * largest, "{sizes:?}, {samples} samples: {worst}");
                    }
                    assert!((dshift.iter().sum::<f64>() - dy.iter().sum::<f64>()).abs() < 1e-8);
                }
            }
        });
    }
}
