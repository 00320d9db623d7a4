//! What the course's special layers do beyond their gradients: distributions, ties, decay, eval mode.

use layerwise::Group;
use layerwise::prelude::*;

use crate::support::{bits, normal};

/// One training pass of `spec` over a batch.
fn pass(spec: impl LayerSpec<f64> + 'static, x: &ArrayD<f64>) -> ArrayD<f64> {
    let mut model = SequentialBuilder::new(&x.shape()[1..]).add(spec).build().expect("it fits");
    model.forward(x.view()).expect("it fits").to_owned()
}

/// Mean and mean square of `values` must be those of a distribution with the given variance and fourth central moment:
/// within five standard errors, one false alarm in a million.
fn check_moments(values: &ArrayD<f64>, mean: f64, variance: f64, fourth: f64) {
    let count = values.len() as f64;
    let got = values.mean().expect("not empty");
    assert!((got - mean).abs() < 5.0 * (variance / count).sqrt(), "mean {got}, not {mean}");
    let spread = values.mapv(|x| (x - mean) * (x - mean)).mean().expect("not empty");
    // And rounding, where two values are as far from the mean.
    let error = 5.0 * ((fourth - variance * variance).max(0.0) / count).sqrt() + 1e-9;
    assert!((spread - variance).abs() < error, "variance {spread}, not {variance} ± {error}");
}

/// Central moments of a number that is `a` with probability `p`, else `b`: mean, variance, fourth.
fn two_values(p: f64, a: f64, b: f64) -> (f64, f64, f64) {
    let mean = p * a + (1.0 - p) * b;
    let moment = |power| p * (a - mean).powi(power) + (1.0 - p) * (b - mean).powi(power);
    (mean, moment(2), moment(4))
}

#[test]
fn masks_of_ones_have_mean_one_and_the_formula_s_variance() {
    let ones = ArrayD::ones(ndarray::IxDyn(&[50, 4000]));
    for p in [0.1, 0.5, 0.8] {
        let keep = 1.0 - p;
        let (mean, variance, fourth) = two_values(keep, 1.0 / keep, 0.0);
        assert!((mean - 1.0).abs() < 1e-12 && (variance - p / keep).abs() < 1e-12);
        check_moments(&pass(Dropout::drop(p), &ones), mean, variance, fourth);
        let (mean, variance, fourth) = two_values(keep, 1.0, 0.0);
        check_moments(&pass(Dropout::drop(p).vanilla(true), &ones), mean, variance, fourth);
        // A normal distribution's fourth moment is three times the variance squared.
        let strength = p / keep;
        let factors = pass(GaussianDropout::new(p), &ones);
        check_moments(&factors, 1.0, strength, 3.0 * strength * strength);
    }
}

#[test]
fn spatial_dropout_drops_each_channel_of_each_sample_by_itself() {
    let ones = ArrayD::ones(ndarray::IxDyn(&[500, 40, 3, 2]));
    let y = pass(Dropout::drop(0.3).spatial(true), &ones);
    let planes = y.into_shape_with_order((20_000, 6)).expect("as many");
    for plane in planes.outer_iter() {
        assert!(plane.iter().all(|&y| y == plane[0]), "a plane is dropped whole");
    }
    let (mean, variance, fourth) = two_values(0.7, 1.0 / 0.7, 0.0);
    check_moments(&planes.column(0).to_owned().into_dyn(), mean, variance, fourth);
}

#[test]
fn vanilla_dropout_is_in_eval_mode_what_it_is_on_average_in_training() {
    let layer = Dropout::keep(0.75).vanilla(true);
    let mut model = Sequential::builder([64]).add(layer).build().expect("it fits");
    let x = normal::<f32>(&[3, 64], 0);
    let y = model.predict(&x).expect("it fits");
    assert_eq!(y, x.mapv(|x| 0.75 * x));
    model.eval();
    model.forward(&x).expect("it fits");
    let dx = model.backward_to_input(&x).expect("there was a forward");
    assert_eq!(dx, y, "the derivative has the same factor");
}

#[test]
fn eval_mode_is_the_identity_to_the_bit() {
    let x = normal::<f32>(&[3, 8, 5], 1).mapv(|x| if x < -1.0 { -0.0 } else { x });
    let model = Sequential::builder([8, 5])
        .add(Dropout::keep(0.6))
        .add(Dropout::drop(0.5).spatial(true))
        .add(AlphaDropout::new(0.5))
        .add(GaussianNoise::new(2.0))
        .add(GaussianDropout::new(0.5))
        .build()
        .expect("it fits");
    assert_eq!(bits(model.predict(&x).expect("it fits").view()), bits(x.view()));
}

