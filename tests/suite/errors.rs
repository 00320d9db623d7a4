//! Every text a user can meet: where, need, got, cure. And that nothing is half changed.

use layerwise::data::read_idx;
use layerwise::prelude::*;
use layerwise::{LayerSpec, SequentialBuilder};

use crate::support::{labels, normal, small_convnet, state, text};

pub(crate) fn build_error(input: impl Into<Shape>, spec: impl LayerSpec<f32> + 'static) -> String {
    text(SequentialBuilder::new(input).add(spec).build())
}

#[test]
fn a_layer_that_does_not_fit_says_which_where_and_what_to_do() {
    let model = Sequential::builder([1, 28, 28])
        .add(Conv2d::new(16, 3))
        .add(MaxPool2d::new(2))
        .add(Linear::new(10))
        .build();
    assert_eq!(
        text(model),
        "layer 2 (Linear): needs [features], got [16, 13, 13]; add Flatten before it"
    );
    assert_eq!(
        build_error([8], Conv2d::new(4, 3)),
        "layer 0 (Conv2d): needs [channels, height, width], got [8]; \
         images have three axes; a grey image is [1, height, width]"
    );
    assert_eq!(
        build_error([3, 4, 4], Conv2d::new(4, 7).padding(1)),
        "layer 0 (Conv2d): needs an image at least as large as the kernel (7, 7) with dilation (1, 1) after padding \
         (1, 1), got [3, 4, 4]; use a smaller kernel, more padding, or fewer pooling layers before it"
    );
    assert_eq!(
        build_error([3, 1, 4], MaxPool2d::new(2)),
        "layer 0 (MaxPool2d): needs an image at least as large as the kernel (2, 2) with dilation (1, 1) after \
         padding (0, 0), got [3, 1, 4]; use a smaller kernel, more padding, or fewer pooling layers before it"
    );
}

#[test]
fn a_nested_layer_is_named_by_its_path() {
    let block = || Block::new().add(Relu).add_named("fc", Linear::new(3));
    let error = text(Sequential::builder([2, 3]).add(Relu).add_named("body", block()).build());
    assert_eq!(
        error,
        "layer 1.1 `body.fc` (Linear): needs [features], got [2, 3]; add Flatten before it"
    );
    let trunk = Sequential::builder([4]).add(Linear::new(2)).build().expect("it fits");
    let error = text(Sequential::builder([5]).add(trunk).build());
    assert_eq!(error, "layer 0 (Sequential): needs the nested model's input = [4], got [5]");
}

