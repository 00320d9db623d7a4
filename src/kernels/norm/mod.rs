//! Batch normalization: statistics per channel, and the passes that use them.
//!
//! Letters: `x[n][c][p]`, `n` samples, `c` channels, `p` pixels (1 for plain features). A task is a block of
//! channels: few enough that its second pass over the data finds it in the cache, enough that a sample's share
//! is a long run of memory. A `max(0, ·)` that follows can be part of the last pass; backward, the sign of its
//! argument is computed again from `x`.

mod passes;

use super::parallel::{self, Cost, Shared};
use super::reduce;
use crate::Scalar;
use passes::{
    Finish, Plain, Rectified, add_dots, add_lanes, columns_backward, columns_forward, plane_sums,
    planes_backward, planes_forward, planes_in_place,
};

pub use passes::Line;

/// Scale and shift of each channel; without them 1 and 0.
pub type Affine<'a, F> = Option<(&'a [F], &'a [F])>;

/// The lines of the channels of a task.
fn lines<F: Scalar>(
    first: usize,
    affine: Affine<'_, F>,
    mean: &[F],
    inv_std: &[F],
) -> [Line<F>; BLOCK] {
    let mut lines = [Line::default(); BLOCK];
    let affine = affine.map(|(scale, shift)| (&scale[first..], &shift[first..]));
    for (line, value) in lines.iter_mut().zip(lines_of(affine, mean, inv_std.iter().copied())) {
        *line = value;
    }
    lines
}

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

/// Most channels of a task.
const BLOCK: usize = 64;
/// Most channels of a task of plain features: a cache line.
const COLUMNS: usize = 16;
/// Bytes of a task's data that stay in the second cache for its second pass, with those of a gradient.
const CACHED: usize = 512 * 1024;

/// Channels of a task.
fn block<F>(sizes: Sizes) -> usize {
    if sizes.p == 1 {
        return COLUMNS;
    }
    (CACHED / (sizes.n * sizes.p * size_of::<F>()).max(1)).clamp(1, BLOCK)
}

/// Training pass: statistics of the batch into `stats`, `y = scale · (x − mean) / √(var + eps) + shift`.
/// With `relu`, `y = max(0, …)` of that.
pub fn train_forward<F: Scalar>(
    sizes: Sizes,
    eps: F,
    x: &[F],
    affine: Affine<'_, F>,
    relu: bool,
    stats: &mut Statistics<F>,
    y: &mut [F],
) {
    let block = block::<F>(sizes);
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
        normalize(sizes, first, x, affine, relu, (mean, inv_std), &out);
    });
}

/// Applies given statistics: `y = scale · (x − mean) · inv_std + shift`, with `relu` `max(0, …)` of that.
pub fn apply<F: Scalar>(
    sizes: Sizes,
    x: &[F],
    affine: Affine<'_, F>,
    relu: bool,
    mean: &[F],
    inv_std: &[F],
    y: &mut [F],
) {
    let block = block::<F>(sizes);
    let out = Shared::new(y);
    let stats = (parallel::Read(mean, block), parallel::Read(inv_std, block));
    parallel::chunks(stats, sizes.cost(2), |task, stats| {
        normalize(sizes, task * block, x, affine, relu, stats, &out);
    });
}

/// The line of each channel that [`apply`] follows.
pub fn lines_of<'a, F: Scalar>(
    affine: Affine<'a, F>,
    mean: &'a [F],
    inv_std: impl Iterator<Item = F> + 'a,
) -> impl Iterator<Item = Line<F>> + 'a {
    mean.iter().zip(inv_std).enumerate().map(move |(i, (&center, inv_std))| {
        let (scale, shift) =
            affine.map_or((F::one(), F::zero()), |(scale, shift)| (scale[i], shift[i]));
        Line { center, factor: scale * inv_std, shift }
    })
}

/// What [`apply`] does, to some channels of a sample whose runs of `len` pixels lie one after the other, in place.
pub fn apply_in_place<F: Scalar>(lines: &[Line<F>], relu: bool, len: usize, y: &mut [F]) {
    if relu {
        planes_in_place::<F, Rectified>(lines, len, y);
    } else {
        planes_in_place::<F, Plain>(lines, len, y);
    }
}

// Two passes: the one-pass variance loses all digits when mean² ≫ variance.
fn plane_statistics<F: Scalar>(sizes: Sizes, first: usize, x: &[F], mean: &mut [F], var: &mut [F]) {
    let (channels, count) = (mean.len(), sizes.count() as f64);
    let totals = plane_sums(sizes, first, channels, |range, _, sums| {
        add_lanes(&x[range], sums, |x| x);
    });
    for (mean, [total]) in mean.iter_mut().zip(totals) {
        *mean = F::lit(total / count);
    }
    let totals = plane_sums(sizes, first, channels, |range, channel, sums| {
        let center = mean[channel];
        add_lanes(&x[range], sums, move |x| (x - center) * (x - center));
    });
    for (var, [total]) in var.iter_mut().zip(totals) {
        *var = F::lit(total / count);
    }
}

