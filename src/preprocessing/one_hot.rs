//! Class indices as rows of 0 and 1.

use ndarray::ArrayD;

use crate::losses::{check_classes, scores};
use crate::metrics::rank;
use crate::workspace::grown;
use crate::{Error, IntoView, Result, Scalar, ShapeError};

/// Class indices to rows `[n, classes]`: 1 in the column of the class, 0 elsewhere.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::OneHot;
///
/// let one_hot = OneHot::new(3);
/// let rows = one_hot.apply::<f32>(&[2, 0])?;
/// assert_eq!(rows, ndarray::arr2(&[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).into_dyn());
/// assert_eq!(one_hot.inverse(&rows)?, [2, 0]);
/// assert_eq!(OneHot::fit(&[4, 1]), OneHot::new(5));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OneHot {
    classes: usize,
}

impl OneHot {
    /// `classes`: how many there are.
    pub fn new(classes: usize) -> Self {
        Self { classes }
    }

    /// As many classes as the largest index asks for.
    pub fn fit(targets: &[usize]) -> Self {
        Self { classes: targets.iter().max().map_or(0, |class| class.saturating_add(1)) }
    }

    /// The rows.
    ///
    /// # Errors
    /// [`Error::Target`] for a class out of range; [`Error::Memory`] if there is not so much memory.
    pub fn apply<F: Scalar>(&self, targets: &[usize]) -> Result<ArrayD<F>> {
        check_classes(targets.len(), self.classes, targets)?;
        let mut rows = Vec::new();
        grown(&mut rows, targets.len(), self.classes)?;
        for (row, &class) in targets.iter().enumerate() {
            rows[row * self.classes + class] = F::one();
        }
        let shape = vec![targets.len(), self.classes];
        Ok(ArrayD::from_shape_vec(shape, rows).expect("made for this shape"))
    }

    /// The class with the largest value of each row, the first of several: also for soft labels.
    ///
    /// # Errors
    /// [`Error::Prediction`] unless the rows are `[n, classes]`.
    pub fn inverse<'a, F: Scalar>(&self, rows: impl IntoView<'a, F>) -> Result<Vec<usize>> {
        let rows = rows.into_view();
        let (_, classes, values) = scores(&rows)?;
        if classes != self.classes {
            let needs = format!("[batch, {}]", self.classes);
            return Err(Error::Prediction(ShapeError::new(needs, rows.shape())));
        }
        let top = |row: &[F]| (0..classes).find(|&class| rank(row, class) == 0).unwrap_or(0);
        Ok(values.chunks_exact(classes).map(top).collect())
    }
}
