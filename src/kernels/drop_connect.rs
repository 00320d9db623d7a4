//! Matrix products with a random mask on the weight: one for each sample, or one for all.
//!
//! Letters: `n` samples, `k` inputs, `m` outputs; `w` is `[m][k]`. Mask row `(sample, output)` has `k + 1` elements, the last
//! for the bias. A mask is never stored: its elements come from the seed again whenever they are needed, two from each
//! number of 32 bits, 16 bits for each: probabilities are multiples of 2⁻¹⁶.

use super::parallel::{self, Cost, Read, Shared, Write};
use super::reduce::fold_lanes;
use super::simd::multiversion;
use crate::{Scalar, Seed};

/// Numbers of 32 bits made side by side.
const LANES: usize = 16;
/// Mask elements made of them: lane `l` decides elements `l` (low half) and `LANES + l` (high half).
const BLOCK: usize = 2 * LANES;

/// Whose mask a row is, and how probable a kept element.
#[derive(Debug, Clone, Copy)]
pub struct Masks {
    seed: Seed,
    below: u32,
}

impl Masks {
    /// Masks whose elements are kept with probability `keep`, above 0 and at most 1, to the nearest 2⁻¹⁶.
    pub fn new(seed: Seed, keep: f64) -> Self {
        // From 1, which keeps one in 2¹⁶, to 2¹⁶, which keeps all; `as` saturates.
        Self { seed, below: (keep * 65_536.0).round().max(1.0) as u32 }
    }

    /// The probability in force.
    pub fn keep(&self) -> f64 {
        f64::from(self.below) / 65_536.0
    }

    #[inline(always)]
    fn row(self, row: usize) -> Row {
        let bits = self.seed.bits(row as u64);
        Row { keys: [bits as u32, (bits >> 32) as u32], below: self.below }
    }
}

/// One row of a mask.
#[derive(Debug, Clone, Copy)]
struct Row {
    keys: [u32; 2],
    below: u32,
}

impl Row {
    /// Random number `i` of this row: two rounds of multiply and shift, with a key of the row before each.
    #[inline(always)]
    fn number(self, i: u32) -> u32 {
        let mut x = i ^ self.keys[0];
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_add(self.keys[1]);
        x = x.wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }

    /// Which elements of block `block` are kept.
    #[inline(always)]
    fn block(self, block: usize) -> [bool; BLOCK] {
        let first = (block * LANES) as u32;
        let numbers: [u32; LANES] = std::array::from_fn(|l| self.number(first + l as u32));
        std::array::from_fn(|i| {
            let number = numbers[i % LANES];
            (if i < LANES { number & 0xffff } else { number >> 16 }) < self.below
        })
    }

    /// Whether element `i` is kept.
    #[inline(always)]
    fn keeps(self, i: usize) -> bool {
        let number = self.number((i / BLOCK * LANES + i % LANES) as u32);
        (if i % BLOCK < LANES { number & 0xffff } else { number >> 16 }) < self.below
    }
}

