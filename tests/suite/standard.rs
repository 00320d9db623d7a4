//! Networks of the layers that most libraries have: on several threads, loaded, truncated.

use layerwise::prelude::*;
use layerwise::{SequentialBuilder, View};

use crate::support::{bits, normal, state};

/// Images large enough that every kernel splits its work.
fn images() -> Sequential {
    Sequential::builder([6, 24, 24])
        .add(ZeroPad::sides(0, 1, 1, 0))
        .add(Conv2d::new(32, 3).padding(1))
        .add(GroupNorm::new(4))
        .add(Conv2d::new(32, 3).padding(1).groups(32))
        .add(InstanceNorm::new().affine(true))
        .add(LocalResponseNorm::new(5))
        .add(AdaptiveMaxPool2d::new(11))
        .add(ConvTranspose2d::new(24, 4).stride(2).padding(1))
        .add(Upsample::new(2))
        .add(AdaptiveAvgPool2d::new(20))
        .add(Upsample::to((33, 31)).bilinear())
        .add(LayerNorm::new())
        .add(Permute::new([1, 2, 0]))
        .add(Permute::new([2, 0, 1]))
        .add(GlobalMaxPool)
        .build()
        .expect("the layers fit")
}

fn sequences() -> Sequential {
    Sequential::builder([40, 12])
        .add(Rnn::new(96).sequences(true))
        .add(LayerNorm::new().last_axes(1))
        .add(Gru::new(80).sequences(true))
        .add(Permute::new([1, 0]))
        .add(Conv1d::new(64, 5).padding(2))
        .add(Permute::new([1, 0]))
        .add(Lstm::new(96))
        .build()
        .expect("the layers fit")
}

fn words() -> Sequential {
    Sequential::builder([50])
        .add(Embedding::new(30, 200))
        .add(LayerNorm::new().last_axes(1))
        .build()
        .expect("the layers fit")
}

/// Output, and the gradient of every parameter.
fn passes(mut model: Sequential, x: View<'_>) -> Vec<Vec<u64>> {
    let y = model.forward(x).expect("a good batch").to_owned();
    let grad = normal::<f32>(y.shape(), 3);
    model.backward(&grad).expect("there was a forward");
    let mut all = vec![bits(y.view())];
    for info in model.params().collect::<Vec<_>>() {
        let param = model.param(&info.name).expect("it is there");
        all.push(bits(param.grad().expect("it was written")));
    }
    all
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let ids = normal::<f32>(&[32, 50], 1).mapv(|x| (x.abs() * 9.0).floor().min(29.0));
    let inputs = [normal::<f32>(&[16, 6, 24, 24], 1), normal::<f32>(&[32, 40, 12], 1), ids];
    let all = || -> Vec<_> {
        let models = [images(), sequences(), words()];
        models.into_iter().zip(&inputs).map(|(model, x)| passes(model, x.view())).collect()
    };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(all)
    };
    let one = on(1);
    assert!(on(2) == one, "two threads differ from one");
    assert!(on(3) == one, "three threads differ from one");
    assert!(all() == one, "outside a pool differs from one thread");
}

#[test]
fn a_truncated_gradient_is_that_of_the_last_part_alone() {
    let build = |steps, truncate: Option<usize>| {
        let lstm = Lstm::new(4);
        let lstm = if let Some(steps) = truncate { lstm.truncate(steps) } else { lstm };
        SequentialBuilder::<f64>::new([steps, 3]).add(lstm).seed(1).build().expect("it fits")
    };
    let x = normal::<f64>(&[2, 7, 3], 1);
    let grad = normal::<f64>(&[2, 4], 2);
    let mut whole = build(7, None);
    let mut parts = build(7, Some(3));
    let y = whole.forward(&x).expect("it fits").to_owned();
    assert_eq!(parts.forward(&x).expect("it fits"), y);
    let dx = parts.backward_to_input(&grad).expect("there was a forward").to_owned();
    // Parts of steps 0 to 2, 3 to 5 and 6: the last state's gradient reaches step 6 only.
    assert!(dx.indexed_iter().all(|(at, &dx)| (dx != 0.0) == (at[1] == 6)));
    // A part as long as the sequence changes nothing.
    let mut long = build(7, Some(100));
    long.forward(&x).expect("it fits");
    whole.backward_to_input(&grad).expect("there was a forward");
    let dx = long.backward_to_input(&grad).expect("there was a forward").to_owned();
    whole.forward(&x).expect("it fits");
    assert_eq!(whole.backward_to_input(&grad).expect("there was a forward"), dx);
}

#[test]
fn recurrent_parameters_have_pytorch_s_names_and_shapes() {
    let model = Sequential::builder([5, 3]).add(Lstm::new(2)).build().expect("it fits");
    let names: Vec<(String, Vec<usize>)> =
        model.params().map(|p| (p.name.clone(), p.shape.dims().to_vec())).collect();
    let want = [
        ("0.weight_ih_l0", vec![8, 3]),
        ("0.weight_hh_l0", vec![8, 2]),
        ("0.bias_ih_l0", vec![8]),
        ("0.bias_hh_l0", vec![8]),
    ];
    assert_eq!(names, want.map(|(name, shape)| (name.to_string(), shape)));
    // U(±1/√2), and not all the same.
    let values = model.value("0.weight_hh_l0").expect("it is there");
    assert!(values.iter().all(|w| w.abs() <= 0.5f32.sqrt()));
    assert!(values.iter().any(|w| w.abs() > 0.35));
}

#[test]
fn the_padding_row_starts_at_zero_and_stays_there() {
    let embedding = Embedding::new(4, 3).padding(1);
    let mut model = Sequential::builder([2]).add(embedding).build().expect("it fits");
    let before = state(&model);
    let is_zero = |model: &Sequential| {
        let weight = model.value("0.weight").expect("it is there");
        weight.index_axis(Axis(0), 1).iter().all(|&x| x == 0.0)
    };
    assert!(is_zero(&model));
    model.forward(&ndarray::arr2(&[[1.0, 2.0]])).expect("ids in range");
    model.backward(&normal::<f32>(&[1, 2, 3], 1)).expect("there was a forward");
    ModelOptimizer::new(Sgd::new(), 0.5).step(&mut model).expect("a good step");
    assert!(is_zero(&model));
    assert_ne!(state(&model), before, "the other row moved");
}

/// A sequence that an order decides: whether the larger of two marked numbers comes first.
#[test]
fn a_small_lstm_learns_what_depends_on_order() {
    let mut rng = Seed::new(3).rng();
    let (samples, steps) = (256, 6);
    let mut x = Array3::<f32>::zeros((samples, steps, 1));
    let mut classes = Vec::new();
    for mut sequence in x.outer_iter_mut() {
        sequence.map_inplace(|x| *x = rng.uniform() as f32 - 0.5);
        classes.push(usize::from(sequence[[0, 0]] > sequence[[steps - 1, 0]]));
    }
    let data = Dataset::new(x.clone().into_dyn(), classes).expect("as many");
    let mut model = Sequential::builder([steps, 1])
        .add(Lstm::new(16))
        .add(Linear::new(2))
        .seed(1)
        .build()
        .expect("it fits");
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
    let mut batches = data.batches(32).expect("not 0").shuffled(Seed::new(1));
    for _ in 0..60 {
        trainer.epoch(&mut model, &mut batches).expect("good batches");
    }
    let right = accuracy(&model, &data).expect("a classifier");
    // Guessing gives a half, the first number alone about three quarters.
    assert!(right > 0.9, "{right}");
}
