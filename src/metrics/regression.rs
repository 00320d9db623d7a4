//! Errors of predicted values.

use ndarray::{ArrayRef, Axis, IxDyn};

use super::{Mean, check_numbers};
use crate::{Error, Metric, Result, Scalar, Shape, ShapeError, TargetError, View};

/// The mean of `(prediction − target)²` over all elements.
///
/// # Shape
/// prediction and target `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::metrics::MeanSquaredError;
/// use layerwise::prelude::*;
/// use ndarray::arr1;
///
/// let mut error = MeanSquaredError::new();
/// error.update(arr1(&[1.0f64, 2.0]).view().into_dyn(), &arr1(&[1.0, 4.0]).into_dyn())?;
/// assert_eq!(Metric::<f64>::value(&error), 2.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Target`] if the shapes differ, [`Error::Metric`] if a prediction is not a number.
#[doc(alias = "MSE")]
#[derive(Debug, Default, Clone)]
pub struct MeanSquaredError {
    mean: Mean,
}

/// The mean of `|prediction − target|` over all elements.
///
/// # Shape
/// prediction and target `[n, ..]`, alike.
///
/// # Examples
/// ```
/// use layerwise::metrics::MeanAbsoluteError;
/// use layerwise::prelude::*;
/// use ndarray::arr1;
///
/// let mut error = MeanAbsoluteError::new();
/// error.update(arr1(&[1.0f64, 2.0]).view().into_dyn(), &arr1(&[1.0, 4.0]).into_dyn())?;
/// assert_eq!(Metric::<f64>::value(&error), 1.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`MeanSquaredError`].
#[doc(alias = "MAE")]
#[derive(Debug, Default, Clone)]
pub struct MeanAbsoluteError {
    mean: Mean,
}

/// `new` and `Metric` of the mean of an element's error.
macro_rules! mean_error {
    ($name:ident, $error:expr) => {
        impl $name {
            /// Over no samples yet.
            pub fn new() -> Self {
                Self::default()
            }
        }

        impl<F: Scalar> Metric<F> for $name {
            type Target = ArrayRef<F, IxDyn>;

            fn update(
                &mut self,
                prediction: View<'_, F>,
                target: &ArrayRef<F, IxDyn>,
            ) -> Result<()> {
                check(stringify!($name), &prediction, target)?;
                let error: fn(f64) -> f64 = $error;
                for (p, t) in prediction.iter().zip(target.iter()) {
                    self.mean.add(error(p.widen() - t.widen()), 1);
                }
                Ok(())
            }

            fn value(&self) -> f64 {
                self.mean.value()
            }

            fn reset(&mut self) {
                *self = Self::new();
            }
        }
    };
}
mean_error!(MeanSquaredError, |difference| difference * difference);
mean_error!(MeanAbsoluteError, f64::abs);

/// The share of the target's variance that the prediction explains: `1 − Σ (t − p)² / Σ (t − mean t)²`, for
/// each column, averaged over columns.
///
/// 1 is perfect, 0 is no better than the mean, and it has no lower bound. A column whose target is constant
/// counts 1 if it is met exactly and else 0, as in scikit-learn. NaN for fewer than two samples.
///
/// # Shape
/// prediction and target `[n, ..]`, alike, and of the same columns in every batch.
///
/// # Examples
/// ```
/// use layerwise::metrics::R2;
/// use layerwise::prelude::*;
/// use ndarray::arr1;
///
/// let mut r2 = R2::new();
/// r2.update(arr1(&[1.0f64, 2.0, 3.0]).view().into_dyn(), &arr1(&[1.0, 2.0, 6.0]).into_dyn())?;
/// assert!((Metric::<f64>::value(&r2) - (1.0 - 9.0 / 14.0)).abs() < 1e-15);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`MeanSquaredError`]; [`Error::Prediction`] if the columns differ from those of the batch before.
#[derive(Debug, Default, Clone)]
pub struct R2 {
    samples: usize,
    columns: Vec<Column>,
}

/// Running figures of one column: Welford's mean and sum of squared deviations.
#[derive(Debug, Default, Clone, Copy)]
struct Column {
    mean: f64,
    deviations: f64,
    errors: f64,
}

impl R2 {
    /// Over no samples yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<F: Scalar> Metric<F> for R2 {
    type Target = ArrayRef<F, IxDyn>;

    fn update(&mut self, prediction: View<'_, F>, target: &ArrayRef<F, IxDyn>) -> Result<()> {
        check("R2", &prediction, target)?;
        let width = prediction.len() / prediction.shape()[0];
        if self.samples == 0 {
            self.columns = vec![Column::default(); width];
        } else if self.columns.len() != width {
            let needs = format!("{} columns as in the batch before", self.columns.len());
            return Err(Error::Prediction(ShapeError::new(needs, prediction.shape())));
        }
        let rows = prediction.axis_iter(Axis(0)).zip(target.axis_iter(Axis(0)));
        for (prediction, target) in rows {
            self.samples += 1;
            let pairs = prediction.into_iter().zip(target);
            for (column, (p, t)) in self.columns.iter_mut().zip(pairs) {
                column.add(p.widen(), t.widen(), self.samples);
            }
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        if self.samples < 2 {
            return f64::NAN;
        }
        let total: f64 = self.columns.iter().map(Column::value).sum();
        total / self.columns.len() as f64
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Column {
    /// Takes in sample number `count`, from 1.
    fn add(&mut self, prediction: f64, target: f64, count: usize) {
        let before = target - self.mean;
        self.mean += before / count as f64;
        self.deviations += before * (target - self.mean);
        self.errors += (target - prediction) * (target - prediction);
    }

    fn value(&self) -> f64 {
        match (self.errors == 0.0, self.deviations == 0.0) {
            (true, _) => 1.0,
            (false, true) => 0.0,
            (false, false) => 1.0 - self.errors / self.deviations,
        }
    }
}

fn check<F: Scalar>(
    metric: &'static str,
    prediction: &View<'_, F>,
    target: &ArrayRef<F, IxDyn>,
) -> Result<()> {
    if prediction.ndim() == 0 || prediction.is_empty() {
        let cause = ShapeError::new("[batch, ..] with at least one element", prediction.shape());
        return Err(Error::Prediction(cause));
    }
    if prediction.shape() != target.shape() {
        let needs = format!("the prediction's shape {}", Shape::from(prediction.shape()));
        return Err(Error::Target(TargetError::Shape(ShapeError::new(needs, target.shape()))));
    }
    let width = prediction.len() / prediction.shape()[0];
    check_numbers(metric, width, prediction)
}
