//! What an optimizer remembers, saved and put back.

use layerwise::optimizers::{OptimizerState, ParamState};
use layerwise::prelude::*;

use crate::support::{labels, normal, small_convnet, state, text};

/// As a checkpoint would read it back: nothing is lent any more.
fn owned(state: OptimizerState<'_>) -> OptimizerState<'static> {
    let params = state.params.into_iter().map(|ParamState { param, steps, arrays }| {
        let arrays = arrays.into_iter().map(|(name, values)| (name, values.into_owned().into()));
        ParamState { param, steps, arrays: arrays.collect() }
    });
    OptimizerState { lr: state.lr, steps: state.steps, params: params.collect() }
}

fn trainer(optimizer: ModelOptimizer) -> Trainer<CrossEntropy> {
    let schedule = LinearWarmup::new(4).start(0.1).then(Cosine::new(20));
    let head = GroupOptions::new().rule(Lion::new()).lr_scale(0.1);
    let optimizer = optimizer.schedule(schedule).clip(Clip::Norm(1.0)).group(Group::new(1), head);
    Trainer::new(CrossEntropy::new(), optimizer)
}

fn train(model: &mut Sequential, trainer: &mut Trainer<CrossEntropy>, steps: std::ops::Range<u64>) {
    for step in steps {
        let x = normal(&[6, 2, 8, 8], step);
        trainer.step(model, &x, &labels(6, 4, step)).expect("everything fits");
    }
}

#[test]
fn training_goes_on_from_a_saved_state_with_the_same_bits() {
    let rules: [fn() -> ModelOptimizer; 12] = [
        || ModelOptimizer::new(Sgd::new(), 0.1),
        || ModelOptimizer::new(Sgd::new().momentum(0.9).dampening(0.5), 0.1),
        || ModelOptimizer::new(AdaGrad::new(), 0.1),
        || ModelOptimizer::new(AdaDelta::new(), 1.0),
        || ModelOptimizer::new(RmsProp::new().momentum(0.9).centered(true), 0.01),
        || ModelOptimizer::new(Adam::new().amsgrad(true), 0.01),
        || ModelOptimizer::new(AdamW::new(), 0.01),
        || ModelOptimizer::new(NAdam::new(), 0.01),
        || ModelOptimizer::new(RAdam::new(), 0.01),
        || ModelOptimizer::new(Adamax::new(), 0.01),
        || ModelOptimizer::new(Lion::new(), 0.001),
        || ModelOptimizer::new(Adam::fastai(), 0.01),
    ];
    for rule in rules {
        let mut model = small_convnet(3);
        model.assign_group(Group::new(1), |p| p.matches("10.*"));
        let mut whole = trainer(rule());
        train(&mut model, &mut whole, 0..3);
        // Half way the rate changes by hand, and a layer is frozen and comes back.
        whole.optimizer_mut().set_lr(0.005);
        model.freeze(|p| p.matches("4.*"));
        train(&mut model, &mut whole, 3..4);
        model.unfreeze(|p| p.matches("4.*"));
        train(&mut model, &mut whole, 4..5);

        let saved = owned(whole.optimizer().state(&model));
        assert_eq!((saved.lr, saved.steps), (0.005, 5));
        let steps: Vec<u64> = saved.params.iter().map(|param| param.steps).collect();
        assert_eq!(steps, [5, 5, 5, 1, 1, 5, 5, 5, 5], "conv, norm, the frozen, two linear");
        // A clone goes on in the same pass; its parameters are the same ones, as loaded values would be.
        let mut copy = model.clone();
        let mut resumed = trainer(rule());
        resumed.optimizer_mut().set_state(&copy, saved.clone()).expect("it is the same model");
        assert_eq!(resumed.optimizer().state(&copy), saved);

        train(&mut model, &mut whole, 5..9);
        train(&mut copy, &mut resumed, 5..9);
        assert_eq!(state(&model), state(&copy), "{:?}", whole.optimizer());
        assert_eq!(whole.optimizer().state(&model), resumed.optimizer().state(&copy));
    }
}

#[test]
fn a_state_goes_to_another_model_by_name() {
    let mut model = small_convnet(3);
    let mut first = trainer(ModelOptimizer::new(Adam::new(), 0.01));
    train(&mut model, &mut first, 0..2);
    let other = small_convnet(4);
    let mut second = trainer(ModelOptimizer::new(Adam::new(), 0.5));
    let lent = first.optimizer().state(&model);
    assert!(first.optimizer().state(&other).params.is_empty(), "its parameters are others");
    second.optimizer_mut().set_state(&other, lent.clone()).expect("the names are the same");
    assert_eq!(second.optimizer().state(&other), lent);
}

#[test]
fn a_frozen_parameter_takes_no_state_and_an_unnamed_one_starts_afresh() {
    let mut model = small_convnet(3);
    let mut first = trainer(ModelOptimizer::new(Adam::new(), 0.01));
    train(&mut model, &mut first, 0..2);
    let mut saved = owned(first.optimizer().state(&model));
    let names = |state: OptimizerState<'_>| -> Vec<String> {
        state.params.into_iter().map(|param| param.param).collect()
    };
    let all = names(saved.clone());
    model.freeze(|p| p.matches("0.*"));
    saved.params.retain(|param| param.param != "8.bias");
    let mut second = trainer(ModelOptimizer::new(Adam::new(), 0.01));
    second.optimizer_mut().set_state(&model, saved).expect("it fits");
    let want: Vec<String> =
        all.into_iter().filter(|name| name != "0.weight" && name != "8.bias").collect();
    assert_eq!(names(second.optimizer().state(&model)), want);
    model.unfreeze(|_| true);
    train(&mut model, &mut second, 2..3);
    let state = second.optimizer().state(&model);
    let afresh = state.params.iter().filter(|param| param.steps == 1).map(|param| &param.param);
    assert_eq!(afresh.collect::<Vec<_>>(), ["0.weight", "8.bias"]);
}

