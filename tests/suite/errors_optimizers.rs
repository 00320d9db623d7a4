//! The texts for settings of optimizers, schedules and methods that are out of range.

use layerwise::prelude::*;
use layerwise::schedules::{Constant, CyclicMode, Threshold};

use crate::support::{normal, state, text};

/// The error of a step, before which nothing changed.
fn refused(mut optimizer: ModelOptimizer) -> String {
    let mut model = Sequential::builder([2]).add(Linear::new(1)).build().expect("it fits");
    let y = model.forward(&normal(&[3, 2], 0)).expect("it fits").to_owned();
    model.backward(&y).expect("there was a forward");
    let before = state(&model);
    let error = text(optimizer.step(&mut model));
    assert_eq!((state(&model), optimizer.steps()), (before, 0));
    assert!(model.param("0.weight").expect("it exists").grad().is_some(), "gradients stay");
    error
}

fn rule(rule: impl Optimizer + 'static) -> String {
    refused(ModelOptimizer::new(rule, 0.1))
}

fn schedule(schedule: impl Schedule + 'static) -> String {
    refused(ModelOptimizer::new(Sgd::new(), 0.1).schedule(schedule))
}

fn assert_all(cases: &[(String, &str)]) {
    for (got, want) in cases {
        assert_eq!(got, want);
    }
}

#[test]
fn rules_refuse_settings_out_of_range() {
    assert_all(&[
        (rule(Sgd::new().momentum(-0.1)), "Sgd: momentum must be at least 0 and below 1, got -0.1"),
        (rule(Sgd::new().dampening(2.0)), "Sgd: dampening must be 0 ≤ dampening ≤ 1, got 2"),
        (
            rule(Sgd::new().momentum(0.9).dampening(0.5).nesterov(true)),
            "Sgd: dampening must be 0 with nesterov, got 0.5",
        ),
        (rule(AdaGrad::new().lr_decay(-1.0)), "AdaGrad: lr_decay must be at least 0, got -1"),
        (rule(AdaGrad::new().initial(f64::NAN)), "AdaGrad: initial must be at least 0, got NaN"),
        (rule(AdaGrad::new().eps(0.0)), "AdaGrad: eps must be above 0, got 0"),
        (rule(AdaDelta::new().rho(1.0)), "AdaDelta: rho must be at least 0 and below 1, got 1"),
        (rule(AdaDelta::new().eps(-1.0)), "AdaDelta: eps must be above 0, got -1"),
        (rule(RmsProp::new().alpha(1.0)), "RmsProp: alpha must be at least 0 and below 1, got 1"),
        (
            rule(RmsProp::new().momentum(1.5)),
            "RmsProp: momentum must be at least 0 and below 1, got 1.5",
        ),
        (rule(RmsProp::new().eps(f64::INFINITY)), "RmsProp: eps must be above 0, got inf"),
        (rule(Adam::new().betas(1.0, 0.9)), "Adam: beta1 must be at least 0 and below 1, got 1"),
        (
            rule(AdamW::new().weight_decay(-0.1)),
            "ModelOptimizer: weight_decay must be at least 0, got -0.1",
        ),
        (rule(NAdam::new().betas(0.9, 1.0)), "NAdam: beta2 must be at least 0 and below 1, got 1"),
        (rule(NAdam::new().eps(0.0)), "NAdam: eps must be above 0, got 0"),
        (
            rule(NAdam::new().momentum_decay(-1.0)),
            "NAdam: momentum_decay must be at least 0, got -1",
        ),
        (
            rule(RAdam::new().betas(0.9, -0.5)),
            "RAdam: beta2 must be at least 0 and below 1, got -0.5",
        ),
        (rule(RAdam::new().eps(0.0)), "RAdam: eps must be above 0, got 0"),
        (
            rule(Adamax::new().betas(2.0, 0.9)),
            "Adamax: beta1 must be at least 0 and below 1, got 2",
        ),
        (rule(Adamax::new().eps(0.0)), "Adamax: eps must be above 0, got 0"),
        (
            rule(Lion::new().betas(0.9, f64::NAN)),
            "Lion: beta2 must be at least 0 and below 1, got NaN",
        ),
    ]);
}

#[test]
fn the_driver_refuses_settings_out_of_range() {
    let plain = |lr: f64| ModelOptimizer::new(Sgd::new(), lr);
    let momentum = |factor: f64| {
        ModelOptimizer::new(Adam::new(), 0.1).momentum_schedule(Constant.scaled(factor))
    };
    assert_all(&[
        (refused(plain(-0.1)), "ModelOptimizer: lr must be at least 0, got -0.1"),
        (refused(plain(f64::INFINITY)), "ModelOptimizer: lr must be at least 0, got inf"),
        (refused(plain(0.1).accumulate(0)), "ModelOptimizer: accumulate must be at least 1, got 0"),
        (
            refused(plain(0.1).clip(Clip::Value(-1.0))),
            "ModelOptimizer: clip must be above 0, got -1",
        ),
        (
            refused(plain(0.1).momentum_schedule(Constant)),
            "ModelOptimizer: momentum_schedule must be left out where a rule has no momentum, \
             got Sgd { momentum: 0.0, dampening: 0.0, nesterov: false }",
        ),
        (
            refused(momentum(1.0)),
            "ModelOptimizer: scheduled momentum must be at least 0 and below 1, got 1",
        ),
        (
            refused(
                plain(0.1)
                    .group(Group::new(1), GroupOptions::new().rule(Lion::new().betas(2.0, 0.9))),
            ),
            "Lion: beta1 must be at least 0 and below 1, got 2",
        ),
    ]);
    #[derive(Debug)]
    struct Hoarder;
    impl Optimizer for Hoarder {
        fn state_names(&self) -> &'static [&'static str] {
            &["a"; 9]
        }
        fn update(&self, _: &StepInfo, _: &mut [f32], _: &[f32], _: &mut [&mut [f32]]) {}
    }
    assert_eq!(rule(Hoarder), "Optimizer: state_names must be at most 8 names, got 9");
    #[derive(Debug)]
    struct Wild;
    impl Schedule for Wild {
        fn factor(&self, _step: u64) -> f64 {
            f64::NAN
        }
    }
    assert_eq!(schedule(Wild), "ModelOptimizer: learning rate must be at least 0, got NaN");
}

