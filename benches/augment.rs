//! Augmenting a batch of 128 images of 3 × 32 × 32, beside the training step it must keep up with.
//!
//! In rayon's global pool: `RAYON_NUM_THREADS=1 cargo bench --bench augment`.

mod networks;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use layerwise::augment::{
    Affine, Augmentation, ColorJitter, Elastic, HorizontalFlip, Pipeline, RandomCrop,
};
use layerwise::prelude::*;
use networks::{Inference, NETWORKS, Network, Training};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30);
    targets = augment, train_step
}
criterion_main!(benches);

/// What a pipeline costs, all at once and each part alone.
fn augment(c: &mut Criterion) {
    let jitter = ColorJitter::new().brightness(0.2).contrast(0.2).saturation(0.2).hue(0.1);
    let alone = |step: Box<dyn Augmentation>| Pipeline::new(Seed::new(1)).add(Boxed(step));
    let usual =
        Pipeline::new(Seed::new(1)).add(HorizontalFlip::new()).add(RandomCrop::new(4)).add(jitter);
    let pipelines = [
        ("flip, crop, colour", usual),
        ("flip", alone(Box::new(HorizontalFlip::new()))),
        ("crop", alone(Box::new(RandomCrop::new(4)))),
        ("colour", alone(Box::new(jitter))),
        ("affine", alone(Box::new(Affine::new().rotate(15.0).shift(0.1)))),
        ("elastic", alone(Box::new(Elastic::new(34.0, 4.0)))),
    ];
    let mut rng = Seed::new(1).rng();
    let mut x = Array4::from_shape_simple_fn((128, 3, 32, 32), || rng.uniform() as f32).into_dyn();
    let samples: Vec<usize> = (0..128).collect();
    let mut group = c.benchmark_group("augment");
    for (name, pipeline) in &pipelines {
        let mut epoch = 0;
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                epoch += 1;
                pipeline.apply(&mut x.view_mut(), &samples, epoch).expect("images");
            });
        });
    }
    group.finish();
}

/// An augmentation chosen at run time.
#[derive(Debug)]
struct Boxed(Box<dyn Augmentation>);

impl Augmentation for Boxed {
    fn check(&self, size: [usize; 3]) -> Result<()> {
        self.0.check(size)
    }
    fn scratch(&self, size: [usize; 3]) -> usize {
        self.0.scratch(size)
    }
    fn apply(&self, image: &mut layerwise::augment::Image<'_>, rng: &mut Rng) {
        self.0.apply(image, rng);
    }
}

fn train_step(c: &mut Criterion) {
    let cifar = NETWORKS.iter().find(|network: &&Network| network.name == "cifar");
    let mut training = Training::new(cifar.expect("it is one of them")).expect("it builds");
    let mut group = c.benchmark_group("train_step");
    group.sample_size(10);
    group.bench_function("cifar", |bencher| {
        bencher.iter(|| training.step().expect("the data fit"));
    });
    group.finish();
    // Used by the other benches.
    let _ = (Inference::new, Inference::predict);
}
