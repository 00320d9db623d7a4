//! Whether convolutions take the faster way, held against the clock. Slow: run with `--ignored`, on a machine that
//! does nothing else.

use std::hint::black_box;
use std::time::{Duration, Instant};

use layerwise::kernels::conv::{self, Finish, Geometry, Plan, Source};

/// How much slower than the definition's products a pass may be at most where the rule chooses Winograd's algorithm.
const TOLERANCE: f64 = 1.5;
/// A neighbour on the machine disturbs one measurement, hardly several.
const ATTEMPTS: usize = 4;

fn fastest(mut work: impl FnMut()) -> f64 {
    work();
    let (begin, mut best, mut calls) = (Instant::now(), f64::INFINITY, 0);
    while calls < 5 || begin.elapsed() < Duration::from_millis(10) {
        let call = Instant::now();
        work();
        best = best.min(call.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}

/// Seconds of forward, gradient by the input, gradient by the weight.
fn passes(plan: &Plan, n: usize) -> [f64; 3] {
    let g = &plan.geometry;
    let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 13) as f32 - 6.0).collect() };
    let (mut x, weight) = (values(n * g.image()), values(g.filters * g.inner()));
    let (mut y, mut dw) = (values(n * g.filters * g.out_plane()), weight.clone());
    let len = plan
        .forward_scratch::<f32>(n)
        .max(plan.backward_input_scratch::<f32>(n, false))
        .max(plan.backward_weight_scratch::<f32>(n, false));
    let mut scratch = vec![0.0; len];
    [
        fastest(|| {
            conv::forward(plan, black_box(&x), &weight, Finish::NOTHING, &mut y, &mut scratch);
        }),
        fastest(|| {
            conv::backward_input(plan, &weight, Source::all(black_box(&y)), &mut x, &mut scratch);
        }),
        fastest(|| {
            let dy = Source::all(black_box(&y[..]));
            conv::backward_weight(plan, &x, dy, Some(&mut dw), None, &mut scratch);
        }),
    ]
}

#[test]
#[ignore = "measures for half a minute"]
fn the_chosen_algorithm_is_never_much_slower_than_the_other() {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can start");
    let mut slow = Vec::new();
    for (channels, filters) in [(16, 16), (16, 32), (24, 24), (32, 32), (48, 20), (64, 128)] {
        for size in [4, 7, 8, 14, 16, 28, 32] {
            for n in [1, 4, 32] {
                let geometry = Geometry {
                    channels,
                    filters,
                    groups: 1,
                    input: [size; 2],
                    output: [size; 2],
                    kernel: [3, 3],
                    stride: [1, 1],
                    padding: [1, 1],
                    dilation: [1, 1],
                };
                let (chosen, exact) = (Plan::new(geometry.clone()), Plan::exact(geometry));
                let slower = || {
                    let (chosen, exact) = (passes(&chosen, n), passes(&exact, n));
                    [0, 1, 2].map(|pass| chosen[pass] / exact[pass])
                };
                let mut least = [f64::INFINITY; 3];
                for _ in 0..ATTEMPTS {
                    let factors = alone.install(slower);
                    least = [0, 1, 2].map(|pass| least[pass].min(factors[pass]));
                    if least.iter().all(|&factor| factor < TOLERANCE) {
                        break;
                    }
                }
                if least.iter().any(|&factor| factor >= TOLERANCE) {
                    slow.push(format!("{channels}→{filters}, {size}², {n} images: {least:.2?}"));
                }
            }
        }
    }
    assert!(slow.is_empty(), "slower than the definition's products:\n{}", slow.join("\n"));
}
