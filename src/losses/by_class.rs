//! What losses that compare a row of scores with a class have in common.

use super::{Reduction, check_grad, check_weights, scores};
use crate::layers::door;
use crate::{Error, Result, Scalar, TargetError, View, ViewMut};

/// Options that all of them have.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Options {
    pub(super) weights: Option<Vec<f64>>,
    pub(super) ignored: Option<usize>,
    pub(super) reduction: Reduction,
}

/// A loss that compares a row of scores with a class, as far as it differs from the others.
pub(super) trait ByClass {
    /// For errors.
    const KIND: &'static str;

    fn options(&self) -> &Options;

    /// Refuses settings out of range.
    fn check(&self) -> Result<()>;

    /// The loss of one row; and the gradient times a factor, if there is room for it. `weight` is the class's.
    fn row<F: Scalar>(
        &self,
        row: &[F],
        class: usize,
        weight: f64,
        grad: Option<(f64, &mut [F])>,
    ) -> f64;
}

impl Options {
    /// Whether classes have weights.
    pub(super) fn weighs(&self) -> bool {
        self.weights.is_some()
    }

    pub(super) fn weight(&self, class: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[class])
    }

    /// What the sum of the rows' losses is divided by. If nothing counts, the sum is 0, and so is the mean.
    fn divisor(&self, target: &[usize]) -> f64 {
        let counted = target.iter().filter(|&&class| Some(class) != self.ignored);
        let total: f64 = match self.reduction {
            Reduction::Sum => 1.0,
            Reduction::Mean => counted.map(|&class| self.weight(class)).sum(),
        };
        if total == 0.0 { 1.0 } else { total }
    }

    fn check(
        &self,
        kind: &'static str,
        rows: usize,
        classes: usize,
        target: &[usize],
    ) -> Result<()> {
        if let Some(weights) = &self.weights {
            check_weights(kind, "class_weights", weights, classes)?;
        }
        if target.len() != rows {
            return Err(Error::Target(TargetError::Rows { needed: rows, got: target.len() }));
        }
        let wrong = |&class: &usize| class >= classes && Some(class) != self.ignored;
        match target.iter().position(wrong) {
            None => Ok(()),
            Some(row) => {
                Err(Error::Target(TargetError::Class { class: target[row], classes, row }))
            }
        }
    }
}

/// The loss, and its gradient if there is room for it.
pub(super) fn value<F: Scalar, L: ByClass>(
    loss: &L,
    prediction: View<'_, F>,
    target: &[usize],
    grad: Option<ViewMut<'_, F>>,
) -> Result<F> {
    let (rows, classes, values) = scores(&prediction)?;
    let options = loss.options();
    loss.check()?;
    options.check(L::KIND, rows, classes, target)?;
    let divisor = options.divisor(target);
    let rows = values.chunks_exact(classes).zip(target);
    let Some(mut grad) = grad else {
        let counted = rows.filter(|&(_, &class)| Some(class) != options.ignored);
        let losses = counted.map(|(row, &class)| loss.row(row, class, options.weight(class), None));
        return Ok(F::lit(losses.sum::<f64>() / divisor));
    };
    check_grad(&prediction, &grad)?;
    let total: f64 = door::fill(&mut grad, |grad| {
        let one = |((row, &class), grad): ((&[F], &usize), &mut [F])| {
            if Some(class) == options.ignored {
                grad.fill(F::zero());
                return 0.0;
            }
            loss.row(row, class, options.weight(class), Some((1.0 / divisor, grad)))
        };
        rows.zip(grad.chunks_exact_mut(classes)).map(one).sum()
    });
    Ok(F::lit(total / divisor))
}

/// Makes a [`crate::Loss`] of each type that is a [`ByClass`] with a field `options`, and gives it the methods that
/// set them.
macro_rules! loss_by_class {
    ($($name:ident),*) => {$(
        impl $name {
            /// One weight for each class, at least 0. The mean then divides by the sum of the targets' weights, as
            /// PyTorch's cross-entropy does.
            pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
                self.options.weights = Some(weights.into());
                self
            }

            /// Rows with this target count for nothing, in the mean neither; it need not be a class. Default none;
            /// PyTorch's is −100. If all rows are ignored, the loss is 0, where PyTorch gives NaN.
            pub fn ignore_index(mut self, class: usize) -> Self {
                self.options.ignored = Some(class);
                self
            }

            /// Mean or sum over the batch; default mean.
            pub fn reduction(mut self, reduction: super::Reduction) -> Self {
                self.options.reduction = reduction;
                self
            }
        }

        impl<F: crate::Scalar> crate::Loss<F> for $name {
            type Target = [usize];

            fn value(&self, prediction: crate::View<'_, F>, target: &[usize]) -> crate::Result<F> {
                super::by_class::value(self, prediction, target, None)
            }

            fn value_and_grad(
                &self,
                prediction: crate::View<'_, F>,
                target: &[usize],
                grad: crate::ViewMut<'_, F>,
            ) -> crate::Result<F> {
                super::by_class::value(self, prediction, target, Some(grad))
            }
        }
    )*};
}
pub(super) use loss_by_class;
