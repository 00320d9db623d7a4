//! `eˣ` and `eˣ − 1`: with `x = n ln 2 + r`, `eʳ − 1` as in the Cephes library (Moshier 1989) and a power of two.

// Coefficients as published.
#![allow(clippy::excessive_precision)]

use super::TimesPlus;

/// Exponentials as straight-line code.
pub trait Exponential: Sized {
    /// `eˣ`: 0 and ∞ where it under- and overflows, NaN for NaN.
    fn straight_exp<const FUSED: bool>(self) -> Self;
    /// `eˣ − 1`, accurate near 0 too.
    fn straight_expm1<const FUSED: bool>(self) -> Self;
    /// The same for numbers that are not above 0.
    fn straight_expm1_below<const FUSED: bool>(self) -> Self;
}

macro_rules! exponential {
    (
        $t:ident as $parts:ident, $int:ty, $mantissa:literal, $bias:literal,
        range $low:literal $high:literal, expm1 is minus one below $flat:literal,
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

            /// `n` and `eʳ − 1`, where `x = n ln 2 + r`. NaN for NaN.
            #[inline(always)]
            pub(super) fn reduce<const FUSED: bool>(x: $t) -> ($int, $t) {
                /// Added and taken away, it rounds to a whole number, which then stands in the low bits.
                const MAGIC: $t = 1.5 * (1u64 << $mantissa) as $t;
                let x = if x > $high { $high } else { x };
                let shifted = x.times_plus::<FUSED>(std::f64::consts::LOG2_E as $t, MAGIC);
                let whole = shifted - MAGIC;
                let $r =
                    whole.times_plus::<FUSED>(-$ln2_low, whole.times_plus::<FUSED>(-$ln2_high, x));
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
                let (n, fraction) = $parts::reduce::<FUSED>(if self < $low { $low } else { self });
                // 2ⁿ in two factors: n itself may exceed the exponent's range.
                let half = n >> 1;
                (1.0 + fraction) * $parts::power(half) * $parts::power(n.wrapping_sub(half))
            }

            #[inline(always)]
            fn straight_expm1<const FUSED: bool>(self) -> Self {
                let (n, fraction) =
                    $parts::reduce::<FUSED>(if self < $flat { $flat } else { self });
                let half = n >> 1;
                // 2ⁿ eʳ − 1 = 2ⁿ (eʳ − 1 + (1 − 2⁻ⁿ)). For the largest n, 2⁻ⁿ counts for nothing.
                let rest = 1.0 - $parts::power(if n < $bias { 0 - n } else { 1 - $bias });
                let value =
                    (fraction + rest) * $parts::power(half) * $parts::power(n.wrapping_sub(half));
                value.copysign(self)
            }

            #[inline(always)]
            fn straight_expm1_below<const FUSED: bool>(self) -> Self {
                let (n, fraction) =
                    $parts::reduce::<FUSED>(if self < $flat { $flat } else { self });
                // n is above −60: 2ⁿ is a normal number.
                let power = $parts::power(n);
                fraction.times_plus::<FUSED>(power, power - 1.0).copysign(self)
            }
        }
    };
}

exponential!(
    f32 as single, i32, 23, 127,
    range -104.0 89.0, expm1 is minus one below -20.0,
    ln2 0.693_359_375 -2.121_944_4e-4,
    |r, fused| {
        let p = fused::<FUSED>(1.987_569_15e-4, r, 1.398_199_95e-3);
        let p = fused::<FUSED>(fused::<FUSED>(p, r, 8.333_452e-3), r, 4.166_579_6e-2);
        let p = fused::<FUSED>(fused::<FUSED>(p, r, 1.666_666_55e-1), r, 5.000_000_1e-1);
        fused::<FUSED>(p, r * r, r)
    }
);

exponential!(
    f64 as double, i64, 52, 1023,
    range -746.0 710.0, expm1 is minus one below -40.0,
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