multiversion! {
    /// `Σ w · x` over the elements that the row keeps.
    fn masked_dot<F: Scalar>(row: Row, w: &[F], x: &[F]) -> F {
        let mut sums = [F::zero(); BLOCK];
        let ((w, w_tail), (x, x_tail)) = (w.as_chunks::<BLOCK>(), x.as_chunks::<BLOCK>());
        for (block, (w, x)) in w.iter().zip(x).enumerate() {
            let keeps = row.block(block);
            for l in 0..BLOCK {
                sums[l] += if keeps[l] { w[l] * x[l] } else { F::zero() };
            }
        }
        let first = w.len() * BLOCK;
        let tail = w_tail.iter().zip(x_tail).enumerate().fold(F::zero(), |sum, (l, (&w, &x))| {
            sum + if row.keeps(first + l) { w * x } else { F::zero() }
        });
        fold_lanes(sums) + tail
    }

    /// `y += factor · x` where the row keeps.
    fn masked_axpy<F: Scalar>(row: Row, factor: F, x: &[F], y: &mut [F]) {
        let ((x, x_tail), (y, y_tail)) = (x.as_chunks::<BLOCK>(), y.as_chunks_mut::<BLOCK>());
        let first = x.len() * BLOCK;
        for (block, (x, y)) in x.iter().zip(y).enumerate() {
            let keeps = row.block(block);
            for l in 0..BLOCK {
                y[l] += if keeps[l] { factor * x[l] } else { F::zero() };
            }
        }
        for (l, (y, &x)) in y_tail.iter_mut().zip(x_tail).enumerate() {
            *y += if row.keeps(first + l) { factor * x } else { F::zero() };
        }
    }

    /// `y = factor · x` where the row keeps, else 0.
    fn masked_copy<F: Scalar>(row: Row, factor: F, x: &[F], y: &mut [F]) {
        let ((x, x_tail), (y, y_tail)) = (x.as_chunks::<BLOCK>(), y.as_chunks_mut::<BLOCK>());
        let first = x.len() * BLOCK;
        for (block, (x, y)) in x.iter().zip(y).enumerate() {
            let keeps = row.block(block);
            for l in 0..BLOCK {
                y[l] = if keeps[l] { factor * x[l] } else { F::zero() };
            }
        }
        for (l, (y, &x)) in y_tail.iter_mut().zip(x_tail).enumerate() {
            *y = if row.keeps(first + l) { factor * x } else { F::zero() };
        }
    }
}

/// Sizes: `n` samples, `m` outputs, `k` inputs.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Samples.
    pub n: usize,
    /// Outputs.
    pub m: usize,
    /// Inputs.
    pub k: usize,
}

impl Sizes {
    /// Masking costs about as much as eight elements of traffic for one.
    fn cost(self) -> Cost {
        Cost::elements(8 * self.n.saturating_mul(self.m).saturating_mul(self.k))
    }
}

/// Samples of a tile, whose inputs stay in the cache while rows of the weight pass by.
const SAMPLES: usize = 8;
/// Outputs of a task.
const OUTPUTS: usize = 16;

/// `y[s][o] = factor · (Σ_i M[s][o][i] w[o][i] x[s][i] + M[s][o][k] bias[o])`
pub fn forward<F: Scalar>(
    sizes: Sizes,
    masks: Masks,
    factor: F,
    x: &[F],
    w: &[F],
    bias: Option<&[F]>,
    y: &mut [F],
) {
    let Sizes { m, k, .. } = sizes;
    let pieces = (Read(x, SAMPLES * k), Write(y, SAMPLES * m));
    parallel::chunks(pieces, sizes.cost(), |tile, (x, y)| {
        for first in (0..m).step_by(OUTPUTS) {
            let outputs = first..m.min(first + OUTPUTS);
            for (at, (x, y)) in x.chunks_exact(k).zip(y.chunks_exact_mut(m)).enumerate() {
                for output in outputs.clone() {
                    let row = masks.row((tile * SAMPLES + at) * m + output);
                    let sum = masked_dot(row, &w[output * k..][..k], x);
                    let bias = bias.map(|bias| bias[output]).filter(|_| row.keeps(k));
                    y[output] = factor * (sum + bias.unwrap_or(F::zero()));
                }
            }
        }
    });
}

/// Gradient of [`forward`] by `x`: `dx[s][i] = factor · Σ_o M[s][o][i] w[o][i] dy[s][o]`. Outputs without gradient are
/// passed over.
pub fn backward_input<F: Scalar>(
    sizes: Sizes,
    masks: Masks,
    factor: F,
    w: &[F],
    dy: &[F],
    dx: &mut [F],
) {
    let Sizes { m, k, .. } = sizes;
    let pieces = (Read(dy, SAMPLES * m), Write(dx, SAMPLES * k));
    parallel::chunks(pieces, sizes.cost(), |tile, (dy, dx)| {
        dx.fill(F::zero());
        for first in (0..m).step_by(OUTPUTS) {
            let outputs = first..m.min(first + OUTPUTS);
            for (at, (dy, dx)) in dy.chunks_exact(m).zip(dx.chunks_exact_mut(k)).enumerate() {
                for output in outputs.clone().filter(|&output| dy[output] != F::zero()) {
                    let row = masks.row((tile * SAMPLES + at) * m + output);
                    masked_axpy(row, factor * dy[output], &w[output * k..][..k], dx);
                }
            }
        }
    });
}

