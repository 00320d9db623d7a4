//! Augmentation: exact where nothing is random, the right distribution where it is, and the same bits everywhere.

use layerwise::augment::{
    Affine, Augmentation, ColorJitter, CutMix, Cutout, Elastic, GaussianNoise, HorizontalFlip,
    Mixup, Padding, PcaColorNoise, Pipeline, RandomCrop, RandomErasing, RandomResizedCrop,
    Sometimes, VerticalFlip,
};
use layerwise::prelude::*;

use crate::support::{bits, text};

/// Images with values from 0 to 1.
fn images(shape: [usize; 4]) -> ArrayD<f32> {
    let mut rng = Seed::new(5).rng();
    Array4::from_shape_simple_fn(shape, || rng.uniform() as f32).into_dyn()
}

fn run(augment: impl Augmentation + 'static, x: &ArrayD<f32>, epoch: u64) -> ArrayD<f32> {
    let mut x = x.clone();
    let samples: Vec<usize> = (0..x.len_of(Axis(0))).collect();
    let pipeline = Pipeline::new(Seed::new(1)).add(augment);
    pipeline.apply(&mut x.view_mut(), &samples, epoch).expect("images");
    x
}

fn flipped(x: &ArrayD<f32>, axis: usize) -> ArrayD<f32> {
    let mut x = x.clone();
    x.invert_axis(Axis(axis));
    x
}

#[test]
fn flips_are_exact_and_happen_half_of_the_time() {
    for shape in [[400, 3, 5, 4], [400, 1, 4, 5], [400, 1, 1, 1]] {
        let x = images(shape);
        assert_eq!(run(HorizontalFlip::new().p(1.0), &x, 0), flipped(&x, 3));
        assert_eq!(run(VerticalFlip::new().p(1.0), &x, 0), flipped(&x, 2));
        assert_eq!(run(HorizontalFlip::new().p(0.0), &x, 0), x);
    }
    let x = images([400, 1, 4, 4]);
    let y = run(HorizontalFlip::new(), &x, 0);
    let kept = y.outer_iter().zip(x.outer_iter()).filter(|(y, x)| y == x).count();
    // 200, with a standard deviation of 10.
    assert!((150..250).contains(&kept), "{kept}");
}

#[test]
fn crops_are_shifts_by_every_offset_alike() {
    // Every pixel its own value; 25 offsets.
    let one = Array4::from_shape_fn((1, 1, 6, 6), |(_, _, y, x)| (1 + 6 * y + x) as f32).into_dyn();
    let x = one.broadcast(vec![2500, 1, 6, 6]).expect("one image many times").to_owned();
    for padding in [Padding::Zero, Padding::Reflect] {
        let y = run(RandomCrop::new(2).padding(padding), &x, 0);
        let mut counts = [[0; 5]; 5];
        for image in y.outer_iter() {
            // The centre tells the offset.
            let value = image[[0, 2, 2]] as usize - 1;
            let (down, right) = (value / 6, value % 6);
            counts[down][right] += 1;
            for (at, &pixel) in image.indexed_iter() {
                let place = |at: usize, offset: usize| (at + offset) as isize - 2;
                let mirror = |at: isize| if at < 0 { -at } else { 5 - (5 - at).abs() };
                let (row, column) = (place(at[1], down), place(at[2], right));
                let inside = (0..6).contains(&row) && (0..6).contains(&column);
                let want = match padding {
                    Padding::Zero if !inside => 0.0,
                    _ => one[[0, 0, mirror(row) as usize, mirror(column) as usize]],
                };
                assert_eq!(pixel, want);
            }
        }
        // 100 each, with a standard deviation of 10.
        assert!(counts.as_flattened().iter().all(|n| (50..150).contains(n)), "{counts:?}");
    }
}

