//! Schedules, transforms and optimizer states as serde's data.

use std::fmt::Debug;

use layerwise::optimizers::OptimizerState;
use layerwise::prelude::*;
use layerwise::preprocessing::{
    ChannelStandardize, MinMax, OneHot, Pca, Per, Preprocessor, Projection, Scaling, Transform, Zca,
};
use layerwise::schedules::{Constant, CyclicMode, Threshold};
use serde::{Serialize, de::DeserializeOwned};

use crate::support::normal;

fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("plain data");
    serde_json::from_str(&text).expect("what was written is read")
}

fn comes_back<S: Schedule + Serialize + DeserializeOwned + PartialEq>(schedule: S) {
    let read = again(&schedule);
    assert_eq!(read, schedule);
    for step in (0..200).chain([u64::MAX]) {
        assert_eq!(read.factor(step).to_bits(), schedule.factor(step).to_bits(), "{schedule:?}");
    }
}

#[test]
fn schedules_come_back_and_give_the_same_factors() {
    comes_back(Constant);
    comes_back(StepDecay { every: 7, gamma: 0.3 });
    comes_back(MultiStep { milestones: vec![3, 50], gamma: 0.1 });
    comes_back(ExponentialDecay { gamma: 0.97 });
    comes_back(InverseTime { k: 0.01 });
    comes_back(Polynomial { steps: 90, power: 2.5 });
    comes_back(LinearWarmup::new(10).start(0.1));
    comes_back(Cosine::new(90).min(0.01));
    comes_back(WarmRestarts::new(10).mult(2).min(0.1));
    comes_back(SnapshotCycles::new(100, 7));
    comes_back(Cyclic::new(9).down(4).mode(CyclicMode::ExpRange(0.99)));
    comes_back(OneCycle::new(100).three_phase(true).pct_start(0.3));
    comes_back(OneCycle::new(100).momentum(0.85, 0.95));
    comes_back(LinearWarmup::new(5).then(Constant.until(10)).then(Cosine::new(90).scaled(0.3)));
}

