//! Normally distributed numbers, each computed directly from the seed (Box & Muller 1958), and functions of them.
//!
//! Blocks as in [`super::mask`]: each word of 64 bits makes two numbers. None is farther out than 6.8, which one in
//! 10¹¹ would be.

use super::elementwise::PIECE;
use super::mask::{BLOCK, STRIP, WORDS, words};
use super::parallel::{self, Cost, Read, Write};
use super::simd::multiversion;
use crate::{Scalar, Seed};

/// Coefficients of `sin a = a · Σ SIN[i] a²ⁱ` and `cos a = Σ COS[i] a²ⁱ` (Taylor): below π/4 both are within 3e-14.
const SIN: [f64; 7] = [
    1.0,
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5_040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
];
const COS: [f64; 8] = [
    1.0,
    -1.0 / 2.0,
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
];

#[inline(always)]
fn polynomial<F: Scalar, const N: usize>(coefficients: [f64; N], x: F) -> F {
    coefficients.iter().rev().fold(F::zero(), |sum, &c| sum * x + F::lit(c))
}

/// A whole number and a half.
#[inline(always)]
fn number<F: Scalar>(half: u32) -> F {
    F::lit(f64::from(half)) + F::lit(0.5)
}

/// Two independent numbers from 64 random bits: the low half says how far out, the high half in which direction.
#[inline(always)]
fn pair<F: Scalar>(low: u32, direction: u32) -> (F, F) {
    let far = number::<F>(low) * F::lit(1.0 / 4_294_967_296.0);
    let radius = (F::lit(-2.0) * far.straight_ln::<false>()).sqrt();
    // The direction's two top bits are a quarter of the circle, the others a place in it, from −π/4 to π/4.
    let place = number::<F>(direction & 0x3fff_ffff) * F::lit(1.0 / 1_073_741_824.0) - F::lit(0.5);
    let angle = place * F::lit(std::f64::consts::FRAC_PI_2);
    let square = angle * angle;
    let (sin, cos) = (angle * polynomial(SIN, square), polynomial(COS, square));
    let (x, y) = if direction >> 30 & 1 == 0 { (cos, sin) } else { (-sin, cos) };
    let radius = if direction >> 31 == 0 { radius } else { -radius };
    (radius * x, radius * y)
}

/// Numbers of whole blocks, the first of which begins at element `first`: words first, so that the long loop over them is
/// in whole registers.
#[inline(always)]
fn fill_normals<F: Scalar>(seed: Seed, first: usize, out: &mut [F]) {
    const PAIRS: usize = STRIP / 2;
    let (mut lows, mut highs) = ([0; PAIRS], [0; PAIRS]);
    let (mut cosines, mut sines) = ([F::zero(); PAIRS], [F::zero(); PAIRS]);
    let pairs = out.len() / 2;
    for block in 0..out.len() / BLOCK {
        for (w, word) in words(seed, first + block * BLOCK).into_iter().enumerate() {
            lows[block * WORDS + w] = word as u32;
            highs[block * WORDS + w] = (word >> 32) as u32;
        }
    }
    for l in 0..pairs {
        (cosines[l], sines[l]) = pair(lows[l], highs[l]);
    }
    let parts = cosines.as_chunks::<WORDS>().0.iter().zip(sines.as_chunks::<WORDS>().0);
    for (out, (cosines, sines)) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(parts) {
        out[..WORDS].copy_from_slice(cosines);
        out[WORDS..].copy_from_slice(sines);
    }
}

multiversion! {
    fn apply_piece<F: Scalar, A: Fn(F, F) -> F>(
        seed: Seed, first: usize, x: &[F], y: &mut [F], function: A,
    ) {
        let mut normals = [F::zero(); STRIP];
        for (i, (x, y)) in x.chunks(STRIP).zip(y.chunks_mut(STRIP)).enumerate() {
            let blocks = x.len().next_multiple_of(BLOCK);
            fill_normals(seed, first + i * STRIP, &mut normals[..blocks]);
            for ((y, &x), &normal) in y.iter_mut().zip(x).zip(&normals) {
                *y = function(x, normal);
            }
        }
    }
}

/// `y = function(x, z)` for each element, with `z` normal of mean 0 and standard deviation 1.
pub fn apply<F: Scalar>(
    seed: Seed,
    x: &[F],
    y: &mut [F],
    function: impl Fn(F, F) -> F + Copy + Sync,
) {
    let cost = Cost::functions(x.len());
    parallel::chunks((Read(x, PIECE), Write(y, PIECE)), cost, |i, (x, y)| {
        apply_piece(seed, i * PIECE, x, y, function);
    });
}

multiversion! {
    fn multiply_piece<F: Scalar>(factors: &[F], x: &[F], y: &mut [F]) {
        for ((y, &x), &factor) in y.iter_mut().zip(x).zip(factors) {
            *y = x * factor;
        }
    }
}

/// `y = factors · x`, by elements.
pub fn multiply<F: Scalar>(factors: &[F], x: &[F], y: &mut [F]) {
    let pieces = (Read(factors, PIECE), Read(x, PIECE), Write(y, PIECE));
    parallel::chunks(pieces, Cost::elements(2 * x.len()), |_, (factors, x, y)| {
        multiply_piece(factors, x, y);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd;

    /// From the standard library's functions, one number at a time.
    fn twin(seed: Seed, i: usize) -> f64 {
        let word = seed.bits((i / BLOCK * (BLOCK / 2) + i % (BLOCK / 2)) as u64);
        let far = (f64::from(word as u32) + 0.5) / 2f64.powi(32);
        let direction = (word >> 32) as u32;
        let quarter = f64::from(direction >> 30);
        let place = (f64::from(direction & 0x3fff_ffff) + 0.5) / 2f64.powi(30) - 0.5;
        let angle = (quarter + place) * std::f64::consts::FRAC_PI_2;
        let radius = (-2.0 * far.ln()).sqrt();
        radius * if i % BLOCK < BLOCK / 2 { angle.cos() } else { angle.sin() }
    }

    #[test]
    fn numbers_are_box_and_muller_s_at_every_level() {
        fn check<F: Scalar>(tolerance: f64) {
            for len in [1, 16, 37, PIECE + 3] {
                let (x, mut y) = (vec![F::zero(); len], vec![F::nan(); len]);
                apply(Seed::new(5), &x, &mut y, |_, z| z);
                for (i, y) in y.iter().enumerate() {
                    let error = (y.widen() - twin(Seed::new(5), i)).abs();
                    assert!(error < tolerance, "{len} {i} {error}");
                }
            }
        }
        simd::at_every_level(|| {
            // Near 1 the logarithm's argument is rounded to half of 2⁻²⁴: a radius of 2⁻¹² there.
            check::<f32>(3e-4);
            check::<f64>(1e-12);
        });
    }
}
