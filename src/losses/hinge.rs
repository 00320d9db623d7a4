//! The support vector machine's loss.

use super::by_class::{ByClass, Options, loss_by_class};
use crate::{Error, Result, Scalar};

/// Multiclass SVM loss of the course: `L_i = w_y Σ_{j ≠ y} max(0, s_j − s_y + margin)^p`, averaged over the batch.
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
#[derive(Debug, Clone, PartialEq)]
pub struct MulticlassHinge {
    margin: f64,
    squared: bool,
    options: Options,
}

impl Default for MulticlassHinge {
    fn default() -> Self {
        Self::new()
    }
}

impl MulticlassHinge {
    /// With margin 1, not squared.
    pub fn new() -> Self {
        Self { margin: 1.0, squared: false, options: Options::default() }
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
}

impl ByClass for MulticlassHinge {
    const KIND: &'static str = "MulticlassHinge";

    fn options(&self) -> &Options {
        &self.options
    }

    fn check(&self) -> Result<()> {
        if self.margin.is_finite() {
            return Ok(());
        }
        let (kind, got) = (Self::KIND, self.margin.to_string());
        Err(Error::Setting { kind, field: "margin", must_be: "finite", got })
    }

    fn row<F: Scalar>(
        &self,
        row: &[F],
        class: usize,
        weight: f64,
        mut grad: Option<(f64, &mut [F])>,
    ) -> f64 {
        if let Some((_, grad)) = &mut grad {
            grad.fill(F::zero());
        }
        let mut loss = 0.0;
        for (other, &score) in row.iter().enumerate() {
            let excess = score - row[class] + F::lit(self.margin);
            // Not `>`: NaN must not vanish.
            if other == class || excess <= F::zero() {
                continue;
            }
            let (term, derivative) =
                if self.squared { (excess * excess, excess + excess) } else { (excess, F::one()) };
            loss += weight * term.widen();
            if let Some((factor, grad)) = &mut grad {
                let derivative = derivative * F::lit(weight * *factor);
                grad[other] = derivative;
                grad[class] -= derivative;
            }
        }
        loss
    }
}

loss_by_class!(MulticlassHinge);
