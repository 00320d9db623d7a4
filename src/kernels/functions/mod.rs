//! Transcendental functions without branches or calls, so that the compiler computes several at once.
//!
//! Largest error found, in units in the last place of the correctly rounded value; `f32` over every 97th number,
//! `f64` over the table in `tests/data/functions` (`tests/suite/functions.rs` holds them to it):
//!
//! | function | `f32` | `f64` |
//! |---|---|---|
//! | [`straight_exp`](Exponential::straight_exp) | 1 | 1 |
//! | [`straight_expm1`](Exponential::straight_expm1) | 2 | 2 |
//! | [`straight_ln`](Logarithm::straight_ln) | 1 | 1 |
//! | [`straight_log1p`](Logarithm::straight_log1p) | 1 | 1 |
//! | [`straight_tanh`](Functions::straight_tanh) | 2 | 2 |
//! | [`straight_sigmoid`](Functions::straight_sigmoid) | 2 | 2 |
//! | [`straight_erf`](ErrorFunction::straight_erf) | 2 | 1 |
//! | [`straight_normal`](ErrorFunction::straight_normal) | 6, fused 5 | 5 |
//!
//! The largest errors of `straight_normal` are far out, below −6; between −5 and 5 it is within 4 where it is fused.
//!
//! With `FUSED` multiplications and additions are one instruction, rounded once: for processors that have it, on others it
//! would be a call. Without it every instruction set gives the same bits. Results below the smallest normal
//! number are within a few of the smallest numbers there are; those of `straight_normal` may be 0.

mod erf;
mod exponential;
mod logarithm;

pub use erf::ErrorFunction;
pub use exponential::Exponential;
pub use logarithm::Logarithm;

/// A multiplication and an addition.
trait TimesPlus {
    /// `self · factor + term`, in one instruction if `FUSED`.
    fn times_plus<const FUSED: bool>(self, factor: Self, term: Self) -> Self;
}

macro_rules! times_plus {
    ($($t:ty)*) => {$(
        impl TimesPlus for $t {
            #[inline(always)]
            fn times_plus<const FUSED: bool>(self, factor: Self, term: Self) -> Self {
                if FUSED { self.mul_add(factor, term) } else { self * factor + term }
            }
        }
    )*};
}
times_plus!(f32 f64);

/// What the functions of the other files give together.
pub trait Functions: Exponential + Logarithm + ErrorFunction + num_traits::Float {
    /// `tanh x`
    #[inline(always)]
    fn straight_tanh<const FUSED: bool>(self) -> Self {
        // With e = e^−2|x| − 1 nothing cancels, near 0 or far from it.
        let e = (-(self.abs() + self.abs())).straight_expm1_below::<FUSED>();
        (-e / (e + Self::one() + Self::one())).copysign(self)
    }

    /// `σ(x) = 1 / (1 + e^−x)`
    #[inline(always)]
    fn straight_sigmoid<const FUSED: bool>(self) -> Self {
        self.straight_sigmoids::<FUSED>().0
    }

    /// `σ(x)` and `σ(−x) = 1 − σ(x)`, both to full relative accuracy.
    #[inline(always)]
    fn straight_sigmoids<const FUSED: bool>(self) -> (Self, Self) {
        // e^−|x| never overflows, and neither quotient cancels.
        let e = (-self.abs()).straight_exp_below::<FUSED>();
        let (top, other) = if self < Self::zero() { (e, Self::one()) } else { (Self::one(), e) };
        (top / (Self::one() + e), other / (Self::one() + e))
    }

    /// `ln(1 + eˣ)`
    #[inline(always)]
    fn straight_softplus<const FUSED: bool>(self) -> Self {
        let positive = if self < Self::zero() { Self::zero() } else { self };
        positive + (-self.abs()).straight_exp_below::<FUSED>().straight_log1p_unit::<FUSED>()
    }
}

impl Functions for f32 {}
impl Functions for f64 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_what_they_should_be() {
        fn check<F: crate::Scalar, const FUSED: bool>() {
            let (inf, nan) = (F::infinity(), F::nan());
            let (zero, one, half, far) = (F::zero(), F::one(), F::lit(0.5), F::lit(1e9));
            for (x, exp, expm1, tanh, sigmoid, softplus, erf, cdf) in [
                (inf, inf, inf, one, one, inf, one, one),
                (far, inf, inf, one, one, far, one, one),
                (zero, one, zero, zero, half, F::lit(2f64.ln()), zero, half),
                (-far, zero, -one, -one, zero, zero, -one, zero),
                (-inf, zero, -one, -one, zero, zero, -one, zero),
            ] {
                assert_eq!(
                    (x.straight_exp::<FUSED>(), x.straight_expm1::<FUSED>()),
                    (exp, expm1),
                    "{x}"
                );
                assert_eq!(
                    (x.straight_tanh::<FUSED>(), x.straight_sigmoid::<FUSED>()),
                    (tanh, sigmoid),
                    "{x}"
                );
                assert_eq!(
                    (x.straight_erf::<FUSED>(), x.straight_normal::<FUSED>().0),
                    (erf, cdf),
                    "{x}"
                );
                assert_eq!(x.straight_softplus::<FUSED>(), softplus, "{x}");
            }
            assert_eq!((inf.straight_ln::<FUSED>(), inf.straight_log1p::<FUSED>()), (inf, inf));
            assert_eq!((one.straight_ln::<FUSED>(), zero.straight_ln::<FUSED>()), (zero, -inf));
            assert!((-one).straight_ln::<FUSED>().is_nan() && nan.straight_ln::<FUSED>().is_nan());
            assert_eq!((-one).straight_log1p::<FUSED>(), -inf);
            assert!((-one - half).straight_log1p::<FUSED>().is_nan());
            for y in [
                nan.straight_exp::<FUSED>(),
                nan.straight_expm1::<FUSED>(),
                nan.straight_log1p::<FUSED>(),
                nan.straight_tanh::<FUSED>(),
                nan.straight_sigmoid::<FUSED>(),
                nan.straight_softplus::<FUSED>(),
                nan.straight_erf::<FUSED>(),
                nan.straight_normal::<FUSED>().0,
                nan.straight_normal::<FUSED>().1,
            ] {
                assert!(y.is_nan());
            }
        }
        check::<f32, false>();
        check::<f32, true>();
        check::<f64, false>();
        check::<f64, true>();
    }

    #[test]
    fn odd_functions_keep_the_sign_of_zero() {
        for zero in [0.0f64, -0.0] {
            for y in [
                zero.straight_expm1::<true>(),
                zero.straight_log1p::<true>(),
                zero.straight_tanh::<true>(),
                zero.straight_erf::<true>(),
            ] {
                assert_eq!(y.to_bits(), zero.to_bits());
            }
        }
    }
}
