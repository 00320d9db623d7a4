//! Element-wise functions. Each is a [`crate::LayerSpec`]: `.add(Relu)`.
//!
//! | activation | `f(x)` | |
//! |---|---|---|
//! | [`Relu`] | `max(0, x)` | the first to try |
//! | [`Relu6`] | `min(max(0, x), 6)` | bounded |
//! | [`LeakyRelu`] | `x`, or `slope · x` below 0 | never dies |
//! | [`Elu`] | `x`, or `α (eˣ − 1)` below 0 | mean closer to 0 |
//! | [`Selu`] | `λ` times ELU | keeps mean 0 and variance 1 by itself |
//! | [`Gelu`], [`GeluTanh`] | `x Φ(x)`, exact and approximated | smooth; transformers |
//! | [`Silu`] | `x σ(x)` | smooth |
//! | [`Mish`] | `x tanh(ln(1 + eˣ))` | smooth |
//! | [`Softplus`] | `ln(1 + eˣ)` | smooth, positive |
//! | [`Sigmoid`] | `σ(x) = 1 / (1 + e^−x)` | between 0 and 1 |
//! | [`Tanh`] | `tanh x` | between −1 and 1 |
//! | [`Softsign`] | `x / (1 + abs(x))` | between −1 and 1, slow to saturate |
//! | [`HardSigmoid`], [`HardSwish`] | straight pieces for `σ(x)` and `x σ(x)` | cheap |
//!
//! All are finite wherever the true value is and pass NaN on. [`crate::layers::Softmax`] is a layer, since it looks at more
//! than one element.
//!
//! A layer has its own exponential to pay for: on one AVX2 core [`Relu`] takes 0.1 to 0.2 ns an element, the smooth ones
//! about 1 ns; docs/performance.md has the table.

mod elu;
mod gelu;
mod hard;
mod relu;
mod sigmoid;
mod smooth;

pub use elu::{Elu, Selu};
pub use gelu::{Gelu, GeluTanh};
pub use hard::{HardSigmoid, HardSwish};
pub use relu::{LeakyRelu, Relu, Relu6};
pub use sigmoid::{Sigmoid, Softsign, Tanh};
pub use smooth::{Mish, Silu, Softplus};

