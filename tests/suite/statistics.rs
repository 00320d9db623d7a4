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

#[test]
fn initializers_have_their_mean_and_spread() {
    // 60,000 values: the mean is off by about std / 245, the spread by about 0.3 %.
    let check = |values: ArrayD<f64>, std: f64| {
        let (mean, got) = moments(&values);
        assert!(mean.abs() < 5.0 * std / 245.0, "{mean}");
        assert!((got / std - 1.0).abs() < 0.02, "{got} {std}");
    };
    check(weights(HeNormal::default()), (2.0f64 / 300.0).sqrt());
    check(weights(HeUniform::default()), (2.0f64 / 300.0).sqrt());
    check(weights(HeNormal::default().mode(FanMode::Out)), (2.0f64 / 200.0).sqrt());
    check(weights(XavierNormal::default()), (2.0f64 / 500.0).sqrt());
    check(weights(XavierUniform::default().gain(Gain::Tanh)), 5.0 / 3.0 * (2.0f64 / 500.0).sqrt());
    check(weights(Normal::default()), 0.01);
    check(weights(Uniform::new(-0.3, 0.3)), 0.6 / 12f64.sqrt());
    check(weights(TorchDefault), (1.0f64 / 300.0).sqrt() / 3f64.sqrt());
    assert!(weights(Uniform::new(-0.3, 0.3)).iter().all(|w| (-0.3..0.3).contains(w)));
    assert!(weights(Constant(0.5)).iter().all(|&w| w == 0.5));
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