#[test]
fn affine_maps_by_whole_pixels_and_right_angles_are_exact() {
    let x = images([50, 2, 7, 7]);
    assert_eq!(run(Affine::new(), &x, 0), x);
    // A field of ramps: bilinear interpolation is exact, wherever the place.
    let ramp = Array4::from_shape_fn((200, 1, 21, 21), |(_, _, y, x)| (x + 100 * y) as f32);
    let y = run(Affine::new().shift(0.1), &ramp.into_dyn(), 0);
    let mut shifts = Vec::new();
    for image in y.outer_iter() {
        let centre = image[[0, 10, 10]];
        for (at, &value) in image.indexed_iter() {
            let inside = (3..18).contains(&at[1]) && (3..18).contains(&at[2]);
            let want = centre + (at[2] as f32 - 10.0) + 100.0 * (at[1] as f32 - 10.0);
            assert!(!inside || (value - want).abs() < 1e-2, "{value} {want}");
        }
        shifts.push(f64::from((centre - 1010.0) / 100.0).round());
    }
    assert!(
        shifts.iter().all(|shift| shift.abs() <= 2.1)
            && shifts.contains(&-2.0)
            && shifts.contains(&2.0)
    );
}

#[test]
fn resized_crops_show_a_part_of_the_right_area() {
    let ramp =
        Array4::from_shape_fn((500, 2, 33, 33), |(_, c, y, x)| if c == 0 { x } else { y } as f32);
    let y = run(RandomResizedCrop::new().area(0.25, 0.5).ratio(0.5, 2.0), &ramp.into_dyn(), 0);
    for image in y.outer_iter() {
        // Steps between neighbours in the middle, times the side, are the part's sides.
        let width = f64::from(image[[0, 16, 17]] - image[[0, 16, 16]]) * 33.0;
        let height = f64::from(image[[1, 17, 16]] - image[[1, 16, 16]]) * 33.0;
        let (area, ratio) = (width * height / 33.0 / 33.0, width / height);
        assert!((0.249..0.501).contains(&area), "{area}");
        assert!((0.499..2.001).contains(&ratio), "{ratio}");
    }
}

#[test]
fn elastic_moves_pixels_smoothly_and_on_average_nowhere() {
    let size = 41;
    let ramp = Array4::from_shape_fn(
        (100, 2, size, size),
        |(_, c, y, x)| if c == 0 { x } else { y } as f32,
    );
    let y = run(Elastic::new(34.0, 4.0), &ramp.clone().into_dyn(), 0);
    let (mut moves, mut steps) = (Vec::new(), Vec::new());
    for (y, x) in y.outer_iter().zip(ramp.outer_iter()) {
        for row in 15..26 {
            let at = |column: usize| f64::from(y[[0, row, column]] - x[[0, row, column]]);
            moves.extend((15..26).map(at));
            steps.extend((15..25).map(|column| at(column + 1) - at(column)));
        }
    }
    let mean_square =
        |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
    // Uniform noise of variance α²/3, smoothed by a Gaussian: variance divided by 4πσ².
    let expected = 34.0f64.powi(2) / 3.0 / (4.0 * std::f64::consts::PI * 16.0);
    assert!((mean_square(&moves) / expected - 1.0).abs() < 0.25, "{}", mean_square(&moves));
    // Of the derivative of such a field: divided by 2σ² more.
    assert!(
        (mean_square(&steps) / (expected / 32.0) - 1.0).abs() < 0.25,
        "{}",
        mean_square(&steps)
    );
    assert!(moves.iter().sum::<f64>().abs() / (moves.len() as f64) < 0.2);
}

