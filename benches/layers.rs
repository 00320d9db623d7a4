//! Single layers at batch 64, forward (`predict`) and forward and backward (`train`). Throughput counts input elements.
//!
//! In rayon's global pool: `RAYON_NUM_THREADS=1 cargo bench --bench layers -- group_norm`. Side by side with PyTorch:
//! `benches/compare/layers`.

#[path = "compare/layers.rs"]
mod layers;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layers::{BATCH, Inference, LAYERS, Training};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = single_layers
}
criterion_main!(benches);

fn single_layers(c: &mut Criterion) {
    for layer in LAYERS {
        let mut group = c.benchmark_group(layer.name);
        let elements = BATCH * layer.sample.iter().product::<usize>();
        group.throughput(Throughput::Elements(elements as u64));
        group.bench_function("predict", |bencher| {
            let mut inference = Inference::new(layer).expect("the layer fits");
            bencher.iter(|| inference.predict().expect("a good batch"));
        });
        group.bench_function("train", |bencher| {
            let mut training = Training::new(layer).expect("the layer fits");
            bencher.iter(|| training.step().expect("a good batch"));
        });
        group.finish();
    }
}
