//! One model, many threads.

use std::sync::Arc;

use layerwise::prelude::*;

use crate::support::{bits, normal, small_convnet};

#[test]
fn everything_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<Sequential>();
    check::<Sequential<f64>>();
    check::<Workspace>();
    check::<ModelOptimizer>();
    check::<Trainer<CrossEntropy>>();
    check::<Error>();
    check::<Box<dyn Layer>>();
}

#[test]
fn an_arc_of_a_model_predicts_from_many_threads_while_clones_train() {
    let model = Arc::new(small_convnet::<f32>(1));
    let x = Arc::new(normal::<f32>(&[5, 2, 8, 8], 1));
    let alone = bits(model.predict(&*x).expect("it fits").view());
    let threads: Vec<_> = (0..4)
        .map(|i| {
            let (model, x, alone) = (model.clone(), x.clone(), alone.clone());
            std::thread::spawn(move || {
                let mut own = (*model).clone();
                let mut trainer =
                    Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
                for _ in 0..5 {
                    trainer.step(&mut own, &*x, &[0, 1, 2, 3, i]).expect("a good batch");
                    assert_eq!(bits(model.predict(&*x).expect("it fits").view()), alone);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

#[test]
fn one_workspace_serves_models_of_different_sizes() {
    let small = Sequential::builder([3]).add(Linear::new(2)).build().expect("it fits");
    let large = small_convnet::<f32>(0);
    let mut workspace = Workspace::new();
    for _ in 0..2 {
        let (a, b) = (normal::<f32>(&[7, 3], 0), normal::<f32>(&[2, 2, 8, 8], 1));
        let expected = (small.predict(&a).expect("it fits"), large.predict(&b).expect("it fits"));
        assert_eq!(small.predict_with(&a, &mut workspace).expect("it fits"), expected.0);
        assert_eq!(large.predict_with(&b, &mut workspace).expect("it fits"), expected.1);
    }
}

#[test]
fn any_memory_layout_of_the_input_gives_the_same() {
    let model = small_convnet::<f32>(0);
    let x = normal::<f32>(&[3, 2, 8, 8], 0);
    let mut reversed = ArrayD::zeros(ndarray::ShapeBuilder::f(ndarray::IxDyn(x.shape())));
    reversed.assign(&x);
    assert_eq!(model.predict(&x).expect("it fits"), model.predict(&reversed).expect("it fits"));
    let mut trained = model.clone();
    let y = trained.forward(&reversed).expect("it fits").to_owned();
    let turned = y.t().to_owned();
    trained.backward(turned.t()).expect("there was a forward");
}
