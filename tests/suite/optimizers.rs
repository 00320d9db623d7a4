//! What the driver does around the rules.

use layerwise::prelude::*;

use crate::support::{normal, state, text};

/// One weight without bias, whose gradient in a step is `grad`.
fn push(model: &mut Sequential<f64>, optimizer: &mut ModelOptimizer<f64>, grad: f64) -> f64 {
    model.forward(&Array2::ones((1, 1))).expect("it fits");
    model.backward(&Array2::from_elem((1, 1), grad)).expect("there was a forward");
    optimizer.step(model).expect("a good gradient");
    model.value("0.weight").expect("it exists").sum()
}

fn one_weight(start: f64) -> Sequential<f64> {
    let layer = Linear::new(1).bias(false).weight_init(Constant(start));
    SequentialBuilder::new([1]).add(layer).build().expect("it fits")
}

/// The weight after each of these gradients, beginning at 1.
fn follow(mut optimizer: ModelOptimizer<f64>, grads: &[f64]) -> Vec<f64> {
    let mut model = one_weight(1.0);
    grads.iter().map(|&grad| push(&mut model, &mut optimizer, grad)).collect()
}

fn assert_close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (got_one, want_one) in got.iter().zip(want) {
        assert!((got_one - want_one).abs() < 1e-14, "{got:?} instead of {want:?}");
    }
}

const GRADS: [f64; 4] = [1.0, -2.0, 0.5, 0.25];

#[test]
fn dampening_spares_the_first_step_as_in_pytorch() {
    // torch.optim.SGD([p], lr=0.1, momentum=0.9, dampening=0.3) from p = 1.
    let rule = Sgd::new().momentum(0.9).dampening(0.3);
    assert_close(&follow(ModelOptimizer::new(rule, 0.1), &GRADS), &[0.9, 0.95, 0.96, 0.9515]);
}

#[test]
fn lion_follows_its_algorithm() {
    // Chen et al. 2023, algorithm 2, in numpy: lr 0.1, λ 0.5, the paper's betas.
    let optimizer = ModelOptimizer::new(Lion::new(), 0.1).weight_decay(Decay::Decoupled(0.5));
    assert_close(&follow(optimizer, &GRADS), &[0.85, 0.9075, 0.762125, 0.62401875]);
}

#[test]
fn a_momentum_schedule_replaces_the_rules_momentum() {
    let momenta = LinearWarmup::new(2).start(0.25).scaled(0.8); // 0.2, 0.5, 0.8, 0.8
    let by_schedule = ModelOptimizer::new(Sgd::new().momentum(0.9), 0.1).momentum_schedule(momenta);
    let (mut p, mut v, mut want) = (1.0, 0.0, Vec::new());
    for (grad, momentum) in GRADS.iter().zip([0.2, 0.5, 0.8, 0.8]) {
        v = momentum * v + grad;
        p -= 0.1 * v;
        want.push(p);
    }
    assert_close(&follow(by_schedule, &GRADS), &want);
    // A constant one is the same as none, for every rule that has a momentum.
    let pairs: [fn() -> ModelOptimizer<f64>; 7] = [
        || ModelOptimizer::new(Sgd::new().momentum(0.9).nesterov(true), 0.1),
        || ModelOptimizer::new(RmsProp::new().momentum(0.9), 0.1),
        || ModelOptimizer::new(AdamW::new(), 0.1),
        || ModelOptimizer::new(NAdam::new(), 0.1),
        || ModelOptimizer::new(RAdam::new().betas(0.9, 0.8), 0.1),
        || ModelOptimizer::new(Adamax::new(), 0.1),
        || ModelOptimizer::new(Lion::new(), 0.1),
    ];
    for make in pairs {
        let constant = layerwise::schedules::Constant.scaled(0.9);
        assert_eq!(follow(make().momentum_schedule(constant), &GRADS), follow(make(), &GRADS));
        // A large gradient that one momentum still outweighs, and another does not.
        let grads = [10.0, -0.5, -0.5, -0.5];
        let other = layerwise::schedules::Constant.scaled(0.25);
        assert_ne!(follow(make().momentum_schedule(other), &grads), follow(make(), &grads));
    }
}