/// Makes an [`crate::Activation`] of each type that has a formula.
macro_rules! by_formula {
    ($($name:ident $(check $check:expr)?),* $(,)?) => {$(
        impl crate::Activation for $name {
            $(fn check(&self) -> crate::Result<()> {
                $check(self)
            })?

            fn forward<F: crate::Scalar>(&self, x: &[F], y: &mut [F]) {
                crate::kernels::elementwise::apply(self, x, y);
            }

            fn backward<F: crate::Scalar>(&self, x: &[F], y: &[F], dy: &[F], dx: &mut [F]) {
                crate::kernels::elementwise::apply_backward(self, x, y, dy, dx);
            }
        }
    )*};
}
use by_formula;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Scalar};

    /// Values and derivatives at the given points.
    fn at<F: Scalar>(activation: &impl Activation, x: &[F]) -> (Vec<F>, Vec<F>) {
        let (mut y, mut dx) = (vec![F::zero(); x.len()], vec![F::zero(); x.len()]);
        activation.forward(x, &mut y);
        activation.backward(x, &y, &vec![F::one(); x.len()], &mut dx);
        (y, dx)
    }

    /// `table`: `x`, `f(x)`, `f'(x)`, all with a known limit. NaN passes through; zero keeps its place.
    fn check<F: Scalar>(activation: &impl Activation, table: &[(f64, f64, f64)]) {
        for &(x, value, slope) in table {
            let (y, dx) = at(activation, &[F::lit(x)]);
            let tolerance = |want: f64| 4.0 * F::epsilon().widen() * want.abs().max(1e-35);
            let (y, dx) = (y[0].widen(), dx[0].widen());
            assert!(
                (y - value).abs() <= tolerance(value),
                "{activation:?} at {x}: {value}, got {y}"
            );
            assert!(
                (dx - slope).abs() <= tolerance(slope),
                "{activation:?}' at {x}: {slope}, got {dx}"
            );
        }
        let extremes = [1e3, 1e-30, 0.0, 1e30, 3e38].map(F::lit);
        let extremes: Vec<F> = extremes.into_iter().flat_map(|x| [x, -x]).collect();
        let (y, dx) = at(activation, &extremes);
        for (x, value) in extremes.iter().chain(&extremes).zip(y.iter().chain(&dx)) {
            assert!(value.is_finite(), "{activation:?} or its derivative at {x}: {value}");
        }
        let (y, _) = at(activation, &[F::nan()]);
        assert!(y[0].is_nan(), "{activation:?}");
    }

    fn check_both(activation: &impl Activation, table: &[(f64, f64, f64)]) {
        check::<f32>(activation, table);
        check::<f64>(activation, table);
    }

    #[test]
    fn every_activation_is_exact_at_the_extremes_and_passes_nan_on() {
        let tiny = 1e-30;
        check_both(&Relu, &[(1e3, 1e3, 1.0), (-1e3, 0.0, 0.0), (tiny, tiny, 1.0), (0.0, 0.0, 0.0)]);
        check_both(
            &Relu6,
            &[(1e3, 6.0, 0.0), (-1e3, 0.0, 0.0), (tiny, tiny, 1.0), (6.0, 6.0, 0.0)],
        );
        check_both(
            &LeakyRelu::new(0.25),
            &[(1e3, 1e3, 1.0), (-1e3, -250.0, 0.25), (-tiny, -tiny / 4.0, 0.25)],
        );
        check_both(
            &Elu::new(0.5),
            &[(1e3, 1e3, 1.0), (-1e3, -0.5, 0.0), (-tiny, -tiny / 2.0, 0.5), (0.0, 0.0, 0.5)],
        );
        let (alpha, scale) = (1.673_263_242_354_377_2, 1.050_700_987_355_480_5);
        let product = alpha * scale;
        check_both(
            &Selu,
            &[(1e3, 1e3 * scale, scale), (-1e3, -product, 0.0), (-tiny, -tiny * product, product)],
        );
        check_both(
            &Gelu,
            &[(1e3, 1e3, 1.0), (-1e3, 0.0, 0.0), (tiny, tiny / 2.0, 0.5), (0.0, 0.0, 0.5)],
        );
        check_both(
            &GeluTanh,
            &[(1e3, 1e3, 1.0), (-1e3, 0.0, 0.0), (-tiny, -tiny / 2.0, 0.5), (0.0, 0.0, 0.5)],
        );
        check_both(
            &Silu,
            &[(1e3, 1e3, 1.0), (-1e3, 0.0, 0.0), (tiny, tiny / 2.0, 0.5), (0.0, 0.0, 0.5)],
        );
        check_both(
            &Mish,
            &[(1e3, 1e3, 1.0), (-1e3, 0.0, 0.0), (tiny, tiny * 0.6, 0.6), (0.0, 0.0, 0.6)],
        );
        check_both(
            &HardSwish,
            &[(1e3, 1e3, 1.0), (-1e3, 0.0, 0.0), (tiny, tiny / 2.0, 0.5), (3.0, 3.0, 1.0)],
        );
        check_both(
            &HardSigmoid,
            &[(1e3, 1.0, 0.0), (-1e3, 0.0, 0.0), (tiny, 0.5, 1.0 / 6.0), (3.0, 1.0, 0.0)],
        );
        check_both(&Sigmoid, &[(1e3, 1.0, 0.0), (-1e3, 0.0, 0.0), (tiny, 0.5, 0.25)]);
        check_both(&Tanh, &[(1e3, 1.0, 0.0), (-1e3, -1.0, 0.0), (-tiny, -tiny, 1.0)]);
        check_both(
            &Softplus::default(),
            &[(1e3, 1e3, 1.0), (-1e3, 0.0, 0.0), (tiny, 2f64.ln(), 0.5)],
        );
        check_both(&Softplus::new(0.5), &[(1e3, 1e3, 1.0), (0.0, 2.0 * 2f64.ln(), 0.5)]);
        let near_one = 1e3 / 1001.0;
        check_both(
            &Softsign,
            &[
                (1e3, near_one, 1.0 / 1_002_001.0),
                (-1e3, -near_one, 1.0 / 1_002_001.0),
                (tiny, tiny, 1.0),
            ],
        );
    }

    /// In the far tail `1 + erf` would be 0; the value is not.
    #[test]
    fn gelu_keeps_its_relative_accuracy_far_below_zero() {
        let (y, dx) = at(&Gelu, &[-10.0f64]);
        assert!((y[0] / -7.619_853_024_160_526e-23 - 1.0).abs() < 1e-14, "{}", y[0]);
        assert!((dx[0] / -7.618_400_096_464_814e-22 - 1.0).abs() < 1e-12, "{}", dx[0]);
    }
}
