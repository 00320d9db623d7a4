//! After warm-up a training step, a prediction and a loss allocate nothing. A counting allocator proves it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use layerwise::augment::{
    Affine, ColorJitter, Elastic, HorizontalFlip, Pipeline, RandomCrop, RandomErasing,
};
use layerwise::prelude::*;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every kind of layer, and enough work that kernels run in parallel.
fn model() -> Sequential {
    let block = Block::new().add(Conv2d::new(32, 3).padding(1)).add(BatchNorm::new()).add(Relu);
    let body = || Block::new().add(Conv2d::new(32, 3).padding(1)).add(BatchNorm::new());
    let projection = || Block::new().add(Conv2d::new(32, 1));
    let depth = StochasticDepth::new(body()).projection(projection()).survival(0.8).inverted(true);
    let rows = StochasticDepth::new(body()).per_row(true);
    let parallel = Parallel::concat().branch(body()).branch(Block::new());
    let sum = Parallel::sum().branch(body()).branch(projection());
    Sequential::builder([3, 20, 20])
        .add(block)
        .add(Residual::new(body()).projection(projection()))
        .add(depth)
        .add(rows)
        .add(FractionalMaxPool2d::new(1.2).overlapping(true))
        .add(parallel)
        .add(sum)
        .add(MaxPool2d::new(2))
        .add(MaxoutConv2d::new(40, 3, 2).stride(2))
        .add(PRelu::new())
        .add(LeakyRelu::default())
        .add(AvgPool2d::new(2))
        .add(Flatten)
        .add(Dropout::new(0.3))
        .add(Dropout::new(0.1).spatial(true).vanilla(true))
        .add(GaussianNoise::new(0.1))
        .add(Maxout::new(120, 2))
        .add(PRelu::shared())
        .add(AlphaDropout::new(0.1))
        .add(GaussianDropout::new(0.1))
        .add(MaxoutChannels::new(2))
        .add(Lambda::elementwise(|x: f32| x + x, |_| 2.0))
        .add(DropConnect::new(60).activation(Relu).samples(2))
        .add(DropConnect::new(80).shared_mask(true))
        .add(Linear::new(200))
        .add(BatchNorm::new())
        .add(Tanh)
        .add(Softmax::new())
        .add(Linear::new(200))
        .add(Gelu)
        .add(Mish)
        .add(Linear::new(10))
        .build()
        .expect("the layers fit")
}

/// Augmentations that move, resample and recolour, some with working memory.
fn pipeline() -> Pipeline {
    Pipeline::new(Seed::new(1))
        .add(HorizontalFlip::new())
        .add(RandomCrop::new(2))
        .add(Affine::new().rotate(10.0))
        .add(Elastic::new(10.0, 2.0))
        .add(ColorJitter::new().brightness(0.2).hue(0.1))
        .add(RandomErasing::new())
}

/// Allocations of `rounds` calls after a few to warm up.
fn count(rounds: usize, mut call: impl FnMut()) -> usize {
    (0..5).for_each(|_| call());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..rounds).for_each(|_| call());
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn check(rules: &[&dyn Fn() -> ModelOptimizer]) {
    let mut rng = Seed::new(0).rng();
    let samples =
        ArrayD::from_shape_simple_fn(ndarray::IxDyn(&[72, 3, 20, 20]), || rng.normal() as f32);
    let data =
        Dataset::new(samples, (0..72).map(|i| i % 10).collect::<Vec<usize>>()).expect("72 each");
    for rule in rules {
        let mut model = model();
        model.set_regularizer(L2(1e-4), ParamInfo::is_weight);
        model.set_constraint(MaxNorm(1.0), ParamInfo::is_weight);
        let mut trainer = Trainer::new(CrossEntropy::new(), rule());
        let mut batches = data.batches(32).expect("not 0").shuffled(Seed::new(1));
        batches = batches.augmented(pipeline()).expect("images");
        // Three batches an epoch, the last of them smaller; then with the first block frozen.
        for frozen in [false, true] {
            if frozen {
                assert!(model.freeze(|p| p.name.starts_with("0.")) > 0);
            }
            let training = count(20, || {
                if let Some(batch) = batches.next_batch().expect("in memory") {
                    trainer.step(&mut model, batch.x, batch.target).expect("a good batch");
                }
            });
            assert_eq!(training, 0, "allocations in 20 training steps, frozen: {frozen}");
        }
        let mut workspace = Workspace::new();
        let mut batches = data.batches(32).expect("not 0");
        let predicting = count(20, || {
            if let Some(batch) = batches.next_batch().expect("in memory") {
                model.predict_with(batch.x, &mut workspace).expect("a good batch");
            }
        });
        assert_eq!(predicting, 0, "allocations in 20 predictions");
    }
}

