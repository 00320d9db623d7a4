//! Batch normalization: statistics per channel, and the passes that use them.
//!
//! Letters: `x[n][c][p]`, `n` samples, `c` channels, `p` pixels (1 for plain features). A task is one
//! channel (or a block of features): its second pass over the data finds it in the cache.

use super::parallel::{self, Cost, Shared};
use super::reduce;
use super::simd::multiversion;
use crate::Scalar;

/// Sizes of a batch: samples, channels, pixels.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Samples.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Pixels of a channel.
    pub p: usize,
}

impl Sizes {
    fn cost(&self, passes: usize) -> Cost {
        Cost::elements(self.n * self.c * self.p * passes)
    }

    /// Values behind one statistic.
    pub fn count(&self) -> usize {
        self.n * self.p
    }
}

/// What normalization needs of each channel.
#[derive(Debug, Clone, Default)]
pub struct Statistics<F> {
    /// Mean.
    pub mean: Vec<F>,
    /// Biased variance.
    pub var: Vec<F>,
    /// `1 / √(var + eps)`
    pub inv_std: Vec<F>,
}

impl<F: Scalar> Statistics<F> {
    /// Makes room for `c` channels.
    pub fn resize(&mut self, c: usize) {
        for values in [&mut self.mean, &mut self.var, &mut self.inv_std] {
            values.resize(c, F::zero());
        }
    }
}

/// Channels of a task: one if a plane fills cache lines, else a block, so that rows are read whole.
fn block(sizes: Sizes) -> usize {
    if sizes.p == 1 { 16 } else { 1 }
}

/// Training pass: statistics of the batch into `stats`, `y = scale · (x − mean) / √(var + eps) + shift`.
/// Without `affine`, scale is 1 and shift 0.
pub fn train_forward<F: Scalar>(
    sizes: Sizes,
    eps: F,
    x: &[F],
    affine: Option<(&[F], &[F])>,
    stats: &mut Statistics<F>,
    y: &mut [F],
) {
    let block = block(sizes);
    let out = Shared::new(y);
    let stats = (
        parallel::Write(&mut stats.mean, block),
        parallel::Write(&mut stats.var, block),
        parallel::Write(&mut stats.inv_std, block),
    );
    parallel::chunks(stats, sizes.cost(4), |task, (mean, var, inv_std)| {
        let first = task * block;
        if sizes.p == 1 {
            column_statistics(sizes, first, x, mean, var);
        } else {
            plane_statistics(sizes, first, x, mean, var);
        }
        for (inv_std, &var) in inv_std.iter_mut().zip(&*var) {
            *inv_std = F::one() / (var + eps).sqrt();
        }
        normalize(sizes, first, x, affine, (mean, inv_std), &out);
    });
}

/// Applies given statistics: `y = scale · (x − mean) · inv_std + shift`.
pub fn apply<F: Scalar>(
    sizes: Sizes,
    x: &[F],
    affine: Option<(&[F], &[F])>,
    mean: &[F],
    inv_std: &[F],
    y: &mut [F],
) {
    let block = block(sizes);
    let out = Shared::new(y);
    let stats = (parallel::Read(mean, block), parallel::Read(inv_std, block));
    parallel::chunks(stats, sizes.cost(2), |task, stats| {
        normalize(sizes, task * block, x, affine, stats, &out);
    });
}

// Two passes: the one-pass variance loses all digits when mean² ≫ variance.
fn plane_statistics<F: Scalar>(
    sizes: Sizes,
    channel: usize,
    x: &[F],
    mean: &mut [F],
    var: &mut [F],
) {
    let Sizes { n, c, p } = sizes;
    let plane = |i: usize| &x[(i * c + channel) * p..][..p];
    // Totals over planes in f64: a plane's own sum has 32 partial sums.
    let count = sizes.count() as f64;
    let center = F::lit((0..n).map(|i| reduce::sum(plane(i)).widen()).sum::<f64>() / count);
    let total: f64 = (0..n).map(|i| reduce::sum_squared_deviation(plane(i), center).widen()).sum();
    (mean[0], var[0]) = (center, F::lit(total / count));
}

