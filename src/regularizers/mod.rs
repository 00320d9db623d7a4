//! Penalties and limits on parameters.
//!
//! | penalty | value | derivative |
//! |---|---|---|
//! | [`L2`]`(λ)` | `½ λ Σ w²` | `λ w` |
//! | [`L1`]`(λ)` | `λ Σ abs(w)` | `λ sign(w)` |
//! | [`ElasticNet`] | `λ₁ Σ abs(w) + λ₂ Σ w²` | `λ₁ sign(w) + 2 λ₂ w` |
//!
//! The ½ stands in `L2` and not in `ElasticNet`, as in the course notes. Keras's `l2` has no ½ either:
//! its `l2(λ)` is `L2(2 λ)` here. PyTorch's `weight_decay` amounts to `L2`.
//!
//! [`MaxNorm`] is no penalty but a [`crate::Constraint`]: it limits the length of each unit's weights.
//!
//! # Which parameters
//!
//! None, unless a selector says so. [`crate::ParamInfo::is_weight`] selects weights and leaves biases and the parameters
//! of normalization layers alone; a name selects a layer.
//!
//! ```
//! use layerwise::prelude::*;
//!
//! let mut model = Sequential::builder([8])
//!     .add(Linear::new(16))
//!     .add(BatchNorm::new())
//!     .add(Relu)
//!     .add_named("head", Linear::new(4))
//!     .build()?;
//! assert_eq!(model.set_regularizer(L2(1e-4), ParamInfo::is_weight), 2);
//! assert_eq!(model.set_regularizer(L1(1e-5), |p| p.name == "head.weight"), 1); // in place of L2
//! assert_eq!(model.set_constraint(MaxNorm(3.0), |p| p.is_weight() && p.name.starts_with("0.")), 1);
//! # Ok::<(), layerwise::Error>(())
//! ```

mod max_norm;

pub use max_norm::MaxNorm;

use crate::kernels::{elementwise, reduce};
use crate::{Regularizer, Scalar};

/// `½ λ Σ w²`, with `λ ≥ 0`: prefers many small weights. Derivative `λ w`.
///
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(L2(0.5).penalty(&[2.0f64]), 1.0);
/// ```
#[doc(alias = "Ridge")]
#[doc(alias = "weight_decay")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct L2(pub f64);

impl<F: Scalar> Regularizer<F> for L2 {
    fn penalty(&self, value: &[F]) -> F {
        F::lit(0.5 * self.0 * reduce::sum_squares(value))
    }

    fn accumulate(&self, value: &[F], grad: &mut [F]) {
        elementwise::axpy(F::lit(self.0), value, grad);
    }
}

/// `λ Σ |w|`, with `λ ≥ 0`: drives weights to zero. Derivative `λ sign(w)`, 0 at 0.
///
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(L1(0.5).penalty(&[2.0f64, -4.0]), 3.0);
/// ```
#[doc(alias = "Lasso")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct L1(pub f64);

impl<F: Scalar> Regularizer<F> for L1 {
    fn penalty(&self, value: &[F]) -> F {
        F::lit(self.0) * reduce::sum_abs(value)
    }

    fn accumulate(&self, value: &[F], grad: &mut [F]) {
        elementwise::add_sign(F::lit(self.0), value, grad);
    }
}

/// `λ₁ Σ |w| + λ₂ Σ w²` (Zou & Hastie 2005), without the ½ of [`L2`].
///
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(ElasticNet { l1: 0.5, l2: 0.25 }.penalty(&[2.0f64]), 2.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElasticNet {
    /// `λ₁ ≥ 0`
    pub l1: f64,
    /// `λ₂ ≥ 0`
    pub l2: f64,
}

impl<F: Scalar> Regularizer<F> for ElasticNet {
    fn penalty(&self, value: &[F]) -> F {
        L1(self.l1).penalty(value) + L2(2.0 * self.l2).penalty(value)
    }

    fn accumulate(&self, value: &[F], grad: &mut [F]) {
        L1(self.l1).accumulate(value, grad);
        L2(2.0 * self.l2).accumulate(value, grad);
    }
}
