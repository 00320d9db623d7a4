//! Parameters by name, groups, regularizers, summaries.

use layerwise::prelude::*;

use crate::support::{normal, small_convnet, state, text};

#[test]
fn names_and_shapes_are_pytorchs() {
    let model = small_convnet::<f32>(0);
    let names: Vec<String> = state(&model).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "0.weight",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "4.weight",
        "4.bias",
        "8.weight",
        "8.bias",
        "10.weight",
        "10.bias",
    ];
    assert_eq!(names, expected);
    let shapes: Vec<Shape> = model.params().map(|info| info.shape).collect();
    assert_eq!(shapes[0], [6, 2, 3, 3].into());
    assert_eq!(shapes[5], [16, 8].into());
}

#[test]
fn selectors_count_what_they_touched() {
    let mut model = small_convnet::<f32>(0);
    assert_eq!(model.freeze(|p| p.name.starts_with("0.") || p.name.starts_with("1.")), 3);
    assert_eq!(model.freeze(|p| p.name.starts_with("0.")), 0, "it is frozen already");
    assert_eq!(model.freeze(|p| p.name == "0.wieght"), 0);
    assert_eq!(model.unfreeze(|_| true), 3);
    assert_eq!(model.assign_group(Group::new(2), |p| p.role == Role::Bias), 3);
    assert_eq!(model.params().filter(|p| p.group == Group::new(2)).count(), 3);
    assert_eq!(model.set_regularizer(L2(0.1), |p| p.role == Role::Weight), 4);
    assert_eq!(model.clear_regularizer(|p| p.role == Role::Weight), 4);
}

#[test]
fn groups_have_their_own_rate_rule_and_decay() {
    let mut model = Sequential::builder([1])
        .add_named("slow", Linear::new(1).bias(false).weight_init(Constant(1.0)))
        .add_named("fast", Linear::new(1).bias(false).weight_init(Constant(1.0)))
        .build()
        .expect("it fits");
    let slow = Group::new(1);
    assert_eq!(model.assign_group(slow, |p| p.name.starts_with("slow.")), 1);
    let options = GroupOptions::new().lr_scale(0.1).weight_decay(Decay::Decoupled(1.0));
    let mut optimizer = ModelOptimizer::new(Sgd::new(), 0.5).group(slow, options);
    model.forward(&ndarray::arr2(&[[1.0]])).expect("it fits");
    model.backward(&ndarray::arr2(&[[1.0]])).expect("there was a forward");
    optimizer.step(&mut model).expect("gradients are there");
    // Both gradients are 1. Slow: 1 · (1 − 0.05) − 0.05; fast: 1 − 0.5.
    assert_eq!(model.value("slow.weight").expect("it exists")[[0, 0]], 1.0 * (1.0 - 0.05) - 0.05);
    assert_eq!(model.value("fast.weight").expect("it exists")[[0, 0]], 0.5);
    let signs = GroupOptions::new().rule(Sgd::new().momentum(0.9));
    optimizer.set_group(slow, signs);
    model.forward(&ndarray::arr2(&[[1.0]])).expect("it fits");
    model.backward(&ndarray::arr2(&[[1.0]])).expect("there was a forward");
    optimizer.step(&mut model).expect("gradients are there");
    assert_eq!(model.value("slow.weight").expect("it exists")[[0, 0]], 0.9 - 0.5 * 0.5);
}

#[test]
fn gradients_accumulate_over_backward_passes() {
    let x = normal::<f64>(&[6, 2, 8, 8], 0);
    let gradient = |parts: &[(usize, usize)]| {
        let mut model = small_convnet::<f64>(0);
        model.eval();
        for &(from, to) in parts {
            let part = x.slice_axis(Axis(0), ndarray::Slice::from(from..to));
            let y = model.forward(part).expect("it fits").to_owned();
            model.backward(&y).expect("there was a forward");
        }
        model.param("4.weight").expect("it exists").grad().expect("it was written").to_owned()
    };
    let (whole, parts) = (gradient(&[(0, 6)]), gradient(&[(0, 2), (2, 6)]));
    let worst = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-12, "{worst}");
}

#[test]
fn regularizers_add_to_loss_and_gradient_of_trainable_parameters_only() {
    let mut model = Sequential::builder([1])
        .add(Linear::new(2).bias(false).weight_init(Constant(-2.0)))
        .add(Linear::new(1).bias(false).weight_init(Constant(1.0)))
        .build()
        .expect("it fits");
    model.set_regularizer(L1(0.5), |p| p.name == "0.weight");
    model.set_regularizer(ElasticNet { l1: 1.0, l2: 2.0 }, |p| p.name == "1.weight");
    assert_eq!(model.regularize(), 0.5 * 4.0 + (2.0 + 2.0 * 2.0));
    let grad = |model: &Sequential, name: &str| {
        model.param(name).expect("it exists").grad().expect("it was written")[[0, 0]]
    };
    assert_eq!((grad(&model, "0.weight"), grad(&model, "1.weight")), (-0.5, 5.0));
    model.freeze(|p| p.name == "0.weight");
    model.zero_grad();
    assert_eq!(model.regularize(), 6.0);
    assert!(model.param("0.weight").expect("it exists").grad().is_none());
}

