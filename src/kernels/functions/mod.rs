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
//! | [`straight_normal`](ErrorFunction::straight_normal) | 5 | 6 |
//!
//! The largest errors of `straight_normal` are far out, below −10 or −20; between −5 and 5 it is within 3.
//!
//! None contains a fused multiply-add, so every instruction set gives the same bits. Results below the smallest normal
//! number are within a few of the smallest numbers there are.

mod erf;
mod exponential;
mod logarithm;

pub use erf::ErrorFunction;
pub use exponential::Exponential;
pub use logarithm::Logarithm;

/// What the functions of the other files give together.
pub trait Functions: Exponential + Logarithm + ErrorFunction + num_traits::Float {
    /// `tanh x`
    #[inline(always)]
    fn straight_tanh(self) -> Self {
        // With e = e^−2|x| − 1 nothing cancels, near 0 or far from it.
        let e = (-(self.abs() + self.abs())).straight_expm1();
        (-e / (e + Self::one() + Self::one())).copysign(self)
    }

    /// `σ(x) = 1 / (1 + e^−x)`
    #[inline(always)]
    fn straight_sigmoid(self) -> Self {
        self.straight_sigmoids().0
    }

    /// `σ(x)` and `σ(−x) = 1 − σ(x)`, both to full relative accuracy.
    #[inline(always)]
    fn straight_sigmoids(self) -> (Self, Self) {
        // e^−|x| never overflows, and neither quotient cancels.
        let e = (-self.abs()).straight_exp();
        let (top, other) = if self < Self::zero() { (e, Self::one()) } else { (Self::one(), e) };
        (top / (Self::one() + e), other / (Self::one() + e))
    }

    /// `ln(1 + eˣ)`
    #[inline(always)]
    fn straight_softplus(self) -> Self {
        let positive = if self < Self::zero() { Self::zero() } else { self };
        positive + (-self.abs()).straight_exp().straight_log1p()
    }
}

impl Functions for f32 {}
impl Functions for f64 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_what_they_should_be() {
        fn check<F: crate::Scalar>() {
            let (inf, nan) = (F::infinity(), F::nan());
            let (zero, one, half, far) = (F::zero(), F::one(), F::lit(0.5), F::lit(1e9));
            for (x, exp, expm1, tanh, sigmoid, softplus, erf, cdf) in [
                (inf, inf, inf, one, one, inf, one, one),
                (far, inf, inf, one, one, far, one, one),
                (zero, one, zero, zero, half, F::lit(2f64.ln()), zero, half),
                (-far, zero, -one, -one, zero, zero, -one, zero),
                (-inf, zero, -one, -one, zero, zero, -one, zero),
            ] {
                assert_eq!((x.straight_exp(), x.straight_expm1()), (exp, expm1), "{x}");
                assert_eq!((x.straight_tanh(), x.straight_sigmoid()), (tanh, sigmoid), "{x}");
                assert_eq!((x.straight_erf(), x.straight_normal().0), (erf, cdf), "{x}");
                assert_eq!(x.straight_softplus(), softplus, "{x}");
            }
            assert_eq!((inf.straight_ln(), inf.straight_log1p()), (inf, inf));
            assert_eq!((one.straight_ln(), zero.straight_ln()), (zero, -inf));
            assert!((-one).straight_ln().is_nan() && nan.straight_ln().is_nan());
            assert_eq!((-one).straight_log1p(), -inf);
            assert!((-one - half).straight_log1p().is_nan());
            for y in [
                nan.straight_exp(),
                nan.straight_expm1(),
                nan.straight_log1p(),
                nan.straight_tanh(),
                nan.straight_sigmoid(),
                nan.straight_softplus(),
                nan.straight_erf(),
                nan.straight_normal().0,
                nan.straight_normal().1,
            ] {
                assert!(y.is_nan());
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn odd_functions_keep_the_sign_of_zero() {
        for zero in [0.0f64, -0.0] {
            for y in [
                zero.straight_expm1(),
                zero.straight_log1p(),
                zero.straight_tanh(),
                zero.straight_erf(),
            ] {
                assert_eq!(y.to_bits(), zero.to_bits());
            }
        }
    }
}
