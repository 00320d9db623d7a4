//! Several predictions instead of one.

use layerwise::augment::{HorizontalFlip, Pipeline, RandomCrop};
use layerwise::ensembles::{Combine, Ensemble, Sampled, Snapshots, TestTime};
use layerwise::metrics::{LogLoss, evaluate};
use layerwise::prelude::*;
use layerwise::training::Weights;

use crate::support::{bits, labels, normal, small_convnet, text};

fn linear(seed: u64) -> Sequential {
    Sequential::builder([5]).add(Linear::new(3)).seed(seed).build().expect("it fits")
}

fn softmax(logits: &ArrayD<f32>) -> ArrayD<f64> {
    let mut p = logits.mapv(|x| f64::from(x).exp());
    for mut row in p.outer_iter_mut() {
        let sum = row.sum();
        row.mapv_inplace(|x| x / sum);
    }
    p
}

fn assert_close(got: &ArrayD<f32>, want: &ArrayD<f64>) {
    assert_eq!(got.shape(), want.shape());
    for (got, want) in got.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() < 1e-6, "{got} {want}");
    }
}

#[test]
fn probabilities_outputs_and_votes_are_averaged() {
    let models = [linear(1), linear(2), linear(3)];
    let x = normal::<f32>(&[7, 5], 4);
    let outputs: Vec<_> = models.iter().map(|model| model.predict(&x).expect("it fits")).collect();
    let mean = |parts: Vec<ArrayD<f64>>| parts.iter().fold(0.0 * &parts[0], |a, b| a + b / 3.0);
    let ensemble = Ensemble::new(models).expect("equal shapes");

    let p = mean(outputs.iter().map(softmax).collect());
    assert_close(&ensemble.probabilities(&x).expect("classes"), &p);
    assert_close(&ensemble.predict(&x).expect("it fits"), &p.mapv(f64::ln));

    let ensemble = ensemble.combine(Combine::Outputs).expect("any shape");
    let logits = mean(outputs.iter().map(|y| y.mapv(f64::from)).collect());
    assert_close(&ensemble.predict(&x).expect("it fits"), &logits);

    let ensemble = ensemble.combine(Combine::Votes).expect("classes");
    let votes = ensemble.predict(&x).expect("it fits");
    for (row, votes) in votes.outer_iter().enumerate() {
        for (class, &share) in votes.iter().enumerate() {
            let votes = outputs.iter().filter(|y| {
                y.index_axis(Axis(0), row).iter().all(|&other| other <= y[[row, class]])
            });
            assert!((share - votes.count() as f32 / 3.0).abs() < 1e-6);
        }
    }
}

#[test]
fn an_ensemble_is_measured_like_a_model_on_any_number_of_threads() {
    let data = Dataset::new(normal(&[20, 2, 8, 8], 1), labels(20, 4, 2)).expect("20 each");
    let members = [1, 2, 3, 4].map(small_convnet::<f32>);
    let ensemble = Ensemble::new(members).expect("equal shapes");
    let mut loss = LogLoss::new();
    evaluate(&ensemble, &mut data.batches(6).expect("not 0"), &mut [&mut loss]).expect("it fits");
    // Log-probabilities are logits: the loss is the logarithm of the mean probability.
    let p = ensemble.probabilities(data.samples()).expect("classes");
    let wanted: f64 = (data.targets().iter().enumerate())
        .map(|(row, &class)| -f64::from(p[[row, class]]).ln() / 20.0)
        .sum();
    assert!((Metric::<f32>::value(&loss) - wanted).abs() < 1e-5);
    let y = ensemble.predict(data.samples()).expect("it fits");
    let by_loss = CrossEntropy::new().value(y.view(), data.targets()).expect("good targets");
    assert!((f64::from(by_loss) - wanted).abs() < 1e-5);
    for threads in 1..=3 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let again = pool.install(|| ensemble.predict(data.samples())).expect("it fits");
        assert_eq!(bits(again.view()), bits(y.view()));
    }
}

