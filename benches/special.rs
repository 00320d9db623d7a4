//! Learned slopes, maxout, masks, noise, fractional pooling and DropConnect at batch 64, on 1 and 2 threads. Throughput
//! counts elements of the input, for DropConnect masked weights.
//!
//! `cargo bench --bench special -- special/1/dropout`. The same names in PyTorch: `python benches/compare/special.py`.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use layerwise::Seed;
use layerwise::kernels::drop_connect::{self, Masks, Sizes};
use layerwise::kernels::fractional_pool::{self, Geometry, Regions};
use layerwise::kernels::{mask, maxout, noise, prelu};

const BATCH: usize = 64;
/// Channels and side of the images.
const CHANNELS: usize = 32;
const SIDE: usize = 28;
const FEATURES: usize = 1024;

fn main() {
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        // Criterion cannot be sent into a pool: it is made there.
        pool.install(|| {
            let mut criterion = Criterion::default()
                .sample_size(15)
                .warm_up_time(Duration::from_millis(60))
                .measurement_time(Duration::from_millis(200))
                .configure_from_args();
            let mut group = criterion.benchmark_group(format!("special/{threads}"));
            slopes(&mut group);
            pieces(&mut group);
            masks(&mut group);
            pooling(&mut group);
            connections(&mut group);
            group.finish();
        });
    }
    Criterion::default().configure_from_args().final_summary();
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn random(len: usize) -> Vec<f32> {
    let mut rng = Seed::new(0).rng();
    (0..len).map(|_| rng.normal() as f32).collect()
}

fn throughput(group: &mut Group<'_>, elements: usize) {
    group.throughput(Throughput::Elements(elements as u64));
}

fn slopes(group: &mut Group<'_>) {
    let plane = SIDE * SIDE;
    for (name, channels, plane) in
        [("images", CHANNELS, plane), ("features", FEATURES, 1), ("shared", 1, 4096)]
    {
        let len = BATCH * if name == "features" { FEATURES } else { CHANNELS * SIDE * SIDE };
        let (x, slopes) = (random(len), vec![0.25; channels]);
        let (mut y, mut dslopes) = (x.clone(), slopes.clone());
        let mut scratch = vec![0.0; prelu::scratch_len(channels, plane, len)];
        throughput(group, len);
        group.bench_function(format!("prelu_{name}_forward"), |bencher| {
            bencher.iter(|| prelu::forward(plane, &slopes, black_box(&x), &mut y));
        });
        group.bench_function(format!("prelu_{name}_backward"), |bencher| {
            bencher.iter(|| {
                prelu::backward_slopes(plane, black_box(&x), &x, &mut dslopes, &mut scratch);
                prelu::backward(plane, &slopes, &x, &x, &mut y);
            });
        });
    }
}

fn pieces(group: &mut Group<'_>) {
    for (name, pieces, inner, len) in [
        ("images", 2, SIDE * SIDE, BATCH * CHANNELS * SIDE * SIDE),
        ("features", 2, 1, BATCH * FEATURES),
    ] {
        let x = random(len);
        let (mut y, mut winners, mut dx) = (vec![0.0; len / pieces], vec![0; len], x.clone());
        throughput(group, len);
        group.bench_function(format!("maxout_{name}_forward"), |bencher| {
            bencher
                .iter(|| maxout::forward(pieces, inner, black_box(&x), &mut y, Some(&mut winners)));
        });
        group.bench_function(format!("maxout_{name}_backward"), |bencher| {
            bencher.iter(|| maxout::backward(pieces, inner, &winners, black_box(&y), &mut dx));
        });
    }
}

/// The backward of a mask is the forward on the gradient: a step is two.
fn masks(group: &mut Group<'_>) {
    let len = BATCH * FEATURES;
    let (x, mut y) = (random(len), random(len));
    let seed = Seed::new(1);
    throughput(group, len);
    group.bench_function("dropout_step", |bencher| {
        bencher.iter(|| {
            mask::elements(seed, 0.5, 0.0, black_box(&x), &mut y, |x| 2.0 * x);
            mask::elements(seed, 0.5, 0.0, black_box(&x), &mut y, |x| 2.0 * x);
        });
    });
    group.bench_function("alpha_dropout_step", |bencher| {
        bencher.iter(|| {
            mask::elements(seed, 0.5, -0.7, black_box(&x), &mut y, |x| 0.9 * x + 0.7);
            mask::elements(seed, 0.5, 0.0, black_box(&x), &mut y, |x| 0.9 * x);
        });
    });
    group.bench_function("gaussian_noise_forward", |bencher| {
        bencher.iter(|| noise::apply(seed, black_box(&x), &mut y, |x, z| x + 0.5 * z));
    });
    group.bench_function("gaussian_dropout_step", |bencher| {
        bencher.iter(|| {
            noise::apply(seed, black_box(&x), &mut y, |x, z| x * (1.0 + 0.5 * z));
            noise::apply(seed, black_box(&x), &mut y, |x, z| x * (1.0 + 0.5 * z));
        });
    });
    let (plane, len) = (SIDE * SIDE, BATCH * CHANNELS * SIDE * SIDE);
    let (x, mut y) = (random(len), random(len));
    throughput(group, len);
    group.bench_function("spatial_dropout_step", |bencher| {
        bencher.iter(|| {
            mask::planes(seed, 0.5, 2.0, plane, black_box(&x), &mut y);
            mask::planes(seed, 0.5, 2.0, plane, black_box(&x), &mut y);
        });
    });
}

fn pooling(group: &mut Group<'_>) {
    let output = 19;
    let geometry = Geometry { input: [SIDE; 2], output: [output; 2], overlapping: false };
    let mut regions = Regions::default();
    let mut rng = Seed::new(2).rng();
    for sequence in &mut regions.sequences {
        fractional_pool::random(&mut rng, SIDE, output, sequence);
    }
    let planes = BATCH * CHANNELS;
    let (mut x, mut y) = (random(planes * SIDE * SIDE), random(planes * output * output));
    let mut winners = vec![0; y.len()];
    throughput(group, x.len());
    for (name, overlapping) in [("fractional", false), ("fractional_overlapping", true)] {
        let geometry = Geometry { overlapping, ..geometry };
        group.bench_function(format!("{name}_forward"), |bencher| {
            bencher.iter(|| {
                let winners = Some(&mut winners[..]);
                fractional_pool::forward(&geometry, &regions, black_box(&x), &mut y, winners);
            });
        });
        group.bench_function(format!("{name}_backward"), |bencher| {
            bencher.iter(|| fractional_pool::backward(&geometry, &winners, black_box(&y), &mut x));
        });
    }
}

fn connections(group: &mut Group<'_>) {
    let sizes @ Sizes { n, m, k } = Sizes { n: BATCH, m: 256, k: 512 };
    let masks = Masks::new(Seed::new(3), 0.5);
    let (x, w, dy) = (random(n * k), random(m * k), random(n * m));
    let (mut y, mut dx, mut dw) = (random(n * m), random(n * k), random(m * k));
    throughput(group, n * m * k);
    group.bench_function("drop_connect_forward", |bencher| {
        bencher.iter(|| drop_connect::forward(sizes, masks, 1.0, black_box(&x), &w, None, &mut y));
    });
    group.bench_function("drop_connect_backward", |bencher| {
        bencher.iter(|| {
            let dw = Some(&mut dw[..]);
            drop_connect::backward_weight(sizes, masks, 1.0, &x, black_box(&dy), dw, None);
            drop_connect::backward_input(sizes, masks, 1.0, &w, &dy, &mut dx);
        });
    });
}
