//! Metrics: what they say at the edges, and in what batches they get the data does not matter.

use layerwise::metrics::{
    AveragePrecision, ConfusionMatrix, LogLoss, MeanAbsoluteError, MeanLoss, MeanSquaredError, R2,
    RocAuc, TopK, evaluate,
};
use layerwise::ndarray::{Array1, arr1, arr2};
use layerwise::prelude::*;

use crate::support::{labels, normal, text};

#[test]
fn ranking_metrics_match_scikit_learn_with_ties() {
    // 24 scores with ties; average_precision_score and roc_auc_score of scikit-learn 1.9.1.
    let scores = Array1::from_shape_fn(24, |i| (i * 37 % 17) as f64 / 8.0).into_dyn();
    let target: Vec<usize> = (0..24).map(|i| usize::from(i * 7 % 5 < 2)).collect();
    let (mut precision, mut auc) = (AveragePrecision::new(), RocAuc::new());
    precision.update(scores.view(), &target).expect("it fits");
    auc.update(scores.view(), &target).expect("it fits");
    assert!((Metric::<f64>::value(&precision) - 0.41632729112992267).abs() < 1e-15);
    assert!((Metric::<f64>::value(&auc) - 0.4714285714285715).abs() < 1e-15);
}

#[test]
fn one_class_against_the_rest_matches_scikit_learn_on_softmax() {
    let logits = Array2::from_shape_fn((24, 3), |(i, j)| (i * (j + 1) * 5 % 7) as f64 - 3.0);
    let target: Vec<usize> = (0..24).map(|i| i * 5 % 3).collect();
    let mut auc = RocAuc::new().positive(2);
    let mut precision = AveragePrecision::new().positive(2);
    auc.update(logits.view().into_dyn(), &target).expect("it fits");
    precision.update(logits.view().into_dyn(), &target).expect("it fits");
    assert!((Metric::<f64>::value(&auc) - 0.4609375).abs() < 1e-15);
    assert!((Metric::<f64>::value(&precision) - 0.3233573717948718).abs() < 1e-15);
}

#[test]
fn r2_of_a_constant_target_is_one_or_zero() {
    let value = |target: &[[f64; 2]; 2], prediction: &[[f64; 2]; 2]| {
        let mut r2 = R2::new();
        r2.update(arr2(prediction).view().into_dyn(), &arr2(target).into_dyn()).expect("it fits");
        Metric::<f64>::value(&r2)
    };
    assert_eq!(value(&[[1.0, 5.0], [1.0, 6.0]], &[[1.0, 5.0], [2.0, 6.0]]), 0.5);
    assert_eq!(value(&[[1.0, 1.0], [1.0, 1.0]], &[[1.0, 1.0], [1.0, 1.0]]), 1.0);
}

#[test]
fn without_samples_every_metric_is_nan_and_reset_forgets() {
    fn check(metric: &mut dyn Metric<f64, Target = [usize]>) {
        assert!(metric.value().is_nan(), "{metric:?}");
        let scores = normal::<f64>(&[20, 2], 1);
        metric.update(scores.view(), &labels(20, 2, 2)).expect("it fits");
        assert!(metric.value().is_finite(), "{metric:?}");
        metric.reset();
        assert!(metric.value().is_nan(), "{metric:?}");
    }
    check(&mut Accuracy::new());
    check(&mut TopK::new(1));
    check(&mut LogLoss::new());
    check(&mut MeanLoss::new(CrossEntropy::new()));
    check(&mut ConfusionMatrix::new(2).expect("not 0"));
    check(&mut RocAuc::new());
    check(&mut AveragePrecision::new());
    let (mut mse, mut mae, mut r2) = (MeanSquaredError::new(), MeanAbsoluteError::new(), R2::new());
    let metrics: [&mut dyn Metric<f64, Target = _>; 3] = [&mut mse, &mut mae, &mut r2];
    for metric in metrics {
        assert!(metric.value().is_nan(), "{metric:?}");
        metric.update(normal(&[5, 2], 1).view(), &normal(&[5, 2], 2)).expect("it fits");
        assert!(metric.value().is_finite(), "{metric:?}");
        metric.reset();
        assert!(metric.value().is_nan(), "{metric:?}");
    }
}

#[test]
fn an_evaluation_does_not_depend_on_the_batch_size() {
    let data = Dataset::new(normal::<f32>(&[50, 6], 1), labels(50, 4, 2)).expect("50 each");
    let model = Sequential::builder([6]).add(Linear::new(4)).seed(3).build().expect("it fits");
    let at = |batch: usize| {
        let (mut top, mut auc, mut loss) =
            (TopK::new(2), RocAuc::new().positive(3), LogLoss::new());
        let metrics: &mut [&mut dyn Metric<f32, Target = [usize]>] =
            &mut [&mut top, &mut auc, &mut loss];
        evaluate(&model, &mut data.batches(batch).expect("not 0"), metrics).expect("it fits");
        metrics.iter().map(|metric| metric.value()).collect::<Vec<_>>()
    };
    let whole = at(50);
    for batch in [1, 7, 49] {
        for (a, b) in at(batch).iter().zip(&whole) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
    assert_eq!(
        accuracy(&model, &data).expect("it fits"),
        accuracy(&model, &data.select(&(0..50).rev().collect::<Vec<_>>()).expect("in range"))
            .expect("it fits")
    );
}

#[test]
fn metrics_say_what_does_not_fit_and_stay_as_they_were() {
    let scores = arr2(&[[1.0, 2.0], [f64::NAN, 0.0]]).into_dyn();
    let mut accuracy = Accuracy::new();
    assert_eq!(
        text(accuracy.update(scores.view(), &[0, 1])),
        "Accuracy: the prediction of row 1 is not a number; lower the learning rate, or check the data"
    );
    assert!(Metric::<f64>::value(&accuracy).is_nan());
    let good = arr2(&[[1.0, 2.0]]).into_dyn();
    assert_eq!(
        text(accuracy.update(good.view(), &[2])),
        "target: class 2 at row 0 is out of range: the prediction has 2 classes (0 to 1)"
    );
    assert_eq!(
        text(TopK::new(3).update(good.view(), &[0])),
        "TopK: k must be from 1 to the number of classes, got 3 for 2 classes"
    );
    assert_eq!(
        text(ConfusionMatrix::new(3).and_then(|mut matrix| matrix.update(good.view(), &[0]))),
        "prediction: needs [batch, classes] with the 3 classes of the matrix, got [1, 2]"
    );
    assert_eq!(
        text(RocAuc::new().positive(2).update(good.view(), &[0])),
        "RocAuc: positive must be a class of the prediction, got 2 of 2 classes"
    );
    assert_eq!(
        text(ConfusionMatrix::new(usize::MAX)),
        "ConfusionMatrix: classes must be from 1 to 65536, got 18446744073709551615"
    );
    let mut r2 = R2::new();
    r2.update(good.view(), &good).expect("it fits");
    let wide = arr2(&[[1.0, 2.0, 3.0]]).into_dyn();
    assert_eq!(
        text(r2.update(wide.view(), &wide)),
        "prediction: needs 2 columns as in the batch before, got [1, 3]"
    );
    assert_eq!(
        text(MeanSquaredError::new().update(arr1(&[1.0]).view().into_dyn(), &good)),
        "target: needs the prediction's shape [1], got [1, 2]"
    );
}
