//! Preprocessing: as a layer, in one pass, and at the edges.

use layerwise::prelude::*;
use layerwise::preprocessing::{
    ChannelStandardize, Covariance, FeatureStandardize, MeanImage, MinMax, Moments, OneHot, Pca,
    Per, Preprocessor, Scaling, Statistics, Transform, Zca,
};

use crate::support::{normal, state, text};

#[test]
fn a_fitted_transform_is_a_frozen_first_layer() {
    let x = normal::<f32>(&[40, 2, 3, 3], 1).mapv(|x| 50.0 + 9.0 * x);
    let scaling = ChannelStandardize.fit(&x).expect("good data");
    let build = |builder: layerwise::SequentialBuilder| {
        builder.add(Flatten).add(Linear::new(3)).seed(1).build().expect("it fits")
    };
    let mut with = build(Sequential::builder([2, 3, 3]).add_named("input", scaling.clone()));
    let by_hand = scaling.apply(&x).expect("same shape");
    let mut plain = build(Sequential::builder([2, 3, 3]).add_named("input", Relu));
    // The other model has an activation in its place, so that names and seeds are the same.
    plain = {
        let spec = Scaling::identity([2, 3, 3], Per::Channel).expect("images");
        let mut model = build(Sequential::builder([2, 3, 3]).add_named("input", spec));
        for info in plain.params() {
            let value = plain.value(&info.name).expect("it exists");
            model.set_value(&info.name, value.view()).expect("same shape");
        }
        model
    };
    assert_eq!(with.predict(&x).expect("it fits"), plain.predict(&by_hand).expect("it fits"));

    // Saved under its name, untouched by training.
    let names: Vec<String> = state(&with).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["input.shift", "input.scale"]);
    let before: Vec<_> = state(&with).into_iter().take(2).collect();
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(AdamW::new(), 0.1));
    trainer.step(&mut with, &x, &[1; 40]).expect("good data");
    assert_eq!(state(&with).into_iter().take(2).collect::<Vec<_>>(), before);

    let wrong = Sequential::builder([1, 3, 3]).add(scaling).build();
    assert_eq!(
        text(wrong),
        "layer 0 (Scaling): needs the shape it was fitted to = [2, 3, 3], got [1, 3, 3]"
    );
}

#[test]
fn one_pass_keeps_the_digits_of_a_large_mean() {
    // A mean of 10⁸ standard deviations: sums of squares in f64 would keep no digit.
    let exact = normal::<f64>(&[10_000, 1], 3);
    let far = exact.mapv(|x| x + 1e8);
    let mut moments = Moments::new(&[1].into(), Per::Element).expect("one feature");
    for part in far.as_slice().expect("contiguous").chunks(17) {
        moments.update(part);
    }
    let std = exact.std(0.0);
    assert!((moments.variance()[0].sqrt() / std - 1.0).abs() < 1e-7);
    let mut covariance = Covariance::new(&[1].into()).expect("one feature");
    for part in far.as_slice().expect("contiguous").chunks(17) {
        covariance.update(part);
    }
    assert!((covariance.matrix()[0].sqrt() / std - 1.0).abs() < 1e-7);
}

#[test]
fn constant_features_and_missing_rank_do_no_harm() {
    let x = Array2::from_shape_fn((9, 3), |(i, j)| [0.1f32, i as f32, 2.0 * i as f32][j]);
    let y = FeatureStandardize.fit(&x).expect("good data").apply(&x).expect("same shape");
    assert!(y.iter().all(|y| y.is_finite()) && y[[4, 0]].abs() < 1e-6);
    let y = MinMax::new(-1.0, 1.0).fit(&x).expect("good data").apply(&x).expect("same shape");
    assert!(y.column_is(0, -1.0));
    for eps in [0.0, 1e-5] {
        let y = Pca::new()
            .whiten(true)
            .eps(eps)
            .fit(&x)
            .expect("good data")
            .apply(&x)
            .expect("same shape");
        assert!(y.iter().all(|y| y.is_finite() && y.abs() < 10.0), "{y}");
        let y = Zca::new().eps(eps).fit(&x).expect("good data").apply(&x).expect("same shape");
        assert!(y.iter().all(|y| y.is_finite() && y.abs() < 10.0), "{y}");
    }
}