/// A trained optimizer, its model, and the error for a state that `spoil` changed; nothing else is.
fn refused(spoil: impl Fn(&mut OptimizerState<'static>)) -> String {
    let mut model = small_convnet(3);
    let mut trainer = trainer(ModelOptimizer::new(Adam::new(), 0.01));
    train(&mut model, &mut trainer, 0..2);
    let before = owned(trainer.optimizer().state(&model));
    let mut spoilt = before.clone();
    // Were anything taken over, these would be seen.
    (spoilt.lr, spoilt.steps) = (0.75, 7);
    spoilt.params[0].arrays[0].1.to_mut().fill(7.0);
    spoil(&mut spoilt);
    let error = text(trainer.optimizer_mut().set_state(&model, spoilt));
    assert_eq!(trainer.optimizer().state(&model), before, "{error}");
    error
}

#[test]
fn a_state_that_does_not_fit_changes_nothing_and_all_misfits_are_named() {
    let cases = [
        (refused(|state| state.lr = f64::NAN), "OptimizerState: lr must be at least 0, got NaN"),
        (
            refused(|state| state.steps = u64::MAX),
            "OptimizerState: steps must be at most 2⁶², got 18446744073709551615",
        ),
        (
            refused(|state| state.params[3].steps = 9),
            "optimizer state: 4.weight has 9 updates, more than all: 7",
        ),
        (
            refused(|state| state.params.push(state.params[1].clone())),
            "optimizer state: 1.weight comes twice",
        ),
        (
            refused(|state| state.params[0].param = "0.wait".into()),
            "optimizer state: the model has no parameter 0.wait",
        ),
        (
            // Running statistics have names, but no optimizer moves them.
            refused(|state| state.params[0].param = "1.running_mean".into()),
            "optimizer state: the model has no parameter 1.running_mean",
        ),
        (
            refused(|state| state.params[8].arrays.clear()),
            "optimizer state: 10.bias needs [exp_avg, exp_avg_sq] of its rule, got []",
        ),
        (
            refused(|state| state.params[2].arrays[1].0 = "exp_avg".into()),
            "optimizer state: 1.bias needs [exp_avg, exp_avg_sq] of its rule, got [exp_avg, exp_avg]",
        ),
        (
            refused(|state| state.params[2].arrays[1].1.to_mut().push(0.0)),
            "optimizer state: 1.bias.exp_avg_sq needs 6 numbers, got 7",
        ),
        (
            refused(|state| state.params[2].arrays[1].1.to_mut()[5] = f32::NAN),
            "optimizer state: 1.bias.exp_avg_sq has a value that is not a number",
        ),
        (
            refused(|state| {
                state.params[0].arrays[0].1.to_mut().clear();
                state.params[1].param = "z".into();
                state.params[2].param = "a".into();
            }),
            "optimizer state: 0.weight.exp_avg needs 108 numbers, got 0; the model has no parameter a; \
             the model has no parameter z",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
}