fn column_statistics<F: Scalar>(
    sizes: Sizes,
    first: usize,
    x: &[F],
    mean: &mut [F],
    var: &mut [F],
) {
    let rows = || x.chunks_exact(sizes.c).map(|row| &row[first..first + mean.len()]);
    let mut sums = [0.0f64; COLUMNS];
    for row in rows() {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x.widen();
        }
    }
    let count = sizes.count() as f64;
    let centers = sums.map(|sum| sum / count);
    let mut squares = [0.0f64; COLUMNS];
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
    affine: Affine<'_, F>,
    relu: bool,
    (mean, inv_std): (&[F], &[F]),
    out: &Shared<'_, F>,
) {
    let Sizes { n, c, p } = sizes;
    let lines = lines(first, affine, mean, inv_std);
    let lines = &lines[..mean.len()];
    for i in 0..n {
        let (at, len) = ((i * c + first) * p, lines.len() * p);
        // SAFETY: tasks own different channels.
        let y = unsafe { out.at(at, len) };
        let x = &x[at..][..len];
        match (p, relu) {
            (1, false) => columns_forward::<F, Plain>(lines, x, y),
            (1, true) => columns_forward::<F, Rectified>(lines, x, y),
            (_, false) => planes_forward::<F, Plain>(lines, p, x, y),
            (_, true) => planes_forward::<F, Rectified>(lines, p, x, y),
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

/// What a backward pass reads besides `x` and `dy`.
#[derive(Debug)]
pub struct Known<'a, F> {
    /// Mean of each channel.
    pub mean: &'a [F],
    /// `1 / √(var + eps)` of each channel.
    pub inv_std: &'a [F],
    /// Scale and shift.
    pub affine: Affine<'a, F>,
    /// Whether mean and variance depend on `x`.
    pub batch_statistics: bool,
    /// Whether `max(0, ·)` followed.
    pub relu: bool,
}

/// Backward pass. With batch statistics
/// `dx = scale · inv_std · (dy − mean(dy) − x̂ · mean(dy · x̂))` with `x̂ = (x − mean) · inv_std`; without,
/// `dx = scale · inv_std · dy`. `sums` is working memory for `2 c` elements.
pub fn backward<F: Scalar>(
    sizes: Sizes,
    known: Known<'_, F>,
    x: &[F],
    dy: &[F],
    sums: &mut [F],
    gradients: Gradients<'_, F>,
) {
    if known.relu {
        backward_through::<F, Rectified>(sizes, known, x, dy, sums, gradients);
    } else {
        backward_through::<F, Plain>(sizes, known, x, dy, sums, gradients);
    }
}

fn backward_through<F: Scalar, R: Finish>(
    sizes: Sizes,
    known: Known<'_, F>,
    x: &[F],
    dy: &[F],
    sums: &mut [F],
    gradients: Gradients<'_, F>,
) {
    let block = block::<F>(sizes);
    let (dots, totals) = sums.split_at_mut(sizes.c);
    let out = gradients.input.map(Shared::new);
    let work = (
        parallel::Write(dots, block),
        parallel::Write(&mut totals[..sizes.c], block),
        parallel::Read(known.mean, block),
        parallel::Read(known.inv_std, block),
    );
    parallel::chunks(work, sizes.cost(4), |task, (dots, totals, mean, inv_std)| {
        let first = task * block;
        let lines = lines(first, known.affine, mean, inv_std);
        let lines = &lines[..mean.len()];
        gradient_sums::<F, R>(sizes, first, x, dy, lines, dots, totals);
        for (dot, &inv_std) in dots.iter_mut().zip(inv_std) {
            *dot *= inv_std;
        }
        let Some(out) = &out else { return };
        let count = F::lit(sizes.count() as f64);
        // See `planes_backward`.
        let mut terms = [(F::zero(), F::zero()); BLOCK];
        if known.batch_statistics {
            for (j, term) in terms.iter_mut().enumerate().take(mean.len()) {
                *term = (totals[j] / count, dots[j] * inv_std[j] / count);
            }
        }
        for i in 0..sizes.n {
            let at = (i * sizes.c + first) * sizes.p;
            let len = mean.len() * sizes.p;
            // SAFETY: tasks own different channels.
            let dx = unsafe { out.at(at, len) };
            let (x, dy) = (&x[at..][..len], &dy[at..][..len]);
            if sizes.p == 1 {
                columns_backward::<F, R>(lines, &terms, x, dy, dx);
            } else {
                planes_backward::<F, R>(lines, &terms, sizes.p, x, dy, dx);
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
fn gradient_sums<F: Scalar, R: Finish>(
    sizes: Sizes,
    first: usize,
    x: &[F],
    dy: &[F],
    lines: &[Line<F>],
    dots: &mut [F],
    totals: &mut [F],
) {
    let Sizes { c, p, .. } = sizes;
    let mut sums = [[0.0f64; 2]; BLOCK];
    if p > 1 {
        sums = plane_sums(sizes, first, lines.len(), |range, channel, sums| {
            add_dots::<F, R>(lines[channel], &x[range.clone()], &dy[range], sums);
        });
    } else {
        for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
            let row = x[first..].iter().zip(&dy[first..]);
            for ((sum, line), (&x, &dy)) in sums.iter_mut().zip(lines).zip(row) {
                let gradient = R::gradient(line.at(x), dy).widen();
                sum[0] += gradient * (x - line.center).widen();
                sum[1] += gradient;
            }
        }
    }
    for ((dot, total), sum) in dots.iter_mut().zip(totals).zip(sums) {
        (*dot, *total) = (F::lit(sum[0]), F::lit(sum[1]));
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
            train_forward(sizes, 1e-5, &x, None, false, &mut stats, &mut y);
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