/// Adds the gradient of [`forward`] by the weight, `dw[o][i] += factor · Σ_s M[s][o][i] dy[s][o] x[s][i]`, and by the bias.
pub fn backward_weight<F: Scalar>(
    sizes: Sizes,
    masks: Masks,
    factor: F,
    x: &[F],
    dy: &[F],
    dw: Option<&mut [F]>,
    db: Option<&mut [F]>,
) {
    let Sizes { n, m, k } = sizes;
    let (dw, db) = (dw.map(Shared::new), db.map(Shared::new));
    parallel::each(m.div_ceil(OUTPUTS), sizes.cost(), |task| {
        for output in task * OUTPUTS..m.min((task + 1) * OUTPUTS) {
            // SAFETY: each output has a row of its own, and belongs to one task.
            let mut dw = dw.as_ref().map(|dw| unsafe { dw.at(output * k, k) });
            // SAFETY: as above.
            let mut db = db.as_ref().map(|db| unsafe { db.at(output, 1) });
            for sample in (0..n).filter(|sample| dy[sample * m + output] != F::zero()) {
                let row = masks.row(sample * m + output);
                let share = factor * dy[sample * m + output];
                if let Some(dw) = dw.as_deref_mut() {
                    masked_axpy(row, share, &x[sample * k..][..k], dw);
                }
                if let Some(db) = db.as_deref_mut().filter(|_| row.keeps(k)) {
                    db[0] += share;
                }
            }
        }
    });
}

/// `to[o] = factor · M[0][o] ∘ from[o]`: the weight under the mask of the first sample, for all samples.
pub fn masked<F: Scalar>(k: usize, masks: Masks, factor: F, from: &[F], to: &mut [F]) {
    let cost = Cost::elements(8 * from.len());
    parallel::chunks((Read(from, k), Write(to, k)), cost, |output, (from, to)| {
        masked_copy(masks.row(output), factor, from, to);
    });
}

/// `to[o] += factor · M[0][o] ∘ from[o]`
pub fn add_masked<F: Scalar>(k: usize, masks: Masks, factor: F, from: &[F], to: &mut [F]) {
    let cost = Cost::elements(8 * from.len());
    parallel::chunks((Read(from, k), Write(to, k)), cost, |output, (from, to)| {
        masked_axpy(masks.row(output), factor, from, to);
    });
}

/// The same for the bias, whose mask elements follow the rows of `k`.
pub fn masked_bias<F: Scalar>(k: usize, masks: Masks, factor: F, from: &[F], to: &mut [F]) {
    for (output, (to, &from)) in to.iter_mut().zip(from).enumerate() {
        *to = if masks.row(output).keeps(k) { factor * from } else { F::zero() };
    }
}

