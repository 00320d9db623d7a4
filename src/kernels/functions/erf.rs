//! The error function and the normal distribution's `Φ(x) = ½ erfc(−x / √2)`.
//!
//! Both rest on `erfcx(z) = e^z² erfc(z)`, which falls from 1 at 0 like `1 / (z √π)`: `(1 + 2z) erfcx(z)` is
//! a polynomial in `z / (z + middle)` (after Shepherd & Laframboise 1981). Near 0, `erf(x) / x` is one in `x²`.
//! The coefficients are minimax fits made for this file by `tests/data/functions/generate.py`.

// Eighteen digits, so that rounding is the compiler's; one is nearly 2/√π, but fitted.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use super::{Exponential, TimesPlus};

/// Error functions as straight-line code.
pub trait ErrorFunction: Sized {
    /// `erf x = 2/√π ∫₀ˣ e^−t² dt`
    fn straight_erf<const FUSED: bool>(self) -> Self;
    /// `Φ(x)`, also for large `−x` to full relative accuracy, and its derivative `e^(−x²/2) / √2π`.
    fn straight_normal<const FUSED: bool>(self) -> (Self, Self);
}

/// `Σ cᵢ xⁱ`, the highest coefficient first.
macro_rules! polynomial {
    ($x:ident: $first:literal $($next:literal)*) => {{
        let sum = $first;
        $(let sum = sum.times_plus::<FUSED>($x, $next);)*
        sum
    }};
}

macro_rules! error_function {
    (
        $t:ident as $parts:ident, low bits $low_bits:literal, one from $flat:literal, zero from $vanish:literal,
        erfcx with middle $middle:literal: $($tail:literal)*, erf $($near:literal)*
    ) => {
        mod $parts {
            use super::super::TimesPlus;

            /// `e^z² erfc(z)` for `0 ≤ z` up to where `erfc` vanishes.
            #[inline(always)]
            pub(super) fn erfcx<const FUSED: bool>(z: $t) -> $t {
                let u = z / (z + $middle);
                polynomial!(u: $($tail)*) / (1.0 + 2.0 * z)
            }
        }

        impl ErrorFunction for $t {
            #[inline(always)]
            fn straight_erf<const FUSED: bool>(self) -> Self {
                let size = self.abs();
                let size = if size > $flat { $flat } else { size };
                let square = size * size;
                let near = size * polynomial!(square: $($near)*);
                let far = 1.0 - $parts::erfcx::<FUSED>(size) * (-square).straight_exp::<FUSED>();
                (if size < 1.0 { near } else { far }).copysign(self)
            }

            #[inline(always)]
            fn straight_normal<const FUSED: bool>(self) -> (Self, Self) {
                let size = self.abs();
                let size = if size > $vanish { $vanish } else { size };
                // The exponential magnifies the square's rounding error, so it is computed (Dekker 1971).
                let square = size * size;
                let high = $t::from_bits(size.to_bits() >> $low_bits << $low_bits);
                let low = size - high;
                let error = if FUSED {
                    size.mul_add(size, -square)
                } else {
                    (high * high - square) + 2.0 * high * low + low * low
                };
                let bell = (-0.5 * square).straight_exp::<FUSED>() * (1.0 - 0.5 * error);
                let tail = 0.5 * $parts::erfcx::<FUSED>(size * std::$t::consts::FRAC_1_SQRT_2) * bell;
                /// `1 / √2π`
                const DENSITY: $t = 0.398_942_280_401_432_677_94;
                (if self < 0.0 { tail } else { 1.0 - tail }, DENSITY * bell)
            }
        }
    };
}

error_function!(
    f32 as single, low bits 12, one from 4.0, zero from 15.0,
    erfcx with middle 2.0:
        1.725_112_278e-1 -7.659_351_459e-1 1.251_883_721 -9.410_838_303e-1 5.884_148_371e-1 -4.967_375_879e-1
        -3.404_883_594e-1 5.285_949_339e-1 1.671_799_098 -3.283_820_838 1.743_242_181 9.999_999_985e-1,
    erf
        7.875_875_063e-5 -8.016_864_287e-4 5.189_087_423e-3 -2.685_421_201e-2 1.128_359_472e-1 -3.761_262_667e-1
        1.128_379_166
);

error_function!(
    f64 as double, low bits 27, one from 6.0, zero from 38.6,
    erfcx with middle 2.5:
        4.105_695_064_038_979_48e-2 -4.226_730_289_600_669_30e-1 1.995_223_588_126_476_69
        -5.743_296_304_581_313_38 1.133_340_585_765_188_11e1 -1.636_442_227_622_680_15e1
        1.800_388_271_170_821_51e1 -1.546_045_509_379_050_80e1 1.051_648_995_145_177_31e1
        -5.748_549_447_421_820_21 2.521_280_610_887_133_42 -8.514_568_503_144_135_36e-1
        2.922_861_008_560_693_46e-1 -8.993_367_581_205_499_09e-2 -1.480_276_254_056_819_71e-1
        -1.012_811_884_261_948_93e-1 3.641_197_977_166_825_01e-1 6.034_761_095_243_557_52e-1
        -9.462_208_796_660_601_74e-1 -2.135_513_964_837_391_59 5.965_623_248_151_385_92
        -5.675_687_506_438_981_68 2.179_052_082_261_248_68 9.999_999_999_999_999_76e-1,
    erf
        -7.795_898_827_002_142_24e-10 1.372_006_454_677_768_56e-8 -1.620_848_380_187_170_59e-7
        1.644_742_470_331_736_24e-6 -1.492_473_690_741_966_03e-5 1.205_529_490_483_970_79e-4
        -8.548_325_975_389_692_08e-4 5.223_977_607_116_422_73e-3 -2.686_617_064_323_777_04e-2
        1.128_379_167_094_500_63e-1 -3.761_263_890_318_354_04e-1 1.128_379_167_095_512_57
);
