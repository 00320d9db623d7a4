//! Single layers and losses at batch 64: forward in train mode, forward and backward, and inference. Throughput counts
//! input elements.
//!
//! In rayon's global pool: `RAYON_NUM_THREADS=1 cargo bench --bench layers -- group_norm`. Side by side with PyTorch:
//! `benches/compare/layers`.

#[path = "compare/layers.rs"]
mod layers;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layers::{BATCH, SINGLES, WORKS};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = singles
}
criterion_main!(benches);

fn singles(c: &mut Criterion) {
    for single in SINGLES {
        let mut group = c.benchmark_group(single.name);
        let elements = BATCH * single.sample.iter().product::<usize>();
        group.throughput(Throughput::Elements(elements as u64));
        for work in WORKS.into_iter().filter(|work| single.has(work)) {
            group.bench_function(work, |bencher| {
                let mut call = single.work(work).expect("the layer fits");
                bencher.iter(|| call().expect("a good batch"));
            });
        }
        group.finish();
    }
}