#[test]
fn colours_change_by_their_formulas() {
    let x = images([300, 3, 3, 3]);
    let grey = |pixel: [f32; 3]| 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
    let bright = run(ColorJitter::new().brightness(0.3), &x, 0);
    let mut factors = Vec::new();
    for (y, x) in bright.outer_iter().zip(x.outer_iter()) {
        let factor = y.iter().zip(&x).map(|(y, x)| y / x).fold(0f32, f32::max);
        assert!(y.iter().zip(&x).all(|(y, x)| (y - (factor * x).min(1.0)).abs() < 1e-6));
        factors.push(factor);
    }
    let mean = factors.iter().sum::<f32>() / 300.0;
    assert!(factors.iter().all(|f| (0.7..=1.3001).contains(f)) && (mean - 1.0).abs() < 0.05);

    let saturated = run(ColorJitter::new().saturation(1.0), &x, 0);
    for (y, x) in saturated.outer_iter().zip(x.outer_iter()) {
        for at in 0..9 {
            let pixel =
                |image: &ndarray::ArrayViewD<f32>| [0, 1, 2].map(|c| image[[c, at / 3, at % 3]]);
            let (y, x) = (pixel(&y), pixel(&x));
            let inside = y.iter().all(|y| (1e-3..0.999).contains(y));
            // Grey stays what it was where nothing was cut off.
            assert!(!inside || (grey(y) - grey(x)).abs() < 1e-5);
        }
    }
    let contrast = run(ColorJitter::new().contrast(0.5), &x, 0);
    for (y, x) in contrast.outer_iter().zip(x.outer_iter()) {
        let mean =
            (0..9).map(|at| grey([0, 1, 2].map(|c| x[[c, at / 3, at % 3]]))).sum::<f32>() / 9.0;
        let slopes =
            y.iter().zip(&x).filter(|(y, x)| (1e-3..0.999).contains(*y) && (*x - mean).abs() > 0.1);
        let slopes: Vec<f32> = slopes.map(|(y, x)| (y - mean) / (x - mean)).collect();
        assert!(slopes.iter().all(|s| (s - slopes[0]).abs() < 1e-4 && (0.499..1.501).contains(s)));
    }
    let hue = run(ColorJitter::new().hue(0.5), &x, 0);
    for (y, x) in hue.outer_iter().zip(x.outer_iter()) {
        for at in 0..9 {
            let range = |image: &ndarray::ArrayViewD<f32>| {
                let pixel = [0, 1, 2].map(|c| image[[c, at / 3, at % 3]]);
                (
                    pixel.iter().copied().fold(1.0, f32::min),
                    pixel.iter().copied().fold(0.0, f32::max),
                )
            };
            let ((a, b), (c, d)) = (range(&y), range(&x));
            assert!((a - c).abs() < 1e-5 && (b - d).abs() < 1e-5);
        }
    }
}

#[test]
fn colour_noise_has_the_covariance_it_was_fitted_to() {
    let zeros = ArrayD::<f32>::zeros(vec![4000, 3, 1, 1]);
    let y = run(PcaColorNoise::imagenet().std(0.1), &zeros, 0);
    let columns: Vec<f64> = (0..9)
        .map(|at| {
            y.outer_iter().map(|p| f64::from(p[[at / 3, 0, 0]] * p[[at % 3, 0, 0]])).sum::<f64>()
                / 4000.0
        })
        .collect();
    // Almost all of it along the first axis, (0.5675, 0.5808, 0.5836) · 0.2175 · 0.1.
    let axis = [0.5675, 0.5808, 0.5836].map(|x| x * 0.02175);
    for (at, got) in columns.iter().enumerate() {
        let want = axis[at / 3] * axis[at % 3];
        assert!((got / want - 1.0).abs() < 0.12, "{got} {want}");
    }
}

#[test]
fn what_is_covered_is_a_rectangle_of_the_right_area() {
    let ones = ArrayD::<f32>::ones(vec![500, 2, 20, 30]);
    let y = run(RandomErasing::new().area(0.1, 0.3).ratio(0.5, 2.0), &ones, 0);
    let mut erased = 0;
    for image in y.outer_iter() {
        assert_eq!(image.index_axis(Axis(0), 0), image.index_axis(Axis(0), 1));
        let holes: Vec<_> = image
            .index_axis(Axis(0), 0)
            .indexed_iter()
            .filter(|(_, x)| **x == 0.0)
            .map(|(at, _)| [at[0], at[1]])
            .collect();
        if holes.is_empty() {
            continue;
        }
        erased += 1;
        let span = |axis: usize| {
            let places = holes.iter().map(|at| at[axis]);
            places.clone().max().unwrap_or(0) - places.min().unwrap_or(0) + 1
        };
        assert_eq!(holes.len(), span(0) * span(1));
        assert!((0.08..0.33).contains(&(holes.len() as f64 / 600.0)), "{}", holes.len());
    }
    assert!((190..310).contains(&erased), "{erased}");
    let noise = run(RandomErasing::new().p(1.0).noise(), &ones, 0);
    assert!(
        noise.iter().filter(|&&x| x != 1.0).count() > 10_000
            && noise.iter().all(|x| (0.0..=1.0).contains(x))
    );

    let y = run(Cutout::new(6), &ones, 0);
    let covered: Vec<usize> =
        y.outer_iter().map(|image| image.iter().filter(|&&x| x == 0.0).count() / 2).collect();
    assert!(
        covered.iter().all(|n| (9..=36).contains(n))
            && covered.iter().filter(|&&n| n == 36).count() > 200
    );
}