#[test]
fn schedules_refuse_settings_out_of_range() {
    let milestones =
        |milestones: &[u64]| schedule(MultiStep { milestones: milestones.to_vec(), gamma: 0.1 });
    assert_all(&[
        (
            schedule(StepDecay { every: 0, gamma: 0.5 }),
            "StepDecay: every must be at least 1, got 0",
        ),
        (schedule(StepDecay { every: 1, gamma: 0.0 }), "StepDecay: gamma must be above 0, got 0"),
        (milestones(&[]), "MultiStep: milestones must be at least one step, got none"),
        (milestones(&[5, 3]), "MultiStep: milestones must be in rising order, got [5, 3]"),
        (milestones(&[5, 5]), "MultiStep: milestones must be in rising order, got [5, 5]"),
        (
            schedule(MultiStep { milestones: vec![1], gamma: f64::NAN }),
            "MultiStep: gamma must be above 0, got NaN",
        ),
        (
            schedule(ExponentialDecay { gamma: -1.0 }),
            "ExponentialDecay: gamma must be above 0, got -1",
        ),
        (schedule(InverseTime { k: -0.1 }), "InverseTime: k must be at least 0, got -0.1"),
        (
            schedule(Polynomial { steps: 0, power: 1.0 }),
            "Polynomial: steps must be at least 1, got 0",
        ),
        (schedule(Polynomial { steps: 1, power: 0.0 }), "Polynomial: power must be above 0, got 0"),
        (schedule(LinearWarmup::new(0)), "LinearWarmup: steps must be at least 1, got 0"),
        (
            schedule(LinearWarmup::new(1).start(1.5)),
            "LinearWarmup: start must be from 0 to 1, got 1.5",
        ),
        (schedule(Cosine::new(0)), "Cosine: steps must be at least 1, got 0"),
        (schedule(Cosine::new(1).min(-1.0)), "Cosine: min must be from 0 to 1, got -1"),
        (schedule(WarmRestarts::new(0)), "WarmRestarts: T_0 must be at least 1, got 0"),
        (schedule(WarmRestarts::new(1).mult(0)), "WarmRestarts: mult must be at least 1, got 0"),
        (
            schedule(WarmRestarts::new(1).min(f64::NAN)),
            "WarmRestarts: min must be from 0 to 1, got NaN",
        ),
        (schedule(SnapshotCycles::new(9, 0)), "SnapshotCycles: cycles must be at least 1, got 0"),
        (
            schedule(SnapshotCycles::new(2, 3)),
            "SnapshotCycles: steps must be at least one for each cycle, got 2",
        ),
        (schedule(Cyclic::new(0)), "Cyclic: up must be at least 1, got 0"),
        (schedule(Cyclic::new(1).down(0)), "Cyclic: down must be at least 1, got 0"),
        (schedule(Cyclic::new(1).min(2.0)), "Cyclic: min must be from 0 to 1, got 2"),
        (
            schedule(Cyclic::new(1).mode(CyclicMode::ExpRange(0.0))),
            "Cyclic: gamma must be above 0, got 0",
        ),
        (schedule(OneCycle::new(1)), "OneCycle: steps must be at least 2, got 1"),
        (
            schedule(OneCycle::new(9).pct_start(0.6).three_phase(true)),
            "OneCycle: pct_start must be above 0 and below 1, with three phases at most 0.5, got 0.6",
        ),
        (
            schedule(OneCycle::new(9).div_factor(0.5)),
            "OneCycle: div_factor must be at least 1, got 0.5",
        ),
        (
            schedule(OneCycle::new(9).final_div_factor(0.0)),
            "OneCycle: final_div_factor must be at least 1, got 0",
        ),
        (
            schedule(OneCycle::new(9).momentum(-0.5, 0.9)),
            "OneCycleMomentum: low must be from 0 to 1, got -0.5",
        ),
        (
            schedule(Constant.then(Cosine::new(9))),
            "Then: the first schedule must be one that ends; give it an end with `until`, got Constant",
        ),
        (schedule(Constant.scaled(-1.0)), "Scaled: factor must be at least 0, got -1"),
        (
            schedule(LinearWarmup::new(0).then(Constant).scaled(2.0)),
            "LinearWarmup: steps must be at least 1, got 0",
        ),
    ]);
}

#[test]
fn a_plateau_refuses_settings_out_of_range() {
    let report = |mut plateau: ReduceOnPlateau| text(plateau.report(1.0, 0.1));
    let new = ReduceOnPlateau::new;
    assert_all(&[
        (report(new().factor(1.0)), "ReduceOnPlateau: factor must be above 0 and below 1, got 1"),
        (
            report(new().threshold(Threshold::Absolute(-1.0))),
            "ReduceOnPlateau: threshold must be at least 0, got -1",
        ),
        (report(new().min_lr(f64::NAN)), "ReduceOnPlateau: min_lr must be at least 0, got NaN"),
        (report(new().eps(-1.0)), "ReduceOnPlateau: eps must be at least 0, got -1"),
    ]);
}
