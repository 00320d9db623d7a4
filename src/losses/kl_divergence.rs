//! Distance of distributions.

use super::Reduction;
use super::by_element::{ByElement, loss_by_element};
use crate::Scalar;
use crate::kernels::loss::Element;

/// How far a predicted distribution `q` is from the target `p`: `Σ p (log p − log q)`, averaged over the batch.
///
/// Takes the logarithms of `q`, as [`crate::layers::LogSoftmax`] gives them, and probabilities `p`. A target of 0 adds
/// nothing. The mean is over the batch, PyTorch's `batchmean`: PyTorch's own default divides by the classes too, which
/// is not the divergence.
///
/// # Shape
/// prediction (log-probabilities) and target (probabilities) `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let (q, p) = (arr2(&[[0.5f64, 0.5], [0.5, 0.5]]), arr2(&[[1.0, 0.0], [0.5, 0.5]]).into_dyn());
/// let loss = KlDivergence::new().value(q.ln().into_dyn().view(), &p)?;
/// assert!((loss - 0.5 * 2f64.ln()).abs() < 1e-15); // log 2 and 0
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Target`] if the shapes differ, [`crate::Error::Prediction`] if the prediction is empty.
///
/// # References
/// Kullback & Leibler 1951.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KlDivergence {
    reduction: Reduction,
}

impl KlDivergence {
    /// The mean over the batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mean or sum over the batch; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl Element for KlDivergence {
    #[inline(always)]
    fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        let loss = t * (t.straight_ln::<FUSED>() - p);
        if t == F::zero() { F::zero() } else { loss }
    }

    #[inline(always)]
    fn derivative<F: Scalar, const FUSED: bool>(&self, _p: F, t: F) -> F {
        -t
    }
}

impl ByElement for KlDivergence {
    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn mean_over(&self, shape: &[usize]) -> usize {
        shape.first().copied().unwrap_or(1)
    }
}

loss_by_element!(KlDivergence);
