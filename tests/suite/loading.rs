//! Splits, sampling, sources, and batches from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use layerwise::augment::{Affine, HorizontalFlip, Mixup, Pipeline};
use layerwise::data::{
    ByteImages, Concat, Prefetch, Subset, Targets, k_folds, read_cifar10, stratified_k_folds,
};
use layerwise::prelude::*;

use crate::support::{bits, labels, normal, text};

fn counted(count: usize) -> Dataset {
    let x = Array2::from_shape_fn((count, 2), |(i, j)| (10 * i + j) as f32).into_dyn();
    Dataset::new(x, (0..count).collect()).expect("as many as samples")
}

fn sorted(parts: &[&[usize]]) -> Vec<usize> {
    let mut all = parts.concat();
    all.sort_unstable();
    all
}

#[test]
fn every_sample_is_in_exactly_one_part() {
    for count in [4, 10, 97, 1000] {
        let data = counted(count);
        let [a, b, c] = data.split([0.5, 0.25, 0.25], Seed::new(1)).expect("large enough");
        assert_eq!(
            sorted(&[a.targets(), b.targets(), c.targets()]),
            (0..count).collect::<Vec<_>>()
        );
        assert!(a.len().abs_diff(count / 2) <= 1 && b.len().abs_diff(count / 4) <= 1);
        assert_eq!(a.sample(0).expect("not empty")[0], 10.0 * a.targets()[0] as f32);
    }
    let [a, _] = counted(100).split([0.5, 0.5], Seed::new(1)).expect("large enough");
    let [b, _] = counted(100).split([0.5, 0.5], Seed::new(1)).expect("large enough");
    let [c, _] = counted(100).split([0.5, 0.5], Seed::new(2)).expect("large enough");
    assert!(a.targets() == b.targets() && a.targets() != c.targets());
}

#[test]
fn stratified_parts_keep_the_proportions() {
    let classes: Vec<usize> = (0..1000).map(|i| [0, 0, 0, 0, 0, 0, 0, 1, 1, 2][i % 10]).collect();
    let data = Dataset::new(normal::<f32>(&[1000, 1], 0), classes).expect("1000 each");
    let [train, test] = data.split_stratified([0.8, 0.2], Seed::new(5)).expect("large enough");
    let count = |data: &Dataset, class| data.targets().iter().filter(|&&c| c == class).count();
    assert_eq!([0, 1, 2].map(|class| count(&train, class)), [560, 160, 80]);
    assert_eq!([0, 1, 2].map(|class| count(&test, class)), [140, 40, 20]);
}

#[test]
fn folds_validate_on_every_sample_once() {
    let classes = labels(103, 3, 1);
    for (folds, stratified) in [
        (k_folds(103, 5, Seed::new(1)).expect("5 of 103"), false),
        (stratified_k_folds(&classes, 5, Seed::new(1)).expect("5 of 103"), true),
    ] {
        let valid: Vec<&[usize]> = folds.iter().map(|fold| &fold.valid[..]).collect();
        assert_eq!(sorted(&valid), (0..103).collect::<Vec<_>>());
        for fold in &folds {
            assert_eq!(sorted(&[&fold.train, &fold.valid]), (0..103).collect::<Vec<_>>());
            assert!(fold.valid.len().abs_diff(103 / 5) <= 1);
            for class in 0..3 {
                let total = classes.iter().filter(|&&c| c == class).count();
                let here = fold.valid.iter().filter(|&&i| classes[i] == class).count();
                assert!(!stratified || here.abs_diff(total / 5) <= 1, "{here} of {total}");
            }
        }
    }
}

#[test]
fn balanced_batches_have_every_class_and_use_every_rare_sample() {
    let classes: Vec<usize> = (0..103).map(|i| if i < 90 { 0 } else { 1 + i % 2 * 6 }).collect();
    let data = counted(103);
    let mut batches =
        data.batches(10).expect("not 0").balanced(&classes, Seed::new(3)).expect("one for each");
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let (mut counts, mut rows) = ([0; 8], Vec::new());
        while let Some(batch) = batches.next_batch().expect("in memory") {
            batch.target.iter().for_each(|&row| counts[classes[row]] += 1);
            rows.extend_from_slice(batch.target);
        }
        // 103 / 3
        assert!(counts.iter().all(|&n| n == 0 || (34..=35).contains(&n)), "{counts:?}");
        assert_eq!((counts.iter().sum::<usize>(), rows.len()), (103, 103));
        // 34 draws of 6 or 7 samples: each 4 to 6 times.
        for rare in 90..103 {
            assert!((4..=6).contains(&rows.iter().filter(|&&row| row == rare).count()));
        }
        epochs.push(rows);
    }
    assert_ne!(epochs[0], epochs[1]);
    batches.set_epoch(0);
    assert_eq!(batches.next_batch().expect("in memory").expect("a batch").target, &epochs[0][..10]);
}

