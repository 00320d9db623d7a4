//! `eˣ` and `eˣ − 1`: with `x = n ln 2 + r`, `eʳ − 1` and a power of two, as in the Cephes library (Moshier 1989). In `f32`
//! a minimax fit by `tests/data/functions/generate.py` needs one term less.

// Coefficients as published.
#![allow(clippy::excessive_precision)]

use super::TimesPlus;

/// Exponentials as straight-line code.
pub trait Exponential: Sized {
    /// `eˣ`: 0 and ∞ where it under- and overflows, NaN for NaN.
    fn straight_exp<const FUSED: bool>(self) -> Self;
    /// The same for numbers that are not above 0.
    fn straight_exp_below<const FUSED: bool>(self) -> Self;
    /// `height · e^(−x²/2)` with all its digits, however large `x²`; 0 where the exponential is no normal number.
    fn straight_bell<const FUSED: bool>(self, height: Self) -> Self;
    /// `eˣ − 1`, accurate near 0 too.
    fn straight_expm1<const FUSED: bool>(self) -> Self;
    /// The same for numbers that are not above 0.
    fn straight_expm1_below<const FUSED: bool>(self) -> Self;
}

macro_rules! exponential {
    (
        $t:ident as $parts:ident, $int:ty, $mantissa:literal, $bias:literal,
        range $low:literal $high:literal, expm1 is minus one below $flat:literal,
        bell is zero from $vanish:literal, low bits $low_bits:literal,
        ln2 $ln2_high:literal $ln2_low:literal,
        |$r:ident, $fused:ident| $expm1:expr
    ) => {
        mod $parts {
            use super::super::TimesPlus;

            /// `2ⁿ`, for the exponents of normal numbers.
            #[inline(always)]
            pub(super) fn power(n: $int) -> $t {
                $t::from_bits((n.wrapping_add($bias) << $mantissa) as _)
            }

            /// `2ⁿ` in two factors: `n` itself may exceed the exponent's range.
            #[inline(always)]
            pub(super) fn powers(n: $int) -> ($t, $t) {
                let half = n >> 1;
                (power(half), power(n.wrapping_sub(half)))
            }

            /// `n` and `eʳ − 1`, where `x + rest = n ln 2 + r`. NaN for NaN.
            #[inline(always)]
            pub(super) fn reduce<const FUSED: bool>(x: $t, rest: $t) -> ($int, $t) {
                /// Added and taken away, it rounds to a whole number, which then stands in the low bits.
                const MAGIC: $t = 1.5 * (1u64 << $mantissa) as $t;
                let shifted = x.times_plus::<FUSED>(std::f64::consts::LOG2_E as $t, MAGIC);
                let whole = shifted - MAGIC;
                let small = whole.times_plus::<FUSED>(-$ln2_low, rest);
                let $r = whole.times_plus::<FUSED>(-$ln2_high, x) + small;
                /// `a · b + c`
                #[inline(always)]
                fn $fused<const FUSED: bool>(a: $t, b: $t, c: $t) -> $t {
                    a.times_plus::<FUSED>(b, c)
                }
                ((shifted.to_bits() as $int).wrapping_sub(MAGIC.to_bits() as $int), $expm1)
            }
        }

        impl Exponential for $t {
            #[inline(always)]
            fn straight_exp<const FUSED: bool>(self) -> Self {
                (if self > $high { $high } else { self }).straight_exp_below::<FUSED>()
            }

            #[inline(always)]
            fn straight_exp_below<const FUSED: bool>(self) -> Self {
                let x = if self < $low { $low } else { self };
                let (n, fraction) = $parts::reduce::<FUSED>(x, 0.0);
                let (half, rest) = $parts::powers(n);
                fraction.times_plus::<FUSED>(half, half) * rest
            }

            #[inline(always)]
            fn straight_bell<const FUSED: bool>(self, height: Self) -> Self {
                let x = self.abs();
                let x = if x > $vanish { $vanish } else { x };
                // The exponential magnifies the product's rounding error, so that is computed (Dekker 1971).
                let half = -0.5 * x;
                let product = half * x;
                let error = if FUSED {
                    half.mul_add(x, -product)
                } else {
                    let high = $t::from_bits(x.to_bits() >> $low_bits << $low_bits);
                    let low = x - high;
                    -0.5 * ((high * high + 2.0 * product) + 2.0 * high * low + low * low)
                };
                let (n, fraction) = $parts::reduce::<FUSED>(product, error);
                // Of the exponent that `vanish` has, the power is 0.
                let scale = $parts::power(n) * height;
                fraction.times_plus::<FUSED>(scale, scale)
            }

            #[inline(always)]
            fn straight_expm1<const FUSED: bool>(self) -> Self {
                let x = if self > $high { $high } else { self };
                let (n, fraction) = $parts::reduce::<FUSED>(if x < $flat { $flat } else { x }, 0.0);
                // 2ⁿ eʳ − 1 = 2ⁿ (eʳ − 1 + (1 − 2⁻ⁿ)). For the largest n, 2⁻ⁿ counts for nothing.
                let above = 1.0 - $parts::power(if n < $bias { 0 - n } else { 1 - $bias });
                let (half, rest) = $parts::powers(n);
                ((fraction + above) * half * rest).copysign(self)
            }

            #[inline(always)]
            fn straight_expm1_below<const FUSED: bool>(self) -> Self {
                let (n, fraction) =
                    $parts::reduce::<FUSED>(if self < $flat { $flat } else { self }, 0.0);
                // n is above −60: 2ⁿ is a normal number.
                let power = $parts::power(n);
                fraction.times_plus::<FUSED>(power, power - 1.0).copysign(self)
            }
        }
    };
}

exponential!(
    f32 as single, i32, 23, 127,
    range -104.0 89.0, expm1 is minus one below -20.0, bell is zero from 13.27, low bits 12,
    ln2 0.693_359_375 -2.121_944_4e-4,
    |r, fused| {
        // Pairs of terms side by side (Estrin): loops wait for chains of operations, not for single ones.
        let z = r * r;
        let p = fused::<FUSED>(8.366_515_25e-3, r, 4.166_719_97e-2);
        let p = fused::<FUSED>(fused::<FUSED>(1.388_252_11e-3, z, p), z, fused::<FUSED>(1.666_654_37e-1, r, 4.999_999_81e-1));
        fused::<FUSED>(p, z, r)
    }
);

exponential!(
    f64 as double, i64, 52, 1023,
    range -746.0 710.0, expm1 is minus one below -40.0, bell is zero from 37.66, low bits 27,
    ln2 6.931_457_519_531_25e-1 1.428_606_820_309_417_2e-6,
    |r, fused| {
        let z = r * r;
        let p = fused::<FUSED>(1.261_771_930_748_105_9e-4, z, 3.029_944_077_074_419_6e-2);
        let q = fused::<FUSED>(3.001_985_051_386_644_6e-6, z, 2.524_483_403_496_841e-3);
        let q = fused::<FUSED>(fused::<FUSED>(q, z, 2.272_655_482_081_550_3e-1), z, 2.0);
        let p = r * fused::<FUSED>(p, z, 1.0);
        2.0 * p / (q - p)
    }
);
