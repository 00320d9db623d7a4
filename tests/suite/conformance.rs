//! Every registered layer, in every setting that matters, through one door.

use layerwise::gradcheck::GradCheck;
use layerwise::prelude::*;
use layerwise::preprocessing::{ChannelStandardize, MinMax, Pca, Per, Preprocessor, Zca};
use layerwise::{Entry, LayerSpec, SequentialBuilder, View, Visitor};

use crate::support::{batched, bits, normal};

#[cfg(feature = "serde")]
mod saved;
mod special;
mod standard;

/// A spec for both element types.
trait Spec {
    fn name(&self) -> String;
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32>;
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64>;
}

impl<S: LayerSpec<f32> + LayerSpec<f64> + Clone + 'static> Spec for S {
    fn name(&self) -> String {
        format!("{self:?}")
    }
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32> {
        builder.add(self.clone())
    }
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64> {
        builder.add(self.clone())
    }
}

/// A block, which is not `Clone` and has one element type: with images first, or flattened at once.
struct BlockSpec {
    flat: bool,
}

/// Batch norm that does the work of the ReLU after it, over features or planes.
struct NormRelu;

impl Spec for NormRelu {
    fn name(&self) -> String {
        "BatchNorm and Relu".into()
    }
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32> {
        builder.add(norm_relu())
    }
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64> {
        builder.add(norm_relu())
    }
}

fn norm_relu<F: Scalar>() -> Block<F> {
    Block::new().add(BatchNorm::new()).add(Relu).add(Tanh)
}

/// A convolution that does the work of the ReLU after it.
struct ConvRelu(Conv2d);

impl Spec for ConvRelu {
    fn name(&self) -> String {
        format!("{:?} and Relu", self.0)
    }
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32> {
        builder.add(Block::new().add(self.0.clone()).add(Relu).add(Tanh))
    }
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64> {
        builder.add(Block::new().add(self.0.clone()).add(Relu).add(Tanh))
    }
}

impl Spec for BlockSpec {
    fn name(&self) -> String {
        format!("Block {{ flat: {} }}", self.flat)
    }
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32> {
        builder.add(block(self.flat))
    }
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64> {
        builder.add(block(self.flat))
    }
}

fn block<F: Scalar>(flat: bool) -> Block<F> {
    if flat {
        // Reshaping below and above what computes.
        return Block::new().add(Flatten).add(Linear::new(6)).add(Tanh).add(Flatten);
    }
    Block::new()
        .add(Conv2d::new(3, 3).padding(1))
        .add(BatchNorm::new())
        .add_named("act", Tanh)
        .add(Flatten)
        .add(Dropout::new(0.3))
        .add(Linear::new(4))
}

/// Fitted transforms have an element type.
enum Fitted {
    Scaling(Per),
    Pca,
    Zca,
}

impl Fitted {
    fn add<F: Scalar>(&self, builder: SequentialBuilder<F>) -> SequentialBuilder<F> {
        let x = normal::<F>(&[20, 3, 2, 2], 7);
        match self {
            Self::Scaling(Per::Channel) => {
                builder.add(ChannelStandardize.fit(&x).expect("it fits"))
            }
            Self::Scaling(Per::Element) => {
                builder.add(MinMax::new(-1.0, 2.0).fit(&x).expect("it fits"))
            }
            Self::Pca => {
                builder.add(Pca::new().components(5).whiten(true).fit(&x).expect("it fits"))
            }
            Self::Zca => builder.add(Zca::new().eps(0.1).fit(&x).expect("it fits")),
        }
    }
}

impl Spec for Fitted {
    fn name(&self) -> String {
        let name = match self {
            Self::Scaling(Per::Channel) => "ChannelStandardize",
            Self::Scaling(Per::Element) => "MinMax",
            Self::Pca => "Pca",
            Self::Zca => "Zca",
        };
        name.into()
    }
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32> {
        self.add(builder)
    }
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64> {
        self.add(builder)
    }
}

fn line(spec: impl Spec + 'static, shape: impl Into<Shape>) -> (Box<dyn Spec>, Shape) {
    (Box::new(spec), shape.into())
}

/// Every layer of the crate: one line each, here and in the files of this folder.
fn registered() -> Vec<(Box<dyn Spec>, Shape)> {
    let mut all = common();
    all.extend(special::registered());
    all.extend(standard::registered());
    all
}

