//! Randomness has the distribution it should have.

use layerwise::prelude::*;

use crate::support::labels;

fn moments(values: &ArrayD<f64>) -> (f64, f64) {
    let mean = values.mean().expect("not empty");
    (mean, values.std(0.0))
}

fn weights(initializer: impl Initializer + Clone + 'static) -> ArrayD<f64> {
    let layer = Linear::new(200).weight_init(initializer);
    let model = SequentialBuilder::<f64>::new([300]).add(layer).seed(1).build().expect("it fits");
    model.value("0.weight").expect("it exists")
}

/// What a standard normal variable keeps of its spread when cut at ± 2: `√(1 − 2·2 φ(2) / (2 Φ(2) − 1))`.
const CUT: f64 = 0.879_625_661_034_239_8;

#[test]
fn initializers_have_their_mean_and_spread() {
    // 60,000 values. The mean's standard error is std / √60,000, that of the spread at most std / √120,000 (less for
    // distributions with thinner tails than the normal one). Five of them: one false alarm in a million.
    let check = |values: ArrayD<f64>, std: f64| {
        let (mean, got) = moments(&values);
        let count = values.len() as f64;
        assert_eq!(count, 60_000.0);
        assert!(mean.abs() < 5.0 * std / count.sqrt(), "{mean}");
        assert!((got - std).abs() < 5.0 * std / (2.0 * count).sqrt(), "{got} {std}");
    };
    check(weights(HeNormal::default()), (2.0f64 / 300.0).sqrt());
    check(weights(HeUniform::default()), (2.0f64 / 300.0).sqrt());
    check(weights(HeNormal::default().mode(FanMode::Out)), (2.0f64 / 200.0).sqrt());
    check(weights(XavierNormal::default()), (2.0f64 / 500.0).sqrt());
    check(weights(XavierUniform::default().gain(Gain::Tanh)), 5.0 / 3.0 * (2.0f64 / 500.0).sqrt());
    check(weights(LeCunNormal::default()), (1.0f64 / 300.0).sqrt());
    check(weights(LeCunUniform::default().gain(Gain::Selu)), 0.75 * (1.0f64 / 300.0).sqrt());
    check(weights(Normal::default()), 0.01);
    check(weights(TruncatedNormal::new(0.0, 0.5)), 0.5 * CUT);
    check(weights(Uniform::new(-0.3, 0.3)), 0.6 / 12f64.sqrt());
    check(weights(TorchDefault), (1.0f64 / 300.0).sqrt() / 3f64.sqrt());
    assert!(weights(Uniform::new(-0.3, 0.3)).iter().all(|w| (-0.3..0.3).contains(w)));
    assert!(weights(TruncatedNormal::new(1.0, 0.5)).iter().all(|w| (0.0..=2.0).contains(w)));
    assert!(weights(Constant(0.5)).iter().all(|&w| w == 0.5));
    assert!(weights(Ones).iter().all(|&w| w == 1.0));
}

/// The largest distance between the share of values below `x` and `Φ(x)`, the normal distribution (Kolmogorov).
fn distance_from_normal(mut values: Vec<f64>) -> f64 {
    use layerwise::kernels::functions::ErrorFunction;
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let gap = |(i, x): (usize, &f64)| {
        let (below, _) = x.straight_normal::<false>();
        (i as f64 / count - below).abs().max(((i + 1) as f64 / count - below).abs())
    };
    values.iter().enumerate().map(gap).fold(0.0, f64::max)
}

#[test]
fn normal_weights_are_normally_distributed() {
    let values = weights(Normal::new(0.0, 2.0)).iter().map(|w| w / 2.0).collect();
    // Kolmogorov's limit: larger than 2.6 / √n once in 370,000.
    assert!(distance_from_normal(values) < 2.6 / 60_000f64.sqrt());
}