#[test]
fn a_setting_out_of_range_names_its_range() {
    let cases: Vec<(String, &str)> = vec![
        (
            build_error([4], Linear::new(0)),
            "layer 0 (Linear): out_features must be at least 1, got 0",
        ),
        (
            build_error([4], Linear::new(1).weight_init(Normal::new(0.0, f64::NAN))),
            "layer 0 (Init): weight must be finite, got NaN from Normal { mean: 0.0, std: NaN }",
        ),
        (
            build_error([4], Linear::new(1).bias_init(Constant(1e300))),
            "layer 0 (Init): bias must be finite, got inf from Constant(1e300)",
        ),
        (
            build_error([1, 4, 4], Conv2d::new(0, 3)),
            "layer 0 (Conv2d): filters must be at least 1, got 0",
        ),
        (
            build_error([1, 4, 4], Conv2d::new(1, 0)),
            "layer 0 (Conv2d): kernel must be at least 1, got (0, 0)",
        ),
        (
            build_error([1, 4, 4], Conv2d::new(1, 3).stride((1, 0))),
            "layer 0 (Conv2d): stride must be at least 1, got (1, 0)",
        ),
        (
            build_error([1, 4, 4], Conv2d::new(1, 3).dilation(0)),
            "layer 0 (Conv2d): dilation must be at least 1, got (0, 0)",
        ),
        (
            build_error([3, 4, 4], Conv2d::new(4, 3).groups(2)),
            "layer 0 (Conv2d): groups must be a divisor of channels and filters, got 2 with 3 channels and 4 filters",
        ),
        (
            build_error([1, 4, 4], MaxPool2d::new(0)),
            "layer 0 (MaxPool2d): kernel must be at least 1, got (0, 0)",
        ),
        (
            build_error([1, 4, 4], AvgPool2d::new(2).stride(0)),
            "layer 0 (AvgPool2d): stride must be at least 1, got (0, 0)",
        ),
        (
            build_error([1, 4, 4], MaxPool2d::new(2).padding(2)),
            "layer 0 (MaxPool2d): padding must be at most half the kernel, got (2, 2)",
        ),
        (
            build_error([4], BatchNorm::new().eps(0.0)),
            "layer 0 (BatchNorm): eps must be above 0, got 0",
        ),
        (
            build_error([4], BatchNorm::new().momentum(f64::NAN)),
            "layer 0 (BatchNorm): momentum must be from 0 to 1, got NaN",
        ),
        (
            build_error([4], LeakyRelu::new(f64::NAN)),
            "layer 0 (LeakyRelu): slope must be finite, got NaN",
        ),
        (build_error([4], Elu::new(f64::INFINITY)), "layer 0 (Elu): alpha must be finite, got inf"),
        (
            build_error([4], Softplus::new(0.0)),
            "layer 0 (Softplus): beta must be finite and above 0, got 0",
        ),
        (
            build_error([3, 4], Softmax::new().axis(2)),
            "layer 0 (Softmax): axis must be an axis of the sample, counted from 0, got 2 for [3, 4]",
        ),
        (
            build_error(Vec::<usize>::new(), LogSoftmax::new()),
            "layer 0 (LogSoftmax): axis must be an axis of the sample, counted from 0, got 0 for []",
        ),
        (
            build_error([4], Dropout::new(1.0)),
            "layer 0 (Dropout): p must be a probability to drop, 0 ≤ p < 1, got 1",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    let huge = usize::MAX / 2;
    assert!(build_error([1, 4, 4], Conv2d::new(1, 3).padding(huge)).contains("after padding"));
    assert!(build_error([1, 4, 4], Conv2d::new(1, 3).dilation(huge)).contains("with dilation"));
    assert!(build_error([1, 4, 4], MaxPool2d::new(huge)).contains("at least as large"));
    assert!(build_error([huge, 4, 4], Relu).contains("fits memory"));
    assert!(build_error([1, 70_000, 70_000], MaxPool2d::new(1)).contains("fewer than 2^32"));
    assert_eq!(
        build_error([1 << 20], Linear::new(1 << 50)),
        "parameter weight of [1125899906842624, 1048576] is too large for memory"
    );
    assert!(build_error([1, 8, 8], Conv2d::new(1 << 58, 3)).contains("too large for memory"));
}

#[test]
fn a_batch_that_does_not_fit_memory_is_an_error() {
    // One element for each of 2^61 samples, without memory of its own; more bytes than any address.
    let one = ndarray::arr1(&[1.0f32]).into_dyn();
    let batch = one.broadcast(ndarray::IxDyn(&[1 << 61, 1])).expect("one row for all");
    let mut model = Sequential::builder([1]).add(Linear::new(3)).build().expect("it fits");
    let expected = "no memory for a batch of 2305843009213693952 samples of 3 elements each; use a smaller batch";
    assert_eq!(text(model.predict(batch.view())), expected);
    assert!(
        text(model.forward(batch).map(|_| ()))
            .starts_with("no memory for a batch of 2305843009213693952 samples")
    );
}

#[test]
fn names_must_be_usable_in_a_path() {
    let named = |a: &str, b: &str| {
        text(Sequential::builder([2]).add_named(a, Relu).add_named(b, Relu).build())
    };
    assert_eq!(
        named("a", "a"),
        "layer 1 (Sequential): name must be unlike every other layer's, got \"a\""
    );
    assert_eq!(
        named("", "b"),
        "layer 0 (Sequential): name must be not empty and without dots, got \"\""
    );
    assert_eq!(
        named("a.b", "b"),
        "layer 0 (Sequential): name must be not empty and without dots, got \"a.b\""
    );
}

#[test]
fn the_entrance_says_what_a_batch_needs() {
    let mut model = small_convnet::<f32>(0);
    let before = state(&model);
    let mut forward = |shape: &[usize]| text(model.forward(&normal(shape, 0)).map(|_| ()));
    assert_eq!(
        forward(&[3, 2, 8, 9]),
        "input: needs [batch, 2, 8, 8], got [3, 2, 8, 9]; the model was built for this shape"
    );
    assert_eq!(
        forward(&[2, 8, 8]),
        "input: needs [batch, 2, 8, 8], got [2, 8, 8]; insert a batch axis in front, even for one sample"
    );
    assert_eq!(
        forward(&[0, 2, 8, 8]),
        "input: needs [batch, 2, 8, 8], got [0, 2, 8, 8]; give at least one sample"
    );
    assert_eq!(
        forward(&[]),
        "input: needs [batch, 2, 8, 8], got []; the model was built for this shape"
    );
    assert_eq!(state(&model), before);
    let predict = text(model.predict(&normal(&[1, 128], 0)));
    assert_eq!(
        predict,
        "input: needs [batch, 2, 8, 8], got [1, 128]; the model was built for this shape"
    );
    assert_eq!(text(Sequential::builder([0]).build()), "input: needs axes of at least 1, got [0]");
}

#[test]
fn batch_norm_refuses_a_single_value_in_training() {
    let mut model = Sequential::builder([3])
        .add(Linear::new(3))
        .add(BatchNorm::new())
        .build()
        .expect("it fits");
    let before = state(&model);
    assert_eq!(
        text(model.forward(&normal(&[1, 3], 0)).map(|_| ())),
        "layer 1 (BatchNorm): needs at least 2 values per channel in train mode, got 1; \
         use a larger batch, or freeze the layer"
    );
    assert_eq!((state(&model), model.passes()), (before, 0));
    model.eval();
    assert!(model.forward(&normal(&[1, 3], 0)).is_ok());
}

#[test]
fn batch_norm_refuses_statistics_that_are_not_finite() {
    let mut model = Sequential::builder([1]).add(BatchNorm::new()).build().expect("it fits");
    let before = state(&model);
    let x = ndarray::arr2(&[[f32::NAN], [1.0]]);
    assert_eq!(
        text(model.forward(&x).map(|_| ())),
        "layer 0 (BatchNorm): mean or variance of the batch is not finite; lower the learning rate, or check the data"
    );
    assert_eq!(state(&model), before);
}

#[test]
fn backward_needs_a_matching_forward() {
    let mut model = small_convnet::<f32>(0);
    let grad = normal::<f32>(&[3, 4], 0);
    let before_forward = "backward without a matching forward; call `forward` first";
    assert_eq!(text(model.backward(&grad)), before_forward);
    assert_eq!(text(model.backward_to_input(&grad).map(|_| ())), before_forward);
    model.forward(&normal(&[2, 2, 8, 8], 0)).expect("it fits");
    assert_eq!(
        text(model.backward(&grad)),
        "gradient of the output: needs [2, 4], got [3, 4]; one gradient for each element of the last forward's output"
    );
    // A forward that failed is none.
    model.backward(&normal(&[2, 4], 0)).expect("there was a forward");
    assert!(model.clone().backward(&grad).is_err());
}

#[test]
fn losses_name_the_row_and_the_class() {
    let logits = normal::<f32>(&[3, 10], 0);
    let value = |target: &[usize]| text(CrossEntropy::new().value(logits.view(), target));
    assert_eq!(
        value(&[1, 12, 3]),
        "target: class 12 at row 1 is out of range: the prediction has 10 classes (0 to 9)"
    );
    assert_eq!(value(&[1, 2]), "target: needs 3 rows like the prediction, got 2");
    let hinge = text(MulticlassHinge::new().value(logits.view(), &[0, 0, usize::MAX]));
    assert!(hinge.starts_with("target: class 18446744073709551615 at row 2"), "{hinge}");
    let flat = normal::<f32>(&[3], 0);
    assert_eq!(
        text(CrossEntropy::new().value(flat.view(), &[0])),
        "prediction: needs [batch, classes], got [3]"
    );
    assert_eq!(
        text(CrossEntropy::new().class_weights([1.0]).value(logits.view(), &[0, 0, 0])),
        "CrossEntropy: class_weights must be one for each class of the prediction, got 1 weights for 10 classes"
    );
    let target = normal::<f32>(&[3, 9], 0);
    assert_eq!(
        text(Mse::new().value(logits.view(), &target)),
        "target: needs the prediction's shape [3, 10], got [3, 9]"
    );
}

fn trainer(lr: f64) -> Trainer<CrossEntropy> {
    Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), lr))
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_model_as_it_was() {
    let mut model = Sequential::builder([2]).add(Linear::new(3)).build().expect("it fits");
    let before = state(&model);
    let mut trainer = trainer(0.1);
    let x = ndarray::arr2(&[[f32::INFINITY, 1.0]]);
    assert_eq!(
        text(trainer.step(&mut model, &x, &[0])),
        "loss is not finite at step 1; lower the learning rate, clip gradients, or check the data"
    );
    assert_eq!((state(&model), model.passes(), trainer.optimizer().steps()), (before, 0, 0));
    // And the next good batch trains as if nothing had been.
    let good = ndarray::arr2(&[[0.5, 1.0]]);
    assert_eq!(trainer.step(&mut model, &good, &[0]).expect("a good batch").step, 1);
}

