//! Every layer of the table in a file of layers and weights.

use layerwise::persist::Registry;

use super::standard::Ids;
use super::*;

/// Kinds that are not the crate's own: what the table's helpers add.
fn registry<F: Scalar>() -> Registry<F> {
    let registry = Registry::new().add::<Ids>("Ids");
    registry.add_lambda(special::cube()).add_lambda(special::sums())
}

/// As if it had been trained: running statistics and parameters of no initializer.
fn disturb<F: Scalar>(model: &mut Sequential<F>) {
    let mut rng = Seed::new(5).rng();
    model.visit_mut(&mut layerwise::VisitorMut::new(&mut |_, entry| {
        let (shape, is_buffer) = match &entry {
            layerwise::EntryMut::Param(param) => (param.shape().to_vec(), false),
            layerwise::EntryMut::Buffer(buffer) => (buffer.shape().to_vec(), true),
            _ => return,
        };
        // Variances and scales stay above 0.
        let least = if is_buffer { 0.5 } else { -0.5 };
        let value = ArrayD::from_shape_fn(shape, |_| F::lit(least + rng.uniform()));
        match entry {
            layerwise::EntryMut::Param(param) => param.set_value(value.view()),
            layerwise::EntryMut::Buffer(buffer) => buffer.set_value(value.view()),
            _ => Ok(()),
        }
        .expect("the shape is its own");
    }));
}

fn comes_back<F: Scalar>(name: &str, mut model: Sequential<F>) {
    disturb(&mut model);
    let bytes = model.model_to_bytes().unwrap_or_else(|error| panic!("{name}: {error}"));
    let opened = Sequential::<F>::from_bytes_with(&bytes, &registry());
    let mut opened = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(crate::support::state(&opened), crate::support::state(&model), "{name}");
    assert!(opened.model_to_bytes().expect("saved once") == bytes, "{name}");
    let x = normal::<F>(&batched(4, model.input_shape()), 3);
    let (got, want) = (opened.predict(&x).expect("it fits"), model.predict(&x).expect("it fits"));
    assert_eq!(bits(got.view()), bits(want.view()), "{name}: predicts");
    // Its settings for training are the same too, and its randomness.
    let want = bits(model.forward(&x).expect("it fits"));
    assert_eq!(bits(opened.forward(&x).expect("it fits")), want, "{name}: trains");
}

/// There is no exception: a layer of the crate that cannot be saved is a fault.
#[test]
fn every_layer_comes_back_from_a_file_of_layers_and_weights() {
    for_every_layer(|name, single, double| {
        comes_back(name, single());
        comes_back(name, double());
    });
}
