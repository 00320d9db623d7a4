//! What is minimised.

mod cross_entropy;
mod hinge;
mod mse;

pub use cross_entropy::CrossEntropy;
pub use hinge::MulticlassHinge;
pub use mse::Mse;

use std::borrow::Cow;

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
    let values = match prediction.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(prediction.iter().copied().collect()),
    };
    Ok((rows, classes, values))
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

fn check_grad<F: Scalar>(prediction: &View<'_, F>, grad: &crate::ViewMut<'_, F>) -> Result<()> {
    if prediction.shape() == grad.shape() {
        return Ok(());
    }
    let needs =
        format!("a gradient of the prediction's shape {}", crate::Shape::from(prediction.shape()));
    Err(Error::Prediction(ShapeError::new(needs, grad.shape())))
}

/// Writes a gradient, given in row-major order, into a view of any layout.
fn write_grad<F: Scalar>(grad: &mut crate::ViewMut<'_, F>, write: impl FnOnce(&mut [F])) {
    if let Some(slice) = grad.as_slice_mut() {
        return write(slice);
    }
    let mut copy = vec![F::zero(); grad.len()];
    write(&mut copy);
    for (to, from) in grad.iter_mut().zip(copy) {
        *to = from;
    }
}