#[test]
fn models_that_do_not_belong_together_are_an_error() {
    let other = |input: usize, output: usize| {
        Sequential::builder([input]).add(Linear::new(output)).build().expect("it fits")
    };
    assert_eq!(
        text(Ensemble::new([linear(1), linear(2), other(5, 4)])),
        "layer 2 (Ensemble): needs [3], got [4]; all members need one output shape"
    );
    assert_eq!(
        text(Ensemble::new([linear(1), other(6, 3)])),
        "layer 1 (Ensemble): needs [5], got [6]; all members need one input shape"
    );
    assert_eq!(
        text(Ensemble::<f32>::new([])),
        "Ensemble: members must be at least one model, got none"
    );
    let images = Sequential::builder([1, 4, 4]).add(Conv2d::new(2, 3)).build().expect("it fits");
    let ensemble = Ensemble::new([images]).expect("one");
    assert_eq!(
        text(ensemble.probabilities(&Array4::zeros((1, 1, 4, 4)))),
        "Ensemble: combine must be Outputs unless the models put out [classes], got Probabilities for [2, 2, 2]"
    );
    assert_eq!(
        text(ensemble.predict(&Array4::zeros((1, 1, 4, 5)))),
        "input: needs [batch, 1, 4, 4], got [1, 1, 4, 5]; the model was built for this shape"
    );
}

#[test]
fn snapshots_are_the_weights_at_the_ends_of_cycles() {
    let data = Dataset::new(normal(&[40, 5], 1), labels(40, 3, 2)).expect("40 each");
    let run = |steps: u64, snapshots: &mut Snapshots| {
        let optimizer =
            ModelOptimizer::new(Sgd::new(), 0.5).schedule(SnapshotCycles::new(steps, 3));
        let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).steps(steps);
        let mut model = linear(1);
        let mut batches = data.batches(10).expect("not 0");
        trainer.fit_with(&mut model, &mut batches, None, &mut [snapshots]).expect("good data");
        model
    };
    let mut snapshots = Snapshots::every(4);
    let model = run(12, &mut snapshots);
    assert_eq!(snapshots.len(), 3);
    let kept: Vec<_> = snapshots.weights().collect();
    assert!(*kept[2] == Weights::of(&model));
    assert!(kept[0] != kept[1]);
    // ⌈11 / 3⌉ = 4: the last cycle is cut short.
    let mut short = Snapshots::every(4).keep(2);
    run(11, &mut short);
    assert_eq!(short.len(), 2);
    // In files they are the same.
    let folder = std::env::temp_dir().join(format!("layerwise-cycles-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut files = Snapshots::every(4).folder(&folder).keep(2);
    run(12, &mut files);
    assert_eq!((files.len(), files.weights().count()), (2, 0));
    assert!(!folder.join("snapshot_0.safetensors").exists());
    let members = |snapshots: &Snapshots| {
        let ensemble = snapshots.ensemble(&model, 2).expect("two");
        ensemble.members().iter().map(Weights::of).collect::<Vec<_>>()
    };
    assert!(members(&files) == members(&snapshots));
    std::fs::remove_dir_all(&folder).expect("it is there");
    let mut nowhere = Snapshots::every(4).folder(folder.join("not there"));
    assert!(text(nowhere.take(&model)).starts_with("cannot "));
    let mut x = data.samples().to_owned();
    x.mapv_inplace(|x| x * 2.0);
    let ensemble = snapshots.ensemble(&model, 1).expect("the last");
    let p = softmax(&model.predict(&x).expect("it fits"));
    assert_close(&ensemble.probabilities(&x).expect("classes"), &p);
    assert_eq!(
        text(snapshots.ensemble(&model, 4)),
        "Snapshots: last must be from 1 to the number of snapshots, got 4 of 3"
    );
    assert_eq!(
        text(snapshots.ensemble(&small_convnet(1), 1)),
        "0.weight: needs [6, 2, 3, 3], got [3, 5]"
    );
}

/// Puts out the sum of an image's pixels, weighted by their place, as one value.
fn places(height: usize, width: usize) -> Sequential {
    let mut model = Sequential::builder([1, height, width])
        .add(Flatten)
        .add(Linear::new(1))
        .build()
        .expect("it fits");
    let numel = height * width;
    let weight = Array2::from_shape_fn((1, numel), |(_, i)| (i + 1) as f32);
    model.set_value("1.weight", &weight).expect("it fits");
    model
}

#[test]
fn crops_are_four_corners_and_the_centre_and_their_mirror_images() {
    let model = places(2, 2);
    let x = Array4::from_shape_fn((1, 1, 4, 5), |(_, _, y, x)| (10 * y + x) as f32);
    let value = |top: usize, left: usize, mirror: bool| {
        let at =
            |y: usize, x: usize| (10 * (top + y) + left + if mirror { 1 - x } else { x }) as f32;
        at(0, 0) + 2.0 * at(0, 1) + 3.0 * at(1, 0) + 4.0 * at(1, 1)
    };
    let corners = [(0, 0), (0, 3), (2, 0), (2, 3), (1, 1)];
    let five: f32 = corners.iter().map(|&(y, x)| value(y, x, false) / 5.0).sum();
    let mirrored: f32 = corners.iter().map(|&(y, x)| value(y, x, true) / 5.0).sum();
    let outputs = |crops: Result<TestTime<'_, Sequential>>| {
        let crops = crops.expect("images").combine(Combine::Outputs).expect("any shape");
        crops.predict(&x).expect("it is larger")[[0, 0]]
    };
    assert!((outputs(TestTime::five_crop(&model)) - five).abs() < 1e-3);
    assert!((outputs(TestTime::ten_crop(&model)) - (five + mirrored) / 2.0).abs() < 1e-3);
    assert_eq!(
        text(TestTime::five_crop(&model).expect("images").predict(&Array4::zeros((1, 1, 1, 5)))),
        "input: needs [batch, 1, at least 2, at least 2], got [1, 1, 1, 5]; crops are cut from larger images"
    );
    assert!(text(TestTime::ten_crop(&linear(1))).starts_with("input: needs"));
}

