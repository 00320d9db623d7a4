//! How a convolution's speed depends on its sizes, and how near its kernels come to what a core can do.
//!
//! On one thread, 3×3 kernels, stride 1, padding 1, `f32`: `cargo bench --bench scaling`, with `-- direct` or
//! `-- table` for one of the two parts. Figures are GFLOP/s, a multiply-add counting as two, of the definition's
//! multiply-adds: Winograd's algorithm may pass the peak.

use std::hint::black_box;
use std::time::{Duration, Instant};

use layerwise::kernels::conv::{self, Finish, Geometry, Plan, Source};
use layerwise::kernels::peak;
use layerwise::{Scalar, Seed};

/// Time for one figure.
const TIME: Duration = Duration::from_millis(40);
/// Neighbours may differ by this factor.
const CLIFF: f64 = 2.0;

fn main() {
    let only = std::env::args().nth(1).filter(|only| !only.starts_with('-'));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    pool.install(|| {
        if wanted("direct") {
            direct::<f32>("f32");
            direct::<f64>("f64");
        }
        if wanted("table") {
            table();
        }
    });
}

/// The fastest of calls of `work`, in seconds.
fn fastest(mut work: impl FnMut()) -> f64 {
    work();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < TIME || best == f64::INFINITY {
        let one = Instant::now();
        work();
        best = best.min(one.elapsed().as_secs_f64());
    }
    best
}

fn geometry(channels: usize, filters: usize, size: usize) -> Geometry {
    Geometry {
        channels,
        filters,
        groups: 1,
        input: [size; 2],
        output: [size; 2],
        kernel: [3; 2],
        stride: [1; 2],
        padding: [1; 2],
        dilation: [1; 2],
    }
}

/// GFLOP/s of forward, gradient by the input, gradient by the weight.
fn passes<T: Scalar>(plan: &Plan, n: usize) -> [f64; 3] {
    let random = |len: usize| -> Vec<T> {
        let mut rng = Seed::new(0).rng();
        (0..len).map(|_| T::lit(rng.normal())).collect()
    };
    let g = &plan.geometry;
    let (mut x, weight) = (random(n * g.image()), random(g.filters * g.inner()));
    let (mut y, bias) = (random(n * g.filters * g.out_plane()), random(g.filters));
    let flop = 2.0 * (y.len() * g.inner()) as f64;
    let mut scratch = random(plan.forward_scratch::<T>(n));
    let forward = fastest(|| {
        let finish = Finish { bias: Some(&bias), ..Finish::NOTHING };
        conv::forward(plan, black_box(&x), &weight, finish, &mut y, &mut scratch);
    });
    let mut scratch = random(plan.backward_weight_scratch::<T>(n, false));
    let (mut dw, mut db) = (weight.clone(), bias.clone());
    let by_weight = fastest(|| {
        let dy = Source::all(black_box(&y[..]));
        conv::backward_weight(plan, &x, dy, Some(&mut dw), Some(&mut db), &mut scratch);
    });
    let mut scratch = random(plan.backward_input_scratch::<T>(n, false));
    let by_input = fastest(|| {
        conv::backward_input(plan, &weight, Source::all(black_box(&y)), &mut x, &mut scratch);
    });
    [forward, by_input, by_weight].map(|time| flop / time / 1e9)
}

/// The direct kernels beside the peak.
fn direct<T: Scalar>(element: &str) {
    let gigaflops = |rounds| {
        let mut count = 0;
        let time = fastest(|| count = peak::multiply_adds::<T>(rounds));
        2.0 * count as f64 / time / 1e9
    };
    println!("direct, {element}: percent of the peak of {:.0} GFLOP/s", gigaflops(20_000));
    println!(
        "{:>16} {:>6} {:>8} {:>9} {:>10}",
        "channels", "image", "forward", "by input", "by weight"
    );
    for (channels, filters) in
        [(1, 6), (3, 32), (3, 64), (32, 32), (64, 64), (128, 128), (256, 256)]
    {
        for size in [8, 16, 32] {
            // Measured again each time: the clock moves.
            let peak = gigaflops(20_000);
            // As many images as lie in the second cache: what memory costs is the table's matter.
            let n = (1 << 17) / (channels.max(filters) * size * size).max(1 << 11);
            let percent = passes::<T>(&Plan::exact(geometry(channels, filters, size)), n.max(1))
                .map(|pass| format!("{:.0}", 100.0 * pass / peak));
            let [forward, by_input, by_weight] = percent;
            let channels = format!("{channels} -> {filters}");
            println!("{channels:>16} {size:>6} {forward:>8} {by_input:>9} {by_weight:>10}");
        }
    }
    println!();
}

/// One size after the other, the others held fixed. A factor above [`CLIFF`] from one line to the next is marked.
fn table() {
    let lines = [
        ("batch", [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].as_slice()),
        ("image", &[8, 12, 16, 24, 32, 48, 64, 96, 128]),
        ("channels", &[8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]),
    ];
    for (what, values) in lines {
        println!("{what:>8} {:>8} {:>9} {:>10}", "forward", "by input", "by weight");
        let mut before: Option<[f64; 3]> = None;
        for &value in values {
            let (n, size, channels) = match what {
                "batch" => (value, 16, 32),
                "image" => (8, value, 32),
                _ => (8, 16, value),
            };
            let now = passes::<f32>(&Plan::new(geometry(channels, channels, size)), n);
            let cliff = before.is_some_and(|before| {
                now.iter().zip(before).any(|(now, before)| (now / before).max(before / now) > CLIFF)
            });
            let [forward, by_input, by_weight] = now;
            let mark = if cliff { "  a cliff" } else { "" };
            println!("{value:>8} {forward:>8.0} {by_input:>9.0} {by_weight:>10.0}{mark}");
            before = Some(now);
        }
        println!();
    }
}
