//! Frozen means frozen.

use layerwise::layers::conv_output_size;
use layerwise::prelude::*;

use crate::support::{labels, normal, small_convnet, state};

fn train(model: &mut Sequential, steps: usize) {
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
    for step in 0..steps {
        let x = normal(&[8, 2, 8, 8], step as u64);
        trainer.step(model, &x, &labels(8, 4, step as u64)).expect("a good batch");
    }
}

#[test]
fn frozen_batch_norm_keeps_its_running_statistics_through_training() {
    let mut model = small_convnet::<f32>(1);
    train(&mut model, 2);
    let before = state(&model);
    model.freeze(|p| p.name.starts_with("0.") || p.name.starts_with("1."));
    model.train();
    train(&mut model, 3);
    for ((name, was), (_, is)) in before.iter().zip(state(&model)) {
        let frozen = name.starts_with("0.") || name.starts_with("1.");
        assert_eq!(*was == is, frozen, "{name}");
    }
}

#[test]
fn a_partly_frozen_batch_norm_still_follows_the_batches() {
    let mut model = small_convnet::<f32>(1);
    model.freeze(|p| p.name == "1.weight");
    let before = model.value("1.running_mean");
    train(&mut model, 1);
    assert_ne!(model.value("1.running_mean"), before);
}

#[test]
fn statistics_can_be_held_or_left_to_move_whatever_is_frozen() {
    let norm = |affine: bool| {
        let block = Block::new().add(BatchNorm::new().affine(affine));
        Sequential::builder([3]).add(block).build().expect("it fits")
    };
    let moves = |model: &mut Sequential| {
        let before = model.value("0.0.running_mean");
        let x = normal::<f32>(&[5, 3], 0);
        let y = model.forward(&x).expect("it fits").to_owned();
        // In train mode the output is normalized by the batch's own statistics.
        let normalized = y.mean().is_some_and(|mean| mean.abs() < 1e-6);
        assert_eq!(model.value("0.0.running_mean") != before, normalized);
        normalized
    };
    let mut bare = norm(false);
    assert_eq!(bare.freeze(|_| true), 0);
    assert!(moves(&mut bare), "there is no parameter to freeze");
    assert_eq!(bare.set_statistics(Statistics::Fixed, |name| name.starts_with("0.")), 2);
    assert!(!moves(&mut bare));
    bare.train();
    assert!(!moves(&mut bare), "it survives `train`");
    bare.set_statistics(Statistics::Auto, |_| true);
    assert!(moves(&mut bare));

    let mut model = norm(true);
    model.freeze(|_| true);
    assert!(!moves(&mut model));
    model.set_statistics(Statistics::Follow, |name| name.ends_with("running_var"));
    assert!(moves(&mut model), "one statistic that follows is enough");
    model.set_statistics(Statistics::Fixed, |name| name.ends_with("running_mean"));
    assert!(!moves(&mut model), "and one that is fixed is decisive");
    model.set_statistics(Statistics::Follow, |_| true);
    model.eval();
    assert!(!moves(&mut model), "eval mode is eval mode");
}

#[test]
fn nesting_does_not_change_what_freezing_means() {
    let block = || Block::new().add(Linear::new(6)).add(BatchNorm::new()).add(Dropout::new(0.5));
    let build =
        |spec: Block| Sequential::builder([3]).add(spec).add(Linear::new(2)).seed(1).build();
    let mut model = build(block()).expect("it fits");
    model.freeze(|p| p.name.starts_with("0."));
    let before = model.value("0.1.running_mean");
    let x = normal::<f32>(&[5, 3], 0);
    let first = model.forward(&x).expect("it fits").to_owned();
    let second = model.forward(&x).expect("it fits").to_owned();
    assert_eq!(model.value("0.1.running_mean"), before, "batch norm stands still");
    assert_ne!(first, second, "dropout, which has no parameters, still drops");
}

