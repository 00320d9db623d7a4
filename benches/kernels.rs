//! The kernels on the sizes that the measured networks have. Throughput of products counts a
//! multiply-add as two: elements per second are FLOP/s. That of everything else counts elements.
//!
//! In rayon's global pool: `RAYON_NUM_THREADS=1 cargo bench --bench kernels -- conv/vgg`.

use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use layerwise::kernels::conv::{self, Finish, Plan, Source};
use layerwise::kernels::gemm::{self, Begin, Mat, Product, Right};
use layerwise::kernels::norm::{self, Gradients, Known, Sizes, Statistics};
use layerwise::kernels::{peak, pool, update};
use layerwise::optimizers::Adam;
use layerwise::{Optimizer, Scalar, Seed, StepInfo};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = gemm_square, gemm_linear, convolution, pooling, batch_norm, adam
}
criterion_main!(benches);

fn random<F: Scalar>(len: usize) -> Vec<F> {
    let mut rng = Seed::new(0).rng();
    (0..len).map(|_| F::lit(rng.normal())).collect()
}

fn gemm_square(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm/f32");
    multiply_adds::<f32>(&mut group);
    for size in [64, 128, 256, 512, 1024, 2048] {
        product::<f32>(&mut group, "square", [size; 3]);
    }
    group.finish();
    let mut group = c.benchmark_group("gemm/f64");
    multiply_adds::<f64>(&mut group);
    for size in [128, 256, 512, 1024] {
        product::<f64>(&mut group, "square", [size; 3]);
    }
    group.finish();
}

/// `Linear`'s forward of the networks mlp and lenet, batch and single sample.
fn gemm_linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm/f32");
    for (m, n, k) in [(128, 512, 784), (128, 256, 512), (128, 120, 400), (128, 10, 84)] {
        product::<f32>(&mut group, "linear", [m, n, k]);
    }
    product::<f32>(&mut group, "linear", [1, 512, 784]);
    kept::<f32>(&mut group, [128, 512, 784]);
    group.finish();
}

/// What one core can do at most, to be compared with.
fn multiply_adds<F: Scalar>(group: &mut BenchmarkGroup<'_, WallTime>) {
    /// Multiply-adds of each accumulator.
    const ROUNDS: usize = 100_000;
    group.throughput(flops(peak::multiply_adds::<F>(ROUNDS)));
    group.bench_function("peak", |bencher| bencher.iter(|| peak::multiply_adds::<F>(ROUNDS)));
}

/// `A · Bᵀ`, as in a linear layer.
fn product<F: Scalar>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, [m, n, k]: [usize; 3]) {
    let (a, b) = (random::<F>(m * k), random::<F>(n * k));
    let mut out = vec![F::zero(); m * n];
    let (a, b) = (Mat::new(&a, k), Right::Plain(Mat::transposed(&b, k)));
    let product = Product { sizes: [m, n, k], a, b, begin: Begin::Zero, relu: false };
    let mut scratch = vec![F::zero(); product.scratch_len()];
    group.throughput(flops(m * n * k));
    group.bench_function(format!("{name}/{m}x{n}x{k}"), |bencher| {
        bencher.iter(|| product.write(&mut out, &mut scratch));
    });
}

/// The same with a right factor that is kept packed, as in inference.
fn kept<F: Scalar>(group: &mut BenchmarkGroup<'_, WallTime>, [m, n, k]: [usize; 3]) {
    let (a, b) = (random::<F>(m * k), random::<F>(n * k));
    let (mut out, mut packed) =
        (vec![F::zero(); m * n], vec![F::zero(); gemm::right_len::<F>(n, k)]);
    gemm::pack_right(n, k, Mat::transposed(&b, k), &mut packed);
    let (a, b) = (Mat::new(&a, k), Right::Packed(&packed));
    let product = Product { sizes: [m, n, k], a, b, begin: Begin::Zero, relu: true };
    let mut scratch = vec![F::zero(); product.scratch_len()];
    group.throughput(flops(m * n * k));
    group.bench_function(format!("kept/{m}x{n}x{k}"), |bencher| {
        bencher.iter(|| product.write(&mut out, &mut scratch));
    });
}