#[test]
fn nadam_s_momenta_vanish_from_its_correction_in_late_steps() {
    // Step 5000: the product of 5000 momenta is 0 in any precision, the correction 1.
    let (mut p, mut m, mut v) = ([0.0f64], [1.0], [1.0]);
    NAdam::new().update(&StepInfo::new(5000, 0.1), &mut p, &[1.0], &mut [&mut m, &mut v]);
    let momentum = |step: f64| 0.9 * (1.0 - 0.5 * 0.96f64.powf(step * 0.004));
    let root = (1.0 / (1.0 - 0.999f64.powi(5000))).sqrt();
    let want = -0.1 * ((1.0 - momentum(5000.0)) + momentum(5001.0)) / (root + 1e-8);
    assert!((p[0] - want).abs() < 1e-15, "{} instead of {want}", p[0]);
}

#[test]
fn centered_rmsprop_stays_finite_where_the_variance_is_nothing_but_rounding() {
    let rule = RmsProp::new().centered(true).alpha(0.5);
    let (mut p, mut s, mut m) = ([0.0f32], [0.0], [0.0]);
    for step in 1..200 {
        rule.update(&StepInfo::new(step, 1e-3), &mut p, &[0.3], &mut [&mut s, &mut m]);
        assert!(p[0].is_finite(), "step {step}");
    }
}

#[test]
fn gathered_batches_train_like_one_large_batch() {
    let build = || {
        let builder = SequentialBuilder::<f64>::new([3]).add(Linear::new(4)).add(Tanh);
        builder.add(Linear::new(2)).seed(1).build().expect("it fits")
    };
    let (x, target) = (normal::<f64>(&[12, 3], 0), normal::<f64>(&[12, 2], 1));
    let rows = |a: &ArrayD<f64>, from: usize, to: usize| {
        a.slice_axis(Axis(0), ndarray::Slice::from(from..to)).to_owned()
    };
    let optimizer = || ModelOptimizer::new(Adam::new(), 0.1).clip(Clip::Norm(0.5));
    let (mut whole, mut parts) = (build(), build());
    let mut large = Trainer::new(Mse::new(), optimizer());
    let mut small = Trainer::new(Mse::new(), optimizer().accumulate(3));
    for _ in 0..5 {
        let norm = large.step(&mut whole, &x, &target).expect("a good batch").grad_norm;
        let before = state(&parts);
        for part in 0..3 {
            let (from, to) = (4 * part, 4 * part + 4);
            let step = small
                .step(&mut parts, &rows(&x, from, to), &rows(&target, from, to))
                .expect("a good batch");
            assert_eq!(step.parameters, if part == 2 { 4 } else { 0 });
            assert_eq!(state(&parts) == before, part < 2);
            assert!(part < 2 || (step.grad_norm - norm).abs() < 1e-12);
        }
    }
    assert_eq!((small.optimizer().steps(), large.optimizer().steps()), (5, 5));
    for name in ["0.weight", "0.bias", "2.weight", "2.bias"] {
        let difference = whole.value(name).expect("it exists") - parts.value(name).expect("too");
        assert!(difference.iter().all(|d| d.abs() < 1e-12), "{name}: {difference}");
    }
}

#[test]
fn after_a_bad_batch_gathering_begins_anew() {
    let mut model = one_weight(0.0);
    let mut trainer = Trainer::new(Mse::new(), ModelOptimizer::new(Sgd::new(), 1.0).accumulate(2));
    let x = ndarray::arr2(&[[1.0]]).into_dyn();
    trainer.step(&mut model, &x, &x).expect("a good batch");
    assert!(trainer.step(&mut model, &(&x * f64::NAN), &x).is_err());
    trainer.step(&mut model, &x, &x).expect("a good batch");
    assert_eq!(model.value("0.weight").expect("it exists").sum(), 0.0);
    trainer.step(&mut model, &x, &x).expect("a good batch");
    // d/dw (w − 1)² = −2 at w = 0, in both halves.
    assert_eq!(model.value("0.weight").expect("it exists").sum(), 2.0);
}

