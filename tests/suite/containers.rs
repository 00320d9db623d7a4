//! Layers made of layers: sums, shortcuts, random depth. Names, freezing, modes and running statistics inside them.

use layerwise::prelude::*;
use layerwise::{Entry, SequentialBuilder, Visitor};

use crate::support::{bits, normal, state};

fn conv(filters: usize) -> Block {
    Block::new().add(Conv2d::new(filters, 3).padding(1).bias(false)).add(BatchNorm::new()).add(Relu)
}

fn names(model: &Sequential) -> Vec<String> {
    state(model).into_iter().map(|(name, _)| name).collect()
}

/// A body that adds 1 to each element.
fn one<F: Scalar>() -> Block<F> {
    Block::new().add(Linear::new(1).weight_init(Zeros).bias_init(Ones))
}

#[test]
fn nested_parameters_are_called_by_their_path() {
    let projection = Block::new().add(Conv2d::new(4, 1).bias(false));
    let depth = StochasticDepth::new(conv(4)).projection(projection);
    let parallel = Parallel::concat().branch(Block::new()).branch(conv(3));
    let model = Sequential::builder([2, 4, 4])
        .add_named("deep", depth)
        .add(parallel)
        .build()
        .expect("it fits");
    let norm = |path: &str| {
        ["weight", "bias", "running_mean", "running_var"].map(|name| format!("{path}.{name}"))
    };
    let expected = [
        vec!["deep.body.0.weight".to_string()],
        norm("deep.body.1").to_vec(),
        vec!["deep.projection.0.weight".to_string(), "1.1.0.weight".to_string()],
        norm("1.1.1").to_vec(),
    ];
    assert_eq!(names(&model), expected.concat());
    assert_eq!(model.output_shape().dims(), [7, 4, 4]);
}

#[test]
fn a_residual_is_the_sum_of_its_body_and_its_shortcut() {
    let body = || Block::new().add(Linear::new(3)).add(Tanh).add(Linear::new(4));
    let projection = || Block::new().add(Linear::new(4));
    let model = Sequential::builder([5])
        .add_named("sum", Residual::new(body()).projection(projection()))
        .build()
        .expect("it fits");
    let x = normal::<f32>(&[6, 5], 0);
    let part = |name: &str, block: Block| {
        let mut part = Sequential::builder([5]).add_named(name, block).build().expect("it fits");
        for info in part.params().collect::<Vec<_>>() {
            let value = model.value(&format!("sum.{}", info.name)).expect("the same parts");
            part.set_value(&info.name, &value).expect("the same shapes");
        }
        part.predict(&x).expect("it fits")
    };
    let sum = part("body", body()) + part("projection", projection());
    assert_eq!(model.predict(&x).expect("it fits"), sum);
}

#[test]
fn the_way_a_block_is_put_in_does_not_change_what_it_computes() {
    // One branch summed up, one branch concatenated, and a nested block are the same function.
    let x = normal::<f32>(&[3, 2, 5, 4], 0);
    let build = |spec: Box<dyn LayerSpec>| {
        let mut model = Sequential::builder([2, 5, 4]).add(spec).build().expect("it fits");
        let value = normal::<f32>(&[3, 2, 3, 3], 9);
        let name = model.params().next().expect("a weight").name;
        model.set_value(&name, &value).expect("the same shape");
        let y = model.forward(&x).expect("it fits").to_owned();
        let dx = model.backward_to_input(&y).expect("there was a forward").to_owned();
        (bits(y.view()), bits(dx.view()))
    };
    let plain = build(Box::new(conv(3)));
    assert_eq!(build(Box::new(Parallel::concat().branch(conv(3)))), plain);
    assert_eq!(build(Box::new(Parallel::sum().branch(conv(3)))), plain);
}