multiversion! {
    /// `y = x²`
    pub fn squares<F: Scalar>(x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * x;
        }
    }

    /// `y += 2 · factor · x · dy`, the gradient of [`squares`] times a factor.
    pub fn add_square_gradient<F: Scalar>(factor: F, x: &[F], dy: &[F], y: &mut [F]) {
        for ((y, &x), &dy) in y.iter_mut().zip(x).zip(dy) {
            *y += (factor + factor) * x * dy;
        }
    }

    /// `y = mean + √variance · z`, in place of `z`.
    pub fn spread<F: Scalar>(mean: &[F], variance: &[F], z: &mut [F]) {
        for ((z, &mean), &variance) in z.iter_mut().zip(mean).zip(variance) {
            *z = mean + variance.sqrt() * *z;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd;

    const SIZES: [Sizes; 4] = [
        Sizes { n: 1, m: 1, k: 1 },
        Sizes { n: 3, m: 5, k: 31 },
        Sizes { n: 17, m: 33, k: 64 },
        Sizes { n: 9, m: 2, k: 100 },
    ];

    fn random(len: usize, seed: u64) -> Vec<f64> {
        let mut rng = Seed::new(seed).rng();
        (0..len).map(|_| rng.normal()).collect()
    }

    /// Sums of up to 100 terms of size 1, in another order.
    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn all_three_passes_equal_the_definition_at_every_level() {
        simd::at_every_level(|| {
            for sizes @ Sizes { n, m, k } in SIZES {
                let masks = Masks::new(Seed::new(7), 0.6);
                let kept = |s: usize, o: usize, i: usize| {
                    if masks.row(s * m + o).keeps(i) { 1.0 } else { 0.0 }
                };
                let (x, w, bias) = (random(n * k, 1), random(m * k, 2), random(m, 3));
                let dy = random(n * m, 4);
                let (mut y, mut dx) = (vec![f64::NAN; n * m], vec![f64::NAN; n * k]);
                let (mut dw, mut db) = (vec![1.0; m * k], vec![1.0; m]);
                forward(sizes, masks, 2.0, &x, &w, Some(&bias), &mut y);
                backward_input(sizes, masks, 2.0, &w, &dy, &mut dx);
                backward_weight(sizes, masks, 2.0, &x, &dy, Some(&mut dw), Some(&mut db));
                let (mut y2, mut dx2) = (vec![0.0; n * m], vec![0.0; n * k]);
                let (mut dw2, mut db2) = (vec![1.0; m * k], vec![1.0; m]);
                for (s, o) in (0..n).flat_map(|s| (0..m).map(move |o| (s, o))) {
                    for i in 0..k {
                        let mask = 2.0 * kept(s, o, i);
                        y2[s * m + o] += mask * w[o * k + i] * x[s * k + i];
                        dx2[s * k + i] += mask * w[o * k + i] * dy[s * m + o];
                        dw2[o * k + i] += mask * x[s * k + i] * dy[s * m + o];
                    }
                    y2[s * m + o] += 2.0 * kept(s, o, k) * bias[o];
                    db2[o] += 2.0 * kept(s, o, k) * dy[s * m + o];
                }
                assert!(close(&y, &y2) && close(&dx, &dx2), "{sizes:?}");
                assert!(close(&dw, &dw2) && close(&db, &db2), "{sizes:?}");
            }
        });
    }

    #[test]
    fn a_shared_mask_is_the_first_sample_s() {
        let (m, k) = (5, 37);
        let masks = Masks::new(Seed::new(3), 0.5);
        let (w, bias) = (random(m * k, 2), random(m, 3));
        let (mut masked_w, mut masked_b) = (vec![f64::NAN; m * k], vec![f64::NAN; m]);
        masked(k, masks, 2.0, &w, &mut masked_w);
        masked_bias(k, masks, 2.0, &bias, &mut masked_b);
        let mut sum = w.clone();
        add_masked(k, masks, 2.0, &w, &mut sum);
        let x = random(k, 5);
        let mut y = vec![0.0; m];
        forward(Sizes { n: 1, m, k }, masks, 2.0, &x, &w, Some(&bias), &mut y);
        for o in 0..m {
            let dot: f64 = (0..k).map(|i| masked_w[o * k + i] * x[i]).sum();
            assert!((dot + masked_b[o] - y[o]).abs() < 1e-12);
        }
        assert!(
            sum.iter().zip(w.iter().zip(&masked_w)).all(|(sum, (w, masked))| *sum == w + masked)
        );
    }

    #[test]
    fn rows_are_independent_and_evenly_kept() {
        let masks = Masks::new(Seed::new(11), 0.5);
        let row = |row: usize| (0..4096).map(move |i| masks.row(row).keeps(i));
        for other in [1, 2, 3, 64, 1000] {
            let agree = row(0).zip(row(other)).filter(|(a, b)| a == b).count();
            // Half of 4096; the standard deviation is 32.
            assert!(agree.abs_diff(2048) < 160, "{other} {agree}");
        }
        for lag in [1, 2, 15, 16, 17, 32, 256] {
            let agree = row(5).zip(row(5).skip(lag)).filter(|(a, b)| a == b).count();
            assert!(agree.abs_diff((4096 - lag) / 2) < 160, "{lag} {agree}");
        }
        // Over many rows at one place, too.
        for place in [0, 1, 16, 31, 32] {
            let kept = (0..10_000).filter(|&row| masks.row(row).keeps(place)).count();
            assert!(kept.abs_diff(5000) < 250, "{place} {kept}");
        }
    }
}
