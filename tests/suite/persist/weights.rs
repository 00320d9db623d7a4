//! Weights there and back, here and in the reference implementation of the format.

use layerwise::SequentialBuilder;
use layerwise::persist::{Dtype, Storage, WeightsFile};
use layerwise::prelude::*;
use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype as TheirDtype, SafeTensors};

use super::{file, header, small};
use crate::support::{normal, small_convnet, state, text};

fn keeps_every_bit<F: Scalar>() {
    let (saved, mut model) = (small_convnet::<F>(1), small_convnet::<F>(2));
    assert_ne!(state(&saved), state(&model));
    let loaded = model.load_bytes(&saved.to_bytes().expect("saved")).expect("it fits");
    assert_eq!(state(&saved), state(&model));
    assert_eq!(loaded.matched.len(), state(&model).len());
    assert!(loaded.missing.is_empty() && loaded.left_over.is_empty());
}

#[test]
fn saving_and_loading_keeps_every_bit() {
    keeps_every_bit::<f32>();
    keeps_every_bit::<f64>();
}

#[test]
fn the_reference_implementation_reads_what_is_written() {
    let model = small_convnet::<f32>(1);
    for (storage, dtype) in [
        (Storage::F32, TheirDtype::F32),
        (Storage::F64, TheirDtype::F64),
        (Storage::F16, TheirDtype::F16),
        (Storage::Bf16, TheirDtype::BF16),
    ] {
        let bytes = model.to_bytes_as(storage).expect("saved");
        let theirs = SafeTensors::deserialize(&bytes).expect("a good file");
        let ours = state(&model);
        assert_eq!(theirs.len(), ours.len());
        for (name, values) in ours {
            let tensor = theirs.tensor(&name).expect("the same name");
            let value = model.value(&name).expect("there");
            assert_eq!((tensor.shape(), tensor.dtype()), (value.shape(), dtype));
            if dtype == TheirDtype::F32 {
                let got =
                    tensor.data().chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                assert!(got.map(|x| f64::from(x).to_bits()).eq(values), "{name}");
            }
        }
        assert_eq!(bytes.len() % 2, 0);
    }
}

#[test]
fn what_the_reference_implementation_writes_is_read() {
    let values: Vec<f32> = (0..6).map(|i| i as f32 * 0.25 - 0.5).collect();
    let (w64, w16) = (
        values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect::<Vec<u8>>(),
        [0xb800u16, 0xb400, 0, 0x3400, 0x3800, 0x3a00].map(u16::to_le_bytes).concat(),
    );
    let bf: Vec<u8> = [0x3fc0u16, 0xc000].map(u16::to_le_bytes).concat();
    for (dtype, data) in [(TheirDtype::F64, &w64), (TheirDtype::F16, &w16)] {
        let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.into(), data);
        let tensors = [
            ("0.weight", view(dtype, &[2, 3], data).expect("it fits")),
            ("0.bias", view(TheirDtype::BF16, &[2], &bf).expect("it fits")),
        ];
        let bytes = serialize(tensors, None).expect("a good file");
        let mut model = small(1);
        model.load_bytes(&bytes).expect("it fits");
        // All of these numbers are exact in every type.
        assert_eq!(model.value("0.weight").expect("there").as_slice(), Some(&values[..]));
        assert_eq!(model.value("0.bias").expect("there").as_slice(), Some(&[1.5, -2.0][..]));
    }
}

#[test]
fn halves_are_rounded_to_nearest() {
    let mut model =
        SequentialBuilder::<f64>::new([50]).add(Linear::new(40)).seed(3).build().expect("it fits");
    let before = model.value("0.weight").expect("there");
    for (storage, digits) in [(Storage::F16, 11), (Storage::Bf16, 8)] {
        model.set_value("0.weight", &before).expect("it fits");
        model.load_bytes(&model.to_bytes_as(storage).expect("saved")).expect("it fits");
        let after = model.value("0.weight").expect("there");
        let mut changed = 0;
        for (before, after) in before.iter().zip(&after) {
            // Half a unit in the last place, and the rounding through f32.
            let bound = before.abs() * 0.5f64.powi(digits) * 1.001 + 0.5f64.powi(25);
            assert!((before - after).abs() <= bound, "{before} {after}");
            changed += usize::from(before != after);
        }
        assert!(changed > 1900, "{changed}");
    }
}