#[test]
fn freezing_inside_a_branch_freezes_that_branch() {
    let parallel = Parallel::sum().branch(conv(2)).branch(conv(2));
    let mut model = Sequential::builder([2, 4, 4]).add(parallel).build().expect("it fits");
    assert_eq!(model.freeze(|p| p.matches("0.0.*")), 3);
    let before = state(&model);
    let y = model.forward(&normal(&[5, 2, 4, 4], 0)).expect("it fits").to_owned();
    model.backward(&y).expect("there was a forward");
    for ((name, was), (_, is)) in before.iter().zip(state(&model)) {
        let moves = name.starts_with("0.1.1.running");
        assert_eq!(*was != is, moves, "{name}: a frozen batch norm's statistics stand still");
    }
    model.visit(&mut Visitor::new(&mut |name, entry| {
        if let Entry::Param(param) = entry {
            let name = name.to_string();
            assert_eq!(param.grad().is_some(), name.starts_with("0.1."), "{name}");
        }
    }));
}

/// Training passes of one block around a batch norm: how many moved its statistics, and how many added the body.
fn survivors(p: f64, passes: usize) -> (usize, usize) {
    let body = Block::new()
        .add(Linear::new(1).weight_init(Ones))
        .add(BatchNorm::new())
        .add(Linear::new(1).weight_init(Zeros).bias_init(Ones));
    let depth = StochasticDepth::new(body).survival(p);
    let mut model = Sequential::builder([1]).add(depth).seed(3).build().expect("it fits");
    let (mut moved, mut added) = (0, 0);
    let x = ndarray::arr2(&[[1.0f32], [2.0]]);
    for _ in 0..passes {
        let before = model.value("0.body.1.running_mean").expect("it exists");
        let y = model.forward(&x).expect("it fits")[[0, 0]];
        added += usize::from(y == 2.0);
        assert!(y == 1.0 || y == 2.0);
        moved += usize::from(model.value("0.body.1.running_mean").expect("it exists") != before);
        // A body that is left out still answers with gradients, of zero.
        model.backward(&Array2::ones((2, 1))).expect("there was a forward");
        let bias = model.param("0.body.2.bias").expect("it exists");
        assert_eq!(bias.grad().expect("written")[0], if y == 2.0 { 2.0 } else { 0.0 });
        model.zero_grad();
    }
    (moved, added)
}

#[test]
fn a_body_survives_as_often_as_it_should_and_its_batch_norm_moves_only_then() {
    for p in [0.2, 0.5, 0.9] {
        let (moved, added) = survivors(p, 4000);
        // The running mean comes so near the batch's, 1.5, that after some hundred steps of 1/10 it stands still.
        assert!(moved <= added && moved > 50);
        // Five standard deviations.
        let error = (added as f64 / 4000.0 - p).abs();
        assert!(error < 5.0 * (p * (1.0 - p) / 4000.0).sqrt(), "{added} of 4000 for {p}");
    }
}

#[test]
fn a_body_that_is_left_out_is_not_run() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let calls = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let [forward, backward] = calls.clone();
    let counting = Lambda::new(
        move |x: View<'_>, mut y: ViewMut<'_>| {
            forward.fetch_add(1, Ordering::Relaxed);
            y.assign(&x);
        },
        move |_, _, dy, mut dx| {
            backward.fetch_add(1, Ordering::Relaxed);
            dx.assign(&dy);
        },
    );
    let depth = StochasticDepth::new(Block::new().add(counting)).survival(0.5);
    let mut model = Sequential::builder([3]).add(depth).build().expect("it fits");
    let x = Array2::ones((2, 3));
    let mut there = 0;
    for _ in 0..100 {
        let y = model.forward(&x).expect("it fits")[[0, 0]];
        there += usize::from(y == 2.0);
        let dx = model.backward_to_input(&x).expect("there was a forward");
        assert_eq!(dx[[1, 2]], y, "the gradient goes the same ways");
        let counts = calls.each_ref().map(|calls| calls.load(Ordering::Relaxed));
        assert_eq!(counts, [there; 2]);
    }
    assert!((20..80).contains(&there));
}

