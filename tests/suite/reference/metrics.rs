//! Metrics, gathered in uneven batches.

use layerwise::metrics::{
    Accuracy, Average, ConfusionMatrix, LogLoss, MeanAbsoluteError, MeanSquaredError, R2, RocAuc,
    TopK,
};
use layerwise::ndarray::{ArrayD, Axis, Slice};
use layerwise::{Metric, Scalar};

use super::check::{Check, Done};

/// Samples of a batch: divides none of the cases evenly.
const BATCH: usize = 7;

fn parts(len: usize) -> impl Iterator<Item = Slice> {
    (0..len).step_by(BATCH).map(move |from| Slice::from(from..len.min(from + BATCH)))
}

/// The metric's value after all batches.
fn of_classes<F: Scalar>(
    metric: &mut impl Metric<F, Target = [usize]>,
    scores: &ArrayD<F>,
    target: &[usize],
) -> Result<f64, Box<dyn std::error::Error>> {
    for (part, target) in parts(target.len()).zip(target.chunks(BATCH)) {
        metric.update(scores.slice_axis(Axis(0), part), target)?;
    }
    Ok(metric.value())
}

pub(super) fn check_multiclass<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (classes, k) = (check.config().whole("classes")?, check.config().whole("k")?);
    let (scores, target) = (check.tensor("scores")?, check.classes("target")?);
    let accuracy = of_classes(&mut Accuracy::new(), &scores, &target)?;
    check.same_elements("accuracy", [accuracy])?;
    check.same_elements("top_k_accuracy", [of_classes(&mut TopK::new(k), &scores, &target)?])?;
    check.same_elements("log_loss", [of_classes(&mut LogLoss::new(), &scores, &target)?])?;

    let mut confusion = ConfusionMatrix::new(classes)?;
    check.same_elements("accuracy", [of_classes(&mut confusion, &scores, &target)?])?;
    check.same_elements("confusion", confusion.counts().iter().map(|&count| count as f64))?;
    check.same_elements("precision", confusion.classes().map(|class| class.precision))?;
    check.same_elements("recall", confusion.classes().map(|class| class.recall))?;
    check.same_elements("f1", confusion.classes().map(|class| class.f1))?;
    check.same_elements("support", confusion.classes().map(|class| class.support as f64))?;
    for (name, average) in
        [("macro", Average::Macro), ("micro", Average::Micro), ("weighted", Average::Weighted)]
    {
        check.same_elements(&format!("precision_{name}"), [confusion.precision(average)])?;
        check.same_elements(&format!("recall_{name}"), [confusion.recall(average)])?;
        check.same_elements(&format!("f1_{name}"), [confusion.f1(average)])?;
    }
    // One-hot predictions give the matrix that the scores gave.
    let predicted = check.classes("predicted")?;
    let one_hot = layerwise::preprocessing::OneHot::new(classes).apply::<F>(&predicted)?;
    let mut again = ConfusionMatrix::new(classes)?;
    of_classes(&mut again, &one_hot, &target)?;
    check.same_elements("confusion", again.counts().iter().map(|&count| count as f64))
}

pub(super) fn check_binary<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (scores, target) = (check.tensor("scores")?, check.classes("target")?);
    check.same_elements("roc_auc", [of_classes(&mut RocAuc::new(), &scores, &target)?])?;
    // The same from two logits, whose difference is the score.
    let zeros = ArrayD::zeros(scores.raw_dim()).insert_axis(Axis(1));
    let logits = layerwise::ndarray::concatenate(
        Axis(1),
        &[zeros.view(), scores.view().insert_axis(Axis(1))],
    )?;
    check.same_elements("roc_auc", [of_classes(&mut RocAuc::new(), &logits, &target)?])
}

pub(super) fn check_regression<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (target, predicted) = (check.tensor("target")?, check.tensor("predicted")?);
    let (mut mse, mut mae, mut r2) = (MeanSquaredError::new(), MeanAbsoluteError::new(), R2::new());
    for part in parts(target.len_of(Axis(0))) {
        let (predicted, target) =
            (predicted.slice_axis(Axis(0), part), target.slice_axis(Axis(0), part));
        mse.update(predicted.view(), &target)?;
        mae.update(predicted.view(), &target)?;
        r2.update(predicted.view(), &target)?;
    }
    check.same_elements("mse", [Metric::<F>::value(&mse)])?;
    check.same_elements("mae", [Metric::<F>::value(&mae)])?;
    check.same_elements("r2", [Metric::<F>::value(&r2)])
}
