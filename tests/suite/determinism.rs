//! The same seed gives the same bits, on any number of threads.

use layerwise::prelude::*;

use crate::support::{labels, normal, small_convnet, state};

/// Wide enough that every kernel splits its work.
fn wide_convnet(seed: u64) -> Sequential {
    Sequential::builder([3, 32, 32])
        .add(Conv2d::new(32, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(48, 3).padding(1))
        .add(AvgPool2d::new(3).stride(2).padding(1))
        .add(Conv2d::new(80, 3).stride(2))
        .add(BatchNorm::new())
        .add(Tanh)
        .add(Flatten)
        .add(Dropout::new(0.5))
        .add(Linear::new(300))
        .add(BatchNorm::new())
        .add(Sigmoid)
        .add(Linear::new(10))
        .seed(seed)
        .build()
        .expect("the layers fit")
}

/// Losses and final state of a few steps.
fn train(mut model: Sequential, seed: u64) -> (Vec<u32>, Vec<(String, Vec<u64>)>) {
    let samples = normal(&[&[70], model.input_shape().dims()].concat(), 5);
    let classes = model.output_shape().numel();
    let data = Dataset::new(samples, labels(70, classes, 6)).expect("as many labels as samples");
    let optimizer = ModelOptimizer::new(AdamW::new(), 1e-3).clip(Clip::Norm(1.0));
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
    let mut batches = data.batches(32).expect("not 0").shuffled(Seed::new(seed));
    model.set_regularizer(L2(1e-3), |p| p.role == Role::Weight);
    let mut losses = Vec::new();
    for _ in 0..2 {
        let each = |step: &layerwise::training::Step| {
            losses.push(step.loss.to_bits());
            std::ops::ControlFlow::Continue(())
        };
        trainer.epoch_with(&mut model, &mut batches, each).expect("good batches");
    }
    (losses, state(&model))
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| train(wide_convnet(1), 2))
    };
    let one = on(1);
    assert!(on(2) == one, "two threads differ from one");
    assert!(on(3) == one, "three threads differ from one");
    assert!(train(wide_convnet(1), 2) == one, "outside a pool differs from one thread");
}

#[test]
fn a_seed_fixes_everything_and_another_changes_it() {
    let run = |seed: u64| train(small_convnet(seed), seed);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn a_prediction_does_not_depend_on_its_batch() {
    let model = small_convnet::<f32>(3);
    let x = normal::<f32>(&[9, 2, 8, 8], 0);
    let together = model.predict(&x).expect("it fits");
    let pair = model.predict(x.slice_axis(Axis(0), ndarray::Slice::from(4..8))).expect("it fits");
    assert_eq!(together.slice_axis(Axis(0), ndarray::Slice::from(4..8)), pair);
}

#[test]
fn an_epoch_has_its_own_order_whatever_came_before() {
    let data =
        Dataset::new(normal::<f32>(&[20, 1], 0), (0..20).collect::<Vec<usize>>()).expect("20 each");
    let order = |epoch: u64, before: usize| {
        let mut batches = data.batches(6).expect("not 0").shuffled(Seed::new(4));
        for _ in 0..before {
            batches.next_batch().expect("in memory");
        }
        batches.set_epoch(epoch);
        let mut order = Vec::new();
        while let Some(batch) = batches.next_batch().expect("in memory") {
            order.extend_from_slice(batch.target);
        }
        order
    };
    assert_eq!(order(3, 0), order(3, 9));
    assert_ne!(order(3, 0), order(2, 0));
    let mut sorted = order(3, 0);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..20).collect::<Vec<_>>());
}