#[test]
fn int8_keeps_each_row_within_half_a_step() {
    let mut model = small_convnet::<f32>(5);
    let before = small_convnet::<f32>(5);
    let bytes = model.to_bytes_as(Storage::Int8).expect("saved");
    let weights = WeightsFile::from_bytes(&bytes).expect("a good file");
    assert_eq!(weights.tensors().filter(|tensor| tensor.dtype == Dtype::I8).count(), 4);
    model.load_bytes(&bytes).expect("it fits");
    for info in before.params() {
        let name = info.name;
        let (old, new) = (before.value(&name).expect("there"), model.value(&name).expect("there"));
        if info.shape.rank() < 2 {
            assert_eq!(old, new, "{name}");
            continue;
        }
        assert_ne!(old, new, "{name}");
        for (old, new) in old.outer_iter().zip(new.outer_iter()) {
            let most = old.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let bound = most / 127.0 * 0.50001;
            assert!(old.iter().zip(&new).all(|(old, new)| (old - new).abs() <= bound), "{name}");
        }
    }
    // Rows of zeros stay.
    let mut zeros = small(1);
    zeros.set_value("0.weight", &Array2::zeros((2, 3))).expect("it fits");
    zeros.load_bytes(&zeros.to_bytes_as(Storage::Int8).expect("saved")).expect("it fits");
    assert_eq!(zeros.value("0.weight").expect("there").sum(), 0.0);
    zeros.set_value("0.weight", &Array2::from_elem((2, 3), f32::NAN)).expect("it fits");
    assert_eq!(
        text(zeros.to_bytes_as(Storage::Int8)),
        "bytes: 0.weight: needs finite numbers to be stored in 8 bits"
    );
}

