//! Numbers from and to the bytes of a file, whose lowest byte comes first.

use std::sync::atomic::{AtomicBool, Ordering};

use super::parallel::{self, Cost, Read, Write};
use crate::Scalar;

/// Elements of one task: 64 kB of `f32`, so that source and target lie in the L2 cache.
const PIECE: usize = 1 << 14;

/// Writes the element that `value` makes of each `N` bytes, and returns whether all are finite. As many elements as there
/// are groups of bytes.
pub fn decode<F: Scalar, const N: usize>(
    bytes: &[u8],
    out: &mut [F],
    value: impl Fn([u8; N]) -> F + Sync,
) -> bool {
    let all_finite = AtomicBool::new(true);
    let cost = Cost::elements(8 * out.len());
    parallel::chunks((Read(bytes, N * PIECE), Write(out, PIECE)), cost, |_, (bytes, out)| {
        let mut finite = true;
        for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
            *out = value(bytes);
            finite &= out.is_finite();
        }
        if !finite {
            all_finite.store(false, Ordering::Relaxed);
        }
    });
    all_finite.into_inner()
}

/// Appends the bytes that `bytes` makes of each element.
pub fn encode<F: Scalar, const N: usize>(
    values: &[F],
    out: &mut Vec<u8>,
    bytes: impl Fn(F) -> [u8; N],
) {
    let start = out.len();
    out.resize(start + N * values.len(), 0);
    for (out, &value) in out[start..].as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *out = bytes(value);
    }
}

/// The `f32` that these 16 bits of IEEE 754 binary16 stand for. Exact.
#[inline]
pub fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(half >> 10) & 0x1f, u32::from(half & 0x3ff));
    let magnitude = match exponent {
        // Zero and subnormal numbers: fraction · 2⁻²⁴.
        0 => (fraction as f32 * (1.0 / 16_777_216.0)).to_bits(),
        // Infinity and NaN.
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 127 - 15) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The binary16 nearest to `x`, ties to even; beyond ±65504 infinity. NaN stays NaN.
#[inline]
pub fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        // The upper bits of the payload, and never none.
        return sign | 0x7e00 | (magnitude >> 13 & 0x3ff) as u16;
    }
    // 65520 is the first to round to infinity.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // Below 2⁻¹⁴: adding 0.5 leaves the rounded multiple of 2⁻²⁴ in the last bits.
        let shifted = f32::from_bits(magnitude) + 0.5;
        return sign | (shifted.to_bits() - 0x3f00_0000) as u16;
    }
    // Ties go to the even neighbour.
    let rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    sign | ((rounded - ((127 - 15) << 23)) >> 13) as u16
}

/// The `f32` whose upper half these 16 bits are. Exact.
#[inline]
pub fn bf16_to_f32(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// The bfloat16 nearest to `x`, ties to even. NaN stays NaN.
#[inline]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // A payload in the lower half alone would become infinity.
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `half` crate is the twin.
    #[test]
    fn every_half_becomes_the_same_f32_as_in_the_half_crate() {
        for bits in 0..=u16::MAX {
            let (want, got) = (half::f16::from_bits(bits).to_f32(), f16_to_f32(bits));
            assert!(want.to_bits() == got.to_bits() || want.is_nan() && got.is_nan(), "{bits:#x}");
            let (want, got) = (half::bf16::from_bits(bits).to_f32(), bf16_to_f32(bits));
            assert!(want.to_bits() == got.to_bits() || want.is_nan() && got.is_nan(), "{bits:#x}");
        }
    }

    #[test]
    fn f32_rounds_to_halves_as_in_the_half_crate() {
        // Every pattern of the upper bits, with lower bits about the ties.
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(u32::from(upper) << 16 | lower);
                let (f16, bf16) = (half::f16::from_f32(x), half::bf16::from_f32(x));
                let (a, b) = (f32_to_f16(x), f32_to_bf16(x));
                if x.is_nan() {
                    assert!(f16_to_f32(a).is_nan() && bf16_to_f32(b).is_nan(), "{x:e}");
                } else {
                    assert_eq!((a, b), (f16.to_bits(), bf16.to_bits()), "{x:e}");
                }
            }
        }
    }

    #[test]
    fn decoding_in_parallel_is_decoding_one_by_one() {
        for len in [0, 1, PIECE - 1, PIECE, 3 * PIECE + 7, 40 * PIECE] {
            let values: Vec<f32> = (0..len).map(|i| i as f32 * 0.5 - 3.0).collect();
            let mut bytes = Vec::new();
            encode(&values, &mut bytes, f32::to_le_bytes);
            let mut back = vec![0.0f32; len];
            assert!(decode(&bytes, &mut back, f32::from_le_bytes));
            assert_eq!(back, values);
            if let Some(last) = bytes.len().checked_sub(4) {
                bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
                assert!(!decode(&bytes, &mut back, f32::from_le_bytes));
            }
        }
    }
}