#[test]
fn augmented_copies_count_three_quarters_and_the_plain_image_one() {
    let model = places(3, 4);
    // Every copy is mirrored: both parts are known.
    let always = || Pipeline::new(Seed::new(1)).add(HorizontalFlip::new().p(1.0));
    let x = normal::<f32>(&[3, 1, 3, 4], 5);
    let mut flipped = x.clone();
    flipped.invert_axis(Axis(3));
    let (plain, mirrored) =
        (model.predict(&x).expect("it fits"), model.predict(&flipped).expect("it fits"));
    for (weight, tta) in [
        (0.25, TestTime::augmented(&model, always(), 4).expect("4")),
        (
            0.5,
            TestTime::augmented(&model, always(), 4)
                .expect("4")
                .plain_weight(0.5)
                .expect("a share"),
        ),
        (
            0.0,
            TestTime::augmented(&model, always(), 1)
                .expect("1")
                .plain_weight(0.0)
                .expect("a share"),
        ),
    ] {
        let tta = tta.combine(Combine::Outputs).expect("any shape");
        let got = tta.predict(&x).expect("images");
        let want = &plain * weight + &mirrored * (1.0 - weight);
        got.iter().zip(&want).for_each(|(a, b)| assert!((a - b).abs() < 1e-3, "{a} {b}"));
    }
    let crop = || Pipeline::new(Seed::new(1)).add(RandomCrop::new(1));
    let random = |copies| {
        let tta = TestTime::augmented(&model, crop(), copies).expect("copies");
        tta.combine(Combine::Outputs).expect("any shape").predict(&x).expect("images")
    };
    assert_eq!(random(3), random(3));
    assert_ne!(random(3), random(4));
    assert_eq!(
        text(TestTime::augmented(&model, always(), 0)),
        "TestTime: copies must be at least 1, got 0"
    );
    let weight =
        |weight| text(TestTime::augmented(&model, always(), 1).expect("1").plain_weight(weight));
    assert_eq!(weight(1.5), "TestTime: plain_weight must be from 0 to 1, got 1.5");
    assert_eq!(
        text(TestTime::five_crop(&model).expect("images").plain_weight(0.5)),
        "TestTime: plain_weight must be left out for crops, which count alike, got 0.5"
    );
}

#[test]
fn sampling_draws_the_noise_of_training_and_leaves_the_model_alone() {
    let mut model = small_convnet::<f32>(1);
    model.forward(&normal::<f32>(&[9, 2, 8, 8], 3)).expect("it fits");
    let x = normal::<f32>(&[4, 2, 8, 8], 4);
    let before = crate::support::state(&model);
    let sample = |passes| Sampled::new(&model, passes).expect("some").predict(&x).expect("it fits");
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
    // A row does not depend on the others: batch norm uses its running statistics.
    let outputs = |model: &Sequential| {
        let model = Sampled::new(model, 1).expect("one").combine(Combine::Outputs).expect("any");
        model.predict(&x).expect("it fits")
    };
    let mut still = model.clone();
    still.set_statistics(Statistics::Fixed, |_| true);
    assert_eq!(outputs(&model), outputs(&still));
    // Without noise it is the prediction.
    let plain = Sequential::builder([5])
        .add(Linear::new(3))
        .add(BatchNorm::new())
        .build()
        .expect("it fits");
    let x = normal::<f32>(&[4, 5], 4);
    let sampled = Sampled::new(&plain, 3).expect("some").combine(Combine::Outputs).expect("any");
    let (a, b) = (sampled.predict(&x).expect("it fits"), plain.predict(&x).expect("it fits"));
    a.iter().zip(&b).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
    assert_eq!(crate::support::state(&model), before);
    assert_eq!(text(Sampled::new(&plain, 0)), "Sampled: passes must be at least 1, got 0");
}
