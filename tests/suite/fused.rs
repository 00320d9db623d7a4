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
