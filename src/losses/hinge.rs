//! The support vector machine's loss.

use super::{check_classes, check_grad, scores, write_grad};
use crate::{Error, Loss, Result, Scalar, View, ViewMut};

/// Multiclass SVM loss of the course: `L_i = Σ_{j ≠ y} max(0, s_j − s_y + margin)^p`, averaged over the
/// batch.
///
/// PyTorch's `multi_margin_loss` divides by the number of classes as well; Keras's `CategoricalHinge`
/// takes only the largest `j`.
///
/// # Shape
/// prediction `[n, classes]`, target `[n]` class indices.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// // The course's example: a cat scored 3.2, car 5.1, frog −1.7.
/// let scores = arr2(&[[3.2f64, 5.1, -1.7]]).into_dyn();
/// let loss = MulticlassHinge::new().value(scores.view(), &[0])?;
/// assert!((loss - 2.9).abs() < 1e-12);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As for [`super::CrossEntropy`]; [`Error::Setting`] for a margin that is not finite.
///
/// # References
/// Weston & Watkins 1999.
#[doc(alias = "SVM")]
#[doc(alias = "MultiMarginLoss")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MulticlassHinge {
    margin: f64,
    squared: bool,
}

impl Default for MulticlassHinge {
    fn default() -> Self {
        Self::new()
    }
}

impl MulticlassHinge {
    /// With margin 1, not squared.
    pub fn new() -> Self {
        Self { margin: 1.0, squared: false }
    }

    /// By how much the right score should exceed the others; default 1.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// Whether to square each term (`p = 2`, the L2-SVM); default false.
    pub fn squared(mut self, squared: bool) -> Self {
        self.squared = squared;
        self
    }

    fn check(&self) -> Result<()> {
        if self.margin.is_finite() {
            return Ok(());
        }
        let got = self.margin.to_string();
        Err(Error::Setting { kind: "MulticlassHinge", field: "margin", must_be: "finite", got })
    }

    /// Sum over the wrong classes; `each` gets a class and the derivative by its score.
    fn row<F: Scalar>(&self, row: &[F], target: usize, mut each: impl FnMut(usize, F)) -> f64 {
        let mut loss = 0.0;
        for (class, &score) in row.iter().enumerate() {
            let excess = score - row[target] + F::lit(self.margin);
            // Not `>`: NaN must not vanish.
            if class == target || excess <= F::zero() {
                continue;
            }
            let (term, derivative) =
                if self.squared { (excess * excess, excess + excess) } else { (excess, F::one()) };
            loss += term.widen();
            each(class, derivative);
        }
        loss
    }
}

impl<F: Scalar> Loss<F> for MulticlassHinge {
    type Target = [usize];

    fn value(&self, prediction: View<'_, F>, target: &[usize]) -> Result<F> {
        let (rows, classes, values) = scores(&prediction)?;
        self.check()?;
        check_classes(rows, classes, target)?;
        let rows = values.chunks_exact(classes).zip(target);
        let total: f64 = rows.map(|(row, &class)| self.row(row, class, |_, _| {})).sum();
        Ok(F::lit(total / target.len() as f64))
    }

    fn value_and_grad(
        &self,
        prediction: View<'_, F>,
        target: &[usize],
        mut grad: ViewMut<'_, F>,
    ) -> Result<F> {
        let (rows, classes, values) = scores(&prediction)?;
        self.check()?;
        check_classes(rows, classes, target)?;
        check_grad(&prediction, &grad)?;
        let count = F::lit(rows as f64);
        let mut total = 0.0;
        write_grad(&mut grad, |grad| {
            for ((row, grad), &class) in
                values.chunks_exact(classes).zip(grad.chunks_exact_mut(classes)).zip(target)
            {
                grad.fill(F::zero());
                total += self.row(row, class, |other, derivative| {
                    grad[other] = derivative / count;
                    grad[class] -= derivative / count;
                });
            }
        });
        Ok(F::lit(total / rows as f64))
    }
}
