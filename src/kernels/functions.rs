//! Exponential and hyperbolic tangent without branches or calls, so that the compiler computes several at
//! once. Polynomials and rational functions of the Cephes library (Moshier 1989); a few units in the last
//! place, every input, no overflow on the way.

// Coefficients as published.
#![allow(clippy::excessive_precision)]

/// `exp` and `tanh` as straight-line code.
pub trait Functions: Sized {
    /// `eˣ`: 0 and ∞ where it under- and overflows, NaN for NaN.
    fn straight_exp(self) -> Self;
    /// `tanh x`
    fn straight_tanh(self) -> Self;
}

macro_rules! functions {
    (
        $t:ty, $int:ty, $mantissa:literal, $bias:literal, range $low:literal $high:literal,
        ln2 $ln2_high:literal $ln2_low:literal,
        exp |$r:ident| $exp:expr,
        tanh |$z:ident| $tanh:expr
    ) => {
        impl Functions for $t {
            #[inline(always)]
            fn straight_exp(self) -> Self {
                /// Added and taken away, it rounds to a whole number, which then stands in the low bits.
                const MAGIC: $t = 1.5 * (1u64 << $mantissa) as $t;
                let x = if self > $high { $high } else { self };
                let x = if x < $low { $low } else { x };
                let shifted = x * std::f64::consts::LOG2_E as $t + MAGIC;
                let whole = shifted - MAGIC;
                let $r = x - whole * $ln2_high - whole * $ln2_low;
                let value: $t = $exp;
                // 2ⁿ in two factors: n itself may exceed the exponent's range.
                let n = (shifted.to_bits() as $int).wrapping_sub(MAGIC.to_bits() as $int);
                let half = n >> 1;
                let power = |n: $int| <$t>::from_bits((n.wrapping_add($bias) << $mantissa) as _);
                value * power(half) * power(n.wrapping_sub(half))
            }

            #[inline(always)]
            fn straight_tanh(self) -> Self {
                let size = self.abs();
                let e = (-2.0 * size).straight_exp();
                let far = (1.0 - e) / (1.0 + e);
                // Near 0 the difference above loses digits.
                let $z = self * self;
                let near = size + size * $z * $tanh;
                (if size < 0.625 { near } else { far }).copysign(self)
            }
        }
    };
}

functions!(
    f32, i32, 23, 127, range -104.0 89.0,
    ln2 0.693_359_375 -2.121_944_4e-4,
    exp |r| {
        let p = 1.987_569_15e-4 * r + 1.398_199_95e-3;
        let p = (p * r + 8.333_452e-3) * r + 4.166_579_6e-2;
        let p = (p * r + 1.666_666_55e-1) * r + 5.000_000_1e-1;
        p * (r * r) + r + 1.0
    },
    tanh |z| {
        let p = -5.704_988_7e-3 * z + 2.063_908_8e-2;
        let p = (p * z - 5.373_971_6e-2) * z + 1.333_144_2e-1;
        p * z - 3.333_328_2e-1
    }
);

functions!(
    f64, i64, 52, 1023, range -746.0 710.0,
    ln2 6.931_457_519_531_25e-1 1.428_606_820_309_417_2e-6,
    exp |r| {
        let z = r * r;
        let p = (1.261_771_930_748_105_9e-4 * z + 3.029_944_077_074_419_6e-2) * z + 1.0;
        let q = (3.001_985_051_386_644_6e-6 * z + 2.524_483_403_496_841e-3) * z + 2.272_655_482_081_550_3e-1;
        let q = q * z + 2.0;
        1.0 + 2.0 * (r * p) / (q - r * p)
    },
    tanh |z| {
        let p = (-9.643_991_794_250_523e-1 * z - 9.928_772_310_019_186e1) * z - 1.614_687_684_417_084_5e3;
        let q = ((z + 1.128_116_784_916_329_3e2) * z + 2.235_488_390_601_004_6e3) * z;
        p / (q + 4.844_063_053_251_255e3)
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs of every size and sign.
    fn inputs() -> impl Iterator<Item = f64> {
        let sizes = (-400..=290).map(|i| 10f64.powf(f64::from(i) / 100.0));
        sizes
            .flat_map(|x| [x, -x])
            .chain([0.0, -0.0, 0.624_999, 0.625, 88.7, 709.7, -87.4, -103.9, -745.0])
    }

    #[test]
    fn they_equal_the_librarys_to_a_few_units() {
        for x in inputs() {
            let close = |got: f64, want: f64, tolerance: f64, tiny: f64| {
                let error = (got - want).abs();
                assert!(
                    error <= tolerance * want.abs() + tiny || got == want,
                    "at {x}: {got} and {want}"
                );
            };
            close(x.straight_exp(), x.exp(), 6e-16, 1e-323);
            close(x.straight_tanh(), x.tanh(), 6e-16, 0.0);
            let single = x as f32;
            let wide = f64::from(single);
            // Beyond the range of f32 its own infinity is right.
            close(f64::from(single.straight_exp()), f64::from(wide.exp() as f32), 3e-7, 3e-45);
            close(f64::from(single.straight_tanh()), wide.tanh(), 3e-7, 0.0);
        }
    }

    #[test]
    fn extremes_are_what_they_should_be() {
        assert_eq!((1e9f32).straight_exp(), f32::INFINITY);
        assert_eq!((-1e9f64).straight_exp(), 0.0);
        assert_eq!(f64::INFINITY.straight_exp(), f64::INFINITY);
        assert_eq!(f32::NEG_INFINITY.straight_exp(), 0.0);
        assert!(f32::NAN.straight_exp().is_nan() && f64::NAN.straight_tanh().is_nan());
        assert_eq!((f32::INFINITY.straight_tanh(), (-1e9f64).straight_tanh()), (1.0, -1.0));
        assert_eq!((0f64.straight_exp(), 0f32.straight_exp()), (1.0, 1.0));
        assert!((-0.0f64).straight_tanh().is_sign_negative());
    }
}