/// Throughput of so many multiply-adds.
fn flops(mul_adds: usize) -> Throughput {
    Throughput::Elements(2 * mul_adds as u64)
}

/// A convolution layer with a square plane and kernel and stride 1.
struct Layer {
    network: &'static str,
    batch: usize,
    channels: usize,
    filters: usize,
    plane: usize,
    kernel: usize,
    padding: usize,
}

impl Layer {
    fn new(
        network: &'static str,
        batch: usize,
        channels: usize,
        filters: usize,
        plane: usize,
    ) -> Self {
        Self { network, batch, channels, filters, plane, kernel: 3, padding: 1 }
    }

    fn lenet(channels: usize, filters: usize, plane: usize, padding: usize) -> Self {
        Self { kernel: 5, padding, ..Self::new("lenet", 128, channels, filters, plane) }
    }

    fn geometry(&self) -> conv::Geometry {
        conv::Geometry {
            channels: self.channels,
            filters: self.filters,
            groups: 1,
            input: [self.plane; 2],
            output: [self.plane + 2 * self.padding + 1 - self.kernel; 2],
            kernel: [self.kernel; 2],
            stride: [1; 2],
            padding: [self.padding; 2],
            dilation: [1; 2],
        }
    }
}

fn convolution(c: &mut Criterion) {
    for layer in [
        Layer::lenet(1, 6, 28, 2),
        Layer::lenet(6, 16, 14, 0),
        Layer::new("cifar", 64, 3, 32, 32),
        Layer::new("cifar", 64, 32, 32, 32),
        Layer::new("cifar", 64, 32, 64, 16),
        Layer::new("cifar", 64, 64, 64, 16),
        Layer::new("cifar", 64, 64, 128, 8),
        Layer::new("cifar", 64, 128, 128, 8),
        Layer::new("vgg", 32, 64, 64, 32),
        Layer::new("vgg", 32, 128, 128, 16),
        Layer::new("vgg", 32, 256, 256, 8),
        Layer::new("vgg", 32, 256, 512, 4),
        Layer::new("vgg", 32, 512, 512, 4),
    ] {
        let name = format!(
            "conv/{}/{}-{}-{}x{}",
            layer.network, layer.channels, layer.filters, layer.plane, layer.plane
        );
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        convolution_passes(&mut group, &layer);
        group.finish();
    }
}

fn convolution_passes(group: &mut BenchmarkGroup<'_, WallTime>, layer: &Layer) {
    let plan = Plan::new(layer.geometry());
    let (geometry, n) = (&plan.geometry, layer.batch);
    let outputs = n * geometry.filters * geometry.out_plane();
    let mut x = random::<f32>(n * geometry.image());
    let mut y = random::<f32>(outputs);
    let weight = random::<f32>(geometry.filters * geometry.inner());
    let bias = random::<f32>(geometry.filters);
    group.throughput(flops(outputs * geometry.inner()));
    let mut scratch = vec![0.0; plan.forward_scratch::<f32>(n)];
    let finish = Finish { bias: Some(&bias), ..Finish::NOTHING };
    group.bench_function("forward", |bencher| {
        bencher.iter(|| conv::forward(&plan, &x, &weight, finish, &mut y, &mut scratch));
    });
    let (mut dw, mut db) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
    let mut scratch = vec![0.0; plan.backward_weight_scratch::<f32>(n, false)];
    group.bench_function("backward_weight", |bencher| {
        bencher.iter(|| {
            let dy = Source::all(&y);
            conv::backward_weight(&plan, &x, dy, Some(&mut dw), Some(&mut db), &mut scratch);
        });
    });
    let mut scratch = vec![0.0; plan.backward_input_scratch::<f32>(n, false)];
    group.bench_function("backward_input", |bencher| {
        bencher
            .iter(|| conv::backward_input(&plan, &weight, Source::all(&y), &mut x, &mut scratch));
    });
}

