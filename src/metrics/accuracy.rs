//! Shares of right answers.

use super::{Mean, Rows, rank};
use crate::{Error, Metric, Result, Scalar, View};

/// The share of samples whose highest score is that of the right class, from 0 to 1. Of equal scores the
/// first counts as the highest.
///
/// # Shape
/// prediction `[n, classes]`, target `n` class indices.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let mut accuracy = Accuracy::new();
/// accuracy.update(arr2(&[[0.1, 0.9], [2.0, -1.0]]).view().into_dyn(), &[1, 1])?;
/// accuracy.update(arr2(&[[0.3, 0.2], [5.0, 5.5]]).view().into_dyn(), &[0, 1])?;
/// assert_eq!(Metric::<f64>::value(&accuracy), 0.75);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Prediction`] unless the prediction is `[n, classes]`; [`Error::Target`] for a wrong number of
/// classes or one out of range; [`Error::Metric`] if a score is not a number.
#[derive(Debug, Default, Clone)]
pub struct Accuracy {
    share: Mean,
}

impl Accuracy {
    /// Over no samples yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<F: Scalar> Metric<F> for Accuracy {
    type Target = [usize];

    fn update(&mut self, prediction: View<'_, F>, target: &[usize]) -> Result<()> {
        add_hits(&mut self.share, &Rows::new("Accuracy", &prediction, target)?, 1);
        Ok(())
    }

    fn value(&self) -> f64 {
        self.share.value()
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

/// The share of samples whose right class is among the `k` highest scores, from 0 to 1. Of equal scores
/// the first counts as the highest.
///
/// # Shape
/// prediction `[n, classes]` with `k ≤ classes`, target `n` class indices.
///
/// # Examples
/// ```
/// use layerwise::metrics::TopK;
/// use layerwise::prelude::*;
///
/// let mut top_2 = TopK::new(2);
/// top_2.update(ndarray::arr2(&[[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]).view().into_dyn(), &[1, 2])?;
/// assert_eq!(Metric::<f64>::value(&top_2), 0.5);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`Accuracy`], and [`Error::Setting`] unless `1 ≤ k ≤ classes`.
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    share: Mean,
}

impl TopK {
    /// `k`: how many guesses count, from 1 to the number of classes; ImageNet's is 5.
    pub fn new(k: usize) -> Self {
        Self { k, share: Mean::default() }
    }
}

impl<F: Scalar> Metric<F> for TopK {
    type Target = [usize];

    fn update(&mut self, prediction: View<'_, F>, target: &[usize]) -> Result<()> {
        let rows = Rows::new("TopK", &prediction, target)?;
        if !(1..=rows.classes).contains(&self.k) {
            return Err(Error::Setting {
                kind: "TopK",
                field: "k",
                must_be: "from 1 to the number of classes",
                got: format!("{} for {} classes", self.k, rows.classes),
            });
        }
        add_hits(&mut self.share, &rows, self.k);
        Ok(())
    }

    fn value(&self) -> f64 {
        self.share.value()
    }

    fn reset(&mut self) {
        self.share = Mean::default();
    }
}

fn add_hits<F: Scalar>(share: &mut Mean, rows: &Rows<'_, F>, k: usize) {
    for (row, class) in rows.iter() {
        share.add(f64::from(rank(row, class) < k), 1);
    }
}