fn common() -> Vec<(Box<dyn Spec>, Shape)> {
    vec![
        line(Linear::new(5), [7]),
        line(Linear::new(1).bias(false), [1]),
        line(Linear::new(40).weight_init(XavierUniform::default()).bias_init(Constant(0.5)), [33]),
        line(Conv2d::new(4, 3), [3, 6, 7]),
        line(Conv2d::new(4, 3).padding(1), [2, 5, 5]),
        line(Conv2d::new(3, 1), [5, 4, 4]),
        line(Conv2d::new(18, 3).padding(1), [17, 9, 14]),
        line(Conv2d::new(2, (1, 3)).stride((2, 1)).padding((0, 2)), [3, 5, 6]),
        line(Conv2d::new(4, 3).stride(2).padding(1).dilation(2), [2, 9, 8]),
        line(Conv2d::new(6, 3).groups(2).padding(1), [4, 5, 6]),
        line(Conv2d::new(6, 3).groups(3).stride(2), [3, 7, 7]),
        // As many groups as filters, fewer than channels.
        line(Conv2d::new(2, 3).groups(2).padding(1), [6, 5, 6]),
        line(Conv2d::new(3, 2).groups(3).stride(2), [51, 9, 8]),
        line(Conv2d::new(3, 2).padding(2), [2, 3, 3]),
        line(Conv2d::new(2, 5).stride(3).padding(1).bias(false), [1, 8, 9]),
        line(Conv2d::new(17, 3).padding(1), [2, 4, 4]),
        line(ConvRelu(Conv2d::new(4, 3).padding(1)), [2, 5, 5]),
        line(ConvRelu(Conv2d::new(18, 3).padding(1)), [17, 9, 14]),
        line(ConvRelu(Conv2d::new(3, 3).stride(2)), [2, 7, 6]),
        line(Conv2d::new(3, 3).padding(1), [2, 20, 18]),
        line(MaxPool2d::new(2), [2, 6, 6]),
        line(MaxPool2d::new(2), [1, 5, 7]),
        line(MaxPool2d::new(3).stride(2).padding(1), [2, 7, 8]),
        line(MaxPool2d::new((3, 2)).stride(1), [2, 5, 5]),
        line(MaxPool2d::new(2).ceil_mode(true), [1, 5, 5]),
        line(MaxPool2d::new(2).dilation(2).stride(1), [2, 6, 5]),
        line(AvgPool2d::new(2), [2, 6, 6]),
        line(AvgPool2d::new(3).stride(2).padding(1), [2, 7, 8]),
        line(AvgPool2d::new(3).stride(2).padding(1).count_include_pad(false), [2, 7, 8]),
        line(AvgPool2d::new((2, 3)).stride(2).ceil_mode(true), [1, 5, 6]),
        line(GlobalAvgPool, [3, 4, 5]),
        line(BatchNorm::new(), [6]),
        line(BatchNorm::new().eps(1e-3).momentum(0.3), [3, 4, 5]),
        line(BatchNorm::new().affine(false), [2, 3, 3]),
        line(Dropout::new(0.5), [11]),
        line(Dropout::new(0.2), [3, 4, 5]),
        line(Dropout::new(0.0), [4]),
        line(Softmax::new(), [7]),
        line(Softmax::new().axis(0), [3, 4, 5]),
        line(Softmax::new().axis(1), [2, 3, 70]),
        line(LogSoftmax::new(), [2, 40]),
        line(LogSoftmax::new().axis(0), [3, 4, 5]),
        line(LogSoftmax::new().axis(1), [2, 3, 1]),
        line(Flatten, [2, 3, 4]),
        line(Flatten, [5]),
        line(Relu, [9]),
        line(LeakyRelu::new(0.1), [2, 3, 4]),
        line(Sigmoid, [9]),
        line(Tanh, [2, 3, 4]),
        line(Fitted::Scaling(Per::Channel), [3, 2, 2]),
        line(Fitted::Scaling(Per::Element), [3, 2, 2]),
        line(Fitted::Pca, [3, 2, 2]),
        line(Fitted::Zca, [3, 2, 2]),
        line(Softsign, [9]),
        line(Relu6, [2, 3, 4]),
        line(Elu::default(), [9]),
        line(Elu::new(0.3), [2, 3, 4]),
        line(Selu, [9]),
        line(Gelu, [2, 3, 4]),
        line(GeluTanh, [9]),
        line(Silu, [2, 3, 4]),
        line(Mish, [9]),
        line(Softplus::default(), [2, 3, 4]),
        line(Softplus::new(2.5), [9]),
        line(HardSigmoid, [2, 3, 4]),
        line(HardSwish, [9]),
        line(BlockSpec { flat: false }, [2, 4, 4]),
        line(NormRelu, [3, 4, 3]),
        line(NormRelu, [7]),
        line(BlockSpec { flat: true }, [2, 4, 4]),
    ]
}