#[test]
fn mixup_and_cutmix_mix_labels_as_samples() {
    // The class stands in every pixel.
    let classes: Vec<usize> = (0..60).map(|i| i % 10).collect();
    let x = ArrayD::from_shape_fn(vec![60, 1, 8, 8], |at| (at[0] % 10) as f64);
    let data = Dataset::new(x, classes).expect("60 each").one_hot(10).expect("10 classes");
    let value = |y: ndarray::ArrayViewD<f64>| {
        y.iter().enumerate().map(|(class, share)| class as f64 * share).sum::<f64>()
    };
    let mut mixup =
        data.batches(20).expect("not 0").augmented(Mixup::new(1.0, Seed::new(1))).expect("good");
    let mut cutmix =
        data.batches(20).expect("not 0").augmented(CutMix::new(1.0, Seed::new(1))).expect("good");
    let mut kept = Vec::new();
    for _ in 0..20 {
        while let Some(batch) = mixup.next_batch().expect("in memory") {
            for (x, y) in batch.x.outer_iter().zip(batch.target.outer_iter()) {
                assert!((y.sum() - 1.0).abs() < 1e-12 && y.iter().all(|&share| share >= 0.0));
                assert!(x.iter().all(|x| (x - value(y.view())).abs() < 1e-12));
                kept.push(y.iter().copied().fold(0.0, f64::max));
            }
        }
        while let Some(batch) = cutmix.next_batch().expect("in memory") {
            for (x, y) in batch.x.outer_iter().zip(batch.target.outer_iter()) {
                assert!((y.sum() - 1.0).abs() < 1e-12);
                assert!((x.mean().expect("not empty") - value(y.view())).abs() < 1e-12);
            }
        }
    }
    // The larger of λ and 1 − λ, λ uniform: mean 3/4. Pairs of one class keep all, one in ten.
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    assert!((0.74..0.80).contains(&mean), "{mean}");
}

fn everything() -> Pipeline {
    Pipeline::new(Seed::new(9))
        .add(HorizontalFlip::new())
        .add(VerticalFlip::new())
        .add(RandomCrop::new(4).padding(Padding::Reflect))
        .add(RandomResizedCrop::new())
        .add(Affine::new().shift(0.1).rotate(20.0).scale(0.8, 1.2).shear(10.0))
        .add(Elastic::new(20.0, 3.0))
        .add(ColorJitter::new().brightness(0.3).contrast(0.3).saturation(0.3).hue(0.1))
        .add(PcaColorNoise::imagenet())
        .add(Sometimes::new(0.5, GaussianNoise::new(0.05)))
        .add(RandomErasing::new().noise())
        .add(Cutout::new(8))
}

#[test]
fn a_sample_gets_the_same_change_in_any_batch_on_any_number_of_threads() {
    let x = images([70, 3, 32, 32]);
    let samples: Vec<usize> = (0..70).map(|i| 7 * i + 3).collect();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let mut x = x.clone();
            everything().apply(&mut x.view_mut(), &samples, 4).expect("images");
            x
        })
    };
    let one = on(1);
    assert!(one.iter().all(|x| x.is_finite()));
    assert_ne!(one, x);
    assert!(bits(on(2).view()) == bits(one.view()), "two threads differ from one");
    assert!(bits(on(3).view()) == bits(one.view()), "three threads differ from one");
    // Alone, and in another layout.
    for i in [0, 33, 69] {
        let mut alone = x.slice_axis(Axis(0), ndarray::Slice::from(i..i + 1)).to_owned();
        everything().apply(&mut alone.view_mut(), &samples[i..=i], 4).expect("an image");
        assert_eq!(alone.index_axis(Axis(0), 0), one.index_axis(Axis(0), i));
    }
    let mut turned = x.clone().permuted_axes(vec![3, 2, 1, 0]).as_standard_layout().into_owned();
    let mut view = turned.view_mut().permuted_axes(vec![3, 2, 1, 0]);
    everything().apply(&mut view, &samples, 4).expect("images");
    assert_eq!(view, one);
    // Another epoch, another change.
    let mut later = x.clone();
    everything().apply(&mut later.view_mut(), &samples, 5).expect("images");
    assert_ne!(later, one);
}

