//! The element type of a model.

use crate::kernels::functions::Functions;
use crate::kernels::micro::Micro;
use crate::kernels::vector::Vectors;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// Floating-point element of a model: `f32` (the default everywhere) or `f64`.
///
/// Sealed: gradients are checked in `f64` and trained in `f32`, and both have their own kernels.
///
/// ```
/// use layerwise::Scalar;
///
/// fn half<F: Scalar>() -> F { F::lit(0.5) }
/// assert_eq!(half::<f32>(), 0.5f32);
/// ```
pub trait Scalar:
    ndarray::NdFloat + Default + std::iter::Sum + Functions + Vectors + sealed::Sealed + 'static
{
    /// The nearest value to `x`.
    fn lit(x: f64) -> Self;
    /// This value as `f64`, exactly.
    fn widen(self) -> f64;
    /// The best register kernels for this machine.
    #[doc(hidden)]
    fn micro() -> &'static Micro<Self>;
}

impl Scalar for f32 {
    #[inline]
    fn lit(x: f64) -> Self {
        // Rounding to nearest is the purpose.
        x as f32
    }
    #[inline]
    fn widen(self) -> f64 {
        f64::from(self)
    }
    fn micro() -> &'static Micro<Self> {
        crate::kernels::micro::best_f32()
    }
}

impl Scalar for f64 {
    #[inline]
    fn lit(x: f64) -> Self {
        x
    }
    #[inline]
    fn widen(self) -> f64 {
        self
    }
    fn micro() -> &'static Micro<Self> {
        crate::kernels::micro::best_f64()
    }
}