fn for_every_layer(
    check: impl Fn(&str, &dyn Fn() -> Sequential<f32>, &dyn Fn() -> Sequential<f64>),
) {
    for (spec, shape) in registered() {
        let single =
            || spec.add_f32(SequentialBuilder::new(&shape).seed(3)).build().expect("it fits");
        let double =
            || spec.add_f64(SequentialBuilder::new(&shape).seed(3)).build().expect("it fits");
        check(&format!("{} on {shape}", spec.name()), &single, &double);
    }
}

#[test]
fn every_gradient_equals_the_finite_difference() {
    for_every_layer(|name, single, double| {
        let model = double();
        for batch in [1, 4] {
            let check = GradCheck::new(model.input_shape()).batch(batch).elements(120);
            // A channel of one value has no variance.
            let skip =
                batch == 1 && name.starts_with("BatchNorm") && model.input_shape().rank() == 1;
            let check = if skip { check.mode(Mode::Eval) } else { check };
            let report =
                check.run(&model.clone().into_layer()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(report.compared > 0, "{name}");
        }
        // The wide step that f32 needs crosses the kink of the ReLU inside, where a convolution's output is often near 0:
        // its values are those of the f64 model, which is checked above.
        if name.starts_with("Conv2d") && name.contains("and Relu") {
            return;
        }
        let check = GradCheck::new(model.input_shape()).batch(3).elements(40);
        check.run(&single().into_layer()).unwrap_or_else(|e| panic!("{name} in f32: {e}"));
    });
}

fn output_is_what_was_inferred<F: Scalar>(name: &str, mut model: Sequential<F>) {
    for mode in [Mode::Train, Mode::Eval] {
        if mode == Mode::Train {
            model.train()
        } else {
            model.eval()
        }
        // A large batch, a smaller last one, a single sample.
        for batch in [5, 3, 1] {
            let expected = batched(batch, model.output_shape());
            let x = normal::<F>(&batched(batch, model.input_shape()), batch as u64);
            let fails =
                batch == 1 && mode == Mode::Train && name.contains("BatchNorm") && x.ndim() == 2;
            match model.forward(x.view()) {
                Ok(y) => assert_eq!(y.shape(), expected, "{name}"),
                Err(error) => {
                    assert!(fails && error.to_string().contains("larger batch"), "{name}: {error}")
                }
            }
        }
    }
}

#[test]
fn every_output_has_the_inferred_shape_for_every_batch_size() {
    for_every_layer(|name, single, double| {
        output_is_what_was_inferred(name, single());
        output_is_what_was_inferred(name, double());
    });
}

fn small_batch_is_undisturbed<F: Scalar>(name: &str, mut model: Sequential<F>) {
    model.eval();
    let large = normal::<F>(&batched(6, model.input_shape()), 1);
    let small = normal::<F>(&batched(2, model.input_shape()), 2);
    let alone = bits(model.clone().forward(small.view()).expect("it fits"));
    model.forward(large.view()).expect("it fits");
    assert_eq!(bits(model.forward(small.view()).expect("it fits")), alone, "{name}");
}

#[test]
fn a_smaller_batch_after_a_larger_one_gives_the_same() {
    for_every_layer(|name, single, double| {
        small_batch_is_undisturbed(name, single());
        small_batch_is_undisturbed(name, double());
    });
}

fn predict_is_eval_forward<F: Scalar>(name: &str, mut model: Sequential<F>) {
    let x = normal::<F>(&batched(4, model.input_shape()), 1);
    model.forward(x.view()).unwrap_or_else(|e| panic!("{name}: {e}"));
    model.eval();
    let forward = bits(model.forward(x.view()).expect("it fits"));
    model.train();
    assert_eq!(bits(model.predict(x.view()).expect("it fits").view()), forward, "{name}");
    let mut workspace = Workspace::new();
    for _ in 0..2 {
        assert_eq!(
            bits(model.predict_with(x.view(), &mut workspace).expect("it fits")),
            forward,
            "{name}"
        );
    }
}

#[test]
fn predict_equals_an_eval_forward_to_the_bit() {
    for_every_layer(|name, single, double| {
        predict_is_eval_forward(name, single());
        predict_is_eval_forward(name, double());
    });
}

fn eight_threads_agree<F: Scalar>(name: &str, model: &Sequential<F>) {
    let x = normal::<F>(&batched(3, model.input_shape()), 1);
    let alone = bits(model.predict(x.view()).expect("it fits").view());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut workspace = Workspace::new();
                for _ in 0..3 {
                    let y = model.predict_with(x.view(), &mut workspace).expect("it fits");
                    assert_eq!(bits(y), alone, "{name}");
                }
            });
        }
    });
}

