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

/// Every layer that a norm can become part of, with and without a bias of its own, alone and in groups.
#[test]
fn a_norm_becomes_part_of_every_layer_that_multiplies() {
    fn check<F: Scalar>(bound: f64) {
        let norm = BatchNorm::new;
        let image = || SequentialBuilder::<F>::new([4, 7, 6]);
        let line = || SequentialBuilder::<F>::new([4, 15]);
        let nets: Vec<(SequentialBuilder<F>, &[&str])> = vec![
            (image().add(Conv2d::new(6, 3)).add(norm()).add(Relu), &["Conv2d", "Relu"]),
            (
                image().add(Conv2d::new(6, 3).bias(false)).add(norm()).add(Relu6),
                &["Conv2d", "Relu6"],
            ),
            // Depthwise, with a multiplier too, and pointwise behind it.
            (image().add(Conv2d::new(4, 3).groups(4).padding(1)).add(norm()), &["Conv2d"]),
            (
                image()
                    .add(Conv2d::new(8, 3).groups(4).stride(2).bias(false))
                    .add(norm())
                    .add(Relu)
                    .add(Conv2d::new(5, 1).bias(false))
                    .add(norm().affine(false)),
                &["Conv2d", "Relu", "Conv2d"],
            ),
            (image().add(Conv2d::new(6, 3).groups(2).dilation(2)).add(norm()), &["Conv2d"]),
            // By way of Winograd's transform, and by another.
            (image().add(Conv2d::new(18, 3).padding(1)).add(norm()), &["Conv2d"]),
            (line().add(Conv1d::new(6, 3)).add(norm()).add(Relu), &["Conv1d", "Relu"]),
            (
                line().add(Conv1d::new(6, 4).groups(2).stride(2).bias(false)).add(norm()),
                &["Conv1d"],
            ),
            (image().add(ConvTranspose2d::new(6, 3).stride(2)).add(norm()), &["ConvTranspose2d"]),
            (
                image().add(ConvTranspose2d::new(6, 2).stride(2).groups(2).bias(false)).add(norm()),
                &["ConvTranspose2d"],
            ),
            (image().add(ConvTranspose2d::new(4, 3).groups(4)).add(norm()), &["ConvTranspose2d"]),
            (image().add(Flatten).add(Linear::new(9)).add(norm()), &["Flatten", "Linear"]),
            (
                image().add(Flatten).add(Linear::new(9).bias(false)).add(norm()),
                &["Flatten", "Linear"],
            ),
            // Two norms in a row: both.
            (image().add(Conv2d::new(3, 2)).add(norm()).add(norm()), &["Conv2d"]),
            // Inside of nested blocks, to any depth.
            (
                image().add(Block::new().add(Block::new().add(Conv2d::new(3, 2)).add(norm()))),
                &["Sequential"],
            ),
        ];
        for (builder, kinds) in nets {
            let kinds = [kinds, &["Flatten", "Linear"]].concat();
            let builder = builder.add(Flatten).add(Linear::new(3)).seed(2);
            let model = trained(builder.build().expect("it fits"));
            let norms = |model: &Sequential<F>| {
                state(model).iter().filter(|(name, _)| name.ends_with("running_mean")).count()
            };
            assert!(norms(&model) > 0);
            assert_eq!(norms(&model.clone().into_inference().expect("it fits")), 0, "{kinds:?}");
            same(model, &kinds, bound);
        }
    }
    check::<f32>(1e-5);
    check::<f64>(1e-13);
}

/// What a norm cannot become part of, it stays behind.
#[test]
fn a_norm_stays_where_nothing_before_it_multiplies() {
    let conv = || Conv2d::new(4, 3).padding(1);
    let image = || Sequential::builder([4, 6, 6]);
    let nets: Vec<(SequentialBuilder, &[&str])> = vec![
        (
            image().add(Residual::new(Block::new().add(conv()))).add(BatchNorm::new()),
            &["Residual", "BatchNorm"],
        ),
        (image().add(conv()).add(Relu).add(BatchNorm::new()), &["Conv2d", "Relu", "BatchNorm"]),
        (
            image().add(conv()).add(MaxPool2d::new(2)).add(BatchNorm::new()),
            &["Conv2d", "MaxPool2d", "BatchNorm"],
        ),
        (image().add(Block::new().add(conv())).add(BatchNorm::new()), &["Sequential", "BatchNorm"]),
        // Another order of the channels.
        (
            image().add(conv()).add(Permute::new([1, 0, 2])).add(BatchNorm::new()),
            &["Conv2d", "Permute", "BatchNorm"],
        ),
    ];
    for (builder, kinds) in nets {
        let kinds = [kinds, &["Flatten", "Linear"]].concat();
        let model = builder.add(Flatten).add(Linear::new(3)).build().expect("it fits");
        same(trained(model), &kinds, 1e-5);
    }
}

#[cfg(feature = "serde")]
#[test]
fn the_inference_form_comes_back_from_a_file() {
    let model = trained(everything::<f32>(3)).into_inference().expect("it fits");
    let opened = Sequential::from_bytes(&model.model_to_bytes().expect("saved")).expect("whole");
    let x = normal::<f32>(&batched(5, model.input_shape()), 7);
    assert_eq!(opened.predict(&x).expect("it fits"), model.predict(&x).expect("it fits"));
}