#[test]
fn odd_images_survive_every_augmentation() {
    for shape in [[3, 3, 4, 4], [3, 3, 4, 17], [3, 3, 33, 5]] {
        let mut x = images(shape);
        everything().apply(&mut x.view_mut(), &[0, 1, 2], 0).expect("images");
        assert!(x.iter().all(|x| x.is_finite()));
    }
    let mut dots = images([4, 1, 1, 1]);
    let pipeline = Pipeline::new(Seed::new(1))
        .add(RandomCrop::new(1).padding(Padding::Reflect))
        .add(RandomResizedCrop::new())
        .add(Affine::new().shift(1.0).rotate(180.0))
        .add(Elastic::new(1.0, 0.1))
        .add(RandomErasing::new());
    pipeline.apply(&mut dots.view_mut(), &[0, 1, 2, 3], 0).expect("images");
    assert!(dots.iter().all(|x| x.is_finite()));
}

#[test]
fn settings_out_of_range_and_wrong_samples_are_errors() {
    fn error(augment: impl Augmentation + 'static, shape: &[usize]) -> String {
        let mut x = ArrayD::<f32>::zeros(shape.to_vec());
        text(Pipeline::new(Seed::new(1)).add(augment).apply(&mut x.view_mut(), &[0], 0))
    }
    let image = [1, 3, 4, 4];
    let cases = [
        (
            error(HorizontalFlip::new().p(1.5), &image),
            "HorizontalFlip: p must be a probability, 0 ≤ p ≤ 1, got 1.5",
        ),
        (
            error(RandomCrop::new(5), &image),
            "RandomCrop: pixels must be at most the height and the width, got 5",
        ),
        (
            error(RandomResizedCrop::new().area(0.0, 1.0), &image),
            "RandomResizedCrop: area must be 0 < low ≤ high ≤ 1, got [0.0, 1.0]",
        ),
        (
            error(RandomErasing::new().ratio(2.0, 1.0), &image),
            "RandomErasing: ratio must be 0 < low ≤ high, got [2.0, 1.0]",
        ),
        (
            error(Affine::new().rotate(f64::NAN), &image),
            "Affine: rotate must be degrees, at least 0, got NaN",
        ),
        (
            error(Affine::new().shear(45.0), &image),
            "Affine: shear must be degrees, 0 ≤ shear < 45, got 45.0",
        ),
        (
            error(Affine::new().scale(0.0, 1.0), &image),
            "Affine: scale must be 0 < low ≤ high, got [0.0, 1.0]",
        ),
        (error(Elastic::new(1.0, 0.0), &image), "Elastic: sigma must be 0 < sigma ≤ 100, got 0.0"),
        (
            error(ColorJitter::new().hue(0.6), &image),
            "ColorJitter: hue must be from 0 to 0.5, got 0.6",
        ),
        (
            error(ColorJitter::new().hue(0.1), &[1, 1, 4, 4]),
            "data set: ColorJitter needs images of 3 channels, got 1",
        ),
        (
            error(PcaColorNoise::imagenet(), &[1, 4, 4, 4]),
            "data set: PcaColorNoise needs images of 3 channels, got 4",
        ),
        (
            error(GaussianNoise::new(-1.0), &image),
            "GaussianNoise: std must be at least 0, got -1.0",
        ),
        (error(Cutout::new(0), &image), "Cutout: side must be at least 1, got 0"),
        (
            error(Sometimes::new(0.5, Cutout::new(0)), &image),
            "Cutout: side must be at least 1, got 0",
        ),
        (
            error(Cutout::new(1), &[1, 7]),
            "data set: augmentation needs samples [channels, height, width], got [7]; a grey image is [1, height, width]",
        ),
        (
            error(Cutout::new(1), &[2, 1, 2, 2]),
            "data set: 2 images but 1 sample numbers; each image needs one",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
    assert_eq!(
        text(PcaColorNoise::fit(&ArrayD::<f32>::zeros(vec![2, 1, 4, 4]))),
        "data set: PcaColorNoise needs images [n, 3, height, width], got [2, 1, 4, 4]"
    );
}
