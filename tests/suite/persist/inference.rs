//! The form of a model that only predicts.

use layerwise::SequentialBuilder;
use layerwise::prelude::*;

use crate::support::{batched, labels, normal, small_convnet, state};

/// With running statistics and weights that are not those of a new model.
fn trained<F: Scalar>(mut model: Sequential<F>) -> Sequential<F> {
    let classes = model.output_shape().dims()[0];
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
    for seed in 0..10 {
        let x = normal::<F>(&batched(16, model.input_shape()), seed)
            .mapv(|x| x * F::lit(3.0) + F::one());
        trainer.step(&mut model, &x, &labels(16, classes, seed)).expect("good data");
    }
    model
}

fn same<F: Scalar>(model: Sequential<F>, kinds: &[&str], bound: f64) {
    let x = normal::<F>(&batched(9, model.input_shape()), 77);
    let before = model.predict(&x).expect("it fits");
    let inference = model.into_inference().expect("it fits");
    let got: Vec<_> = inference.summary().rows.iter().map(|row| row.kind).collect();
    assert_eq!(got, kinds);
    assert_eq!(inference.mode(), Mode::Eval);
    let after = inference.predict(&x).expect("it fits");
    let most = before.iter().fold(0.0, |most: f64, y| most.max(y.widen().abs()));
    for (before, after) in before.iter().zip(&after) {
        let error = (before.widen() - after.widen()).abs() / most;
        assert!(error <= bound, "{error:e}");
    }
    // Done once, it is done.
    let twice = inference.clone().into_inference().expect("it fits");
    assert_eq!(state(&twice), state(&inference));
}

fn everything<F: Scalar>(seed: u64) -> Sequential<F> {
    let block = Block::new()
        .add(Conv2d::new(6, 3).padding(1))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Dropout::new(0.2));
    SequentialBuilder::new([2, 8, 8])
        .add(BatchNorm::new())
        .add(block)
        .add(Conv2d::new(8, 3).groups(2).bias(false))
        .add(GaussianNoise::new(0.1))
        .add(BatchNorm::new().affine(false))
        .add(Gelu)
        .add(MaxPool2d::new(2))
        .add(BatchNorm::new())
        .add(Flatten)
        .add(Linear::new(16))
        .add(Dropout::new(0.5))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Linear::new(4))
        .seed(seed)
        .build()
        .expect("it fits")
}

#[test]
fn the_inference_form_gives_the_same_outputs() {
    // The first norm has nothing to fold into, and one stands behind a pooling.
    let kinds = [
        "BatchNorm",
        "Sequential",
        "Conv2d",
        "Gelu",
        "MaxPool2d",
        "BatchNorm",
        "Flatten",
        "Linear",
        "Relu",
        "Linear",
    ];
    same(trained(everything::<f32>(1)), &kinds, 1e-5);
    same(trained(everything::<f64>(1)), &kinds, 1e-13);
    let kinds = [
        "Conv2d",
        "Relu",
        "MaxPool2d",
        "Conv2d",
        "LeakyRelu",
        "Flatten",
        "Linear",
        "Tanh",
        "Linear",
    ];
    same(trained(small_convnet::<f32>(2)), &kinds, 1e-5);
}

#[test]
fn names_stay_and_nested_models_lose_their_norms_too() {
    let model = trained(everything::<f32>(1)).into_inference().expect("it fits");
    let names: Vec<String> = model.params().map(|param| param.name).collect();
    assert_eq!(
        names,
        [
            "0.weight",
            "0.bias",
            "1.0.weight",
            "1.0.bias",
            "2.weight",
            "2.bias",
            "7.weight",
            "7.bias",
            "9.weight",
            "9.bias",
            "13.weight",
            "13.bias"
        ]
    );
    // It can be saved and loaded like any other.
    let mut again = everything::<f32>(5).into_inference().expect("it fits");
    again.load_bytes(&model.to_bytes().expect("saved")).expect("it fits");
    assert_eq!(state(&again), state(&model));
}

#[test]
fn norms_inside_branches_are_folded_too() {
    let conv = |filters| {
        Block::new().add(Conv2d::new(filters, 3).padding(1).bias(false)).add(BatchNorm::new())
    };
    let model = Sequential::builder([2, 6, 6])
        .add(Residual::new(conv(4).add(Relu)).projection(conv(4)))
        .add(StochasticDepth::new(conv(4)).survival(0.9))
        .add(Parallel::sum().branch(conv(4)).branch(conv(4).add(Tanh)))
        .add(Flatten)
        .add(Linear::new(3));
    let model = trained(model.build().expect("it fits"));
    let names = |model: &Sequential| model.params().filter(|p| p.shape.rank() == 1).count();
    // Five norms with a scale and a shift, and the bias of the last layer.
    assert_eq!(names(&model), 11);
    assert_eq!(names(&model.clone().into_inference().expect("it fits")), 6);
    same(model, &["Residual", "StochasticDepth", "Parallel", "Flatten", "Linear"], 1e-5);
}
