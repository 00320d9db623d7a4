//! Weights kept between predictions are never old ones: every prediction in a kept workspace has the bits of
//! one that starts anew.

use layerwise::prelude::*;
use layerwise::{EntryMut, SequentialBuilder, VisitorMut};

use crate::support::{batched, bits, normal, small_convnet};

/// Linear layers, one of them inside a nested model, and every kind of kept convolution above them.
fn model<F: Scalar>(seed: u64) -> Sequential<F> {
    let head = SequentialBuilder::<F>::new([16]).add(Linear::new(40)).add(Tanh).seed(seed);
    let head = head.build().expect("the layers fit");
    SequentialBuilder::new([16, 8, 8])
        .add(Conv2d::new(32, 3).padding(1))
        .add(Relu)
        .add(Conv2d::new(16, 5).stride(2))
        .add(GlobalAvgPool)
        .add(head)
        .add(Linear::new(4))
        .seed(seed)
        .build()
        .expect("the layers fit")
}

/// Predicts batches on both sides of every threshold, and twice, so that what is kept is used.
fn compare<F: Scalar>(model: &Sequential<F>, workspace: &mut Workspace<F>, after: &str) {
    for batch in [1, 5, 32, 5] {
        let x = normal::<F>(&batched(batch, model.input_shape()), 7);
        let anew = bits(model.predict(&x).expect("it fits").view());
        for _ in 0..2 {
            let kept = bits(model.predict_with(&x, workspace).expect("it fits"));
            assert_eq!(kept, anew, "batch {batch} {after}");
        }
    }
}

fn train<F: Scalar>(model: &mut Sequential<F>, driver: ModelOptimizer<F>) {
    let x = normal::<F>(&batched(4, model.input_shape()), 3);
    let mut trainer = Trainer::new(CrossEntropy::new(), driver);
    trainer.step(model, &x, &[0, 1, 2, 3]).expect("a good batch");
}

fn changes_are_seen<F: Scalar>() {
    let (mut model, mut workspace) = (model::<F>(1), Workspace::new());
    compare(&model, &mut workspace, "at first");
    for step in 0..3 {
        train(&mut model, ModelOptimizer::new(Adam::new(), 0.01));
        compare(&model, &mut workspace, &format!("after training step {step}"));
    }
    let names: Vec<String> = model.params().map(|p| p.name.to_string()).collect();
    assert_eq!(names.len(), 8);
    for name in names {
        let value = model.value(&name).expect("it is there").mapv(|x| x + F::lit(0.5));
        model.set_value(&name, &value).expect("it fits");
        compare(&model, &mut workspace, &format!("after {name} was set"));
    }
    model.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
        if let EntryMut::Param(param) = entry {
            let value = param.value().mapv(|x| x * F::lit(-1.5));
            *param = Param::new(value, param.role());
        }
    }));
    compare(&model, &mut workspace, "after each parameter was replaced");
    model.set_constraint(MaxNorm(0.1), ParamInfo::is_weight);
    train(&mut model, ModelOptimizer::new(Sgd::new(), 0.0));
    compare(&model, &mut workspace, "after the weights were constrained");
}

#[test]
fn training_and_setting_between_predictions_is_seen() {
    changes_are_seen::<f32>();
    changes_are_seen::<f64>();
}

#[test]
fn a_workspace_serves_two_models_and_a_clone_in_turn() {
    let (one, mut other) = (model::<f32>(1), model::<f32>(2));
    let mut clone = one.clone();
    let different = small_convnet::<f32>(3);
    let mut workspace = Workspace::new();
    for round in 0..3 {
        for (model, name) in [(&one, "one"), (&other, "other"), (&clone, "clone")] {
            compare(model, &mut workspace, &format!("of {name} in round {round}"));
        }
        compare(&different, &mut workspace, &format!("of another network in round {round}"));
        train(&mut other, ModelOptimizer::new(Adam::new(), 0.01));
        train(&mut clone, ModelOptimizer::new(Adam::new(), 0.02));
    }
}

#[test]
fn threads_with_their_own_workspaces_share_a_model() {
    let mut model = model::<f32>(1);
    let mut workspaces: Vec<Workspace> = (0..4).map(|_| Workspace::new()).collect();
    for step in 0..3 {
        std::thread::scope(|scope| {
            for workspace in &mut workspaces {
                let model = &model;
                scope.spawn(move || compare(model, workspace, &format!("after {step} steps")));
            }
        });
        train(&mut model, ModelOptimizer::new(Adam::new(), 0.01));
    }
}

#[test]
fn a_lean_workspace_holds_less() {
    // Only what layers keep makes the difference.
    let model = model::<f32>(1);
    let (mut keeping, mut lean) = (Workspace::new(), Workspace::lean());
    let x = normal::<f32>(&batched(8, model.input_shape()), 7);
    model.predict_with(&x, &mut keeping).expect("it fits");
    model.predict_with(&x, &mut lean).expect("it fits");
    let elements = |workspace: &Workspace| -> usize {
        let text = format!("{workspace:?}");
        text.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a number")
    };
    assert!(elements(&keeping) > elements(&lean), "{keeping:?}, {lean:?}");
}
