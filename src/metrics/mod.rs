//! How good a model is: figures over a whole data set, gathered batch by batch.
//!
//! | metric | what it is | target |
//! |---|---|---|
//! | [`Accuracy`] | share of samples whose highest score is the right class's | classes |
//! | [`TopK`] | share of samples whose right class is among the `k` highest scores | classes |
//! | [`ConfusionMatrix`] | counts of (true, predicted); precision, recall, F1 per class and averaged | classes |
//! | [`LogLoss`] | mean of `−log softmax(logits)[class]` | classes |
//! | [`RocAuc`], [`AveragePrecision`] | how well the scores rank one class above the others | classes |
//! | [`MeanSquaredError`], [`MeanAbsoluteError`], [`R2`] | errors of values | values |
//! | [`MeanLoss`] | the mean of any [`crate::Loss`] | the loss's |
//!
//! All agree with scikit-learn's numbers, and all sums are in `f64`. The short way to the first of them is
//! [`accuracy`]; [`evaluate`] gathers several in one pass over the data.

mod accuracy;
mod confusion;
mod log_loss;
mod mean;
mod ranking;
mod regression;

pub use accuracy::{Accuracy, TopK};
pub use confusion::{Average, ClassScores, ConfusionMatrix};
pub use log_loss::{LogLoss, MeanLoss};
pub use ranking::{AveragePrecision, RocAuc};
pub use regression::{MeanAbsoluteError, MeanSquaredError, R2};

pub(crate) use mean::Mean;

use std::borrow::Cow;

use crate::data::{Dataset, Loader, Targets};
use crate::losses::{check_classes, scores};
use crate::{Error, Metric, Predictor, Result, Scalar, View};

/// The share of a data set's samples that the model classifies rightly, from 0 to 1, in eval mode.
///
/// # Examples
/// ```
/// use layerwise::metrics::accuracy;
/// use layerwise::prelude::*;
///
/// let x = ndarray::arr2(&[[1.0f32], [2.0], [-1.0], [-3.0]]).into_dyn();
/// let data = Dataset::new(x, vec![1, 1, 0, 1])?;
/// let mut model = Sequential::builder([1]).add(Linear::new(2)).build()?;
/// model.set_value("0.weight", ndarray::arr2(&[[-1.0], [1.0]]).view().into_dyn())?; // class 1 if x > 0
/// assert_eq!(accuracy(&model, &data)?, 0.75);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// What the model reports; [`Error::Target`] for a class that it has no output for; [`Error::Metric`] if
/// an output is not a number.
pub fn accuracy<F: Scalar>(model: &impl Predictor<F>, data: &Dataset<F>) -> Result<f64> {
    /// Samples at once: enough for the kernels, little for the memory.
    const BATCH: usize = 256;
    let mut accuracy = Accuracy::new();
    evaluate(model, &mut data.batches(BATCH)?, &mut [&mut accuracy])?;
    Ok(Metric::<F>::value(&accuracy))
}

/// Runs a model, or any other [`Predictor`], over a data set in eval mode, and every prediction through all `metrics`. They add to what
/// they hold: call [`Metric::reset`] to begin anew.
///
/// # Examples
/// ```
/// use layerwise::metrics::{Accuracy, ConfusionMatrix, MeanLoss, evaluate};
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::ones((6, 4)).into_dyn(), vec![0, 1, 2, 0, 1, 2])?;
/// let model = Sequential::builder([4]).add(Linear::new(3).weight_init(Zeros)).build()?;
/// let (mut accuracy, mut loss) = (Accuracy::new(), MeanLoss::new(CrossEntropy::new()));
/// evaluate(&model, &mut data.batches(4)?, &mut [&mut accuracy, &mut loss])?;
/// assert_eq!(Metric::<f32>::value(&accuracy), 1.0 / 3.0); // of equal scores the first counts
/// assert!((Metric::<f32>::value(&loss) - 3f64.ln()).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// What the model and the metrics report.
pub fn evaluate<F: Scalar, B: Loader<F>>(
    model: &impl Predictor<F>,
    batches: &mut B,
    metrics: &mut [&mut dyn Metric<F, Target = <B::Targets as Targets>::Target>],
) -> Result<()> {
    let mut room = Default::default();
    batches.restart();
    while let Some(batch) = batches.next_batch()? {
        let prediction = model.predict_in(batch.x, &mut room)?;
        for metric in metrics.iter_mut() {
            metric.update(prediction.view(), &batch.target)?;
        }
    }
    Ok(())
}

/// Scores of a batch of rows, with their classes.
struct Rows<'a, F: Scalar> {
    classes: usize,
    values: Cow<'a, [F]>,
    target: &'a [usize],
}

impl<'a, F: Scalar> Rows<'a, F> {
    /// Everything is checked here: shapes, classes, and that no score is NaN.
    fn new(metric: &'static str, prediction: &'a View<'_, F>, target: &'a [usize]) -> Result<Self> {
        let (rows, classes, values) = scores(prediction)?;
        check_classes(rows, classes, target)?;
        check_numbers(metric, classes, values.iter())?;
        Ok(Self { classes, values, target })
    }

    /// Each row with its class.
    fn iter(&self) -> impl Iterator<Item = (&[F], usize)> {
        self.values.chunks_exact(self.classes).zip(self.target.iter().copied())
    }
}

/// A metric of NaN would be a number without a meaning.
fn check_numbers<'a, F: Scalar>(
    metric: &'static str,
    width: usize,
    values: impl IntoIterator<Item = &'a F>,
) -> Result<()> {
    match values.into_iter().position(|value| value.is_nan()) {
        None => Ok(()),
        Some(at) => Err(Error::Metric {
            metric,
            message: format!(
                "the prediction of row {} is not a number; lower the learning rate, or check the data",
                at / width.max(1)
            ),
        }),
    }
}

/// How many classes have a higher score than `class`; of equal scores the first is the highest.
pub(crate) fn rank<F: Scalar>(row: &[F], class: usize) -> usize {
    let score = row[class];
    let (before, after) = row.split_at(class);
    before.iter().filter(|&&other| other >= score).count()
        + after.iter().filter(|&&other| other > score).count()
}