#[test]
fn a_gradient_that_is_not_finite_is_named_and_nothing_changes() {
    let mut model = small_convnet::<f32>(0);
    let before = state(&model);
    model.forward(&normal(&[4, 2, 8, 8], 0)).expect("it fits");
    let after_forward = state(&model);
    let mut grad = normal::<f32>(&[4, 4], 1);
    grad[[2, 1]] = f32::NAN;
    model.backward(&grad).expect("there was a forward");
    let mut optimizer = ModelOptimizer::new(Sgd::new(), 0.1);
    assert_eq!(
        text(optimizer.step(&mut model)),
        "gradient of 0.weight is not finite at step 1; lower the learning rate, clip gradients, or check the data"
    );
    assert_eq!((state(&model), optimizer.steps()), (after_forward, 0));
    assert_ne!(state(&model), before, "a forward in train mode moves the running statistics");
}

#[test]
fn a_failed_training_step_leaves_running_statistics_alone() {
    let mut model = small_convnet::<f32>(0);
    let mut trainer = trainer(0.1);
    let before = state(&model);
    let x = normal::<f32>(&[4, 2, 8, 8], 0);
    assert!(trainer.step(&mut model, &x, &[0, 1, 2, 9]).is_err());
    assert_eq!((state(&model), model.passes()), (before, 0));
    assert!(model.param("0.weight").expect("it exists").grad().is_none());
}

