//! Functions against the scalar ones of libm and the standard library, on one thread. Throughput counts elements.
//!
//! `cargo bench --bench functions -- f32/exp`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layerwise::kernels::elementwise::{self, Formula};
use layerwise::prelude::*;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = functions
}
criterion_main!(benches);

fn random<F: Scalar>(len: usize) -> Vec<F> {
    let mut rng = Seed::new(0).rng();
    (0..len).map(|_| F::lit(2.0 * rng.normal())).collect()
}

/// A function of the crate as a formula, so that it runs as in a model.
macro_rules! formula {
    ($name:ident, |$x:ident| $value:expr) => {
        struct $name;
        impl Formula for $name {
            #[inline(always)]
            fn value<F: Scalar, const FUSED: bool>(&self, $x: F) -> F {
                $value
            }
            #[inline(always)]
            fn gradient<F: Scalar, const FUSED: bool>(&self, _x: F, _y: F, dy: F) -> F {
                dy
            }
        }
    };
}
formula!(Exp, |x| x.straight_exp::<FUSED>());
formula!(Expm1, |x| x.straight_expm1::<FUSED>());
formula!(Ln, |x| x.abs().straight_ln::<FUSED>());
formula!(Log1p, |x| x.abs().straight_log1p::<FUSED>());
formula!(HyperbolicTangent, |x| x.straight_tanh::<FUSED>());
formula!(Logistic, |x| x.straight_sigmoid::<FUSED>());
formula!(Erf, |x| x.straight_erf::<FUSED>());
formula!(NormalCdf, |x| x.straight_normal::<FUSED>().0);

fn functions(c: &mut Criterion) {
    // The standard library has no error function.
    functions_of(c, "f32", libm::erff, |x| 0.5 * libm::erfcf(-x * std::f32::consts::FRAC_1_SQRT_2));
    functions_of(c, "f64", libm::erf, |x| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2));
}

fn functions_of<F: Scalar>(c: &mut Criterion, element: &str, erf: fn(F) -> F, normal: fn(F) -> F) {
    fn pair<F: Scalar>(
        c: &mut Criterion,
        name: String,
        formula: impl Formula,
        library: fn(F) -> F,
    ) {
        let (x, mut y) = (random::<F>(4096), vec![F::zero(); 4096]);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(4096));
        group.bench_function("straight", |bencher| {
            bencher.iter(|| elementwise::apply(&formula, black_box(&x), &mut y));
        });
        group.bench_function("libm", |bencher| {
            bencher.iter(|| {
                for (y, &x) in y.iter_mut().zip(black_box(&x)) {
                    *y = library(x);
                }
            });
        });
        group.finish();
    }
    let name = |function| format!("function/{element}/{function}");
    pair::<F>(c, name("exp"), Exp, |x| x.exp());
    pair::<F>(c, name("expm1"), Expm1, |x| x.exp_m1());
    pair::<F>(c, name("ln"), Ln, |x| x.abs().ln());
    pair::<F>(c, name("log1p"), Log1p, |x| x.abs().ln_1p());
    pair::<F>(c, name("tanh"), HyperbolicTangent, |x| x.tanh());
    pair::<F>(c, name("sigmoid"), Logistic, |x| F::one() / (F::one() + (-x).exp()));
    pair::<F>(c, name("erf"), Erf, erf);
    pair::<F>(c, name("normal"), NormalCdf, normal);
}
