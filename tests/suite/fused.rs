//! A ReLU that the layer below applies gives what a ReLU of its own gives.

use layerwise::prelude::*;
use layerwise::{SequentialBuilder, View};

use crate::support::{bits, normal, state};

/// A ReLU that no layer recognises as one.
#[derive(Debug, Clone, Copy)]
struct Disguised;

impl Activation for Disguised {
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        Relu.forward(x, y);
    }

    fn backward<F: Scalar>(&self, x: &[F], y: &[F], dy: &[F], dx: &mut [F]) {
        Relu.backward(x, y, dy, dx);
    }
}

fn model<F: Scalar>(relu: impl Activation + Clone + 'static, bias: bool) -> Sequential<F> {
    SequentialBuilder::<F>::new([7])
        .add(Linear::new(300).bias(bias))
        .add(relu.clone())
        .add(Linear::new(9).bias(bias))
        .add(relu)
        .seed(3)
        .build()
        .expect("the layers fit")
}

/// Output, gradient by the input and gradients of the parameters, by two passes of two batches.
fn passes<F: Scalar>(mut model: Sequential<F>, batch: usize) -> Vec<Vec<u64>> {
    let mut results = Vec::new();
    for round in 0..2 {
        let (x, dy) = (normal::<F>(&[batch, 7], round), normal::<F>(&[batch, 9], 5 + round));
        let mut keep = |values: View<'_, F>| results.push(bits(values));
        keep(model.forward(&x).expect("it fits"));
        keep(model.backward_to_input(&dy).expect("there was a forward"));
        let names: Vec<String> = model.params().map(|p| p.name.to_string()).collect();
        for name in names {
            let param = model.param(&name).expect("it is there");
            keep(param.grad().expect("it was written"));
        }
        keep(model.predict_with(&x, &mut Workspace::new()).expect("it fits"));
    }
    results
}

#[test]
fn an_absorbed_relu_changes_no_bit() {
    for batch in [1, 3, 50] {
        for bias in [true, false] {
            let (absorbed, apart) = (model::<f32>(Relu, bias), model::<f32>(Disguised, bias));
            assert_eq!(state(&absorbed), state(&apart));
            assert_eq!(passes(absorbed, batch), passes(apart, batch), "f32, batch {batch}");
            let (absorbed, apart) = (model::<f64>(Relu, bias), model::<f64>(Disguised, bias));
            assert_eq!(passes(absorbed, batch), passes(apart, batch), "f64, batch {batch}");
        }
    }
}

#[test]
fn nan_passes_through_an_absorbed_relu() {
    let model = model::<f32>(Relu, true);
    for batch in [1, 8] {
        let y = model.predict(&ArrayD::from_elem(ndarray::IxDyn(&[batch, 7]), f32::NAN));
        assert!(y.expect("it fits").iter().all(|y| y.is_nan()));
    }
}

/// A convolution of some kind, batch norm that has seen a batch, and what follows.
fn normalized<F: Scalar>(
    input: &[usize],
    conv: impl LayerSpec<F> + 'static,
    relu: bool,
) -> Sequential<F> {
    let builder = SequentialBuilder::<F>::new(input).add(conv).add(BatchNorm::new());
    let builder = if relu { builder.add(Relu) } else { builder };
    let mut model = builder.add(Flatten).add(Linear::new(3)).seed(3).build().expect("it fits");
    let mut shape = input.to_vec();
    shape.insert(0, 9);
    model.forward(&normal::<F>(&shape, 8)).expect("it fits");
    model
}

/// Directly, by Winograd's algorithm, with its deep form, strides, groups, one pixel, several images in a block, sequences.
fn predictions_normalize_on_the_way<F: Scalar>(relu: bool) {
    let conv = |filters| Conv2d::new(filters, 3).padding(1);
    let cases: Vec<(Vec<usize>, Box<dyn LayerSpec<F>>)> = vec![
        (vec![3, 9, 7], Box::new(conv(5))),
        (vec![3, 32, 32], Box::new(conv(32).bias(false))),
        (vec![16, 16, 16], Box::new(conv(33))),
        (vec![64, 4, 4], Box::new(conv(70).bias(false))),
        (vec![6, 8, 8], Box::new(conv(8).groups(2).stride(2))),
        (vec![6, 8, 8], Box::new(conv(6).groups(6))),
        (vec![5, 6, 6], Box::new(Conv2d::new(40, 1))),
        (vec![4, 30], Box::new(Conv1d::new(7, 5))),
    ];
    for (input, conv) in cases {
        let name = format!("{conv:?}");
        let mut model = normalized(&input, conv, relu);
        for batch in [1, 9] {
            let shape: Vec<usize> = [batch].into_iter().chain(input.iter().copied()).collect();
            let x = normal::<F>(&shape, 4);
            model.eval();
            let apart = bits(model.forward(&x).expect("it fits"));
            let mut workspace = Workspace::new();
            for _ in 0..2 {
                let fused = model.predict_with(&x, &mut workspace).expect("it fits");
                assert_eq!(bits(fused), apart, "{name}, batch {batch}, relu {relu}");
            }
            // A kept weight is not a kept statistic.
            model.train();
            model
                .forward(&normal::<F>(
                    &[9].into_iter().chain(input.iter().copied()).collect::<Vec<_>>(),
                    5,
                ))
                .expect("it fits");
            model.eval();
            let apart = bits(model.forward(&x).expect("it fits"));
            let fused = model.predict_with(&x, &mut workspace).expect("it fits");
            assert_eq!(bits(fused), apart, "{name}, batch {batch}, relu {relu}, after training");
        }
    }
}

#[test]
fn batch_norm_in_the_last_pass_of_a_convolution_changes_no_bit() {
    for relu in [false, true] {
        predictions_normalize_on_the_way::<f32>(relu);
        predictions_normalize_on_the_way::<f64>(relu);
    }
}

/// A gradient that an update used up is not added to what comes next, whoever writes it first.
#[test]
fn gradients_begin_anew_after_a_step_and_add_up_without_one() {
    let (x, dy) = (normal::<f64>(&[6, 7], 1), normal::<f64>(&[6, 9], 2));
    let mut model = model::<f64>(Relu, true);
    let gradient = |model: &Sequential<f64>| {
        model.param("0.weight").and_then(|p| p.grad().map(|g| g.to_owned())).expect("written")
    };
    let pass = |model: &mut Sequential<f64>| {
        model.forward(&x).expect("it fits");
        model.backward(&dy).expect("there was a forward");
    };
    pass(&mut model);
    let once = gradient(&model);
    pass(&mut model);
    assert_eq!(gradient(&model), &once + &once);
    model.zero_grad();
    pass(&mut model);
    assert_eq!(gradient(&model), once);
    // A step of rate 0 uses it up and changes nothing else.
    ModelOptimizer::new(Sgd::new(), 0.0).step(&mut model).expect("finite");
    pass(&mut model);
    assert_eq!(gradient(&model), once);
}