fn pooling(c: &mut Criterion) {
    for (name, planes, size) in [("lenet", 128 * 6, 28), ("cifar", 64 * 32, 32)] {
        let geometry = pool::Geometry {
            input: [size; 2],
            output: [size / 2; 2],
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        let mut x = random::<f32>(planes * geometry.plane());
        let mut y = vec![0.0; planes * geometry.out_plane()];
        let mut winners = vec![0; y.len()];
        let mut group = c.benchmark_group(format!("max_pool/{name}/{planes}x{size}x{size}"));
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function("forward", |bencher| {
            bencher.iter(|| pool::max_forward(&geometry, &x, &mut y, Some(&mut winners)));
        });
        group.bench_function("predict", |bencher| {
            bencher.iter(|| pool::max_forward(&geometry, &x, &mut y, None));
        });
        group.bench_function("backward", |bencher| {
            bencher.iter(|| pool::max_backward(&geometry, &winners, &y, &mut x));
        });
        group.finish();
    }
}

fn batch_norm(c: &mut Criterion) {
    for (name, sizes) in [
        ("cifar", Sizes { n: 64, c: 32, p: 32 * 32 }),
        ("vgg", Sizes { n: 32, c: 512, p: 4 * 4 }),
        ("features", Sizes { n: 128, c: 512, p: 1 }),
    ] {
        let mut group = c.benchmark_group(format!("batch_norm/{name}"));
        group.throughput(Throughput::Elements((sizes.n * sizes.c * sizes.p) as u64));
        batch_norm_passes(&mut group, sizes);
        group.finish();
    }
}

fn batch_norm_passes(group: &mut BenchmarkGroup<'_, WallTime>, sizes: Sizes) {
    let x = random::<f32>(sizes.n * sizes.c * sizes.p);
    let mut y = vec![0.0; x.len()];
    let mut dx = vec![0.0; x.len()];
    let (scale, shift) = (vec![1.0; sizes.c], vec![0.0; sizes.c]);
    let affine = Some((&scale[..], &shift[..]));
    let mut stats = Statistics::default();
    stats.resize(sizes.c);
    group.bench_function("forward", |bencher| {
        bencher.iter(|| norm::train_forward(sizes, 1e-5, &x, affine, false, &mut stats, &mut y));
    });
    group.bench_function("predict", |bencher| {
        bencher.iter(|| norm::apply(sizes, &x, affine, false, &stats.mean, &stats.inv_std, &mut y));
    });
    let (mut dscale, mut dshift) = (vec![0.0; sizes.c], vec![0.0; sizes.c]);
    let mut sums = vec![0.0; 2 * sizes.c];
    group.bench_function("backward", |bencher| {
        bencher.iter(|| {
            let gradients = Gradients {
                scale: Some(&mut dscale),
                shift: Some(&mut dshift),
                input: Some(&mut dx),
            };
            let (mean, inv_std) = (&stats.mean, &stats.inv_std);
            let known = Known { mean, inv_std, affine, batch_statistics: true, relu: false };
            norm::backward(sizes, known, &x, &y, &mut sums, gradients);
        });
    });
}

/// The update of one parameter, as the driver does it: piece by piece.
fn adam(c: &mut Criterion) {
    let mut group = c.benchmark_group("adam");
    for len in [1 << 10, 1 << 16, 1 << 22] {
        let (mut value, mut grad) = (random::<f32>(len), random::<f32>(len));
        let mut state = vec![vec![0.0; len]; 2];
        let rule = Adam::new();
        // A late step: the bias corrections are 1.
        let info = StepInfo::new(1_000_000, 1e-3);
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(len.to_string(), |bencher| {
            bencher.iter(|| {
                update::pieces(&mut value, &mut grad, &mut state, |value, grad, state| {
                    rule.update(&info, value, grad, state);
                });
            });
        });
    }
    group.finish();
}