#[test]
fn orthogonal_weights_keep_lengths_and_have_no_favourite_direction() {
    for (out, input) in [(40, 70), (70, 40), (50, 50), (1, 9), (9, 1)] {
        let layer = Linear::new(out).weight_init(Orthogonal::default().gain(Gain::Of(3.0)));
        let model = SequentialBuilder::<f64>::new([input]).add(layer).build().expect("it fits");
        let w = model.value("0.weight").expect("it exists");
        let w = w.into_dimensionality::<ndarray::Ix2>().expect("two axes");
        let products = if out <= input { w.dot(&w.t()) } else { w.t().dot(&w) };
        let error = products - Array2::<f64>::eye(out.min(input)) * 9.0;
        // A dot product of up to 70 terms of size 9 in all.
        assert!(error.iter().all(|error| error.abs() < 9.0 * 70.0 * f64::EPSILON), "{out} {input}");
    }
    let conv = Conv2d::new(8, 3).weight_init(Orthogonal::default());
    let model = SequentialBuilder::<f64>::new([2, 5, 5]).add(conv).build().expect("it fits");
    let w =
        model.value("0.weight").expect("it exists").into_shape_with_order((8, 18)).expect("8 rows");
    assert!((w.dot(&w.t()) - Array2::<f64>::eye(8)).iter().all(|error| error.abs() < 1e-14));
    // An element of a random rotation of 200 dimensions is nearly normal with variance 1 / 200, its density off by less
    // than 1 / 200; 40,000 of them are dependent but weakly. Kolmogorov's bound with both.
    let layer = Linear::new(200).weight_init(Orthogonal::default());
    let model = SequentialBuilder::<f64>::new([200]).add(layer).seed(2).build().expect("it fits");
    let w = model.value("0.weight").expect("it exists");
    let values = w.iter().map(|w| w * 200f64.sqrt()).collect();
    assert!(distance_from_normal(values) < 2.6 / 40_000f64.sqrt() + 1.0 / 200.0);
}

#[test]
fn identity_weights_pass_their_input_on() {
    let layer = Linear::new(5).weight_init(Identity::default().gain(Gain::Of(2.0)));
    let model = SequentialBuilder::<f64>::new([3]).add(layer).build().expect("it fits");
    let y = model.predict(&ndarray::arr2(&[[1.0, 2.0, 3.0]])).expect("it fits");
    assert_eq!(y.as_slice().expect("row-major"), [2.0, 4.0, 6.0, 0.0, 0.0]);
    let conv = Conv2d::new(3, (3, 5)).padding((1, 2)).weight_init(Identity::default());
    let model = SequentialBuilder::<f64>::new([2, 6, 7]).add(conv).build().expect("it fits");
    let x = crate::support::normal::<f64>(&[2, 2, 6, 7], 0);
    let y = model.predict(x.view()).expect("it fits");
    assert_eq!(y.slice_axis(Axis(1), (0..2).into()), x);
    assert!(y.index_axis(Axis(1), 2).iter().all(|&y| y == 0.0));
}

#[test]
fn dropout_keeps_the_mean_and_drops_the_right_share() {
    for p in [0.1, 0.5, 0.9] {
        let mut model = Sequential::builder([1000]).add(Dropout::new(p)).build().expect("it fits");
        let ones = Array2::<f32>::ones((100, 1000));
        let y = model.forward(&ones).expect("it fits").to_owned();
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / 1e5;
        // Standard deviation of the share: at most 0.0016.
        assert!((dropped - p).abs() < 0.008, "{dropped} for {p}");
        assert!(y.iter().all(|&y| y == 0.0 || (f64::from(y) - 1.0 / (1.0 - p)).abs() < 1e-5));
        let again = model.forward(&ones).expect("it fits").to_owned();
        assert_ne!(y, again, "every pass has a mask of its own");
        let gradient = model.backward_to_input(&ones).expect("there was a forward").to_owned();
        // The gradient of ones passes through the same mask.
        assert_eq!(gradient, again);
    }
}

#[test]
fn dropout_masks_of_different_rows_and_columns_are_independent() {
    let mut model = Sequential::builder([64]).add(Dropout::new(0.5)).build().expect("it fits");
    let y = model
        .forward(&Array2::<f32>::ones((4096, 64)))
        .expect("it fits")
        .mapv(|y| f64::from(y) - 1.0);
    for (a, b) in [(0, 1), (1, 2), (0, 2), (5, 63)] {
        let (a, b) = (y.index_axis(Axis(1), a), y.index_axis(Axis(1), b));
        let correlation = a.iter().zip(b.iter()).map(|(a, b)| a * b).sum::<f64>() / 4096.0;
        // Standard deviation 1/64.
        assert!(correlation.abs() < 0.08, "{correlation}");
    }
    for row in [1, 7, 100] {
        let (a, b) = (y.index_axis(Axis(0), 0), y.index_axis(Axis(0), row));
        let correlation = a.iter().zip(b.iter()).map(|(a, b)| a * b).sum::<f64>() / 64.0;
        assert!(correlation.abs() < 0.65, "{correlation}");
    }
}

#[test]
fn nested_blocks_draw_different_masks() {
    let block = || Block::new().add(Dropout::new(0.5));
    let mut twice = Sequential::builder([1000]).add(block()).add(block()).build().expect("it fits");
    let y = twice.forward(&Array2::<f32>::ones((1, 1000))).expect("it fits");
    let kept = y.iter().filter(|&&y| y > 0.0).count();
    // One mask twice would keep half; two masks keep a quarter.
    assert!((200..300).contains(&kept), "{kept}");
    assert_eq!(labels(3, 1, 0), [0, 0, 0]);
}
