//! Cross-entropy of yes and no.

use ndarray::{ArrayRef, IxDyn};

use super::by_element::{self, ByElement};
use super::{Reduction, check_weights};
use crate::kernels::loss::{self, Element};
use crate::kernels::parallel::Cost;
use crate::{Error, Loss, Result, Scalar, View, ViewMut};

/// Cross-entropy for yes-or-no questions, one for each element, from logits:
/// `L = −(w t log σ(x) + (1 − t) log(1 − σ(x)))`, averaged over all elements. For labels that do not exclude one
/// another.
///
/// Takes raw scores and never overflows; [`BinaryCrossEntropy::from_probabilities`] takes what a
/// [`crate::activations::Sigmoid`] gives. Targets are usually 0 or 1; anything between is a soft label.
///
/// # Shape
/// prediction and target `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let logits = arr2(&[[0.0f64, 1000.0]]).into_dyn();
/// let mut grad = logits.clone();
/// let loss = BinaryCrossEntropy::new();
/// assert!(loss.value(logits.view(), &arr2(&[[1.0, 1.0]]).into_dyn())? - 0.5 * 2f64.ln() < 1e-15);
/// assert!(loss.value_and_grad(logits.view(), &arr2(&[[1.0, 0.0]]).into_dyn(), grad.view_mut())? > 500.0);
/// assert_eq!(grad, arr2(&[[-0.25, 0.5]]).into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Target`] if the shapes differ, [`Error::Prediction`] if the prediction is empty,
/// [`Error::PredictionValue`] for a probability out of range, [`Error::Setting`] for weights that do not fit.
///
/// # References
/// PyTorch's `BCEWithLogitsLoss` and `BCELoss`; from probabilities, logarithms are at least −100 as there.
#[doc(alias = "BCEWithLogitsLoss")]
#[doc(alias = "BCELoss")]
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryCrossEntropy {
    logits: bool,
    pos_weight: Option<Vec<f64>>,
    reduction: Reduction,
}

impl Default for BinaryCrossEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl BinaryCrossEntropy {
    /// From logits: the mean over all elements.
    pub fn new() -> Self {
        Self { logits: true, pos_weight: None, reduction: Reduction::Mean }
    }

    /// From probabilities, `0 ≤ p ≤ 1`. Less accurate: a probability near 1 has lost the digits that count.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// use ndarray::arr2;
    ///
    /// let probabilities = arr2(&[[0.5f64, 0.25]]).into_dyn();
    /// let loss = BinaryCrossEntropy::from_probabilities().reduction(Reduction::Sum);
    /// let value = loss.value(probabilities.view(), &arr2(&[[1.0, 1.0]]).into_dyn())?;
    /// assert!((value - 8f64.ln()).abs() < 1e-15);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn from_probabilities() -> Self {
        Self { logits: false, ..Self::new() }
    }

    /// One weight of the positive answer for each place of the last axis, at least 0: above 1 raises recall, below 1
    /// precision. The mean still divides by the number of elements, as in PyTorch.
    pub fn pos_weight(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.pos_weight = Some(weights.into());
        self
    }

    /// Mean or sum over all elements; default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// Loss and derivative of one element from its logit, with weight `w` for a yes.
#[inline(always)]
fn from_logit<F: Scalar, const FUSED: bool>(w: F, p: F, t: F) -> (F, F) {
    // −log σ(p) = ln(1 + e^−p), and −log(1 − σ(p)) = p + ln(1 + e^−p).
    let weight = (w - F::one()) * t + F::one();
    let (yes, no) = p.straight_sigmoids::<FUSED>();
    let loss = (F::one() - t) * p + weight * (-p).straight_softplus::<FUSED>();
    (loss, (F::one() - t) * yes - w * t * no)
}

