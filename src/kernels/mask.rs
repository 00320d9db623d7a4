//! Random masks: each element, or each whole plane, is kept or replaced by a constant.
//!
//! Number `i` of a mask is computed directly from the seed, so that any task makes any part, and a backward makes the
//! forward's again. Blocks of 16: word `w` of a block decides its elements `w` (low half) and `8 + w` (high half).

use super::elementwise::PIECE;
use super::parallel::{self, Cost, Read, Write};
use super::simd::multiversion;
use crate::{Scalar, Seed};

/// Words of 64 random bits in a block.
pub(super) const WORDS: usize = 8;
/// Elements that a block decides.
pub(super) const BLOCK: usize = 2 * WORDS;
/// Elements whose numbers are made at once: whole blocks.
pub(super) const STRIP: usize = 16 * BLOCK;

/// Words of the block that begins at element `first`, a multiple of [`BLOCK`].
#[inline(always)]
pub(super) fn words(seed: Seed, first: usize) -> [u64; WORDS] {
    let first = (first / 2) as u64;
    let mut words = [0; WORDS];
    for (w, word) in (0u64..).zip(&mut words) {
        *word = seed.bits(first + w);
    }
    words
}

/// Random numbers of 32 bits for the elements of the block that begins at `first`.
#[inline(always)]
fn halves(seed: Seed, first: usize) -> [u32; BLOCK] {
    let (words, mut halves) = (words(seed, first), [0; BLOCK]);
    for l in 0..WORDS {
        halves[l] = words[l] as u32;
        halves[WORDS + l] = (words[l] >> 32) as u32;
    }
    halves
}

/// The same for whole blocks.
#[inline(always)]
fn fill_halves(seed: Seed, first: usize, out: &mut [u32]) {
    for (block, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        *out = halves(seed, first + block * BLOCK);
    }
}

/// The number below which a random number of 32 bits means "kept".
fn threshold(keep: f64) -> u32 {
    // 2³² steps; `as` saturates, and `keep` is in (0, 1).
    (keep * 4_294_967_296.0) as u32
}

multiversion! {
    /// Elements from number `first` on, a multiple of [`BLOCK`].
    fn select<F: Scalar, K: Fn(F) -> F>(
        seed: Seed, below: u32, dropped: F, kept: K, first: usize, x: &[F], y: &mut [F],
    ) {
        // Numbers first, then choices: in one loop a processor would guess each choice, and be wrong half of the time.
        let mut halves = [0; STRIP];
        for (i, (x, y)) in x.chunks(STRIP).zip(y.chunks_mut(STRIP)).enumerate() {
            fill_halves(seed, first + i * STRIP, &mut halves[..x.len().next_multiple_of(BLOCK)]);
            for ((y, &x), &half) in y.iter_mut().zip(x).zip(&halves) {
                *y = if half < below { kept(x) } else { dropped };
            }
        }
    }
}

/// `y = kept(x)` with probability `keep`, else `dropped`, for each element.
pub fn elements<F: Scalar>(
    seed: Seed,
    keep: f64,
    dropped: F,
    x: &[F],
    y: &mut [F],
    kept: impl Fn(F) -> F + Copy + Sync,
) {
    let below = threshold(keep);
    let cost = Cost::elements(x.len() * 4);
    parallel::chunks((Read(x, PIECE), Write(y, PIECE)), cost, |i, (x, y)| {
        select(seed, below, dropped, kept, i * PIECE, x, y);
    });
}

/// `y = factor · x` with probability `keep`, else 0, for each whole plane of `plane` elements.
pub fn planes<F: Scalar>(seed: Seed, keep: f64, factor: F, plane: usize, x: &[F], y: &mut [F]) {
    let below = threshold(keep);
    // Whole blocks of planes, so that none is cut.
    let planes = (PIECE / plane.max(1)).next_multiple_of(BLOCK).max(BLOCK);
    let piece = planes * plane;
    parallel::chunks((Read(x, piece), Write(y, piece)), Cost::elements(x.len()), |i, (x, y)| {
        let blocks = x.chunks(BLOCK * plane).zip(y.chunks_mut(BLOCK * plane));
        for (block, (x, y)) in blocks.enumerate() {
            let halves = halves(seed, i * planes + block * BLOCK);
            let pairs = x.chunks_exact(plane).zip(y.chunks_exact_mut(plane));
            for ((x, y), half) in pairs.zip(halves) {
                if half < below {
                    multiply(factor, x, y);
                } else {
                    y.fill(F::zero());
                }
            }
        }
    });
}

multiversion! {
    /// `y = factor · x`
    pub fn multiply<F: Scalar>(factor: F, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = factor * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd;

    /// Which elements are kept, from one number at a time.
    fn twin(seed: Seed, keep: f64, len: usize) -> Vec<f32> {
        let kept = |i: usize| {
            let word = seed.bits((i / BLOCK * WORDS + i % WORDS) as u64);
            let half = if i % BLOCK < WORDS { word as u32 } else { (word >> 32) as u32 };
            f32::from(u8::from(f64::from(half) < keep * 4_294_967_296.0))
        };
        (0..len).map(kept).collect()
    }

    #[test]
    fn a_mask_is_the_same_however_it_is_cut_and_at_every_level() {
        simd::at_every_level(|| {
            for len in [1, 15, 16, 17, 100, PIECE + 5] {
                let (x, mut y) = (vec![1.0f32; len], vec![f32::NAN; len]);
                elements(Seed::new(1), 0.3, 0.0, &x, &mut y, |x| x);
                assert_eq!(y, twin(Seed::new(1), 0.3, len), "{len}");
            }
        });
    }

    #[test]
    fn planes_are_kept_or_dropped_whole() {
        for (count, plane) in [(1, 3), (17, 1), (40, 7), (3, PIECE + 1)] {
            let (x, mut y) = (vec![1.0f32; count * plane], vec![f32::NAN; count * plane]);
            planes(Seed::new(2), 0.6, 1.0, plane, &x, &mut y);
            let expected = twin(Seed::new(2), 0.6, count);
            for (y, kept) in y.chunks(plane).zip(expected) {
                assert!(y.iter().all(|&y| y == kept));
            }
        }
    }
}