#[test]
fn numbers_that_are_not_finite_are_loaded_and_reported() {
    let mut saved = small(1);
    let strange = ndarray::arr2(&[[f32::NAN, 1.0, f32::INFINITY], [0.0, -0.0, 2.0]]);
    saved.set_value("0.weight", &strange).expect("it fits");
    let mut model = small(2);
    let loaded = model.load_bytes(&saved.to_bytes().expect("saved")).expect("it fits");
    assert_eq!(loaded.not_finite, ["0.weight"]);
    assert_eq!(state(&model), state(&saved));
    // What is too large for the model's element becomes infinite, and is reported too.
    let bytes = file(
        &header(&[
            ("0.weight", r#""dtype":"F64","shape":[2,3],"data_offsets":[0,48]"#),
            ("0.bias", r#""dtype":"F64","shape":[2],"data_offsets":[48,64]"#),
        ]),
        &[0.0, 0.0, 0.0, 0.0, 0.0, 1e300, 0.0, 0.0f64].map(f64::to_le_bytes).concat(),
    );
    assert_eq!(model.load_bytes(&bytes).expect("it fits").not_finite, ["0.weight"]);
}

#[test]
fn everything_that_does_not_fit_is_reported_together_and_nothing_changes() {
    let saved =
        Sequential::builder([4]).add(Linear::new(2)).add(Linear::new(3)).build().expect("it fits");
    let mut model = small_convnet::<f32>(1);
    let before = state(&model);
    let error = text(model.load_bytes(&saved.to_bytes().expect("saved")));
    assert_eq!(
        error,
        "bytes: 12 problems\n  \
         0.weight: needs [6, 2, 3, 3], got [2, 4]\n  \
         1.weight: needs [6], got [3, 2]\n  \
         1.bias: needs [6], got [3]\n  \
         1.running_mean: needed by the model, is missing\n  \
         1.running_var: needed by the model, is missing\n  \
         4.weight: needed by the model, is missing\n  \
         4.bias: needed by the model, is missing\n  \
         8.weight: needed by the model, is missing\n  \
         8.bias: needed by the model, is missing\n  \
         10.weight: needed by the model, is missing\n  \
         10.bias: needed by the model, is missing\n  \
         0.bias: is not in the model"
    );
    assert_eq!(state(&model), before);
}

#[test]
fn a_part_is_loaded_and_the_rest_is_told() {
    let saved = Sequential::builder([3])
        .add_named("encoder", Block::new().add(Linear::new(2)).add(Relu))
        .add_named("head", Linear::new(7))
        .build()
        .expect("it fits");
    let bytes = saved.to_bytes().expect("saved");
    let weights = WeightsFile::from_bytes(&bytes).expect("a good file");
    let mut model = Sequential::builder([3])
        .add(Linear::new(2))
        .add(Relu)
        .add_named("head", Linear::new(5))
        .build()
        .expect("it fits");
    let loaded = model
        .load_partial(&weights, |name| Some(name.strip_prefix("encoder.").unwrap_or(name).into()))
        .expect("it fits");
    assert_eq!(loaded.matched, ["0.weight", "0.bias"]);
    assert!(loaded.missing.is_empty() && loaded.left_over.is_empty());
    let mismatched: Vec<_> = loaded
        .mismatched
        .iter()
        .map(|m| (&*m.name, m.needs.to_string(), m.got.to_string()))
        .collect();
    assert_eq!(
        mismatched,
        [
            ("head.weight", "[5, 2]".into(), "[7, 2]".into()),
            ("head.bias", "[5]".into(), "[7]".to_string())
        ]
    );
    assert_eq!(model.value("0.weight"), saved.value("encoder.0.weight"));

    // Two tensors for one parameter.
    let before = state(&model);
    let error =
        text(model.load_partial(&weights, |name| Some(format!("0.{}", name.rsplit('.').next()?))));
    assert_eq!(
        error,
        "bytes: 2 problems\n  \
         head.bias: is renamed to 0.bias, and so is encoder.0.bias\n  \
         head.weight: is renamed to 0.weight, and so is encoder.0.weight"
    );
    assert_eq!(state(&model), before);
}

#[test]
fn integers_are_passed_over_or_refused() {
    let tensors = |last: &'static str| {
        header(&[
            ("0.weight", r#""dtype":"F32","shape":[2,3],"data_offsets":[0,24]"#),
            ("0.bias", r#""dtype":"F32","shape":[2],"data_offsets":[24,32]"#),
            (last, r#""dtype":"I64","shape":[],"data_offsets":[32,40]"#),
        ])
    };
    let mut model = small(1);
    let loaded =
        model.load_bytes(&file(&tensors("1.num_batches_tracked"), &[0; 40])).expect("it fits");
    assert_eq!(loaded.left_over, [""; 0]);
    assert_eq!(
        text(model.load_bytes(&file(&tensors("1.count"), &[0; 40]))),
        "bytes: 1.count: is not in the model"
    );
    let bytes = file(
        &header(&[
            ("0.weight", r#""dtype":"I8","shape":[2,3],"data_offsets":[0,6]"#),
            ("0.bias", r#""dtype":"I16","shape":[2],"data_offsets":[6,10]"#),
        ]),
        &[0; 10],
    );
    assert_eq!(
        text(model.load_bytes(&bytes)),
        "bytes: 2 problems\n  \
         0.bias: needs F32, F64, F16 or BF16, or I8 with factors, got I16\n  \
         0.weight: needs a factor for each of its rows in 0.weight.scale, as I8 weights do"
    );
}

#[test]
fn a_file_can_be_looked_into() {
    let mut weight = normal::<f32>(&[2, 3], 1);
    weight[[0, 0]] = 0.5;
    let mut model = small(1);
    model.set_value("0.weight", &weight).expect("it fits");
    let bytes = model.to_bytes_as(Storage::F64).expect("saved");
    let weights = WeightsFile::from_bytes(&bytes).expect("a good file");
    let tensors: Vec<_> =
        weights.tensors().map(|t| (t.name, t.dtype, t.shape.to_string())).collect();
    assert_eq!(
        tensors,
        [
            ("0.bias".into(), Dtype::F64, "[2]".into()),
            ("0.weight".into(), Dtype::F64, "[2, 3]".to_string())
        ]
    );
    assert_eq!(weights.value::<f32>("0.weight").expect("there"), weight);
    assert_eq!(text(weights.value::<f32>("2.weight")), "bytes: 2.weight: is not in the file");
    assert_eq!(weights.metadata("nothing"), None);
}

/// What a workspace keeps of a weight must not outlive it.
#[test]
fn a_prediction_after_a_load_uses_the_loaded_weights() {
    let (saved, mut model) = (small_convnet::<f32>(1), small_convnet::<f32>(2));
    let x = normal::<f32>(&[40, 2, 8, 8], 1);
    let mut workspace = Workspace::new();
    let before = model.predict_with(&x, &mut workspace).expect("it fits").to_owned();
    model.load_bytes(&saved.to_bytes().expect("saved")).expect("it fits");
    let after = model.predict_with(&x, &mut workspace).expect("it fits").to_owned();
    assert_ne!(after, before);
    assert_eq!(after, saved.predict(&x).expect("it fits"));
}