trait Column {
    fn column_is(&self, column: usize, value: f32) -> bool;
}

impl Column for ArrayD<f32> {
    fn column_is(&self, column: usize, value: f32) -> bool {
        self.index_axis(Axis(1), column).iter().all(|&x| (x - value).abs() < 1e-6)
    }
}

#[test]
fn whitened_images_have_the_unit_covariance() {
    let mixing =
        normal::<f64>(&[16, 16], 2).into_dimensionality::<ndarray::Ix2>().expect("a matrix");
    let x = normal::<f64>(&[2000, 16], 1).into_dimensionality::<ndarray::Ix2>().expect("a matrix");
    let x = x.dot(&mixing).into_shape_with_order((2000, 1, 4, 4)).expect("16 each");
    for y in [
        Zca::new().eps(0.0).fit(&x).expect("good data").apply(&x).expect("same shape"),
        Pca::new().whiten(true).eps(0.0).fit(&x).expect("good data").apply(&x).expect("same shape"),
    ] {
        let mut covariance = Covariance::new(&[16].into()).expect("16 features");
        covariance.update(y.as_slice().expect("contiguous"));
        for (at, value) in covariance.matrix().into_iter().enumerate() {
            assert!((value - f64::from(at / 16 == at % 16)).abs() < 1e-9, "{value} at {at}");
        }
    }
}

#[test]
fn what_cannot_be_fitted_says_why() {
    let none = ArrayD::<f32>::zeros(vec![0, 3]);
    let nan = ndarray::arr2(&[[1.0f32, 2.0], [3.0, f32::NAN]]);
    assert_eq!(
        text(MeanImage.fit(&none)),
        "preprocessing: needs at least one sample to fit to, got none"
    );
    assert_eq!(
        text(FeatureStandardize.fit(&nan)),
        "preprocessing: feature 1 has values that are not finite; check the data"
    );
    assert_eq!(
        text(Pca::new().fit(&nan)),
        "preprocessing: samples have values that are not finite; check the data"
    );
    assert_eq!(
        text(ChannelStandardize.fit(&ndarray::arr1(&[1.0f32]))),
        "preprocessing: samples need [channels, ..], got []"
    );
    assert_eq!(
        text(Zca::new().fit(&ArrayD::<f32>::zeros(vec![1, 3, 64, 64]))),
        "preprocessing: whitening needs samples of 1 to 8192 elements, got [3, 64, 64]; make them smaller first"
    );
    let good = ndarray::arr2(&[[1.0f32, 2.0], [3.0, 4.0]]);
    assert_eq!(
        text(MinMax::new(1.0, 1.0).fit(&good)),
        "MinMax: range must be low < high, got 1 and 1"
    );
    assert_eq!(
        text(Pca::new().components(3).fit(&good)),
        "Pca: components must be from 1 to the number of features, got 3 of 2"
    );
    assert_eq!(text(Zca::new().eps(-1.0).fit(&good)), "Zca: eps must be at least 0, got -1");
    let fitted = FeatureStandardize.fit(&good).expect("good data");
    assert_eq!(
        text(fitted.apply(&ndarray::arr1(&[1.0f32, 2.0]))),
        "preprocessing: needs [batch, 2], got [2]; it was fitted to this shape"
    );
    assert_eq!(
        text(Scaling::<f32>::new([2], Per::Element, &[0.0], &[1.0])),
        "preprocessing: samples [2] need 2 shifts and scales, got 1 and 1"
    );
    assert_eq!(
        text(Scaling::<f32>::new([1], Per::Element, &[0.0], &[0.0])),
        "preprocessing: shift 0 must be finite and scale 0 finite and not 0, got 0 and 0"
    );
    assert_eq!(
        text(Scaling::<f32>::identity([usize::MAX, 2], Per::Element)),
        format!("preprocessing: samples [{}, 2] are too large for memory", usize::MAX)
    );
    assert!(
        text(OneHot::new(usize::MAX).apply::<f32>(&[0])).starts_with("no memory for a batch of 1")
    );
    assert_eq!(
        text(OneHot::new(2).apply::<f32>(&[0, 2])),
        "target: class 2 at row 1 is out of range: the prediction has 2 classes (0 to 1)"
    );
}
