//! The error function and the normal distribution's `Φ(x) = ½ erfc(−x / √2)`.
//!
//! Both rest on Mills' ratio `Φ(−x) e^(x²/2)`, which falls from ½ at 0 like `1 / (x √2π)`: a quotient of two polynomials
//! with positive coefficients (as Hart 1968), so that no sum cancels and one division is enough. Near 0, `erf(x) / x` is a
//! polynomial in `x²`.
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
        $t:ident as $parts:ident, one from $flat:literal, zero from $vanish:literal,
        mills $($over:literal)* / $($under:literal)*, erf $($near:literal)*
    ) => {
        mod $parts {
            use super::super::TimesPlus;

            /// `Φ(−x) e^(x²/2)` for `0 ≤ x` up to where `Φ(−x)` vanishes.
            #[inline(always)]
            pub(super) fn mills<const FUSED: bool>(x: $t) -> $t {
                polynomial!(x: $($over)*) / polynomial!(x: $($under)*)
            }
        }

        impl ErrorFunction for $t {
            #[inline(always)]
            fn straight_erf<const FUSED: bool>(self) -> Self {
                let size = self.abs();
                let size = if size > $flat { $flat } else { size };
                let square = size * size;
                let near = size * polynomial!(square: $($near)*);
                let far = 1.0
                    - 2.0
                        * $parts::mills::<FUSED>(size * std::$t::consts::SQRT_2)
                        * (-square).straight_exp_below::<FUSED>();
                (if size < 1.0 { near } else { far }).copysign(self)
            }

            #[inline(always)]
            fn straight_normal<const FUSED: bool>(self) -> (Self, Self) {
                // Where the bell has vanished, it does not matter how large the quotient is.
                let size = self.abs();
                let size = if size > $vanish { $vanish } else { size };
                let tail = size.straight_bell::<FUSED>($parts::mills::<FUSED>(size));
                /// `1 / √2π`
                const DENSITY: $t = 0.398_942_280_401_432_677_94;
                (if self < 0.0 { tail } else { 1.0 - tail }, size.straight_bell::<FUSED>(DENSITY))
            }
        }
    };
}

error_function!(
    f32 as single, one from 4.0, zero from 13.27,
    mills
        3.989_479_542e-1 3.968_066_454 1.799_392_700e1 4.324_194_336e1 4.962_816_620e1
        / 1.0 9.947_200_775 4.608_766_556e1 1.185_520_096e2 1.656_790_161e2 9.925_633_240e1,
    erf
        7.875_875_063e-5 -8.016_864_287e-4 5.189_087_423e-3 -2.685_421_201e-2 1.128_359_472e-1 -3.761_262_667e-1
        1.128_379_166
);

error_function!(
    f64 as double, one from 6.0, zero from 37.66,
    mills
        3.989_422_804_015_357_32e-1 1.243_169_529_734_138_12e1 1.901_489_334_690_204_49e2 1.857_040_258_074_043_78e3
        1.273_431_690_640_543_82e4 6.382_287_033_916_469_23e4 2.364_725_470_512_714_53e5 6.404_431_941_531_406_48e5
        1.218_940_653_089_315_16e6 1.486_107_355_458_307_55e6 8.982_626_804_991_541_43e5
        / 1.0 3.116_163_893_397_229_15e1 4.776_326_930_181_882_06e2 4.686_071_257_344_847_25e3
        3.239_483_149_147_573_20e4 1.645_727_982_536_756_61e5 6.237_256_924_740_438_12e5 1.756_335_289_509_625_41e6
        3.589_027_726_131_284_61e6 5.054_806_421_282_311_90e6 4.405_634_559_547_959_83e6 1.796_525_360_998_308_29e6,
    erf
        -7.795_898_827_002_142_24e-10 1.372_006_454_677_768_56e-8 -1.620_848_380_187_170_59e-7
        1.644_742_470_331_736_24e-6 -1.492_473_690_741_966_03e-5 1.205_529_490_483_970_79e-4
        -8.548_325_975_389_692_08e-4 5.223_977_607_116_422_73e-3 -2.686_617_064_323_777_04e-2
        1.128_379_167_094_500_63e-1 -3.761_263_890_318_354_04e-1 1.128_379_167_095_512_57
);