fn column_statistics<F: Scalar>(
    sizes: Sizes,
    first: usize,
    x: &[F],
    mean: &mut [F],
    var: &mut [F],
) {
    let rows = || x.chunks_exact(sizes.c).map(|row| &row[first..first + mean.len()]);
    let mut sums = [0.0f64; 16];
    for row in rows() {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x.widen();
        }
    }
    let count = sizes.count() as f64;
    let centers = sums.map(|sum| sum / count);
    let mut squares = [0.0f64; 16];
    for row in rows() {
        for ((square, x), center) in squares.iter_mut().zip(row).zip(centers) {
            let deviation = x.widen() - center;
            *square += deviation * deviation;
        }
    }
    for (i, (mean, var)) in mean.iter_mut().zip(var).enumerate() {
        (*mean, *var) = (F::lit(centers[i]), F::lit(squares[i] / count));
    }
}

fn normalize<F: Scalar>(
    sizes: Sizes,
    first: usize,
    x: &[F],
    affine: Option<(&[F], &[F])>,
    (mean, inv_std): (&[F], &[F]),
    out: &Shared<'_, F>,
) {
    let Sizes { n, c, p } = sizes;
    let mut factors = [F::zero(); 16];
    let mut shifts = [F::zero(); 16];
    for (j, &inv_std) in inv_std.iter().enumerate() {
        let (scale, shift) = affine
            .map_or((F::one(), F::zero()), |(scale, shift)| (scale[first + j], shift[first + j]));
        (factors[j], shifts[j]) = (scale * inv_std, shift);
    }
    for i in 0..n {
        // SAFETY: tasks own different channels.
        let y = unsafe { out.at((i * c + first) * p, mean.len() * p) };
        let x = &x[(i * c + first) * p..][..mean.len() * p];
        if p == 1 {
            for (j, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                *y = (x - mean[j]) * factors[j] + shifts[j];
            }
        } else {
            center_scale_shift(mean[0], factors[0], shifts[0], x, y);
        }
    }
}