#[test]
fn subsets_and_concatenations_read_the_right_samples() {
    let part =
        |from: usize| Subset::new(counted(20), (from..from + 5).collect()).expect("in range");
    let both = Concat::new(vec![part(3), part(12)]).expect("alike");
    let mut batches = both.batches(4).expect("not 0");
    let mut rows = Vec::new();
    while let Some(batch) = batches.next_batch().expect("in memory") {
        for (x, &target) in batch.x.outer_iter().zip(batch.target) {
            assert_eq!(x[1], 10.0 * target as f32 + 1.0);
            rows.push(target);
        }
    }
    assert_eq!(rows, [3, 4, 5, 6, 7, 12, 13, 14, 15, 16]);
}

/// Everything that a loader hands out in some epochs.
fn record<B: Loader<f32, Targets: Targets<Target = [usize]>>>(
    batches: &mut B,
    epochs: usize,
) -> Vec<(Vec<u64>, Vec<usize>)> {
    let mut all = Vec::new();
    for _ in 0..epochs {
        while let Some(batch) = batches.next_batch().expect("in memory") {
            all.push((bits(batch.x.view()), batch.target.to_vec()));
        }
        all.push((Vec::new(), Vec::new()));
    }
    all
}

fn images(count: usize) -> Arc<Dataset> {
    let images = normal::<f32>(&[count, 1, 6, 6], 1);
    Arc::new(Dataset::new(images, (0..count).collect()).expect("as many as samples"))
}

fn batches(data: &Arc<Dataset>) -> Batches<'static, f32, Vec<usize>> {
    let augment = Pipeline::new(Seed::new(7))
        .add(HorizontalFlip::new())
        .add(Affine::new().rotate(20.0).shift(0.1));
    let batches = Batches::shared(data.clone(), 8).expect("not 0").shuffled(Seed::new(2));
    batches.augmented(augment).expect("images")
}

#[test]
fn prefetched_batches_are_the_same_to_the_bit() {
    let data = images(30);
    let want = record(&mut batches(&data), 3);
    for depth in [1, 2, 5] {
        let mut prefetch = Prefetch::new(batches(&data), depth).expect("a thread");
        assert_eq!((prefetch.count(), prefetch.samples(), prefetch.epoch()), (4, 30, 0));
        assert!(record(&mut prefetch, 3) == want, "depth {depth}");
        assert_eq!(prefetch.epoch(), 3);
    }
}

#[test]
fn a_prefetch_jumps_between_epochs_as_batches_do() {
    let data = images(20);
    let mut plain = batches(&data);
    let mut prefetch = Prefetch::new(batches(&data), 3).expect("a thread");
    fn wander(batches: &mut impl Loader<f32, Targets = Vec<usize>>) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        let mut step = |batches: &mut dyn Loader<f32, Targets = Vec<usize>>| {
            let batch = batches.next_batch().expect("in memory");
            all.push(batch.map(|batch| batch.target.to_vec()).unwrap_or_default());
        };
        batches.restart();
        (0..2).for_each(|_| step(batches));
        batches.restart();
        (0..5).for_each(|_| step(batches));
        batches.set_epoch(9);
        batches.set_epoch(4);
        (0..4).for_each(|_| step(batches));
        batches.restart();
        step(batches);
        assert_eq!(batches.epoch(), 5);
        all
    }
    assert_eq!(wander(&mut prefetch), wander(&mut plain));
}