#[test]
fn a_schedule_that_was_read_is_checked_like_any() {
    let read: Cosine = serde_json::from_str(r#"{"steps":0,"min":0.0}"#).expect("it has its fields");
    let error = read.check().expect_err("no steps");
    assert_eq!(error.to_string(), "Cosine: steps must be at least 1, got 0");
}

#[test]
fn a_plateau_goes_on_where_it_was_saved() {
    let metrics = [1.0, 0.9, 0.9, 0.95, 0.9, 0.91, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8];
    let start = ReduceOnPlateau::new().patience(1).cooldown(2).threshold(Threshold::Absolute(0.01));
    for cut in 0..metrics.len() {
        let run = |save: bool| {
            let (mut plateau, mut lr) = (start, 1.0);
            for (at, &metric) in metrics.iter().enumerate() {
                if save && at == cut {
                    plateau = again(&plateau);
                }
                lr = plateau.report(metric, lr).expect("good settings");
            }
            (plateau, lr.to_bits())
        };
        assert_eq!(run(true), run(false), "saved before report {cut}");
    }
    assert!(
        f64::from_bits({
            let (mut plateau, mut lr) = (start, 1.0);
            metrics
                .iter()
                .for_each(|&metric| lr = plateau.report(metric, lr).expect("good settings"));
            lr.to_bits()
        }) < 0.02,
        "it did reduce, twice"
    );
}

fn does_the_same<T>(fitted: &T, x: &ArrayD<f32>)
where
    T: Transform<f32> + Serialize + DeserializeOwned + Debug,
{
    let read = again(fitted);
    assert_eq!(read.apply(x).expect("it fits"), fitted.apply(x).expect("it fits"));
    let y = fitted.apply(x).expect("it fits");
    assert_eq!(read.inverse(&y).expect("it fits"), fitted.inverse(&y).expect("it fits"));
    assert_eq!(read.input_shape(), fitted.input_shape());
    assert_eq!(read.output_shape(), fitted.output_shape());
}

#[test]
fn fitted_transforms_come_back_and_do_the_same() {
    let x = normal(&[40, 2, 3, 3], 1);
    does_the_same(&ChannelStandardize.fit(&x).expect("good data"), &x);
    does_the_same(&MinMax::new(-1.0, 2.0).fit(&x).expect("good data"), &x);
    does_the_same(&Pca::new().components(5).whiten(true).fit(&x).expect("good data"), &x);
    does_the_same(&Zca::new().fit(&x).expect("good data"), &x);
    let scaling = Scaling::<f32>::identity([4, 1, 1], Per::Channel).expect("it has channels");
    does_the_same(&scaling, &normal(&[2, 4, 1, 1], 2));
    assert_eq!(again(&OneHot::new(7)), OneHot::new(7));
    assert_eq!(again(&Pca::new().components(3)), Pca::new().components(3));
}

#[test]
fn what_cannot_be_a_fitted_transform_is_refused() {
    let scaling = |text: &str| {
        let error = serde_json::from_str::<Scaling>(text).expect_err("it is wrong");
        error.to_string()
    };
    assert_eq!(
        scaling(r#"{"shape":[2,2],"shift":[1.0],"scale":[1.0]}"#),
        "preprocessing: samples [2, 2] need 2 shifts and scales, got 1 and 1"
    );
    assert_eq!(
        scaling(r#"{"shape":[2],"shift":[1.0,0.0],"scale":[1.0,0.0]}"#),
        "preprocessing: shift 1 must be finite and scale 1 finite and not 0, got 0 and 0"
    );
    assert_eq!(
        scaling(r#"{"shape":[0],"shift":[],"scale":[]}"#),
        "preprocessing: samples need at least one element, got [0]"
    );
    let projection = |input: &str, output: &str, weight: &str| {
        let text = format!(
            r#"{{"input":{input},"output":{output},"mean":[0.0,0.0],"weight":{weight},"inverse":[1.0,1.0],"eigenvalues":[1.0,1.0]}}"#
        );
        // By way of a value, which knows `f64` only: 1e300 is infinite as `f32`.
        let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        serde_json::from_value::<Projection>(value).map_err(|error| error.to_string())
    };
    assert!(projection("[2]", "[1]", "[1.0,1.0]").is_ok());
    let refused =
        |input, output, weight| projection(input, output, weight).expect_err("it is wrong");
    assert_eq!(
        refused("[2]", "[1]", "[1.0]"),
        "preprocessing: weight of [2] to [1] needs 2 numbers, got 1"
    );
    assert_eq!(
        refused("[2]", "[0]", "[]"),
        "preprocessing: a projection needs elements, got [2] to [0]"
    );
    assert_eq!(
        refused("[4294967296,4294967296]", "[1]", "[1.0,1.0]"),
        "preprocessing: mean of [4294967296, 4294967296] to [1] needs 18446744073709551615 numbers, got 2"
    );
    assert_eq!(
        refused("[2]", "[1]", "[1.0,1e300]"),
        "preprocessing: weight must be finite, got inf at 1"
    );
}

#[test]
fn an_optimizer_s_state_comes_back() {
    let mut model = Sequential::builder([3]).add(Linear::new(2)).seed(1).build().expect("it fits");
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
    trainer.step(&mut model, &normal(&[4, 3], 1), &[0, 1, 0, 1]).expect("it fits");
    let state = trainer.optimizer().state(&model);
    let text = serde_json::to_string(&state).expect("plain data");
    let read: OptimizerState<'static> =
        serde_json::from_str(&text).expect("what was written is read");
    assert_eq!(read, state);
    let mut resumed = ModelOptimizer::new(Adam::new(), 1.0);
    resumed.set_state(&model, read).expect("it is the same model");
    assert_eq!(resumed.state(&model), state);
}