/// Every loss, with its value alone and with its gradient.
fn check_losses() {
    let mut rng = Seed::new(0).rng();
    let mut random =
        || ArrayD::from_shape_simple_fn(ndarray::IxDyn(&[64, 500]), || rng.uniform() as f32);
    let (x, t, mut grad) = (random(), random(), random());
    let classes: Vec<usize> = (0..64).collect();
    let weights = [0.5; 500];
    let mut by_class = |loss: &dyn Loss<f32, Target = [usize]>| {
        let allocations = count(20, || {
            loss.value(x.view(), &classes).expect("a good batch");
            loss.value_and_grad(x.view(), &classes, grad.view_mut()).expect("a good batch");
        });
        assert_eq!(allocations, 0, "{loss:?}");
    };
    by_class(&CrossEntropy::new().class_weights(weights).label_smoothing(0.1).ignore_index(3));
    by_class(&Nll::new());
    by_class(&Focal::default());
    by_class(&MulticlassHinge::new());
    let mut by_value = |loss: &dyn Loss<f32, Target = ndarray::ArrayRef<f32, ndarray::IxDyn>>| {
        let allocations = count(20, || {
            loss.value(x.view(), &t).expect("a good batch");
            loss.value_and_grad(x.view(), &t, grad.view_mut()).expect("a good batch");
        });
        assert_eq!(allocations, 0, "{loss:?}");
    };
    by_value(&SoftCrossEntropy::new().class_weights(weights));
    by_value(&BinaryCrossEntropy::new());
    by_value(&BinaryCrossEntropy::from_probabilities().pos_weight(weights));
    by_value(&KlDivergence::new());
    by_value(&Mse::new());
    by_value(&Mae::new());
    by_value(&Huber::default());
    by_value(&SmoothL1::default());
}

/// Layers that `model` has no place for: of images, of sequences, of ids.
fn check_standard() {
    let images = Sequential::builder([8, 16, 16])
        .add(Conv2d::new(8, 3).padding(1).groups(8))
        .add(GroupNorm::new(2))
        .add(ZeroPad::new(1))
        .add(LocalResponseNorm::new(3))
        .add(AdaptiveMaxPool2d::new(7))
        .add(ConvTranspose2d::new(8, 4).stride(2).padding(1))
        .add(InstanceNorm::new())
        .add(Upsample::new(2))
        .add(AdaptiveAvgPool2d::new(9))
        .add(Upsample::to((11, 12)).bilinear())
        .add(Permute::new([1, 2, 0]))
        .add(Reshape::new([12, 11, 8]))
        .add(GlobalMaxPool);
    let sequences = Sequential::builder([20])
        .add(Embedding::new(9, 16))
        .add(LayerNorm::new().last_axes(1))
        .add(Rnn::new(32).sequences(true))
        .add(Gru::new(32).sequences(true).truncate(8))
        .add(Conv1d::new(20, 3))
        .add(Lstm::new(64));
    for builder in [images, sequences] {
        let mut model = builder.build().expect("the layers fit");
        let batch = |n: usize, shape: &Shape| {
            let shape = [&[n], shape.dims()].concat();
            let mut i = 0;
            ArrayD::from_shape_simple_fn(ndarray::IxDyn(&shape), || {
                i += 1;
                (i * 7 % 9) as f32
            })
        };
        let mut workspace = Workspace::new();
        // A full batch, then a smaller one.
        let batches =
            [24, 10].map(|n| (batch(n, model.input_shape()), batch(n, model.output_shape())));
        let allocations = count(10, || {
            for (x, grad) in &batches {
                model.forward(x).expect("a good batch");
                model.backward(grad).expect("there was a forward");
                model.predict_with(x, &mut workspace).expect("a good batch");
            }
        });
        assert_eq!(allocations, 0, "{:?}", model.summary().rows[0].kind);
    }
}

/// One test, because the count is the process's.
#[test]
fn a_training_step_a_prediction_and_a_loss_allocate_nothing() {
    let adam = || ModelOptimizer::new(Adam::new(), 1e-3).clip(Clip::Norm(1.0));
    let sgd = || ModelOptimizer::new(Sgd::new().momentum(0.9), 1e-2).weight_decay(Decay::L2(1e-4));
    let lion = || {
        let momentum = LinearWarmup::new(10).start(0.9).scaled(0.95);
        let schedule = LinearWarmup::new(9).then(WarmRestarts::new(5).mult(2));
        let driver = ModelOptimizer::new(Lion::new(), 1e-4).schedule(schedule);
        driver.momentum_schedule(momentum).centralize(true).accumulate(2).clip(Clip::Value(0.1))
    };
    let nadam = || {
        let group = GroupOptions::new().rule(RmsProp::new().centered(true).momentum(0.9));
        ModelOptimizer::new(NAdam::new(), 1e-3).group(Group::DEFAULT, group)
    };
    let rules: [&(dyn Fn() -> ModelOptimizer + Sync); 4] = [&adam, &sgd, &lion, &nadam];
    // Inside a pool: from outside, rayon's own queue takes a block of memory every 63 calls.
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| check(&rules.map(|rule| rule as &dyn Fn() -> ModelOptimizer)));
        pool.install(check_losses);
        pool.install(check_standard);
    }
}