/// The same from a probability.
#[inline(always)]
fn from_probability<F: Scalar, const FUSED: bool>(w: F, p: F, t: F) -> (F, F) {
    // A certain mistake counts 100 and not ∞. Not `>`: NaN stays NaN.
    let log = |x: F| if x < F::lit(-100.0) { F::lit(-100.0) } else { x };
    let (yes, no) = (w * t, F::one() - t);
    let loss = -(yes * log(p.straight_ln::<FUSED>()) + no * log((-p).straight_log1p::<FUSED>()));
    // no / (1 − p) − yes / p, without dividing by 0.
    let product = p * (F::one() - p);
    let divisor = if product < F::lit(1e-12) { F::lit(1e-12) } else { product };
    (loss, (no * p - yes * (F::one() - p)) / divisor)
}

/// The loss with its kind of input known when it is compiled.
struct From<'a, const LOGITS: bool>(&'a BinaryCrossEntropy);

impl<const LOGITS: bool> From<'_, LOGITS> {
    #[inline(always)]
    fn element<F: Scalar, const FUSED: bool>(w: F, p: F, t: F) -> (F, F) {
        if LOGITS { from_logit::<F, FUSED>(w, p, t) } else { from_probability::<F, FUSED>(w, p, t) }
    }
}

impl<const LOGITS: bool> Element for From<'_, LOGITS> {
    #[inline(always)]
    fn loss<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        Self::element::<F, FUSED>(F::one(), p, t).0
    }

    #[inline(always)]
    fn derivative<F: Scalar, const FUSED: bool>(&self, p: F, t: F) -> F {
        Self::element::<F, FUSED>(F::one(), p, t).1
    }

    fn cost(len: usize) -> Cost {
        Cost::functions(2 * len)
    }
}

impl<const LOGITS: bool> ByElement for From<'_, LOGITS> {
    fn reduction(&self) -> Reduction {
        self.0.reduction
    }

    fn check<F: Scalar>(&self, prediction: &View<'_, F>) -> Result<()> {
        if let Some(weights) = &self.0.pos_weight {
            let places = prediction.shape().last().copied().unwrap_or(0);
            check_weights("BinaryCrossEntropy", "pos_weight", weights, places)?;
        }
        if LOGITS {
            return Ok(());
        }
        // Written so that NaN is found too.
        let outside = |p: &F| !(*p >= F::zero() && *p <= F::one());
        match prediction.iter().enumerate().find(|(_, p)| outside(p)) {
            None => Ok(()),
            Some((element, p)) => Err(Error::PredictionValue {
                element,
                must_be: "a probability from 0 to 1",
                got: p.to_string(),
                cure: "give scores to `BinaryCrossEntropy::new`, or add Sigmoid behind the model",
            }),
        }
    }

    fn total<F: Scalar>(&self, p: &[F], t: &[F], mut grad: Option<(F, &mut [F])>) -> f64 {
        let Some(weights) = &self.0.pos_weight else { return loss::total(self, p, t, grad) };
        let mut total = 0.0;
        for (i, (&p, &t)) in p.iter().zip(t).enumerate() {
            let (loss, derivative) =
                Self::element::<F, false>(F::lit(weights[i % weights.len()]), p, t);
            total += loss.widen();
            if let Some((factor, grad)) = &mut grad {
                grad[i] = *factor * derivative;
            }
        }
        total
    }
}

impl BinaryCrossEntropy {
    fn compute<F: Scalar>(
        &self,
        prediction: View<'_, F>,
        target: &ArrayRef<F, IxDyn>,
        grad: Option<ViewMut<'_, F>>,
    ) -> Result<F> {
        if self.logits {
            return by_element::value(&From::<true>(self), prediction, target, grad);
        }
        by_element::value(&From::<false>(self), prediction, target, grad)
    }
}

impl<F: Scalar> Loss<F> for BinaryCrossEntropy {
    type Target = ArrayRef<F, IxDyn>;

    fn value(&self, prediction: View<'_, F>, target: &ArrayRef<F, IxDyn>) -> Result<F> {
        self.compute(prediction, target, None)
    }

    fn value_and_grad(
        &self,
        prediction: View<'_, F>,
        target: &ArrayRef<F, IxDyn>,
        grad: ViewMut<'_, F>,
    ) -> Result<F> {
        self.compute(prediction, target, Some(grad))
    }
}