#[test]
fn eight_threads_on_one_model_agree_to_the_bit() {
    for_every_layer(|name, single, double| {
        eight_threads_agree(name, &single());
        eight_threads_agree(name, &double());
    });
}

fn gradients_of<F: Scalar>(
    model: &mut Sequential<F>,
    x: View<'_, F>,
) -> Vec<(String, Option<Vec<u64>>)> {
    let y = model.forward(x).expect("it fits").to_owned();
    model.backward(y.view()).expect("there was a forward");
    let mut all = Vec::new();
    model.visit(&mut Visitor::new(&mut |name, entry| {
        if let Entry::Param(param) = entry {
            all.push((name.to_string(), param.grad().map(bits)));
        }
    }));
    all
}

/// Each bit of a pass.
#[derive(PartialEq)]
struct Pass {
    output: Vec<u64>,
    grad_input: Vec<u64>,
    gradients: Vec<(String, Option<Vec<u64>>)>,
    /// Parameters and running statistics afterwards.
    state: Vec<(String, Vec<u64>)>,
}

/// A pass on so many threads.
fn pass_on(threads: usize, model: &Sequential, x: View<'_>) -> Pass {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let mut model = model.clone();
    pool.install(|| {
        let y = model.forward(x.view()).expect("it fits").to_owned();
        let state = crate::support::state(&model);
        let grad_input = bits(model.backward_to_input(&y).expect("there was a forward"));
        Pass { output: bits(y.view()), grad_input, state, gradients: gradients_of(&mut model, x) }
    })
}

#[test]
fn work_of_every_layer_is_split_without_changing_a_bit() {
    for_every_layer(|name, single, _| {
        let model = single();
        // Even where each element costs next to nothing, so many are divided between threads.
        let batch = 600_000usize.div_ceil(model.input_shape().numel());
        let x = normal(&batched(batch, model.input_shape()), 1);
        let one = pass_on(1, &model, x.view());
        for threads in [2, 3] {
            assert!(pass_on(threads, &model, x.view()) == one, "{name}: {threads} threads");
        }
    });
}

fn freezing_is_freezing<F: Scalar>(name: &str, mut model: Sequential<F>) {
    let x = normal::<F>(&batched(4, model.input_shape()), 1);
    let total = model.params().count();
    assert_eq!(model.freeze(|_| true), total, "{name}");
    let before = crate::support::state(&model);
    assert!(gradients_of(&mut model, x.view()).iter().all(|(_, grad)| grad.is_none()), "{name}");
    assert_eq!(
        crate::support::state(&model),
        before,
        "{name}: running statistics moved while frozen"
    );
    assert_eq!(model.unfreeze(|_| true), total, "{name}");
    assert!(gradients_of(&mut model, x.view()).iter().all(|(_, grad)| grad.is_some()), "{name}");
}

#[test]
fn a_frozen_layer_gets_no_gradient_and_stands_still() {
    for_every_layer(|name, single, double| {
        if !single().summary().rows[0].kind.contains("BatchNorm") || single().params().count() > 0 {
            freezing_is_freezing(name, single());
            freezing_is_freezing(name, double());
        }
    });
}

fn clone_is_independent<F: Scalar>(name: &str, mut model: Sequential<F>) {
    let x = normal::<F>(&batched(4, model.input_shape()), 1);
    let mut copy = model.clone();
    assert_eq!(gradients_of(&mut model, x.view()), gradients_of(&mut copy, x.view()), "{name}");
    let before = crate::support::state(&model);
    for info in copy.params() {
        let zeros = ArrayD::<F>::zeros(ndarray::IxDyn(info.shape.dims()));
        copy.set_value(&info.name, zeros.view()).expect("the shape is the parameter's");
    }
    assert_eq!(crate::support::state(&model), before, "{name}");
}

#[test]
fn a_clone_computes_the_same_and_is_independent() {
    for_every_layer(|name, single, double| {
        clone_is_independent(name, single());
        clone_is_independent(name, double());
    });
}

#[test]
fn names_are_unique_and_the_same_for_both_visitors() {
    for_every_layer(|name, single, _| {
        let mut model = single();
        let names: Vec<String> =
            crate::support::state(&model).into_iter().map(|(name, _)| name).collect();
        let mut again = Vec::new();
        model.visit_mut(&mut layerwise::VisitorMut::new(&mut |name, _| {
            again.push(name.to_string())
        }));
        assert_eq!(names, again, "{name}");
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), names.len(), "{name}");
    });
}