#[test]
fn training_from_a_prefetch_gives_the_same_bits() {
    let data = images(40);
    let train = |batches: &mut dyn FnMut(&mut Trainer<CrossEntropy>, &mut Sequential) -> f64| {
        let flat = Sequential::builder([1, 6, 6]).add(Flatten).add(Linear::new(40));
        let mut model = flat.seed(1).build().expect("it fits");
        let optimizer = ModelOptimizer::new(Adam::new(), 0.01);
        let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
        (0..3).map(|_| batches(&mut trainer, &mut model).to_bits()).collect::<Vec<_>>()
    };
    let mut plain = batches(&data);
    let mut prefetch = Prefetch::new(batches(&data), 2).expect("a thread");
    let a = train(&mut |trainer, model| trainer.epoch(model, &mut plain).expect("good batches"));
    let b = train(&mut |trainer, model| trainer.epoch(model, &mut prefetch).expect("good batches"));
    assert_eq!(a, b);
}

/// Fails for one sample, panics for another, and counts how many were read.
#[derive(Debug)]
struct Faulty {
    shape: Shape,
    reads: Arc<AtomicUsize>,
    panics_at: usize,
}

impl Source for Faulty {
    type Targets = Vec<usize>;
    fn len(&self) -> usize {
        12
    }
    fn shape(&self) -> &Shape {
        &self.shape
    }
    fn room(&self, rows: usize) -> Vec<usize> {
        vec![0; rows]
    }
    fn read(&self, rows: &[usize], x: &mut [f32], targets: &mut Vec<usize>) -> Result<()> {
        self.reads.fetch_add(rows.len(), Ordering::SeqCst);
        if rows.contains(&5) {
            return Err(Error::Data("sample 5 is broken".into()));
        }
        assert!(!rows.contains(&self.panics_at), "as asked for");
        x.fill(1.0);
        targets.iter_mut().zip(rows).for_each(|(target, &row)| *target = row);
        Ok(())
    }
}

fn faulty(panics_at: usize) -> (Batches<'static, f32, Vec<usize>>, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let source = Faulty { shape: [1].into(), reads: reads.clone(), panics_at };
    (Batches::shared(Arc::new(source), 2).expect("not 0"), reads)
}

#[test]
fn a_loader_returns_its_errors_and_goes_on() {
    let mut prefetch = Prefetch::new(faulty(99).0, 2).expect("a thread");
    let mut plain = faulty(99).0;
    let loaders: [&mut dyn Loader<f32, Targets = Vec<usize>>; 2] = [&mut prefetch, &mut plain];
    for loader in loaders {
        let mut seen = Vec::new();
        let mut failures = 0;
        loop {
            match loader.next_batch() {
                Ok(Some(batch)) => seen.extend_from_slice(batch.target),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.to_string(), "data set: sample 5 is broken");
                    failures += 1;
                }
            }
        }
        assert_eq!((seen, failures), (vec![0, 1, 2, 3, 6, 7, 8, 9, 10, 11], 1));
    }
}

#[test]
fn a_panic_in_a_source_is_an_error_and_dropping_waits_for_the_thread() {
    let mut prefetch = Prefetch::new(faulty(2).0, 1).expect("a thread");
    assert!(prefetch.next_batch().expect("a good batch").is_some());
    assert_eq!(
        text(prefetch.next_batch()),
        "data set: the thread that prepares batches has stopped: its source panicked"
    );
    let (batches, reads) = faulty(99);
    let mut prefetch = Prefetch::new(batches, 2).expect("a thread");
    prefetch.next_batch().expect("a good batch");
    drop(prefetch);
    let after = reads.load(Ordering::SeqCst);
    // One handed out and at most two ahead, and nobody reads any more.
    assert!(after <= 6, "{after}");
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(reads.load(Ordering::SeqCst), after);
}

