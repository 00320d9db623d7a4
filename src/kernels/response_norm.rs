//! Local response normalization: each element divided by what its neighbours in other channels sum up to.
//!
//! Letters: `n` images of `c` channels with `p` pixels. `d = k + a · Σ x²` over a window of channels, `y = x · d^−β`. A
//! task is some pixels of one image, all channels, so that the window stays in the cache.

use super::parallel::{self, Cost, Shared};
use super::simd::multiversion;
use crate::Scalar;

/// Pixels of a task.
const PIXELS: usize = 256;

/// Sizes and numbers of the formula.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Channels.
    pub c: usize,
    /// Pixels of a channel.
    pub p: usize,
    /// Channels of a window: from `size / 2` before to `(size − 1) / 2` after.
    pub size: usize,
    /// Factor of the sum of squares.
    pub a: f64,
    /// The exponent.
    pub beta: f64,
    /// What the sum starts from, above 0.
    pub k: f64,
}

impl Settings {
    fn tasks(&self, n: usize) -> usize {
        n * self.p.div_ceil(PIXELS)
    }

    fn cost(&self, elements: usize) -> Cost {
        Cost::elements(elements * (self.size.min(self.c) + 4)) + Cost::functions(elements / 8)
    }

    /// Image and first pixel of a task, and how many pixels.
    fn block(&self, task: usize) -> (usize, usize, usize) {
        let blocks = self.p.div_ceil(PIXELS);
        let first = task % blocks * PIXELS;
        (task / blocks, first, PIXELS.min(self.p - first))
    }

    /// Channels that `channel` is normalized by.
    fn window(&self, channel: usize) -> std::ops::Range<usize> {
        channel.saturating_sub(self.size / 2)..(channel + self.size.div_ceil(2)).min(self.c)
    }

    /// Channels that `channel` normalizes: the window the other way round.
    fn users(&self, channel: usize) -> std::ops::Range<usize> {
        channel.saturating_sub((self.size - 1) / 2)..(channel + self.size / 2 + 1).min(self.c)
    }

    /// Elements of scratch memory that [`backward`] needs for a batch of so many elements.
    pub fn backward_scratch(&self, elements: usize) -> usize {
        parallel::sections_for(self.tasks(elements / (self.c * self.p))) * self.c * PIXELS
    }
}

/// `y = x · (k + a · Σ x²)^−β`
pub fn forward<F: Scalar>(settings: &Settings, x: &[F], y: &mut [F]) {
    let image = settings.c * settings.p;
    let out = Shared::new(y);
    parallel::each(settings.tasks(x.len() / image), settings.cost(x.len()), |task| {
        let (i, first, len) = settings.block(task);
        let x = &x[i * image..][..image];
        for channel in 0..settings.c {
            let at = channel * settings.p + first;
            // SAFETY: tasks own different images or pixels.
            let y = unsafe { out.at(i * image + at, len) };
            factors(settings, channel, first, x, y);
            multiply(&x[at..][..len], y);
        }
    });
}

/// Gradient of [`forward`]: `dx = dy · d^−β − 2 a β x · Σ dy · x · d^(−β − 1)` over the channels that `x` normalizes.
pub fn backward<F: Scalar>(
    settings: &Settings,
    x: &[F],
    dy: &[F],
    dx: &mut [F],
    scratch: &mut [F],
) {
    let Settings { c, p, .. } = *settings;
    let tasks = settings.tasks(x.len() / (c * p));
    let cost = settings.cost(2 * x.len());
    let out = Shared::new(dx);
    parallel::each_with(tasks, cost, scratch, c * PIXELS, |task, shares| {
        let (i, first, len) = settings.block(task);
        let (x, dy) = (&x[i * c * p..][..c * p], &dy[i * c * p..][..c * p]);
        for channel in 0..c {
            let at = channel * p + first;
            // SAFETY: tasks own different images or pixels.
            let dx = unsafe { out.at(i * c * p + at, len) };
            let share = &mut shares[channel * PIXELS..][..len];
            sums(settings, channel, first, x, share);
            dx.copy_from_slice(share);
            powers(settings.beta, dx);
            // dx is d^−β, share is d.
            shares_of(&x[at..][..len], &dy[at..][..len], dx, share);
        }
        let factor = F::lit(-2.0 * settings.a * settings.beta);
        for channel in 0..c {
            let at = channel * p + first;
            // SAFETY: as above.
            let dx = unsafe { out.at(i * c * p + at, len) };
            let (x, dy) = (&x[at..][..len], &dy[at..][..len]);
            multiply(dy, dx);
            let users = settings.users(channel);
            subtract(factor, x, &shares[users.start * PIXELS..users.end * PIXELS], dx);
        }
    });
}

