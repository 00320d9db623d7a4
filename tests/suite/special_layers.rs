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

/// Training passes of `layer` over copies of one sample: the outputs of all rows and passes.
fn connections(layer: DropConnect, x: &[f64], rows: usize) -> ArrayD<f64> {
    let batch = Array2::from_shape_fn((rows, x.len()), |(_, i)| x[i]);
    pass(layer, &batch.into_dyn())
}

#[test]
fn drop_connect_has_the_moments_of_its_masks() {
    let (weight, bias) = (0.5, -2.0);
    let x: Vec<f64> = (0..40).map(|i| f64::from(i % 7) - 2.0).collect();
    let layer = || DropConnect::new(8).weight_init(Constant(weight)).bias_init(Constant(bias));
    for keep in [0.25, 0.5, 0.9] {
        let y = connections(layer().keep(keep), &x, 20_000);
        // Independent terms t · Bernoulli(keep): moments add up, the fourth by way of the kurtosis.
        let terms = || x.iter().map(|x| weight * x).chain([bias]);
        let mean: f64 = terms().map(|t| keep * t).sum();
        let single = keep * (1.0 - keep);
        let variance: f64 = terms().map(|t| single * t * t).sum();
        let excess = single * (1.0 - 6.0 * single);
        let fourth = 3.0 * variance * variance + terms().map(|t| excess * t.powi(4)).sum::<f64>();
        check_moments(&y, mean, variance, fourth);
        // And eval mode is the mean.
        let model = SequentialBuilder::<f64>::new([40]).add(layer().keep(keep)).build();
        let x = Array2::from_shape_fn((1, 40), |(_, i)| x[i]);
        let y = model.expect("it fits").predict(&x).expect("it fits");
        // Probabilities are multiples of 2⁻¹⁶: half a step each for 41 terms of at most 2.
        assert!(y.iter().all(|y| (y - mean).abs() < 41.0 * 2.0 / 131_072.0), "{mean}");
    }
}

#[test]
fn drop_connect_s_masks_differ_between_rows_and_outputs_or_are_shared() {
    let x = vec![1.0; 64];
    let counts = |layer: DropConnect| connections(layer.weight_init(Ones), &x, 500);
    let own = counts(DropConnect::new(20));
    // Pairs of rows, and pairs of outputs, do not vary together: the product of deviations has variance 16².
    let deviation = own.mapv(|count| count - 32.0);
    let (above, below) = (deviation.slice_axis(Axis(0), (1..).into()), deviation.view());
    check_moments(
        &(&above * &below.slice_axis(Axis(0), (..-1).into())),
        0.0,
        256.0,
        9.0 * 65_536.0,
    );
    let (left, right) = (deviation.slice_axis(Axis(1), (1..).into()), deviation.view());
    check_moments(&(&left * &right.slice_axis(Axis(1), (..-1).into())), 0.0, 256.0, 9.0 * 65_536.0);
    let shared = counts(DropConnect::new(20).shared_mask(true));
    let first = shared.index_axis(Axis(0), 0).to_owned();
    assert!(shared.outer_iter().all(|row| row == first), "one mask for the batch");
    // Inverted: the mean over masks is the sum of all.
    let mean = first.mean().expect("not empty");
    assert!((mean - 64.0).abs() < 5.0 * (64.0 / 20.0f64).sqrt(), "{mean}");
}

#[test]
fn gaussian_inference_approaches_the_mean_over_masks_behind_the_activation() {
    // What the mean over masks leaves out: E max(0, u) is larger than max(0, E u).
    let layer = || DropConnect::new(1).weight_init(Normal::new(0.0, 1.0)).activation(Relu);
    let build = |samples| {
        let layer = layer().samples(samples);
        SequentialBuilder::<f64>::new([200]).add(layer).seed(4).build().expect("it fits")
    };
    let x = normal::<f64>(&[1, 200], 5);
    let rows = x.broadcast(ndarray::IxDyn(&[40_000, 200])).expect("one row for all");
    let sampled = build(0).forward(rows).expect("it fits").to_owned();
    let (truth, spread) = (sampled.mean().expect("not empty"), sampled.std(0.0));
    let y = |samples| build(samples).predict(&x).expect("it fits")[[0, 0]];
    // Five standard errors of both, and the distance of 200 terms from a normal distribution: below 1 % of the spread.
    let tolerance = 5.0 * spread * (1.0 / 40_000f64 + 1.0 / 20_000.0).sqrt() + 0.01 * spread;
    assert!((y(20_000) - truth).abs() < tolerance, "{} {truth} ± {tolerance}", y(20_000));
    assert!((y(0) - truth).abs() > 3.0 * tolerance, "{} {truth}", y(0));
}

/// Lengths of the first axis's regions in training passes: which rows each output took, from an image of row numbers.
fn regions(pool: FractionalMaxPool2d, height: usize, passes: usize) -> Vec<Vec<usize>> {
    let mut model = Sequential::builder([1, height, 2]).add(pool).build().expect("it fits");
    let rows = Array4::from_shape_fn((1, 1, height, 2), |(.., row, _)| row as f32);
    let mut all = Vec::new();
    for _ in 0..passes {
        // The largest row of a region is its last.
        let y = model.forward(&rows).expect("it fits");
        let last: Vec<usize> = y.iter().step_by(y.shape()[3]).map(|&last| last as usize).collect();
        let mut end = 0;
        all.push(
            last.iter()
                .map(|last| std::mem::replace(&mut end, last + 1).abs_diff(last + 1))
                .collect(),
        );
        assert_eq!(end, height, "the last row is covered");
    }
    all
}