multiversion! {
    /// `y = (x − center) · factor + shift`: centred first, for the digits when the mean is large.
    fn center_scale_shift<F: Scalar>(center: F, factor: F, shift: F, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - center) * factor + shift;
        }
    }

    /// `dx = (dy − a − (x − center) · b) · factor`
    fn backward_plane<F: Scalar>(center: F, a: F, b: F, factor: F, x: &[F], dy: &[F], dx: &mut [F]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = (dy - a - (x - center) * b) * factor;
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

/// Backward pass. With `batch_statistics` the mean and variance depend on `x`:
/// `dx = scale · inv_std · (dy − mean(dy) − x̂ · mean(dy · x̂))` with `x̂ = (x − mean) · inv_std`; without,
/// `dx = scale · inv_std · dy`. `sums` is working memory for `2 c` elements.
#[allow(clippy::too_many_arguments)]
pub fn backward<F: Scalar>(
    sizes: Sizes,
    batch_statistics: bool,
    x: &[F],
    dy: &[F],
    scale: Option<&[F]>,
    mean: &[F],
    inv_std: &[F],
    sums: &mut [F],
    gradients: Gradients<'_, F>,
) {
    let block = block(sizes);
    let (dots, totals) = sums.split_at_mut(sizes.c);
    let out = gradients.input.map(Shared::new);
    let work = (parallel::Write(dots, block), parallel::Write(&mut totals[..sizes.c], block));
    parallel::chunks(work, sizes.cost(4), |task, (dots, totals)| {
        let first = task * block;
        gradient_sums(sizes, first, x, dy, mean, dots, totals);
        for (j, dot) in dots.iter_mut().enumerate() {
            *dot *= inv_std[first + j];
        }
        let Some(out) = &out else { return };
        let count = F::lit(sizes.count() as f64);
        // What each channel's elements are shifted and scaled by: see `backward_plane`.
        let mut terms = [(F::zero(), F::zero(), F::zero()); 16];
        for (j, term) in terms.iter_mut().enumerate().take(dots.len()) {
            let channel = first + j;
            let factor = scale.map_or(F::one(), |scale| scale[channel]) * inv_std[channel];
            let (a, b) = (totals[j] / count, dots[j] * inv_std[channel] / count);
            *term = if batch_statistics { (a, b, factor) } else { (F::zero(), F::zero(), factor) };
        }
        for i in 0..sizes.n {
            let at = (i * sizes.c + first) * sizes.p;
            let len = dots.len() * sizes.p;
            // SAFETY: tasks own different channels.
            let dx = unsafe { out.at(at, len) };
            let (x, dy) = (&x[at..][..len], &dy[at..][..len]);
            if sizes.p == 1 {
                for (j, (dx, (&dy, &x))) in dx.iter_mut().zip(dy.iter().zip(x)).enumerate() {
                    let (a, b, factor) = terms[j];
                    *dx = (dy - a - (x - mean[first + j]) * b) * factor;
                }
            } else {
                let (a, b, factor) = terms[0];
                backward_plane(mean[first], a, b, factor, x, dy, dx);
            }
        }
    });
    if let Some(grad) = gradients.scale {
        reduce::add_to(dots, grad);
    }
    if let Some(grad) = gradients.shift {
        reduce::add_to(totals, grad);
    }
}

/// `Σ dy · (x − mean)` and `Σ dy` of each channel of a task.
fn gradient_sums<F: Scalar>(
    sizes: Sizes,
    first: usize,
    x: &[F],
    dy: &[F],
    mean: &[F],
    dots: &mut [F],
    totals: &mut [F],
) {
    let Sizes { n, c, p } = sizes;
    let mut sums = [(0.0f64, 0.0f64); 16];
    for i in 0..n {
        let at = (i * c + first) * p;
        if p == 1 {
            for (j, sum) in sums.iter_mut().enumerate().take(dots.len()) {
                let gradient = dy[at + j].widen();
                sum.0 += gradient * (x[at + j] - mean[first + j]).widen();
                sum.1 += gradient;
            }
        } else {
            let (dot, total) = reduce::dot_and_sum(&dy[at..][..p], &x[at..][..p], mean[first]);
            sums[0].0 += dot.widen();
            sums[0].1 += total.widen();
        }
    }
    for ((dot, total), sum) in dots.iter_mut().zip(totals).zip(sums) {
        (*dot, *total) = (F::lit(sum.0), F::lit(sum.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    fn naive(sizes: Sizes, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let values = |channel: usize| {
            (0..sizes.n)
                .flat_map(move |i| (0..sizes.p).map(move |p| (i * sizes.c + channel) * sizes.p + p))
        };
        let count = sizes.count() as f64;
        let mean: Vec<f64> =
            (0..sizes.c).map(|c| values(c).map(|at| x[at]).sum::<f64>() / count).collect();
        let var = (0..sizes.c)
            .map(|c| values(c).map(|at| (x[at] - mean[c]).powi(2)).sum::<f64>() / count)
            .collect();
        (mean, var)
    }

    #[test]
    fn statistics_equal_the_plain_ones_for_planes_and_columns() {
        for (n, c, p) in [(3, 2, 35), (1, 1, 2), (5, 40, 1), (2, 16, 1), (64, 3, 1)] {
            let sizes = Sizes { n, c, p };
            let mut rng = Seed::new(0).rng();
            let x: Vec<f64> = (0..n * c * p).map(|_| rng.normal() + 5.0).collect();
            let (mean, var) = naive(sizes, &x);
            let mut stats = Statistics::default();
            stats.resize(c);
            let mut y = vec![f64::NAN; x.len()];
            train_forward(sizes, 1e-5, &x, None, &mut stats, &mut y);
            for channel in 0..c {
                assert!((stats.mean[channel] - mean[channel]).abs() < 1e-13);
                assert!((stats.var[channel] - var[channel]).abs() < 1e-13);
            }
            for (at, y) in y.iter().enumerate() {
                let channel = at / p % c;
                let want = (x[at] - mean[channel]) / (var[channel] + 1e-5).sqrt();
                assert!((y - want).abs() < 1e-11);
            }
        }
    }
}
