//! Counts of (true, predicted) and what follows from them.

use ndarray::{Array2, ArrayView2};

use super::{Rows, rank};
use crate::{Error, Metric, Result, Scalar, ShapeError, View};

/// How often each class was taken for each other; precision, recall and F1 follow from it.
///
/// As a [`Metric`] its value is the accuracy. A quotient whose denominator is 0 counts as 0, as with
/// scikit-learn's `zero_division=0`.
///
/// # Shape
/// prediction `[n, classes]`, target `n` class indices.
///
/// # Examples
/// ```
/// use layerwise::metrics::{Average, ConfusionMatrix};
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let mut confusion = ConfusionMatrix::new(2)?;
/// let scores = arr2(&[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]);
/// confusion.update(scores.view().into_dyn(), &[0, 1, 1, 1])?;
/// assert_eq!(confusion.counts(), arr2(&[[1, 0], [1, 2]]));
/// assert_eq!(confusion.class(1).unwrap().recall, 2.0 / 3.0);
/// assert_eq!(confusion.precision(Average::Macro), 0.75);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`super::Accuracy`], and [`Error::Prediction`] unless the prediction has as many columns as there
/// are classes.
#[derive(Debug, Clone)]
pub struct ConfusionMatrix {
    /// `[true][predicted]`
    counts: Array2<usize>,
}

/// How the classes' figures become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Average {
    /// The mean over classes, each counting the same.
    Macro,
    /// From the sums over classes. With one class for each sample all of precision, recall and F1 are then
    /// the accuracy.
    Micro,
    /// The mean over classes, each counting as often as it occurs.
    Weighted,
}

/// The figures of one class.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ClassScores {
    /// Of the samples taken for this class, the share that is of it.
    pub precision: f64,
    /// Of the samples of this class, the share that was taken for it.
    pub recall: f64,
    /// The harmonic mean of both: `2 · hits / (of the class + taken for it)`.
    pub f1: f64,
    /// Samples of this class.
    pub support: usize,
}

impl ConfusionMatrix {
    /// `classes`: how many there are, from 1 to 65,536.
    ///
    /// # Errors
    /// [`Error::Setting`] for none, or so many that their matrix would not fit memory.
    pub fn new(classes: usize) -> Result<Self> {
        const MOST: usize = 1 << 16;
        if !(1..=MOST).contains(&classes) {
            return Err(Error::Setting {
                kind: "ConfusionMatrix",
                field: "classes",
                must_be: "from 1 to 65536",
                got: classes.to_string(),
            });
        }
        Ok(Self { counts: Array2::zeros((classes, classes)) })
    }

    /// Counts by `[true class, predicted class]`.
    pub fn counts(&self) -> ArrayView2<'_, usize> {
        self.counts.view()
    }

    /// Samples counted.
    pub fn samples(&self) -> usize {
        self.counts.sum()
    }

    /// The share of samples that were classified rightly; NaN if there was none.
    pub fn accuracy(&self) -> f64 {
        self.counts.diag().sum() as f64 / self.samples() as f64
    }

    /// The figures of one class, if there are so many.
    pub fn class(&self, class: usize) -> Option<ClassScores> {
        let hits = *self.counts.get((class, class))?;
        let (support, taken) = (self.counts.row(class).sum(), self.counts.column(class).sum());
        Some(ClassScores {
            precision: share(hits, taken),
            recall: share(hits, support),
            f1: share(2 * hits, support + taken),
            support,
        })
    }

    /// The figures of every class.
    pub fn classes(&self) -> impl Iterator<Item = ClassScores> {
        (0..self.counts.nrows()).filter_map(|class| self.class(class))
    }

    /// Of what was taken for a class, the share that is of it.
    pub fn precision(&self, average: Average) -> f64 {
        self.average(average, |class| class.precision)
    }

    /// Of what is of a class, the share that was taken for it.
    pub fn recall(&self, average: Average) -> f64 {
        self.average(average, |class| class.recall)
    }

    /// The harmonic mean of precision and recall, taken class by class before averaging.
    pub fn f1(&self, average: Average) -> f64 {
        self.average(average, |class| class.f1)
    }

    fn average(&self, average: Average, figure: impl Fn(ClassScores) -> f64) -> f64 {
        let weight = |class: &ClassScores| match average {
            Average::Weighted => class.support as f64,
            _ => 1.0,
        };
        if average == Average::Micro {
            return self.accuracy();
        }
        let total: f64 = self.classes().map(|class| weight(&class)).sum();
        self.classes().map(|class| weight(&class) * figure(class)).sum::<f64>() / total
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl<F: Scalar> Metric<F> for ConfusionMatrix {
    type Target = [usize];

    fn update(&mut self, prediction: View<'_, F>, target: &[usize]) -> Result<()> {
        let rows = Rows::new("ConfusionMatrix", &prediction, target)?;
        let classes = self.counts.nrows();
        if rows.classes != classes {
            let needs = format!("[batch, classes] with the {classes} classes of the matrix");
            return Err(Error::Prediction(ShapeError::new(needs, prediction.shape())));
        }
        for (row, class) in rows.iter() {
            let predicted = (0..classes).find(|&class| rank(row, class) == 0);
            self.counts[(class, predicted.expect("without NaN one class ranks first"))] += 1;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.accuracy()
    }

    fn reset(&mut self) {
        self.counts.fill(0);
    }
}
