//! What several test modules need.

use layerwise::prelude::*;
use layerwise::{SequentialBuilder, View};

/// Values from a normal distribution.
pub(crate) fn normal<F: Scalar>(shape: &[usize], seed: u64) -> ArrayD<F> {
    let mut rng = Seed::new(seed).rng();
    ArrayD::from_shape_simple_fn(ndarray::IxDyn(shape), || F::lit(rng.normal()))
}

/// `count` class indices below `classes`.
pub(crate) fn labels(count: usize, classes: usize, seed: u64) -> Vec<usize> {
    let mut rng = Seed::new(seed).rng();
    (0..count).map(|_| rng.below(classes)).collect()
}

/// `[batch, ..shape]`
pub(crate) fn batched(batch: usize, shape: &Shape) -> Vec<usize> {
    [&[batch], shape.dims()].concat()
}

/// The exact bits, to compare NaN and signed zeros too.
pub(crate) fn bits<F: Scalar>(values: View<'_, F>) -> Vec<u64> {
    values.iter().map(|x| x.widen().to_bits()).collect()
}

/// Every parameter and buffer of a model, by name.
pub(crate) fn state<F: Scalar>(model: &Sequential<F>) -> Vec<(String, Vec<u64>)> {
    let mut all = Vec::new();
    model.visit(&mut layerwise::Visitor::new(&mut |name, entry| {
        let value = match entry {
            layerwise::Entry::Param(param) => bits(param.value()),
            layerwise::Entry::Buffer(buffer) => bits(buffer.value()),
            _ => Vec::new(),
        };
        all.push((name.to_string(), value));
    }));
    all
}

/// A small network with every kind of layer that trains.
pub(crate) fn small_convnet<F: Scalar>(seed: u64) -> Sequential<F> {
    SequentialBuilder::new([2, 8, 8])
        .add(Conv2d::new(6, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(8, 3).stride(2))
        .add(LeakyRelu::default())
        .add(Flatten)
        .add(Dropout::new(0.25))
        .add(Linear::new(16))
        .add(Tanh)
        .add(Linear::new(4))
        .seed(seed)
        .build()
        .expect("the layers fit")
}

/// The text of the error that `result` should be.
pub(crate) fn text<T>(result: layerwise::Result<T>) -> String {
    result.err().expect("an error").to_string()
}