#[test]
fn a_step_without_gradients_is_refused() {
    let mut model = small_convnet::<f32>(0);
    assert_eq!(
        text(ModelOptimizer::new(Sgd::new(), 0.1).step(&mut model)),
        "parameter 0.weight is trainable but got no gradient since the last step; \
         call `backward` first, and see that its layer's `backward` writes it"
    );
}

#[test]
fn optimizer_settings_are_checked_before_anything_changes() {
    fn error(mut optimizer: ModelOptimizer) -> String {
        let mut model = Sequential::builder([2]).add(Linear::new(1)).build().expect("it fits");
        let y = model.forward(&normal(&[3, 2], 0)).expect("it fits").to_owned();
        model.backward(&y).expect("there was a forward");
        let before = state(&model);
        let error = text(optimizer.step(&mut model));
        assert_eq!(state(&model), before);
        error
    }
    let sgd = |rule: Sgd| error(ModelOptimizer::new(rule, 0.1));
    assert_eq!(
        sgd(Sgd::new().momentum(1.0)),
        "Sgd: momentum must be at least 0 and below 1, got 1"
    );
    assert_eq!(
        sgd(Sgd::new().nesterov(true)),
        "Sgd: momentum must be above 0 with nesterov, got 0"
    );
    let adam = |rule: Adam| error(ModelOptimizer::new(rule, 0.1));
    assert_eq!(
        adam(Adam::new().betas(0.9, 1.0)),
        "Adam: beta2 must be at least 0 and below 1, got 1"
    );
    assert_eq!(adam(Adam::new().eps(0.0)), "Adam: eps must be above 0, got 0");
    let plain = |lr: f64| ModelOptimizer::new(Sgd::new(), lr);
    assert_eq!(error(plain(f64::NAN)), "ModelOptimizer: lr must be at least 0, got NaN");
    assert_eq!(
        error(plain(0.1).clip(Clip::Norm(0.0))),
        "ModelOptimizer: clip must be above 0, got 0"
    );
    assert_eq!(
        error(plain(0.1).weight_decay(Decay::L2(-1.0))),
        "ModelOptimizer: weight_decay must be at least 0, got -1"
    );
    assert_eq!(
        error(plain(0.1).group(Group::DEFAULT, GroupOptions::new().lr_scale(-2.0))),
        "GroupOptions: lr_scale must be at least 0, got -2"
    );
}

