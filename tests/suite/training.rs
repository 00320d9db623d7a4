//! Models learn.

use layerwise::prelude::*;

use crate::support::{labels, normal};

/// Points of three classes on interleaved spirals.
fn spirals(per_class: usize) -> Dataset {
    let mut rng = Seed::new(1).rng();
    let count = 3 * per_class;
    let samples = ArrayD::from_shape_fn(ndarray::IxDyn(&[count, 2]), |at| {
        let (class, i) = (at[0] / per_class, at[0] % per_class);
        let radius = i as f64 / per_class as f64;
        let angle = 4.0 * radius + 2.1 * class as f64;
        let noise = 0.03 * rng.normal();
        let value = if at[1] == 0 { radius * angle.sin() } else { radius * angle.cos() };
        (value + noise) as f32
    });
    Dataset::new(samples, (0..count).map(|i| i / per_class).collect())
        .expect("as many labels as points")
}

fn final_loss<L: Loss<f32, Target = [usize]>>(
    loss: L,
    optimizer: ModelOptimizer,
    epochs: usize,
) -> f64 {
    let data = spirals(100);
    let mut model = Sequential::builder([2])
        .add(Linear::new(64))
        .add(Relu)
        .add(Linear::new(3))
        .seed(1)
        .build()
        .expect("it fits");
    let mut trainer = Trainer::new(loss, optimizer);
    let mut batches = data.batches(50).expect("not 0").shuffled(Seed::new(2));
    for _ in 0..epochs {
        trainer.epoch(&mut model, &mut batches).expect("good batches");
    }
    trainer.evaluate(&model, &mut data.batches(300).expect("not 0")).expect("a good batch").loss
}

#[test]
fn the_courses_spirals_are_learned_by_every_rule_and_loss() {
    let optimizer = |rule: Sgd, lr| ModelOptimizer::new(rule, lr);
    let cross = CrossEntropy::new;
    assert!(final_loss(cross(), optimizer(Sgd::new(), 0.5), 200) < 0.25);
    assert!(final_loss(cross(), optimizer(Sgd::new().momentum(0.9), 0.1), 100) < 0.15);
    assert!(
        final_loss(cross(), optimizer(Sgd::new().momentum(0.9).nesterov(true), 0.1), 100) < 0.15
    );
    assert!(final_loss(cross(), ModelOptimizer::new(Adam::new(), 0.01), 100) < 0.15);
    assert!(final_loss(cross(), ModelOptimizer::new(AdamW::new(), 0.01), 100) < 0.15);
    assert!(final_loss(cross(), ModelOptimizer::new(AdaGrad::new(), 0.1), 100) < 0.15);
    assert!(final_loss(cross(), ModelOptimizer::new(AdaDelta::new(), 1.0), 200) < 0.25);
    assert!(final_loss(cross(), ModelOptimizer::new(RmsProp::new(), 0.01), 100) < 0.15);
    assert!(final_loss(cross(), ModelOptimizer::new(NAdam::new(), 0.01), 100) < 0.15);
    assert!(final_loss(cross(), ModelOptimizer::new(RAdam::new(), 0.01), 100) < 0.15);
    assert!(final_loss(cross(), ModelOptimizer::new(Adamax::new(), 0.02), 100) < 0.15);
    assert!(final_loss(cross(), ModelOptimizer::new(Lion::new(), 0.003), 100) < 0.15);
    assert!(final_loss(MulticlassHinge::new(), ModelOptimizer::new(Adam::new(), 0.01), 100) < 0.2);
}

#[test]
fn regression_finds_the_line() {
    let x = normal::<f64>(&[200, 3], 0);
    let truth = ndarray::arr2(&[[2.0], [-1.0], [0.5]]);
    let flat = x.clone().into_dimensionality::<ndarray::Ix2>().expect("two axes");
    let data = Dataset::new(x, (flat.dot(&truth) + 3.0).into_dyn()).expect("200 each");
    let mut model =
        SequentialBuilder::<f64>::new([3]).add(Linear::new(1)).build().expect("it fits");
    let mut trainer = Trainer::new(Mse::new(), ModelOptimizer::new(Sgd::new(), 0.1));
    let mut batches = data.batches(20).expect("not 0").shuffled(Seed::new(0));
    for _ in 0..60 {
        trainer.epoch(&mut model, &mut batches).expect("good batches");
    }
    let weight = model.value("0.weight").expect("it exists");
    for (got, want) in weight.iter().zip([2.0, -1.0, 0.5]) {
        assert!((got - want).abs() < 1e-9, "{weight}");
    }
    assert!((model.value("0.bias").expect("it exists")[0] - 3.0).abs() < 1e-9);
}

#[test]
fn a_schedule_scales_the_rate_of_each_step() {
    let mut model = Sequential::builder([1]).add(Linear::new(2)).build().expect("it fits");
    let optimizer =
        ModelOptimizer::new(Sgd::new(), 0.8).schedule(StepDecay { every: 2, gamma: 0.5 });
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
    let rates: Vec<f64> = (0..5)
        .map(|_| trainer.step(&mut model, &Array2::ones((1, 1)), &[0]).expect("a good batch").lr)
        .collect();
    assert_eq!(rates, [0.8, 0.8, 0.4, 0.4, 0.2]);
}

#[test]
fn the_first_loss_is_what_the_course_expects() {
    // Ten classes, small random weights: about ln 10 for softmax, 9 for the SVM.
    let layer = || Linear::new(10).weight_init(Normal::new(0.0, 1e-4));
    let model = SequentialBuilder::<f64>::new([50]).add(layer()).build().expect("it fits");
    let x = normal::<f64>(&[40, 50], 0);
    let y = model.predict(&x).expect("it fits");
    let target = labels(40, 10, 1);
    let softmax = CrossEntropy::new().value(y.view(), &target).expect("good targets");
    let svm = MulticlassHinge::new().value(y.view(), &target).expect("good targets");
    assert!((softmax - 10f64.ln()).abs() < 1e-3 && (svm - 9.0).abs() < 1e-2);
}
