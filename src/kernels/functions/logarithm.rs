//! `ln x` and `ln(1 + x)`, with the coefficients of FreeBSD's `log1p` (Sun Microsystems 1993).

// Coefficients as published.
#![allow(clippy::excessive_precision)]

/// The logarithm as straight-line code.
pub trait Logarithm: Sized {
    /// `ln x`: −∞ at 0, NaN below and for NaN.
    fn straight_ln<const FUSED: bool>(self) -> Self;
    /// `ln(1 + x)`, accurate near 0 too; −∞ at −1, NaN below and for NaN.
    fn straight_log1p<const FUSED: bool>(self) -> Self;
    /// The same from 0 to 1.
    fn straight_log1p_unit<const FUSED: bool>(self) -> Self;
}

macro_rules! logarithm {
    (
        $t:ident as $parts:ident, $bits:ty, $mantissa:literal, $bias:literal,
        ln2 $ln2_high:literal $ln2_low:literal,
        |$z:ident, $fused:ident| $series:expr
    ) => {
        mod $parts {
            use super::super::TimesPlus;

            /// `ln(x)` for a normal number `x`, plus a small `term` and `shift · ln 2`.
            #[inline(always)]
            pub(super) fn ln<const FUSED: bool>(x: $t, term: $t, shift: $t) -> $t {
                const SQRT_HALF: $bits = std::$t::consts::FRAC_1_SQRT_2.to_bits();
                /// Its low bits count in ones.
                const WHOLE: $t = (1u64 << $mantissa) as $t;
                // x = 2ⁿ m with m from √½ to √2. Unsigned, as AVX2 has no other 64-bit shift.
                let shifted = x.to_bits().wrapping_add((1.0 as $t).to_bits() - SQRT_HALF);
                let n = $t::from_bits(WHOLE.to_bits() | (shifted >> $mantissa)) - (WHOLE + $bias);
                let m = $t::from_bits((shifted & ((1 << $mantissa) - 1)).wrapping_add(SQRT_HALF));
                let (f, n) = (m - 1.0, n + shift);
                // ln(1 + f) = f − ½ f² + s (½ f² + series), s = f / (2 + f)
                let (s, square) = (f / (2.0 + f), 0.5 * f * f);
                let $z = s * s;
                /// `a · b + c`
                #[inline(always)]
                fn $fused<const FUSED: bool>(a: $t, b: $t, c: $t) -> $t {
                    a.times_plus::<FUSED>(b, c)
                }
                let low = s * (square + $series) + n.times_plus::<FUSED>($ln2_low, term);
                n.times_plus::<FUSED>($ln2_high, low - square + f)
            }

            /// What [`ln`] gave, or the limits for numbers that are not normal.
            #[inline(always)]
            pub(super) fn limits(x: $t, value: $t) -> $t {
                let value = if x < $t::INFINITY { value } else { x };
                let value = if x == 0.0 { $t::NEG_INFINITY } else { value };
                // Not `<`: it holds for NaN too.
                if x >= 0.0 { value } else { $t::NAN }
            }
        }

        impl Logarithm for $t {
            #[inline(always)]
            fn straight_ln<const FUSED: bool>(self) -> Self {
                const DIGITS: $t = $t::MANTISSA_DIGITS as $t;
                const LIFT: $t = (1u64 << $t::MANTISSA_DIGITS) as $t;
                // A number below the normal ones is made one.
                let below = self < $t::MIN_POSITIVE;
                let (lift, shift) = if below { (LIFT, -DIGITS) } else { (1.0, 0.0) };
                let normal = self * lift;
                $parts::limits(normal, $parts::ln::<FUSED>(normal, 0.0, shift))
            }

            #[inline(always)]
            fn straight_log1p<const FUSED: bool>(self) -> Self {
                let sum = 1.0 + self;
                // What rounding took from the sum.
                let lost = if self > 1.0 { 1.0 - (sum - self) } else { self - (sum - 1.0) };
                $parts::limits(sum, $parts::ln::<FUSED>(sum, lost / sum, 0.0)).copysign(self)
            }

            #[inline(always)]
            fn straight_log1p_unit<const FUSED: bool>(self) -> Self {
                let sum = 1.0 + self;
                $parts::ln::<FUSED>(sum, (self - (sum - 1.0)) / sum, 0.0)
            }
        }
    };
}

logarithm!(
    f32 as single, u32, 23, 127.0,
    ln2 6.931_381_225_6e-1 9.058_000_614_5e-6,
    |z, fused| {
        let p = fused::<FUSED>(0.242_790_788_41, z, 0.284_987_866_88);
        fused::<FUSED>(fused::<FUSED>(p, z, 0.400_009_721_52), z, 0.666_666_626_93) * z
    }
);

logarithm!(
    f64 as double, u64, 52, 1023.0,
    ln2 6.931_471_803_691_238_164_90e-1 1.908_214_929_270_587_700_02e-10,
    |z, fused| {
        let p = fused::<FUSED>(1.479_819_860_511_658_591e-1, z, 1.531_383_769_920_937_332e-1);
        let p = fused::<FUSED>(p, z, 1.818_357_216_161_805_012e-1);
        let p = fused::<FUSED>(p, z, 2.222_219_843_214_978_396e-1);
        let p = fused::<FUSED>(p, z, 2.857_142_874_366_239_149e-1);
        let p = fused::<FUSED>(p, z, 3.999_999_999_940_941_908e-1);
        fused::<FUSED>(p, z, 6.666_666_666_666_735_130e-1) * z
    }
);