#[test]
fn survival_decays_linearly_over_all_blocks_nested_or_not() {
    let block = || StochasticDepth::new(one()).last_survival(0.2);
    let nested = Block::new().add(block()).add(Parallel::sum().branch(Block::new().add(block())));
    let fixed = StochasticDepth::new(one()).survival(1.0);
    let mut builder = Sequential::builder([1]).add(block()).add(nested).add(fixed).add(block());
    let model = builder.build().expect("it fits");
    // 1 − l/4 · 0.8 for l = 1 to 4, and the fixed one.
    let y = model.predict(&Array2::zeros((1, 1))).expect("it fits")[[0, 0]];
    assert!((y - (0.8 + 0.6 + 0.4 + 0.2 + 1.0)).abs() < 1e-6, "{y}");
    // As part of another model it keeps them; the other counts its own.
    builder = Sequential::builder([1]).add(model).add(StochasticDepth::new(one()));
    let y = builder.build().expect("it fits").predict(&Array2::zeros((1, 1)));
    assert!((y.expect("it fits")[[0, 0]] - (3.0 + 0.5)).abs() < 1e-6);
}

#[test]
fn rows_are_left_out_one_by_one() {
    let depth = StochasticDepth::new(one()).survival(0.3).per_row(true).inverted(true);
    let mut model = SequentialBuilder::<f64>::new([1]).add(depth).build().expect("it fits");
    let y = model.forward(&Array2::zeros((20_000, 1))).expect("it fits").to_owned();
    let there = y.iter().filter(|&&y| (y - 1.0 / 0.3).abs() < 1e-12).count();
    assert_eq!(there + y.iter().filter(|&&y| y == 0.0).count(), 20_000);
    let error = (there as f64 / 20_000.0 - 0.3).abs();
    assert!(error < 5.0 * (0.3f64 * 0.7 / 20_000.0).sqrt(), "{there}");
    // E[factor] = 1: eval mode is right.
    assert_eq!(model.predict(&Array2::zeros((1, 1))).expect("it fits")[[0, 0]], 1.0);
}

#[test]
fn eval_mode_is_the_expectation_of_training() {
    // A body that does not depend on its input: the mean over passes is p times it.
    for inverted in [false, true] {
        let depth = StochasticDepth::new(one()).survival(0.7).inverted(inverted);
        let mut model = Sequential::builder([1]).add(depth).build().expect("it fits");
        let x = Array2::zeros((1, 1));
        let passes = 4000;
        let sum: f32 = (0..passes).map(|_| model.forward(&x).expect("it fits")[[0, 0]]).sum();
        let mean = f64::from(sum) / f64::from(passes);
        let eval = f64::from(model.predict(&x).expect("it fits")[[0, 0]]);
        let size = if inverted { 1.0 / 0.7 } else { 1.0 };
        let error = 5.0 * size * (0.7f64 * 0.3 / f64::from(passes)).sqrt();
        assert!((mean - eval).abs() < error, "{mean} {eval}");
    }
}

#[test]
fn deep_residual_networks_train() {
    let block =
        || Block::new().add(Linear::new(8)).add(Relu).add(Linear::new(8).weight_init(Zeros));
    let mut builder = Sequential::builder([2]).add(Linear::new(8));
    for _ in 0..20 {
        builder = builder.add(StochasticDepth::new(block()));
    }
    let mut model = builder.add(Linear::new(2)).seed(1).build().expect("it fits");
    // Which quadrants: not linear.
    let x = normal::<f32>(&[400, 2], 3);
    let class: Vec<usize> =
        x.outer_iter().map(|row| usize::from((row[0] > 0.0) == (row[1] > 0.0))).collect();
    let data = Dataset::new(x, class).expect("as many");
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
    let mut batches = data.batches(40).expect("not 0").shuffled(Seed::new(1));
    for _ in 0..60 {
        trainer.epoch(&mut model, &mut batches).expect("good batches");
    }
    assert!(accuracy(&model, &data).expect("it fits") > 0.95);
}
