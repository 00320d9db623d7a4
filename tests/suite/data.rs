//! Data sets, batches, and the real MNIST files.

use layerwise::data::{Targets, read_idx};
use layerwise::prelude::*;

use crate::support::normal;

#[test]
fn batches_hold_the_right_rows_and_reuse_their_memory() {
    let samples = ArrayD::from_shape_fn(ndarray::IxDyn(&[7, 2]), |at| (10 * at[0] + at[1]) as f32);
    let data = Dataset::new(samples, (0..7).collect::<Vec<usize>>()).expect("7 each");
    let mut batches = data.batches(3).expect("not 0");
    assert_eq!((batches.count(), batches.samples()), (3, 7));
    let mut places = Vec::new();
    for _ in 0..2 {
        let mut rows = Vec::new();
        while let Some(batch) = batches.next_batch().expect("in memory") {
            places.push(batch.x.as_ptr());
            for (x, &target) in batch.x.outer_iter().zip(batch.target) {
                assert_eq!(x[0], 10.0 * target as f32);
                rows.push(target);
            }
        }
        assert_eq!(rows, [0, 1, 2, 3, 4, 5, 6]);
    }
    places.dedup();
    assert_eq!(places.len(), 1);
    let mut whole = data.batches(3).expect("not 0").drop_last(true);
    assert_eq!(whole.count(), 2);
    let mut seen = 0;
    while let Some(batch) = whole.next_batch().expect("in memory") {
        seen += batch.target.len();
    }
    assert_eq!(seen, 6);
}

#[test]
fn targets_can_be_arrays() {
    let targets = normal::<f32>(&[5, 2], 1);
    let data = Dataset::new(normal::<f32>(&[5, 3], 0), targets.clone()).expect("5 each");
    let mut batches = data.batches(2).expect("not 0").shuffled(Seed::new(1));
    let mut rows = 0;
    while let Some(batch) = batches.next_batch().expect("in memory") {
        rows += batch.target.shape()[0];
        for row in batch.target.outer_iter() {
            assert!(targets.outer_iter().any(|target| target == row));
        }
    }
    assert_eq!((rows, targets.len()), (5, 10));
    assert_eq!(Targets::len(&targets), 5);
}

#[test]
fn a_sliced_array_gives_its_own_samples() {
    let samples = ArrayD::from_shape_fn(ndarray::IxDyn(&[6, 1]), |at| at[0] as f32);
    let mut part = samples.clone();
    part.slice_axis_inplace(Axis(0), ndarray::Slice::from(2..5));
    let data = Dataset::new(part, vec![0; 3]).expect("3 each");
    assert_eq!(data.sample(0), Some(&[2.0][..]));
    assert_eq!(data.sample(2), Some(&[4.0][..]));
    assert_eq!(data.sample(3), None);
    let mut backwards = samples;
    backwards.invert_axis(Axis(0));
    let data = Dataset::new(backwards, vec![0; 6]).expect("6 each");
    assert_eq!(data.sample(0), Some(&[5.0][..]));
}

#[test]
fn mnist_is_read_as_it_is() {
    let read = |name: &str| {
        let path = format!("{}/examples/data/mnist/{name}.gz", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::File::open(path).expect("the file is part of the repository");
        read_idx(flate2::read::GzDecoder::new(file)).expect("a good file")
    };
    let images = read("t10k-images-idx3-ubyte").to_images::<f32>(1.0 / 255.0).expect("images");
    let labels = read("t10k-labels-idx1-ubyte").to_labels().expect("labels");
    assert_eq!(images.shape(), [10_000, 1, 28, 28]);
    assert_eq!(labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    let mean = images.iter().map(|&x| f64::from(x)).sum::<f64>() / images.len() as f64;
    // The published mean of the test images, 0.1325.
    assert!((mean - 0.1325).abs() < 5e-5, "{mean}");
}
