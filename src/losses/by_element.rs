//! What losses that are a sum over elements have in common.

use ndarray::{ArrayRef, IxDyn};

use super::{Reduction, check_grad};
use crate::kernels::loss::{self, Element};
use crate::layers::door;
use crate::{Error, Result, Scalar, ShapeError, TargetError, View, ViewMut};

/// A loss that is a sum over elements, as far as it differs from the others.
pub(super) trait ByElement: Element {
    /// Mean or sum.
    fn reduction(&self) -> Reduction;

    /// Refuses settings out of range, and predictions that the loss is not defined for.
    fn check<F: Scalar>(&self, prediction: &View<'_, F>) -> Result<()> {
        let _ = prediction;
        Ok(())
    }

    /// What the mean divides by; the number of elements unless overridden.
    fn mean_over(&self, shape: &[usize]) -> usize {
        shape.iter().product()
    }

    /// The sum over all elements; and the gradient times a factor, if there is room for it.
    fn total<F: Scalar>(&self, p: &[F], t: &[F], grad: Option<(F, &mut [F])>) -> f64
    where
        Self: Sized,
    {
        loss::total(self, p, t, grad)
    }
}

/// The loss, and its gradient if there is room for it.
pub(super) fn value<F: Scalar, L: ByElement>(
    loss: &L,
    prediction: View<'_, F>,
    target: &ArrayRef<F, IxDyn>,
    grad: Option<ViewMut<'_, F>>,
) -> Result<F> {
    same_shape(&prediction, target)?;
    loss.check(&prediction)?;
    let target = target.view();
    let (p, t) = (door::slice(&prediction), door::slice(&target));
    let divisor = match loss.reduction() {
        Reduction::Mean => loss.mean_over(prediction.shape()) as f64,
        Reduction::Sum => 1.0,
    };
    let Some(mut grad) = grad else { return Ok(F::lit(loss.total(&p, &t, None) / divisor)) };
    check_grad(&prediction, &grad)?;
    let factor = F::lit(1.0 / divisor);
    let total = door::fill(&mut grad, |grad| loss.total(&p, &t, Some((factor, grad))));
    Ok(F::lit(total / divisor))
}

/// The target has the prediction's shape, and there is at least one element.
pub(super) fn same_shape<F: Scalar>(
    prediction: &View<'_, F>,
    target: &ArrayRef<F, IxDyn>,
) -> Result<()> {
    if prediction.is_empty() {
        return Err(Error::Prediction(ShapeError::new("at least one element", prediction.shape())));
    }
    if prediction.shape() != target.shape() {
        let needs = format!("the prediction's shape {}", crate::Shape::from(prediction.shape()));
        return Err(Error::Target(TargetError::Shape(ShapeError::new(needs, target.shape()))));
    }
    Ok(())
}

/// Makes a [`crate::Loss`] of each type that is a [`ByElement`].
macro_rules! loss_by_element {
    ($($name:ident),*) => {$(
        impl<F: crate::Scalar> crate::Loss<F> for $name {
            type Target = ndarray::ArrayRef<F, ndarray::IxDyn>;

            fn value(&self, prediction: crate::View<'_, F>, target: &Self::Target) -> crate::Result<F> {
                super::by_element::value(self, prediction, target, None)
            }

            fn value_and_grad(
                &self,
                prediction: crate::View<'_, F>,
                target: &Self::Target,
                grad: crate::ViewMut<'_, F>,
            ) -> crate::Result<F> {
                super::by_element::value(self, prediction, target, Some(grad))
            }
        }
    )*};
}
pub(super) use loss_by_element;
