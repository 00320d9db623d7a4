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

/// Like [`decode`], appending to `out`, on this thread: for a few bytes at a time, which are still in the cache.
pub fn append<F: Scalar, const N: usize>(
    bytes: &[u8],
    out: &mut Vec<F>,
    value: impl Fn([u8; N]) -> F,
) -> bool {
    let from = out.len();
    out.extend(bytes.as_chunks::<N>().0.iter().map(|&bytes| value(bytes)));
    // A second look costs less than a condition inside the first: the compiler makes vectors of both.
    out[from..].iter().fold(true, |finite, value| finite & value.is_finite())
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

    /// The definition: sign, `exponent` bits and `fraction` bits, in numbers that are exact in `f64`.
    fn value(half: u16, exponent: i32, fraction: i32) -> f64 {
        let bias = (1 << (exponent - 1)) - 1;
        let e = i32::from(half >> fraction) & ((1 << exponent) - 1);
        let f = f64::from(i32::from(half) & ((1 << fraction) - 1)) * 0.5f64.powi(fraction);
        let magnitude = match e {
            0 => f * 2f64.powi(1 - bias),
            e if e == (1 << exponent) - 1 => {
                if f == 0.0 {
                    f64::INFINITY
                } else {
                    f64::NAN
                }
            }
            e => (1.0 + f) * 2f64.powi(e - bias),
        };
        if half >> 15 == 1 { -magnitude } else { magnitude }
    }

    #[test]
    fn every_half_is_what_the_definition_says() {
        for bits in 0..=u16::MAX {
            for (want, got) in
                [(value(bits, 5, 10), f16_to_f32(bits)), (value(bits, 8, 7), bf16_to_f32(bits))]
            {
                let same = f64::from(got).to_bits() == want.to_bits();
                assert!(same || want.is_nan() && got.is_nan(), "{bits:#x}: {want}, got {got}");
            }
        }
    }

    #[test]
    fn numbers_round_to_the_nearest_half_and_ties_to_the_even_one() {
        type Format = (fn(f32) -> u16, i32, i32);
        let formats: [Format; 2] = [(f32_to_f16, 5, 10), (f32_to_bf16, 8, 7)];
        // Every pattern of the upper bits, with lower bits about the ties.
        for upper in 0..=u16::MAX {
            for lower in
                [0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff]
            {
                let x = f32::from_bits(u32::from(upper) << 16 | lower);
                for (convert, exponent, fraction) in formats {
                    let got = convert(x);
                    let back = value(got, exponent, fraction);
                    if x.is_nan() {
                        assert!(back.is_nan(), "{x:e}");
                        continue;
                    }
                    assert_eq!(got >> 15 == 1, x.is_sign_negative(), "{x:e}");
                    // Beyond the largest lies what would come next, and stands for infinity.
                    let step = |bits: u16| match value(bits & 0x7fff, exponent, fraction) {
                        y if y.is_infinite() => {
                            let [a, b] =
                                [1, 2].map(|n| value((bits & 0x7fff) - n, exponent, fraction));
                            2.0 * a - b
                        }
                        y => y,
                    };
                    let (magnitude, here) = (f64::from(x.abs()), step(got));
                    let error = (magnitude - here).abs();
                    if magnitude.is_infinite() {
                        assert!(back.is_infinite(), "{x:e}");
                        continue;
                    }
                    if got & 0x7fff > 0 {
                        let below = magnitude - step(got - 1);
                        assert!(error < below || error == below && got & 1 == 0, "{x:e}");
                    }
                    if back.is_finite() {
                        let above = step(got + 1) - magnitude;
                        assert!(error < above || error == above && got & 1 == 0, "{x:e}");
                    }
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
                let mut appended = vec![7.0];
                assert!(!append(&bytes, &mut appended, f32::from_le_bytes));
                assert!(append(&bytes[..last], &mut appended, f32::from_le_bytes));
                assert_eq!(appended[..len], [&[7.0], &values[..len - 1]].concat());
                assert_eq!(appended[1 + len..], values[..len - 1]);
            }
        }
    }
}
