//! What is minimised.
//!
//! | loss | of | formula, for one sample or element |
//! |---|---|---|
//! | [`CrossEntropy`] | scores, a class | `−log softmax(s)_y` |
//! | [`SoftCrossEntropy`] | scores, probabilities | `−Σ t log softmax(s)` |
//! | [`Focal`] | scores, a class | `−(1 − p_y)^γ log p_y` |
//! | [`MulticlassHinge`] | scores, a class | `Σ_{j ≠ y} max(0, s_j − s_y + 1)`, or its squares |
//! | [`Nll`] | log-probabilities, a class | `−x_y` |
//! | [`KlDivergence`] | log-probabilities, probabilities | `Σ t (log t − x)` |
//! | [`BinaryCrossEntropy`] | scores or probabilities, yes or no | `−t log p − (1 − t) log(1 − p)` |
//! | [`Mse`] | values | `(p − t)²` |
//! | [`Mae`] | values | `abs(p − t)` |
//! | [`Huber`], [`SmoothL1`] | values | squared up to a bend, then straight |
//!
//! Each has a value alone and a value with gradient, neither of which allocates for arrays in row-major order.

mod absolute;
mod binary_cross_entropy;
mod by_class;
mod by_element;
mod cross_entropy;
mod focal;
mod hinge;
mod kl_divergence;
mod mse;
mod nll;
mod soft_cross_entropy;

pub use absolute::{Huber, Mae, SmoothL1};
pub use binary_cross_entropy::BinaryCrossEntropy;
pub use cross_entropy::CrossEntropy;
pub use focal::Focal;
pub use hinge::MulticlassHinge;
pub use kl_divergence::KlDivergence;
pub use mse::Mse;
pub use nll::Nll;
pub use soft_cross_entropy::SoftCrossEntropy;

use std::borrow::Cow;

use crate::layers::door;
use crate::{Error, Result, Scalar, ShapeError, TargetError, View};

/// How the samples' losses become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reduction {
    /// Their mean: the default.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// Rows and classes of a matrix of scores, with its elements in row-major order.
pub(crate) fn scores<'a, F: Scalar>(
    prediction: &'a View<'_, F>,
) -> Result<(usize, usize, Cow<'a, [F]>)> {
    let &[rows, classes] = prediction.shape() else {
        return Err(Error::Prediction(ShapeError::new("[batch, classes]", prediction.shape())));
    };
    if rows == 0 || classes == 0 {
        let cause = ShapeError::new("[batch, classes], each at least 1", prediction.shape());
        return Err(Error::Prediction(cause));
    }
    Ok((rows, classes, door::slice(prediction)))
}

/// One class for each row, each in range.
pub(crate) fn check_classes(rows: usize, classes: usize, target: &[usize]) -> Result<()> {
    if target.len() != rows {
        return Err(Error::Target(TargetError::Rows { needed: rows, got: target.len() }));
    }
    match target.iter().position(|&class| class >= classes) {
        None => Ok(()),
        Some(row) => Err(Error::Target(TargetError::Class { class: target[row], classes, row })),
    }
}

/// One weight for each class, none below 0.
fn check_weights(
    kind: &'static str,
    field: &'static str,
    weights: &[f64],
    classes: usize,
) -> Result<()> {
    let fail = |must_be, got| Err(Error::Setting { kind, field, must_be, got });
    if weights.len() != classes {
        let got = format!("{} weights for {classes} classes", weights.len());
        return fail("one for each class of the prediction", got);
    }
    match weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        Some(weight) => fail("at least 0", weight.to_string()),
        None => Ok(()),
    }
}

fn check_smoothing(kind: &'static str, smoothing: f64) -> Result<()> {
    if (0.0..=1.0).contains(&smoothing) {
        return Ok(());
    }
    let got = smoothing.to_string();
    Err(Error::Setting { kind, field: "label_smoothing", must_be: "from 0 to 1", got })
}

fn check_grad<F: Scalar>(prediction: &View<'_, F>, grad: &crate::ViewMut<'_, F>) -> Result<()> {
    if prediction.shape() == grad.shape() {
        return Ok(());
    }
    let needs =
        format!("a gradient of the prediction's shape {}", crate::Shape::from(prediction.shape()));
    Err(Error::Prediction(ShapeError::new(needs, grad.shape())))
}