#[test]
fn a_summary_is_a_table() {
    let mut model = Sequential::builder([1, 6, 6])
        .add_named("conv", Conv2d::new(2, 3))
        .add(Relu)
        .add(Flatten)
        .add_named("head", Linear::new(10))
        .build()
        .expect("it fits");
    model.freeze(|p| p.name.starts_with("conv."));
    let expected = "\
name  kind     output      parameters
─────────────────────────────────────
      input    [1, 6, 6]
conv  Conv2d   [2, 4, 4]  20 (frozen)
1     Relu     [2, 4, 4]            0
2     Flatten  [32]                 0
head  Linear   [10]               330
350 parameters, 330 trainable";
    assert_eq!(model.summary().to_string(), expected);
    assert_eq!((model.summary().parameters, model.summary().trainable), (350, 330));
}

#[test]
fn initial_values_do_not_depend_on_other_layers() {
    let head = |model: Sequential| model.value("head.weight").expect("it exists");
    let short = Sequential::builder([4])
        .add_named("head", Linear::new(3))
        .seed(5)
        .build()
        .expect("it fits");
    let long = Sequential::builder([4])
        .add(Linear::new(4))
        .add(Relu)
        .add_named("head", Linear::new(3))
        .seed(5)
        .build()
        .expect("it fits");
    assert_eq!(head(short), head(long));
}

#[test]
fn an_f32_model_starts_as_the_rounded_f64_model() {
    let (single, double) = (small_convnet::<f32>(9), small_convnet::<f64>(9));
    for info in single.params() {
        let rounded = double.value(&info.name).expect("it exists").mapv(|x| x as f32);
        assert_eq!(single.value(&info.name).expect("it exists"), rounded);
    }
}

#[test]
fn a_limit_is_kept_by_every_step_for_what_it_was_set_on_alone() {
    let mut free = SequentialBuilder::<f64>::new([3])
        .add(Linear::new(4).bias_init(Constant(5.0)))
        .add(BatchNorm::new())
        .add_named("head", Linear::new(2).weight_init(Constant(2.0)).bias_init(Constant(5.0)))
        .build()
        .expect("it fits");
    let mut model = free.clone();
    let step = |model: &mut Sequential<f64>| {
        let y = model.forward(&normal(&[5, 3], 0)).expect("it fits").to_owned();
        model.backward(&y).expect("there was a forward");
        ModelOptimizer::new(Sgd::new(), 0.01).step(model).expect("gradients were written");
    };
    let lengths = |model: &Sequential<f64>, name: &str| -> Vec<f64> {
        let value = model.value(name).expect("it exists");
        value.outer_iter().map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()).collect()
    };
    assert_eq!(model.set_constraint(MaxNorm(0.5), |p| p.is_weight() && p.name == "0.weight"), 1);
    step(&mut model);
    step(&mut free);
    assert!(lengths(&free, "0.weight").iter().any(|&length| length > 0.5));
    assert!(lengths(&model, "0.weight").iter().all(|&length| length <= 0.5 + 1e-15));
    // Everything else moved as in a model without limits.
    for other in ["0.bias", "1.weight", "1.bias", "head.weight", "head.bias"] {
        assert_eq!(model.value(other), free.value(other), "{other}");
    }
    assert_eq!(model.set_constraint(MaxNorm(0.25), ParamInfo::is_weight), 2);
    model.freeze(|p| p.name == "0.weight");
    step(&mut model);
    assert!(lengths(&model, "0.weight").iter().any(|&length| length > 0.25), "frozen");
    assert!(lengths(&model, "head.weight").iter().all(|&length| length <= 0.25 + 1e-15));
    assert!(lengths(&model, "head.bias").iter().all(|&length| length > 0.25), "not a weight");
    assert_eq!(model.clear_constraint(|_| true), 6);
    assert!(model.param("head.weight").expect("it exists").constraint().is_none());
}

#[test]
fn selectors_by_role_leave_biases_and_normalization_alone() {
    let mut model = small_convnet::<f32>(0);
    let weights = model.params().filter(|p| p.name.ends_with("weight")).count();
    // The one scale is called `weight` too, and is none.
    assert_eq!(model.set_regularizer(L2(1.0), ParamInfo::is_weight), weights - 1);
    for info in model.params().filter(|p| !p.is_weight()) {
        assert!(model.param(&info.name).expect("it exists").regularizer().is_none());
        assert!([Role::Bias, Role::Scale, Role::Shift].contains(&info.role));
    }
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_before_anything_changes() {
    let mut model = Sequential::builder([2]).add(Linear::new(1)).build().expect("it fits");
    model.set_constraint(MaxNorm(0.0), ParamInfo::is_weight);
    let y = model.forward(&normal(&[3, 2], 0)).expect("it fits").to_owned();
    model.backward(&y).expect("there was a forward");
    let before = state(&model);
    let mut optimizer = ModelOptimizer::new(Sgd::new(), 0.1);
    assert_eq!(text(optimizer.step(&mut model)), "MaxNorm: max must be above 0, got 0");
    assert_eq!((state(&model), optimizer.steps()), (before, 0));
    // A frozen parameter's is not looked at, as it is not applied.
    model.freeze(ParamInfo::is_weight);
    assert_eq!(optimizer.step(&mut model).expect("only the bias").parameters, 1);
}