#[test]
fn centralising_keeps_the_mean_of_each_outputs_weights() {
    let mut model = SequentialBuilder::<f64>::new([2, 5, 5])
        .add(Conv2d::new(3, 3))
        .add(Flatten)
        .add(Linear::new(4))
        .build()
        .expect("it fits");
    let means = |model: &Sequential<f64>, name: &str| {
        let value = model.value(name).expect("it exists");
        value.outer_iter().map(|part| part.mean().expect("not empty")).collect::<Vec<_>>()
    };
    let names = ["0.weight", "2.weight"];
    let before = names.map(|name| means(&model, name));
    let bias = model.value("2.bias");
    let y = model.forward(&normal::<f64>(&[3, 2, 5, 5], 0)).expect("it fits").to_owned();
    model.backward(&y).expect("there was a forward");
    let weight = model.value("0.weight");
    ModelOptimizer::new(Sgd::new(), 0.1).centralize(true).step(&mut model).expect("gradients");
    for (name, before) in names.iter().zip(before) {
        assert_close(&means(&model, name), &before);
    }
    assert_ne!(model.value("0.weight"), weight, "the weights themselves moved");
    assert_ne!(model.value("2.bias"), bias, "a bias is not centralised");
}

#[test]
fn decay_can_leave_biases_alone() {
    for decay_all in [true, false] {
        let mut model = SequentialBuilder::<f64>::new([1])
            .add(Linear::new(1).weight_init(Constant(1.0)).bias_init(Constant(1.0)))
            .build()
            .expect("it fits");
        model.forward(&Array2::ones((1, 1))).expect("it fits");
        model.backward(&Array2::zeros((1, 1))).expect("there was a forward");
        let optimizer = ModelOptimizer::new(Sgd::new(), 0.5).weight_decay(Decay::L2(0.5));
        optimizer.decay_all(decay_all).step(&mut model).expect("gradients");
        assert_eq!(model.value("0.weight").expect("it exists").sum(), 0.75);
        let bias = model.value("0.bias").expect("it exists").sum();
        assert_eq!(bias, if decay_all { 0.75 } else { 1.0 });
    }
}

/// Three layers of one weight 1 each; every gradient in a step is 1.
fn chain() -> Sequential<f64> {
    let layer = || Linear::new(1).bias(false).weight_init(Constant(1.0));
    SequentialBuilder::new([1])
        .add_named("stem", layer())
        .add_named("body", layer())
        .add_named("head", layer())
        .build()
        .expect("it fits")
}

/// What one step of the driver takes off each weight, which is then 1 again.
fn moves(model: &mut Sequential<f64>, optimizer: &mut ModelOptimizer<f64>) -> [f64; 3] {
    model.forward(&Array2::ones((1, 1))).expect("it fits");
    model.backward(&Array2::ones((1, 1))).expect("there was a forward");
    optimizer.step(model).expect("gradients");
    ["stem.weight", "body.weight", "head.weight"].map(|name| {
        let moved = 1.0 - model.value(name).expect("it exists").sum();
        model.set_value(name, &ndarray::arr2(&[[1.0]])).expect("the shape is right");
        moved
    })
}

#[test]
fn groups_have_rates_decays_and_rules_of_their_own_at_any_time() {
    const BODY: Group = Group::new(7);
    let mut model = chain();
    assert_eq!(model.assign_group(BODY, |p| p.matches("body.*") && p.role == Role::Weight), 1);
    let mut optimizer =
        ModelOptimizer::new(Sgd::new(), 0.25).group(BODY, GroupOptions::new().lr_scale(0.5));
    assert_eq!(moves(&mut model, &mut optimizer), [0.25, 0.125, 0.25]);
    optimizer.set_group(BODY, GroupOptions::new().weight_decay(Decay::L2(1.0)));
    assert_eq!(moves(&mut model, &mut optimizer), [0.25, 0.5, 0.25]);
    optimizer.set_group(BODY, GroupOptions::new().rule(Lion::new()).lr_scale(4.0));
    assert_eq!(moves(&mut model, &mut optimizer), [0.25, 1.0, 0.25]);
    // A parameter may move to another group at any time, too.
    model.assign_group(BODY, |p| p.matches("*"));
    assert_eq!(moves(&mut model, &mut optimizer), [1.0; 3]);
    // Both keep one array, but not of the same meaning: the new rule begins with its own.
    optimizer.set_group(BODY, GroupOptions::new().rule(Sgd::new().momentum(0.5)));
    assert_eq!(moves(&mut model, &mut optimizer), [0.25; 3]);
    assert_eq!(moves(&mut model, &mut optimizer), [0.375; 3]);
}

