//! Parts of a trained model, and training on.

use layerwise::prelude::*;
use layerwise::training::{Advice, Amount, FineTune, Similarity, advise};

use crate::support::{labels, normal, state, text};

fn model() -> Sequential {
    Sequential::builder([2, 8, 8])
        .add_named("conv", Conv2d::new(4, 3).padding(1))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Flatten)
        .add_named("body", Linear::new(16))
        .add(Relu)
        .add_named("head", Linear::new(10))
        .seed(1)
        .build()
        .expect("it fits")
}

fn data(classes: usize) -> Dataset {
    Dataset::new(normal(&[40, 2, 8, 8], 1), labels(40, classes, 2)).expect("40 each")
}

/// The state of the parts whose names begin so.
fn part(model: &Sequential, prefix: &str) -> Vec<(String, Vec<u64>)> {
    state(model).into_iter().filter(|(name, _)| name.starts_with(prefix)).collect()
}

#[test]
fn a_new_head_keeps_what_is_below_and_its_optimizer_state() {
    let mut model = model();
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 1e-3));
    let (ten, three) = (data(10), data(3));
    trainer.fit(&mut model, &mut ten.batches(20).expect("not 0"), None).expect("good data");
    model.freeze(|p| p.matches("conv.*"));
    let (conv, body) = (part(&model, "conv"), part(&model, "body"));
    let x = ten.samples().to_owned();
    model.replace_from("head", Block::new().add_named("head", Linear::new(3))).expect("it fits");
    assert_eq!((part(&model, "conv"), part(&model, "body")), (conv, body));
    assert_eq!(model.predict(&x).expect("it fits").shape(), [40, 3]);
    assert_eq!(model.params().filter(|p| !p.trainable).count(), 2);
    let state = trainer.optimizer().state(&model);
    let kept: Vec<&str> = state.params.iter().map(|param| param.param.as_str()).collect();
    assert!(kept.iter().any(|name| name.starts_with("body.weight")), "{kept:?}");
    assert!(!kept.iter().any(|name| name.starts_with("head")), "{kept:?}");
    trainer.fit(&mut model, &mut three.batches(20).expect("not 0"), None).expect("good data");
}

#[test]
fn a_new_head_does_not_start_as_the_old_one_did() {
    let mut trained = model();
    trained.forward(&Array4::ones((2, 2, 8, 8))).expect("it fits");
    trained.replace_from("head", Block::new().add_named("head", Linear::new(10))).expect("it fits");
    assert_ne!(part(&trained, "head"), part(&model(), "head"));
}

#[test]
fn a_layer_below_a_new_relu_takes_it_over_or_gives_it_back() {
    // The convolution applies the ReLU above it; without one it must not.
    let build = |relu: bool| {
        let base = Sequential::builder([1, 4, 4]).add(Conv2d::new(2, 3)).seed(3);
        let base = if relu { base.add(Relu) } else { base.add(Tanh) };
        base.build().expect("it fits")
    };
    let x = normal::<f32>(&[3, 1, 4, 4], 1);
    let (relu, tanh) = (build(true), build(false));
    let mut changed = relu.clone();
    changed.replace_from("1", Block::new().add(Tanh)).expect("it fits");
    assert_eq!(changed.predict(&x).expect("it fits"), tanh.predict(&x).expect("it fits"));
    let mut changed = tanh.clone();
    changed.replace_from("1", Block::new().add(Relu)).expect("it fits");
    assert_eq!(changed.predict(&x).expect("it fits"), relu.predict(&x).expect("it fits"));
}