#[test]
fn gaussian_noise_has_its_spread_and_is_independent_of_its_input() {
    let x = normal::<f64>(&[50, 4000], 3);
    let noise = pass(GaussianNoise::new(0.5), &x) - &x;
    check_moments(&noise, 0.0, 0.25, 3.0 * 0.0625);
    // Products of independent numbers: standard deviation 0.5 each.
    let products = &noise * &x;
    check_moments(&products, 0.0, 0.25, 9.0 * 0.0625);
    // Neighbours come from one word of random bits, as sine and cosine.
    let far = noise.slice_axis(Axis(1), (8..4000).into()).to_owned();
    let near = noise.slice_axis(Axis(1), (0..3992).into());
    check_moments(&(far * near), 0.0, 0.0625, 9.0 * 0.0625 * 0.0625);
}

#[test]
fn alpha_dropout_keeps_mean_0_and_variance_1() {
    let x = normal::<f64>(&[50, 4000], 4);
    for p in [0.1, 0.5] {
        let y = pass(AlphaDropout::new(p), &x);
        // Half normal, half a constant below 2.2 in size: a fourth moment below 3 + 2.2⁴.
        check_moments(&y, 0.0, 1.0, 27.0);
        let lowest = y.iter().fold(f64::INFINITY, |low, &y| low.min(y));
        let dropped = y.iter().filter(|&&y| y.to_bits() == pass_of_limit(p).to_bits()).count();
        let (_, variance, _) = two_values(p, 1.0, 0.0);
        let error = dropped as f64 / y.len() as f64 - p;
        assert!(error.abs() < 5.0 * (variance / y.len() as f64).sqrt(), "{error} {lowest}");
    }
}

/// `a α′ + b`
fn pass_of_limit(p: f64) -> f64 {
    const LIMIT: f64 = -1.758_099_340_847_376_6;
    let factor = ((1.0 - p) * (1.0 + p * LIMIT * LIMIT)).sqrt().recip();
    factor * LIMIT - factor * p * LIMIT
}

#[test]
fn the_first_of_equal_pieces_gets_the_gradient() {
    let mut model =
        SequentialBuilder::<f64>::new([3]).add(MaxoutChannels::new(3)).build().expect("it fits");
    let y = model.forward(&ndarray::arr2(&[[2.0, 2.0, 1.0], [0.0, 5.0, 5.0]])).expect("it fits");
    assert_eq!(y.as_slice().expect("row-major"), [2.0, 5.0]);
    let dx = model.backward_to_input(&ndarray::arr2(&[[1.0], [3.0]])).expect("there was a forward");
    assert_eq!(dx.as_slice().expect("row-major"), [1.0, 0.0, 0.0, 0.0, 3.0, 0.0]);
}

#[test]
fn convolutional_maxout_is_a_convolution_and_the_largest_of_its_channels() {
    let conv = || Conv2d::new(6, 3).padding(1).stride(2);
    let whole = MaxoutConv2d::new(3, 3, 2).padding(1).stride(2);
    let whole = Sequential::builder([4, 9, 7]).add_named("conv", whole).seed(5);
    let parts =
        Sequential::builder([4, 9, 7]).add_named("conv", conv()).add(MaxoutChannels::new(2));
    let (whole, parts) = (whole.build().expect("it fits"), parts.seed(5).build().expect("it fits"));
    assert_eq!(whole.value("conv.weight"), parts.value("conv.weight"));
    let x = normal::<f32>(&[3, 4, 9, 7], 1);
    assert_eq!(whole.predict(&x).expect("it fits"), parts.predict(&x).expect("it fits"));
}

#[test]
fn slopes_decay_only_in_a_group_with_a_decay_of_its_own() {
    let step = |own: bool| {
        let mut model = Sequential::builder([2]).add(PRelu::new()).build().expect("it fits");
        let mut driver = ModelOptimizer::new(Sgd::new(), 0.5).weight_decay(Decay::Decoupled(0.5));
        if own {
            let slopes = Group::new(1);
            assert_eq!(model.assign_group(slopes, |p| p.role == Role::Slope), 1);
            let options = GroupOptions::new().weight_decay(Decay::Decoupled(1.0));
            driver = driver.group(slopes, options);
        }
        model.forward(&Array2::ones((1, 2))).expect("it fits");
        model.backward(&Array2::ones((1, 2))).expect("there was a forward");
        driver.step(&mut model).expect("gradients are there");
        model.value("0.weight").expect("it exists")[0]
    };
    // Inputs are positive: no gradient moves the slope.
    assert_eq!((step(false), step(true)), (0.25, 0.125));
}

#[test]
fn a_learned_slope_learns() {
    // y = x, or 0.8 x below 0.
    let mut model = Sequential::builder([1]).add(PRelu::shared()).build().expect("it fits");
    let mut trainer = Trainer::new(Mse::new(), ModelOptimizer::new(Sgd::new(), 0.5));
    let x = ndarray::arr2(&[[-1.0f32], [2.0], [-0.5]]).into_dyn();
    let target = x.mapv(|x| if x > 0.0 { x } else { 0.8 * x });
    for _ in 0..60 {
        trainer.step(&mut model, &x, &target).expect("a good batch");
    }
    // Each step takes 5/12 off the distance: 0.55 · (7/12)⁶⁰ is nothing.
    assert!((model.value("0.weight").expect("it exists")[0] - 0.8).abs() < 1e-6);
}