#[test]
fn differential_rates_are_spread_geometrically_over_layer_groups() {
    let mut model = chain();
    let groups = model.layer_groups(&["stem.*", "body.*", "*"]).expect("all three are used");
    assert_eq!(model.params().map(|p| p.group).collect::<Vec<_>>(), groups);
    let mut optimizer = ModelOptimizer::new(Sgd::new(), 1.0)
        .differential(0.0625, 1.0, &groups)
        .expect("good rates");
    assert_eq!(moves(&mut model, &mut optimizer), [0.0625, 0.25, 1.0]);
    optimizer.set_differential(0.25, 0.25, &groups).expect("good rates");
    assert_eq!(moves(&mut model, &mut optimizer), [0.25; 3]);
    optimizer.set_differential_last(0.5, &groups).expect("good rates");
    assert_close(&moves(&mut model, &mut optimizer), &[0.05, 0.05, 0.5]);
    // One group alone has the whole rate.
    optimizer.set_differential(0.25, 0.5, &groups[..1]).expect("good rates");
    assert_eq!(optimizer.group_lr(groups[0]), 0.5);
    assert_eq!(
        text(model.layer_groups(&["stem.*", "tail.*"])),
        "no parameter or buffer is called tail.*; there are stem.weight, body.weight, head.weight"
    );
    assert_eq!(
        text(optimizer.set_differential(0.0, 1.0, &groups)),
        "ModelOptimizer: differential lo must be above 0, got 0"
    );
    assert_eq!(
        text(optimizer.set_differential(1.0, f64::NAN, &groups)),
        "ModelOptimizer: differential hi must be above 0, got NaN"
    );
    assert_eq!(
        text(optimizer.set_differential_last(1.0, &[])),
        "ModelOptimizer: differential groups must be at least one, got none"
    );
    assert_eq!(optimizer.group_lr(groups[0]), 0.5, "an error changes nothing");
}

/// The names under which a checkpoint saves what a rule keeps.
fn state_names(optimizer: &ModelOptimizer<f64>, model: &Sequential<f64>) -> Vec<String> {
    let mut names = Vec::new();
    for param in optimizer.state(model).params {
        names.extend(param.arrays.iter().map(|(array, _)| format!("{}.{array}", param.param)));
    }
    names
}

#[test]
fn frozen_parameters_keep_no_state_and_start_afresh() {
    let mut model = chain();
    let mut optimizer = ModelOptimizer::new(Sgd::new().momentum(0.5), 0.5);
    moves(&mut model, &mut optimizer);
    assert_eq!(moves(&mut model, &mut optimizer), [0.75; 3]);
    assert_eq!(
        state_names(&optimizer, &model),
        [
            "stem.weight.momentum_buffer",
            "body.weight.momentum_buffer",
            "head.weight.momentum_buffer"
        ]
    );
    model.freeze(|p| !p.matches("head.*"));
    assert_eq!(moves(&mut model, &mut optimizer), [0.0, 0.0, 0.875]);
    assert_eq!(state_names(&optimizer, &model), ["head.weight.momentum_buffer"]);
    model.unfreeze(|_| true);
    assert_eq!(moves(&mut model, &mut optimizer), [0.5, 0.5, 0.9375]);
}

#[test]
fn a_bad_gradient_leaves_the_state_untouched_too() {
    let mut model = chain();
    let mut optimizer = ModelOptimizer::new(Adam::new(), 0.1);
    moves(&mut model, &mut optimizer);
    let snapshot = |optimizer: &ModelOptimizer<f64>, model: &Sequential<f64>| {
        (format!("{:?}", optimizer.state(model)), state(model))
    };
    let before = snapshot(&optimizer, &model);
    assert_eq!(state_names(&optimizer, &model).len(), 6, "exp_avg and exp_avg_sq of each");
    model.forward(&Array2::ones((1, 1))).expect("it fits");
    model.backward(&Array2::from_elem((1, 1), f64::INFINITY)).expect("there was a forward");
    assert_eq!(
        text(optimizer.step(&mut model)),
        "gradient of stem.weight is not finite at step 2; lower the learning rate, clip gradients, or check the data"
    );
    assert_eq!(snapshot(&optimizer, &model), before);
}