#[test]
fn a_head_that_does_not_fit_or_a_name_that_is_not_there_changes_nothing() {
    let mut model = model();
    let before = state(&model);
    assert_eq!(
        text(model.replace_from("haed", Block::new().add(Linear::new(3)))),
        "replace_from: name must be that of one of the model's layers, got \"haed\"; its layers are conv, 1, 2, 3, \
         body, 5, head"
    );
    assert_eq!(
        text(model.replace_from("head", Block::new().add_named("head", Conv2d::new(3, 3)))),
        "layer 6 `head` (Conv2d): needs [channels, height, width], got [16]; images have three axes; a grey image \
         is [1, height, width]"
    );
    assert_eq!(
        text(model.replace_from("head", Block::new().add_named("body", Linear::new(3)))),
        "layer 6 (Sequential): name must be unlike every other layer's, got \"body\""
    );
    assert!(
        text(model.train_only("haed.*"))
            .starts_with("no parameter or buffer is called haed.*; there are")
    );
    assert_eq!(state(&model), before);
    assert_eq!(model.params().filter(|p| p.trainable).count(), 8);
    assert_eq!(model.train_only("head.*").expect("it exists"), 2);
    assert_eq!(model.train_only("body.*").expect("it exists"), 2);
    let trainable: Vec<String> = model.params().filter(|p| p.trainable).map(|p| p.name).collect();
    assert_eq!(trainable, ["body.weight", "body.bias"]);
}

#[test]
fn reinitializing_is_repeatable_and_refuses_what_is_not_finite() {
    let (mut a, mut b) = (model(), model());
    let fill = |model: &mut Sequential, seed| {
        model.reinitialize(&HeNormal::default(), Seed::new(seed), |p| {
            p.matches("body.*") || p.matches("1.*")
        })
    };
    assert_eq!(fill(&mut a, 7).expect("finite"), 4);
    fill(&mut b, 7).expect("finite");
    assert_eq!(state(&a), state(&b));
    assert_ne!(part(&a, "body"), part(&model(), "body"));
    assert_eq!(part(&a, "head"), part(&model(), "head"));
    assert_eq!(a.value("1.weight").expect("it exists").sum(), 4.0);
    fill(&mut b, 8).expect("finite");
    assert_ne!(state(&a), state(&b));
    assert_eq!(
        text(a.reinitialize(&Constant(f64::NAN), Seed::new(1), |p| p.matches("body.*"))),
        "reinitialize: initializer must be one that gives finite numbers, got NaN for body.weight from \
         Constant(NaN)"
    );
    assert_ne!(part(&a, "body"), part(&b, "body"));
}

/// Gives good numbers for all but the head.
#[derive(Debug)]
struct FailsAtTheHead(f64);

impl Initializer for FailsAtTheHead {
    fn fill(&self, out: &mut [f64], fans: &layerwise::Fans<'_>, _rng: &mut layerwise::Rng) {
        assert!(!self.0.is_infinite() || fans.shape[0] != 10, "no numbers for the head");
        out.fill(if fans.shape[0] == 10 { self.0 } else { 0.5 });
    }
}

#[test]
fn a_reinitialization_that_fails_halfway_changes_nothing() {
    // Parameters before the one that failed were filled already.
    let mut model = model();
    let before = state(&model);
    let mut fill = |value| {
        text(model.reinitialize(&FailsAtTheHead(value), Seed::new(1), |p| p.name != "conv.weight"))
    };
    for (value, shown) in [(f64::NAN, "NaN"), (-1e39, "-1000000000000000000000000000000000000000")]
    {
        assert!(
            fill(value).starts_with(&format!(
                "reinitialize: initializer must be one that gives finite numbers, got {shown} for head.weight from"
            )),
            "{}",
            fill(value)
        );
    }
    assert_eq!(
        text(model.reinitialize(&FailsAtTheHead(1.0), Seed::new(1), |p| p.matches("haed.*"))),
        "reinitialize: select must be one that selects a parameter, got none"
    );
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        model.reinitialize(&FailsAtTheHead(f64::INFINITY), Seed::new(1), |_| true)
    }));
    assert!(panics.is_err());
    assert_eq!(state(&model), before);
}

#[test]
fn a_reinitialized_slope_is_not_zero() {
    let base = Sequential::builder([3]).add(layerwise::layers::PRelu::new());
    let mut model = base.build().expect("it fits");
    model
        .set_value("0.weight", &layerwise::ndarray::arr1(&[1.0, 2.0, 3.0]))
        .expect("three of them");
    model.reinitialize(&HeNormal::default(), Seed::new(1), |_| true).expect("finite");
    let slopes = model.value("0.weight").expect("it exists");
    assert_eq!(slopes.as_slice(), Some(&[0.25; 3][..]));
}