#[test]
fn backward_stops_at_the_lowest_trainable_layer() {
    /// Fails if anybody asks for a gradient below it.
    #[derive(Debug, Clone)]
    struct Wall;

    impl Layer for Wall {
        fn kind(&self) -> &'static str {
            "Wall"
        }
        fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
            Ok(input.clone())
        }
        fn forward(&self, mut pass: Forward<'_>) -> Result<()> {
            pass.output.assign(&pass.input);
            Ok(())
        }
        fn backward(&mut self, _pass: Backward<'_>) -> Result<()> {
            Err(Error::layer("Wall", "nobody needs this gradient"))
        }
    }

    let mut model = Sequential::builder([3])
        .add(Linear::new(4))
        .add_layer(Wall)
        .add(Linear::new(2))
        .build()
        .expect("it fits");
    let x = normal::<f32>(&[5, 3], 0);
    let y = model.forward(&x).expect("it fits").to_owned();
    assert_eq!(
        model.backward(&y).unwrap_err().to_string(),
        "layer 1 (Wall): nobody needs this gradient"
    );
    model.freeze(|p| p.name.starts_with("0."));
    model.forward(&x).expect("it fits");
    model.backward(&y).expect("the wall is below the lowest trainable layer");
    assert!(model.backward_to_input(&y).is_err());
}

#[test]
fn an_unfrozen_parameter_starts_with_fresh_optimizer_state() {
    let mut model =
        Sequential::builder([1]).add(Linear::new(1).bias(false)).build().expect("it fits");
    let mut optimizer = ModelOptimizer::new(Adam::new(), 0.1);
    let mut step = |model: &mut Sequential| {
        model.forward(&ndarray::arr2(&[[1.0]])).expect("it fits");
        model.backward(&ndarray::arr2(&[[1.0]])).expect("there was a forward");
        optimizer.step(model).expect("gradients are there").parameters
    };
    assert_eq!(step(&mut model), 1);
    model.freeze(|_| true);
    let before = state(&model);
    assert_eq!(step(&mut model), 0);
    assert_eq!(state(&model), before);
    model.unfreeze(|_| true);
    assert_eq!(step(&mut model), 1);
}

#[test]
fn saliency_is_the_gradient_by_the_input_in_eval_mode() {
    let mut model = small_convnet::<f64>(2);
    model.eval();
    let mut x = normal::<f64>(&[1, 2, 8, 8], 3);
    model.forward(&x).expect("it fits");
    let mut pick = ArrayD::<f64>::zeros(ndarray::IxDyn(&[1, 4]));
    pick[[0, 2]] = 1.0;
    let saliency = model.backward_to_input(&pick).expect("there was a forward").to_owned();
    for index in [[0, 0, 1, 1], [0, 1, 4, 7], [0, 1, 7, 0]] {
        let h = 1e-6;
        let mut score = |delta: f64| {
            x[index] += delta;
            let score = model.predict(&x).expect("it fits")[[0, 2]];
            x[index] -= delta;
            score
        };
        let numeric = (score(h) - score(-h)) / (2.0 * h);
        assert!((saliency[index] - numeric).abs() < 1e-7, "{} {numeric}", saliency[index]);
    }
}

#[test]
fn a_model_without_layers_is_the_identity() {
    let mut model = Sequential::builder([3]).build().expect("nothing has to fit");
    let x = normal::<f32>(&[2, 3], 0);
    assert_eq!(model.forward(&x).expect("it fits"), x);
    assert_eq!(model.predict(&x).expect("it fits"), x);
    assert_eq!(model.backward_to_input(&x).expect("there was a forward"), x);
    let mut flat = Sequential::builder([1, 3]).add(Flatten).build().expect("it fits");
    let x = normal::<f32>(&[2, 1, 3], 0);
    let y = flat.forward(&x).expect("it fits").to_owned();
    assert_eq!(y.shape(), [2, 3]);
    assert_eq!(flat.backward_to_input(&y).expect("there was a forward"), x);
}

#[test]
fn output_sizes_are_the_courses() {
    // The notes: (N − F) / stride + 1, and with padding (W − F + 2P) / S + 1.
    assert_eq!(conv_output_size(7, 3, 1, 0, 1).expect("it fits"), 5);
    assert_eq!(conv_output_size(7, 3, 2, 0, 1).expect("it fits"), 3);
    assert_eq!(conv_output_size(32, 5, 1, 2, 1).expect("it fits"), 32);
}
