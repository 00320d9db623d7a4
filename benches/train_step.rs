//! The five networks: a training step, inference of the batch, inference of one sample.
//!
//! In rayon's global pool: `RAYON_NUM_THREADS=1 cargo bench --bench train_step -- lenet`.

mod networks;

use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use layerwise::Result;
use networks::{Inference, NETWORKS, Network, Training};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = train_step, predict, predict_one
}
criterion_main!(benches);

fn train_step(c: &mut Criterion) {
    each_network(c, "train_step", |network| {
        let mut training = Training::new(network)?;
        Ok(move || training.step())
    });
}

fn predict(c: &mut Criterion) {
    each_network(c, "predict", |network| {
        let mut inference = Inference::new(network, network.batch)?;
        Ok(move || inference.predict())
    });
}

fn predict_one(c: &mut Criterion) {
    each_network(c, "predict_one", |network| {
        let mut inference = Inference::new(network, 1)?;
        Ok(move || inference.predict())
    });
}

/// Measures what `prepare` makes of each network.
fn each_network<W: FnMut() -> Result<f32>>(
    c: &mut Criterion,
    group: &str,
    prepare: impl Fn(&Network) -> Result<W>,
) {
    let mut group = c.benchmark_group(group);
    for network in &NETWORKS {
        few_samples_if_slow(&mut group, network);
        group.bench_function(network.name, |bencher| {
            let mut work = prepare(network).expect("the network builds");
            bencher.iter(|| work().expect("the data fits the network"));
        });
    }
    group.finish();
}

fn few_samples_if_slow(group: &mut BenchmarkGroup<'_, WallTime>, network: &Network) {
    group.sample_size(if matches!(network.name, "cifar" | "vgg") { 10 } else { 50 });
}