#[test]
fn fractional_pooling_s_steps_are_1_or_2_as_often_as_the_ratio_asks() {
    // 25 rows to 18 regions: 7 of two rows, in any order.
    let pool = FractionalMaxPool2d::to_size((18, 2));
    let passes = 2000;
    for pool in [pool, pool.pseudo_random(true)] {
        let all = regions(pool, 25, passes);
        let mut twos = [0.0; 18];
        for steps in &all {
            assert_eq!(steps.iter().filter(|&&step| step == 2).count(), 7);
            assert_eq!(steps.iter().filter(|&&step| step == 1).count(), 11);
            for (twos, &step) in twos.iter_mut().zip(steps) {
                *twos += (step == 2) as u8 as f64 / passes as f64;
            }
        }
        assert!(all.iter().any(|steps| *steps != all[0]));
        if pool == FractionalMaxPool2d::to_size((18, 2)) {
            // Each place is as likely; five standard deviations.
            let (share, error) =
                (7.0 / 18.0, 5.0 * (7.0 / 18.0 * 11.0 / 18.0 / passes as f64).sqrt());
            assert!(twos.iter().all(|twos| (twos - share).abs() < error), "{twos:?}");
            continue;
        }
        // Pseudo-random: u is uniform below 1, and region i is of two rows where ⌈α (i + 1 + u)⌉ − ⌈α (i + u)⌉ = 2.
        for (i, twos) in twos.iter().enumerate().take(17).skip(1) {
            let cut = |i: usize, u: f64| (25.0 / 18.0 * (i as f64 + u)).ceil();
            let grid = (0..100_000).map(|at| (f64::from(at) + 0.5) / 1e5);
            let share = grid.filter(|&u| cut(i + 1, u) - cut(i, u) == 2.0).count() as f64 / 1e5;
            // Five standard deviations, and the grid.
            let error = 5.0 * (share * (1.0 - share) / passes as f64).sqrt() + 1e-4;
            assert!((twos - share).abs() < error, "{i}: {twos} {share}");
        }
        // Evenly spread: never two in a row, never three ones, but for the ends.
        for steps in &all {
            let inner = &steps[1..17];
            assert!(!inner.windows(2).any(|pair| pair == [2, 2]), "{steps:?}");
            assert!(!inner.windows(3).any(|three| three == [1, 1, 1]), "{steps:?}");
        }
    }
}

#[test]
fn fractional_pooling_draws_rows_and_columns_apart_and_anew() {
    let pool = FractionalMaxPool2d::new(1.4);
    let mut model = Sequential::builder([1, 15, 15]).add(pool).build().expect("it fits");
    let image = Array4::from_shape_fn((2, 1, 15, 15), |(.., r, c)| (15 * r + c) as f32);
    let draw = |model: &mut Sequential| model.forward(&image).expect("it fits").to_owned();
    let (first, second) = (draw(&mut model), draw(&mut model));
    assert_ne!(first, second, "every pass has regions of its own");
    assert_eq!(first.index_axis(Axis(0), 0), first.index_axis(Axis(0), 1), "for all samples");
    let rows: Vec<usize> = (0..10).map(|i| first[[0, 0, i, 0]] as usize / 15).collect();
    let columns: Vec<usize> = (0..10).map(|i| first[[0, 0, 0, i]] as usize % 15).collect();
    assert_ne!(rows, columns);
    model.set_passes(0);
    assert_eq!(draw(&mut model), first, "the same seed gives the same regions");
    // Eval mode: a_i = ⌈1.5 (i + ½)⌉ − 1, of which each region's last row is one less.
    let fixed: Vec<usize> =
        (1..=10).map(|i| ((1.5 * (i as f64 + 0.5)).ceil() as usize - 1).min(15) - 1).collect();
    let y = model.predict(&image).expect("it fits");
    assert_eq!((0..10).map(|i| y[[0, 0, i, 0]] as usize / 15).collect::<Vec<_>>(), fixed);
}

#[test]
fn overlapping_regions_add_their_gradients() {
    let pool = FractionalMaxPool2d::to_size((2, 1)).overlapping(true);
    let mut model = SequentialBuilder::<f64>::new([1, 3, 1]).add(pool).build().expect("it fits");
    // Both regions have the middle row, whichever is the longer.
    let column = Array4::from_shape_vec((1, 1, 3, 1), vec![0.0, 5.0, 1.0]).expect("three");
    assert!(model.forward(&column).expect("it fits").iter().all(|&y| y == 5.0));
    let dy = Array4::from_shape_vec((1, 1, 2, 1), vec![1.0, 2.0]).expect("two");
    let dx = model.backward_to_input(&dy).expect("there was a forward");
    assert_eq!(dx.as_slice().expect("row-major"), [0.0, 3.0, 0.0]);
}