#[test]
fn idx_streams_are_checked_to_the_last_byte() {
    let good = [0, 0, 8, 1, 0, 0, 0, 2, 7, 9];
    assert_eq!(read_idx(&good[..]).and_then(|idx| idx.to_labels()).expect("a good stream"), [7, 9]);
    let error = |bytes: &[u8]| text(read_idx(bytes));
    assert_eq!(error(&good[..9]), "IDX: needs 2 bytes for [2], got 1; the stream is cut off");
    assert_eq!(
        error(&[&good[..], &[1]].concat()),
        "IDX: needs 2 bytes for [2], got more; the header is wrong"
    );
    assert_eq!(error(&good[..6]), "IDX: the stream ends inside the header");
    assert_eq!(error(&[]), "IDX: the stream ends inside the header");
    assert_eq!(
        error(&[0x1f, 0x8b, 8, 0, 0, 0]),
        "IDX: needs a magic number that begins with 0, 0, got [31, 139, 8, 0]; is the file still compressed?"
    );
    assert_eq!(
        error(&[0, 0, 13, 1, 0, 0, 0, 0]),
        "IDX: needs elements of unsigned bytes (type 8), got type 13"
    );
    // A header that promises 2^96 bytes neither allocates nor overflows.
    let huge = [&[0, 0, 8, 3][..], &[255; 12]].concat();
    assert!(error(&huge).contains("the stream is cut off"));
    let labels = read_idx(&good[..]).expect("a good stream");
    assert_eq!(
        text(labels.to_images::<f32>(1.0)),
        "IDX: images need three axes [n, height, width], got [2]"
    );
}

#[test]
fn data_sets_check_their_counts() {
    let samples = || normal::<f32>(&[5, 3], 0);
    assert_eq!(
        text(Dataset::new(samples(), labels(4, 2, 0))),
        "data set: 5 samples but 4 targets; each sample needs one"
    );
    assert_eq!(
        text(Dataset::new(normal::<f32>(&[0, 3], 0), Vec::<usize>::new())),
        "data set: needs at least one sample with at least one element, got [0, 3]"
    );
    let data = Dataset::new(samples(), labels(5, 2, 0)).expect("as many as samples");
    assert_eq!(
        text(data.select(&[0, 5])),
        "data set: index 5 is out of range: there are 5 samples"
    );
    assert_eq!(text(data.select(&[])), "data set: a selection needs at least one index");
    assert_eq!(text(data.batches(0)), "Batches: batch_size must be at least 1, got 0");
}