/// `d^−β` of some pixels of a channel.
fn factors<F: Scalar>(settings: &Settings, channel: usize, first: usize, x: &[F], out: &mut [F]) {
    sums(settings, channel, first, x, out);
    powers(settings.beta, out);
}

/// `d = k + a · Σ x²` of some pixels of a channel.
fn sums<F: Scalar>(settings: &Settings, channel: usize, first: usize, x: &[F], out: &mut [F]) {
    out.fill(F::lit(settings.k));
    for neighbour in settings.window(channel) {
        add_squares(F::lit(settings.a), &x[neighbour * settings.p + first..][..out.len()], out);
    }
}

/// `d^−β`, in place.
fn powers<F: Scalar>(beta: f64, d: &mut [F]) {
    if beta == 0.75 { power_three_quarters(d) } else { power(F::lit(-beta), d) }
}

multiversion! {
    fn add_squares<F: Scalar>(factor: F, x: &[F], out: &mut [F]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out += factor * (x * x);
        }
    }

    fn multiply<F: Scalar>(x: &[F], out: &mut [F]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out *= x;
        }
    }

    fn power<F: Scalar>(exponent: F, d: &mut [F]) {
        for d in d {
            *d = (exponent * d.straight_ln::<FUSED>()).straight_exp::<FUSED>();
        }
    }

    /// AlexNet's exponent: two roots cost less than a logarithm and a power.
    fn power_three_quarters<F: Scalar>(d: &mut [F]) {
        for d in d {
            let root = d.sqrt();
            *d = F::one() / (root * root.sqrt());
        }
    }

    /// `share = dy · x · d^−β / d`, where `share` is `d`.
    fn shares_of<F: Scalar>(x: &[F], dy: &[F], factor: &[F], share: &mut [F]) {
        for (((share, &factor), &x), &dy) in share.iter_mut().zip(factor).zip(x).zip(dy) {
            *share = dy * x * factor / *share;
        }
    }

    /// `dx += factor · x · Σ shares`
    fn subtract<F: Scalar>(factor: F, x: &[F], shares: &[F], dx: &mut [F]) {
        let mut sums = [F::zero(); PIXELS];
        for share in shares.chunks_exact(PIXELS) {
            for (sum, &share) in sums.iter_mut().zip(&share[..dx.len()]) {
                *sum += share;
            }
        }
        for ((dx, &x), &sum) in dx.iter_mut().zip(x).zip(&sums) {
            *dx += factor * x * sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    #[test]
    fn both_passes_equal_the_formulas_at_every_level() {
        simd::at_every_level(|| {
            for (n, c, p, size, beta) in [
                (2, 7, 300, 5, 0.75),
                (1, 3, 1, 4, 0.5),
                (3, 1, 5, 3, 0.75),
                (1, 6, 10, 20, 1.3),
                (2, 4, 9, 1, 0.75),
            ] {
                let settings = Settings { c, p, size, a: 0.3, beta, k: 1.5 };
                let mut rng = Seed::new(1).rng();
                let x: Vec<f64> = (0..n * c * p).map(|_| rng.normal()).collect();
                let dy: Vec<f64> = (0..n * c * p).map(|_| rng.normal()).collect();
                let at = |i: usize, channel: usize, j: usize| (i * c + channel) * p + j;
                let d = |i, channel: usize, j| {
                    let window = channel as isize - (size / 2) as isize..;
                    let squares = window.take(size).filter(|&q| q >= 0 && q < c as isize);
                    1.5 + 0.3 * squares.map(|q| x[at(i, q as usize, j)].powi(2)).sum::<f64>()
                };
                let (mut y, mut dx) = (vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
                forward(&settings, &x, &mut y);
                let mut scratch = vec![f64::NAN; settings.backward_scratch(x.len())];
                backward(&settings, &x, &dy, &mut dx, &mut scratch);
                for i in 0..n {
                    for channel in 0..c {
                        for j in 0..p {
                            let here = at(i, channel, j);
                            assert!(
                                (y[here] - x[here] * d(i, channel, j).powf(-beta)).abs() < 1e-12
                            );
                            let through: f64 = (0..c)
                                .filter(|&user| {
                                    let start = user as isize - (size / 2) as isize;
                                    (start..start + size as isize).contains(&(channel as isize))
                                })
                                .map(|user| {
                                    dy[at(i, user, j)]
                                        * x[at(i, user, j)]
                                        * d(i, user, j).powf(-beta - 1.0)
                                })
                                .sum();
                            let want = dy[here] * d(i, channel, j).powf(-beta)
                                - 2.0 * 0.3 * beta * x[here] * through;
                            assert!((dx[here] - want).abs() < 1e-12, "{settings:?}");
                        }
                    }
                }
            }
        });
    }
}
