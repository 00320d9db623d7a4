//! Losses that grow like the absolute error, and so do not chase outliers.

use super::Reduction;
use super::by_element::{ByElement, loss_by_element};
use crate::kernels::elementwise::between;
use crate::kernels::loss::Element;
use crate::{Error, Result, Scalar, View};

/// Mean absolute error: `Σ |prediction − target| / elements`.
///
/// Derivative 0 where they are equal, as in PyTorch. The mean is over all elements.
///
/// # Shape
/// prediction and target `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let (prediction, target) = (arr2(&[[1.0f64, 2.0]]).into_dyn(), arr2(&[[1.0, 4.0]]).into_dyn());
/// assert_eq!(Mae::new().value(prediction.view(), &target)?, 1.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Target`] if the shapes differ, [`Error::Prediction`] if the prediction is empty.
#[doc(alias = "L1Loss")]
#[doc(alias = "MeanAbsoluteError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mae {
    reduction: Reduction,
}

impl Mae {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mean or sum over all elements; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl Element for Mae {
    #[inline(always)]
    fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        (p - t).abs()
    }

    #[inline(always)]
    fn derivative<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        let above = if p > t { F::one() } else { p - t };
        if p < t { -F::one() } else { above }
    }
}

impl ByElement for Mae {
    fn reduction(&self) -> Reduction {
        self.reduction
    }
}

/// Squared for small errors, absolute for large ones: with `d = prediction − target`, the mean of `½ d²` where
/// `|d| ≤ δ`, else of `δ (|d| − ½ δ)`.
///
/// # Shape
/// prediction and target `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let (prediction, target) = (arr2(&[[1.0f64, 10.0]]).into_dyn(), arr2(&[[0.0, 0.0]]).into_dyn());
/// let loss = Huber::new(2.0).reduction(Reduction::Sum).value(prediction.view(), &target)?;
/// assert_eq!(loss, 0.5 + 2.0 * (10.0 - 1.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As for [`Mae`]; [`Error::Setting`] unless `δ` is finite and above 0.
///
/// # References
/// Huber 1964.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Huber {
    delta: f64,
    reduction: Reduction,
}

impl Huber {
    /// `delta`: the error at which the loss becomes a straight line, above 0.
    pub fn new(delta: f64) -> Self {
        Self { delta, reduction: Reduction::Mean }
    }

    /// Mean or sum over all elements; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// `δ = 1`, as in PyTorch and Keras.
impl Default for Huber {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl Element for Huber {
    #[inline(always)]
    fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        // c (d − ½ c) is ½ d² where c = d, and δ (|d| − ½ δ) where c = ± δ.
        let c = self.derivative::<F, FUSED>(p, t);
        c * (p - t - F::lit(0.5) * c)
    }

    #[inline(always)]
    fn derivative<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        between(F::lit(-self.delta), F::lit(self.delta), p - t)
    }
}

impl ByElement for Huber {
    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn check<F: Scalar>(&self, _prediction: &View<'_, F>) -> Result<()> {
        positive("Huber", "delta", self.delta)
    }
}

/// [`Huber`] divided by its bend: with `d = prediction − target`, the mean of `½ d² / β` where `|d| ≤ β`,
/// else of `|d| − ½ β`. Far out it is the absolute error whatever `β` is.
///
/// # Shape
/// prediction and target `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let (prediction, target) = (arr2(&[[1.0f64, 10.0]]).into_dyn(), arr2(&[[0.0, 0.0]]).into_dyn());
/// let loss = SmoothL1::new(2.0).reduction(Reduction::Sum).value(prediction.view(), &target)?;
/// assert_eq!(loss, 0.25 + 9.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As for [`Mae`], which is `β = 0`; [`Error::Setting`] unless `β` is finite and above 0.
///
/// # References
/// Girshick 2015 (`β = 1`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothL1 {
    beta: f64,
    reduction: Reduction,
}

impl SmoothL1 {
    /// `beta`: the error at which the loss becomes a straight line, above 0.
    pub fn new(beta: f64) -> Self {
        Self { beta, reduction: Reduction::Mean }
    }

    /// Mean or sum over all elements; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// `β = 1`, as in PyTorch.
impl Default for SmoothL1 {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl Element for SmoothL1 {
    #[inline(always)]
    fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        Huber::new(self.beta).loss::<F, FUSED>(p, t) / F::lit(self.beta)
    }

    #[inline(always)]
    fn derivative<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        Huber::new(self.beta).derivative::<F, FUSED>(p, t) / F::lit(self.beta)
    }
}

impl ByElement for SmoothL1 {
    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn check<F: Scalar>(&self, _prediction: &View<'_, F>) -> Result<()> {
        positive("SmoothL1", "beta", self.beta)
    }
}

fn positive(kind: &'static str, field: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Setting { kind, field, must_be: "finite and above 0", got: value.to_string() })
}

loss_by_element!(Mae, Huber, SmoothL1);
