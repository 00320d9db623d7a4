//! Functions against the standard library's, activations, softmax and losses at batch 64. Throughput counts elements.
//!
//! All on one thread: `RAYON_NUM_THREADS=1 cargo bench --bench functions -- activation/gelu`. The same names in PyTorch:
//! `python benches/compare/functions.py`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerwise::kernels::elementwise::{self, Formula};
use layerwise::kernels::softmax::{self, Axes, Form};
use layerwise::prelude::*;
use layerwise::{IntoView, View};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = functions, activations, softmaxes, losses
}
criterion_main!(benches);

const BATCH: usize = 64;
const FEATURES: usize = 1024;

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
            fn value<F: Scalar>(&self, $x: F) -> F {
                $value
            }
            #[inline(always)]
            fn gradient<F: Scalar>(&self, _x: F, _y: F, dy: F) -> F {
                dy
            }
        }
    };
}
formula!(Exp, |x| x.straight_exp());
formula!(Expm1, |x| x.straight_expm1());
formula!(Ln, |x| x.abs().straight_ln());
formula!(Log1p, |x| x.abs().straight_log1p());
formula!(HyperbolicTangent, |x| x.straight_tanh());
formula!(Logistic, |x| x.straight_sigmoid());
formula!(Erf, |x| x.straight_erf());
formula!(NormalCdf, |x| x.straight_normal().0);

fn functions(c: &mut Criterion) {
    functions_of::<f32>(c, "f32");
    functions_of::<f64>(c, "f64");
}

fn functions_of<F: Scalar>(c: &mut Criterion, element: &str) {
    fn pair<F: Scalar>(
        c: &mut Criterion,
        name: String,
        formula: impl Formula,
        library: Option<fn(F) -> F>,
    ) {
        let (x, mut y) = (random::<F>(4096), vec![F::zero(); 4096]);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(4096));
        group.bench_function("straight", |bencher| {
            bencher.iter(|| elementwise::apply(&formula, black_box(&x), &mut y));
        });
        if let Some(library) = library {
            group.bench_function("libm", |bencher| {
                bencher.iter(|| {
                    for (y, &x) in y.iter_mut().zip(black_box(&x)) {
                        *y = library(x);
                    }
                });
            });
        }
        group.finish();
    }
    let name = |function| format!("function/{element}/{function}");
    pair::<F>(c, name("exp"), Exp, Some(|x| x.exp()));
    pair::<F>(c, name("expm1"), Expm1, Some(|x| x.exp_m1()));
    pair::<F>(c, name("ln"), Ln, Some(|x| x.abs().ln()));
    pair::<F>(c, name("log1p"), Log1p, Some(|x| x.abs().ln_1p()));
    pair::<F>(c, name("tanh"), HyperbolicTangent, Some(|x| x.tanh()));
    pair::<F>(c, name("sigmoid"), Logistic, Some(|x| F::one() / (F::one() + (-x).exp())));
    // The standard library has neither.
    pair::<F>(c, name("erf"), Erf, None);
    pair::<F>(c, name("normal"), NormalCdf, None);
}

fn activations(c: &mut Criterion) {
    activation(c, "relu", Relu);
    activation(c, "relu6", Relu6);
    activation(c, "leaky_relu", LeakyRelu::default());
    activation(c, "elu", Elu::default());
    activation(c, "selu", Selu);
    activation(c, "gelu_erf", Gelu);
    activation(c, "gelu_tanh", GeluTanh);
    activation(c, "silu", Silu);
    activation(c, "mish", Mish);
    activation(c, "softplus", Softplus::default());
    activation(c, "sigmoid", Sigmoid);
    activation(c, "tanh", Tanh);
    activation(c, "softsign", Softsign);
    activation(c, "hardsigmoid", HardSigmoid);
    activation(c, "hardswish", HardSwish);
}

fn activation(c: &mut Criterion, name: &str, activation: impl Activation) {
    let x = random::<f32>(BATCH * FEATURES);
    let (mut y, mut dx) = (x.clone(), x.clone());
    let mut group = c.benchmark_group(format!("activation/{name}"));
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("forward", |bencher| {
        bencher.iter(|| activation.forward(black_box(&x), &mut y));
    });
    group.bench_function("backward", |bencher| {
        bencher.iter(|| activation.backward(black_box(&x), &y, &x, &mut dx));
    });
    group.finish();
}

fn softmaxes(c: &mut Criterion) {
    for (name, form) in [("softmax", Form::Plain), ("log_softmax", Form::Log)] {
        let mut group = c.benchmark_group(name);
        for (shape, axes) in [
            ("64x10", Axes { len: 10, inner: 1 }),
            ("64x1000", Axes { len: 1000, inner: 1 }),
            ("64x10x256", Axes { len: 10, inner: 256 }),
        ] {
            let x = random::<f32>(BATCH * axes.len * axes.inner);
            let (mut y, mut dx) = (x.clone(), x.clone());
            group.throughput(Throughput::Elements(x.len() as u64));
            group.bench_function(BenchmarkId::new("forward", shape), |bencher| {
                bencher.iter(|| softmax::forward(form, axes, black_box(&x), &mut y));
            });
            group.bench_function(BenchmarkId::new("backward", shape), |bencher| {
                bencher.iter(|| softmax::backward(form, axes, black_box(&y), &x, &mut dx));
            });
        }
        group.finish();
    }
}

fn losses(c: &mut Criterion) {
    let classes: Vec<usize> = (0..BATCH).collect();
    loss(c, "cross_entropy", CrossEntropy::new(), |_| classes.clone());
    loss(c, "cross_entropy_smooth", CrossEntropy::new().label_smoothing(0.1), |_| classes.clone());
    loss(c, "multiclass_hinge", MulticlassHinge::new(), |_| classes.clone());
    loss(c, "nll", Nll::new(), |_| classes.clone());
    loss(c, "focal", Focal::default(), |_| classes.clone());
    let target = |x: View<'_>| x.mapv(|x| 1.0 / (1.0 + (-x).exp()));
    loss(c, "cross_entropy_soft", SoftCrossEntropy::new(), target);
    loss(c, "bce_with_logits", BinaryCrossEntropy::new(), target);
    loss(c, "kl_div", KlDivergence::new(), target);
    loss(c, "mse", Mse::new(), target);
    loss(c, "l1", Mae::new(), target);
    loss(c, "huber", Huber::default(), target);
    loss(c, "smooth_l1", SmoothL1::default(), target);
}

fn loss<L: Loss, T: std::borrow::Borrow<L::Target>>(
    c: &mut Criterion,
    name: &str,
    loss: L,
    target: impl Fn(View<'_>) -> T,
) {
    const CLASSES: usize = 1000;
    let x = Array2::from_shape_vec((BATCH, CLASSES), random::<f32>(BATCH * CLASSES))
        .expect("as many as elements");
    let (target, mut grad) = (target((&x).into_view()), x.clone().into_dyn());
    let mut group = c.benchmark_group("loss");
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function(format!("{name}/value_and_grad"), |bencher| {
        bencher.iter(|| {
            loss.value_and_grad((&x).into_view(), target.borrow(), grad.view_mut())
                .expect("a good batch")
        });
    });
    group.finish();
}