#[test]
fn advice_freezes_what_the_course_says() {
    let groups = ["conv.*", "1.*", "body.*", "head.*"];
    for (amount, similarity, advice, frozen) in [
        (Amount::Little, Similarity::Similar, Advice::Head, 6),
        (Amount::Lots, Similarity::Similar, Advice::UpperLayers, 4),
        (Amount::Lots, Similarity::Different, Advice::AllLayers, 0),
        (Amount::Little, Similarity::Different, Advice::ReinitializedUpperLayers, 4),
    ] {
        let mut model = model();
        assert_eq!(advise(amount, similarity), advice);
        assert_eq!(advice.freeze(&mut model, &groups).expect("they match"), frozen, "{advice:?}");
    }
    let mut model = model();
    assert!(Advice::Head.freeze(&mut model, &["conv.*", "haed.*"]).is_err());
    assert_eq!(model.params().filter(|p| !p.trainable).count(), 0);
}

#[test]
fn fine_tuning_trains_the_head_first_and_then_all_at_rates_of_their_own() {
    let train = data(10);
    let mut model = model();
    let optimizer =
        ModelOptimizer::new(Adam::new(), 1e-3).schedule(StepDecay { every: 1, gamma: 0.5 });
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(7);
    let recipe = FineTune::new(2, &["conv.*", "body.*", "head.*"]).base_lr(0.01);
    let mut conv = Vec::new();
    let mut note = layerwise::training::EpochEnd(|run: &mut layerwise::training::Run<'_>| {
        conv.push(part(run.model, "conv"));
        Ok(())
    });
    let start = part(&model, "conv");
    let mut batches = train.batches(10).expect("not 0").shuffled(Seed::new(1));
    let done = trainer
        .fine_tune(&mut model, &mut batches, None, &recipe, &mut [&mut note])
        .expect("good data");
    assert_eq!((done.frozen.steps.len(), done.whole.steps.len()), (4, 8));
    assert_eq!(conv.len(), 3);
    assert!(conv[0] == start && conv[1] != start);
    // The cycles: up to the base rate at 99 % of the first part, then from a fifth of half of it up and down.
    let rates = |history: &layerwise::training::History| {
        history.steps.iter().map(|step| step.lr).collect::<Vec<_>>()
    };
    let (first, second) = (rates(&done.frozen), rates(&done.whole));
    assert!((first[0] - 0.01 / 25.0).abs() < 1e-9);
    assert!((second[0] - 0.001).abs() < 1e-9, "{second:?}");
    assert!(second.iter().all(|&lr| lr < 0.005 + 1e-9) && second[7] < 1e-6);
    // Afterwards: the schedule and the epochs as before.
    let group = |i| trainer.optimizer().group_lr(Group::new(i));
    assert!((group(1) - 0.00005).abs() < 1e-12 && (group(3) - 0.005).abs() < 1e-12);
    trainer.set_epochs(1);
    let history = trainer.fit(&mut model, &mut batches, None).expect("good data");
    assert!((history.steps[0].lr / 0.005 - 0.5f64.powi(12)).abs() < 1e-9);
}

#[test]
fn a_recipe_that_makes_no_sense_changes_nothing() {
    let train = data(10);
    let mut model = model();
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1));
    let before = state(&model);
    let mut tune = |recipe: FineTune| {
        let mut batches = train.batches(10).expect("not 0");
        text(trainer.fine_tune(&mut model, &mut batches, None, &recipe, &mut []))
    };
    let groups = ["conv.*", "head.*"];
    assert_eq!(tune(FineTune::new(0, &groups)), "FineTune: epochs must be at least 1, got 0");
    assert_eq!(
        tune(FineTune::new(1, &["head.*"])),
        "FineTune: groups must be at least two, the last being the head, got 1"
    );
    assert_eq!(
        tune(FineTune::new(1, &groups).base_lr(-1.0)),
        "FineTune: base_lr must be above 0, got -1"
    );
    assert_eq!(
        tune(FineTune::new(1, &groups).lr_mult(0.5)),
        "FineTune: lr_mult must be at least 1, got 0.5"
    );
    assert_eq!(
        tune(FineTune::new(1, &groups).frozen_epochs(0)),
        "FineTune: frozen_epochs must be at least 1, got 0"
    );
    assert!(
        tune(FineTune::new(1, &["convs.*", "head.*"]))
            .starts_with("no parameter or buffer is called convs.*")
    );
    assert_eq!(state(&model), before);
}