#[test]
fn settings_of_loaders_are_checked() {
    let data = counted(5);
    assert_eq!(
        text(data.split([0.5, 0.6], Seed::new(1))),
        "Dataset: fractions must be above 0 and 1 in total, got [0.5, 0.6]"
    );
    assert_eq!(
        text(data.split([0.99, 0.01], Seed::new(1))),
        "data set: 5 samples are too few for 2 parts: part 1 is empty"
    );
    assert_eq!(
        text(k_folds(5, 6, Seed::new(1))),
        "k_folds: k must be from 2 to the number of samples, got 6 for 5 samples"
    );
    assert_eq!(
        text(data.batches(2).expect("not 0").balanced(&[1], Seed::new(1))),
        "data set: 5 samples but 1 classes to balance by; each sample needs one"
    );
    assert_eq!(
        text(Subset::new::<f32>(counted(5), vec![5])),
        "data set: index 5 is out of range: there are 5 samples"
    );
    assert_eq!(
        text(Concat::<Dataset>::new::<f32>(Vec::new())),
        "data set: needs at least one source to put together, got none"
    );
    let wide = Dataset::new(normal::<f32>(&[1, 3], 0), vec![0]).expect("one each");
    assert_eq!(
        text(Concat::new(vec![counted(2), wide])),
        "data set: samples of source 1 are [3], those of source 0 [2]; all must be alike"
    );
    assert_eq!(
        text(Prefetch::new(Batches::shared(Arc::new(counted(2)), 1).expect("not 0"), 0)),
        "Prefetch: depth must be at least 1, got 0"
    );
    let empty = Subset::new::<f32>(counted(5), Vec::new()).expect("in range");
    assert_eq!(
        text(Source::<f32>::batches(&empty, 1)),
        "data set: needs at least one sample, got none"
    );
    assert!(text(k_folds(usize::MAX, 2, Seed::new(1))).starts_with("no memory"));
    let mix = Mixup::new(0.0, Seed::new(1));
    let soft = counted(5).one_hot(5).expect("5 classes");
    assert_eq!(
        text(soft.batches(2).expect("not 0").augmented(mix)),
        "Mixup: alpha must be above 0, got 0.0"
    );
}

/// Samples without end.
#[derive(Debug)]
struct Endless {
    shape: Shape,
}

impl Source for Endless {
    type Targets = Vec<usize>;
    fn len(&self) -> usize {
        usize::MAX
    }
    fn shape(&self) -> &Shape {
        &self.shape
    }
    fn room(&self, rows: usize) -> Vec<usize> {
        vec![0; rows]
    }
    fn read(&self, rows: &[usize], x: &mut [f32], targets: &mut Vec<usize>) -> Result<()> {
        x.fill(1.0);
        targets.copy_from_slice(rows);
        Ok(())
    }
}

#[test]
fn samples_in_order_cost_a_batch_whatever_their_number() {
    let endless = Endless { shape: [2].into() };
    let mut batches = endless.batches(3).expect("a small batch");
    assert_eq!(batches.next_batch().expect("made").expect("a batch").target, [0, 1, 2]);
    assert_eq!(batches.next_batch().expect("made").expect("a batch").target, [3, 4, 5]);
    let error = text(endless.batches(usize::MAX / 8));
    assert!(error.starts_with("no memory for a batch of"), "{error}");
}

#[test]
fn byte_images_give_the_same_bits_as_arrays() {
    let mut rng = Seed::new(1).rng();
    let mut byte = || (rng.next_u64() >> 56) as u8;
    let pixels: Vec<u8> = (0..10 * 12).map(|_| byte()).collect();
    let images = [&[0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 3, 0, 0, 0, 4][..], &pixels].concat();
    let classes = [&[0, 0, 8, 1, 0, 0, 0, 10][..], &(0..10).collect::<Vec<u8>>()].concat();
    let read = |bytes: &[u8]| layerwise::data::read_idx(bytes).expect("a good stream");
    let array = read(&images).to_images::<f32>(1.0 / 255.0).expect("images");
    let memory = Dataset::new(array, read(&classes).to_labels().expect("labels")).expect("10 each");
    let source = ByteImages::idx(images, classes).expect("good files");
    assert_eq!(source.to_dataset::<f32>().expect("10").samples(), memory.samples());
    let mut a = Source::<f32>::batches(&source, 3).expect("not 0").shuffled(Seed::new(4));
    let mut b = memory.batches(3).expect("not 0").shuffled(Seed::new(4));
    assert!(record(&mut a, 2) == record(&mut b, 2));

    let record: Vec<u8> = (0..3073).map(|i| if i == 0 { 4 } else { byte() }).collect();
    let cifar = read_cifar10(&record[..]).expect("a good file").scale(1.0);
    let data = cifar.to_dataset::<f64>().expect("one image");
    assert_eq!(data.samples()[[0, 1, 2, 3]], f64::from(record[1 + 1024 + 2 * 32 + 3]));
    assert_eq!(cifar.classes(), [4]);
}
