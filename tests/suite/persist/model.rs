//! Whole models: layers and weights in one file.

use layerwise::persist::{Record, Registry, WeightsFile};
use layerwise::prelude::*;
use layerwise::{LayerSpec, SequentialBuilder};

use super::{Folder, file};
use crate::support::{batched, normal, small_convnet, state, text};

/// A spec that says nothing of itself.
#[derive(Debug)]
struct Silent;

impl<F: Scalar> LayerSpec<F> for Silent {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        Relu.build(input, init)
    }
}

/// A user's layer, and a user's activation.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Wide {
    times: usize,
}

impl<F: Scalar> LayerSpec<F> for Wide {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let features = input.features().map_err(|cause| Error::shape("Wide", cause))?;
        Linear::new(features * self.times).build(input, init)
    }

    fn record(&self) -> Record {
        Record::of("Wide", self)
    }
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Scaled {
    by: f64,
}

impl Activation for Scaled {
    fn record(&self) -> Option<Record> {
        Some(Record::of("Scaled", self))
    }
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * F::lit(self.by));
    }
    fn backward<F: Scalar>(&self, _x: &[F], _y: &[F], dy: &[F], dx: &mut [F]) {
        dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy * F::lit(self.by));
    }
}

/// Opens what was saved: the same outputs, and saved again the same bytes. Then trains both on: the same bits.
fn comes_back(name: &str, mut model: Sequential) {
    let bytes = model.model_to_bytes().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut opened =
        Sequential::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(state(&opened), state(&model), "{name}");
    assert!(opened.model_to_bytes().expect("saved") == bytes, "{name}");
    let x = normal::<f32>(&batched(5, model.input_shape()), 3);
    assert_eq!(opened.predict(&x).expect("it fits"), model.predict(&x).expect("it fits"), "{name}");
    let y = model.forward(&x).expect("it fits").to_owned();
    assert_eq!(opened.forward(&x).expect("it fits"), y, "{name}");
}

#[test]
fn every_layer_comes_back_from_a_file_with_its_settings() {
    let image = || Sequential::builder([4, 9, 10]);
    let flat = || Sequential::builder([12]);
    let models: Vec<(&str, SequentialBuilder)> = vec![
        (
            "Linear",
            flat()
                .add(Linear::new(5).bias(false))
                .add(Linear::new(3).weight_init(Orthogonal::default())),
        ),
        (
            "Conv2d",
            image()
                .add(Conv2d::new(8, (3, 2)).stride((2, 1)).padding((1, 2)).groups(2).bias(false))
                .add(Conv2d::new(4, 2).dilation(2).winograd(false)),
        ),
        (
            "MaxPool2d",
            image().add(MaxPool2d::new(3).stride(2).padding(1).dilation(2).ceil_mode(true)),
        ),
        (
            "AvgPool2d",
            image().add(AvgPool2d::new(3).padding(1).ceil_mode(true).count_include_pad(false)),
        ),
        ("GlobalAvgPool", image().add(GlobalAvgPool)),
        (
            "BatchNorm",
            image()
                .add(BatchNorm::new().eps(0.25).momentum(0.5))
                .add(BatchNorm::new().affine(false)),
        ),
        ("Dropout", flat().add(Dropout::new(0.25))),
        ("Flatten", image().add(Flatten)),
        ("Softmax", image().add(Softmax::new().axis(0)).add(LogSoftmax::new())),
        ("Relu", flat().add(Relu).add(Relu6).add(LeakyRelu::new(0.3))),
        ("Elu", flat().add(Elu::new(0.7)).add(Selu).add(Gelu).add(GeluTanh)),
        ("Silu", flat().add(Silu).add(Mish).add(Softplus::new(2.5))),
        ("Sigmoid", flat().add(Sigmoid).add(Tanh).add(Softsign).add(HardSigmoid).add(HardSwish)),
        (
            "AlphaDropout",
            flat()
                .add(AlphaDropout::new(0.2))
                .add(GaussianNoise::new(0.5))
                .add(GaussianDropout::new(0.3)),
        ),
        ("PRelu", image().add(PRelu::new()).add(PRelu::shared().start(0.5))),
        ("Maxout", flat().add(Maxout::new(4, 3)).add(MaxoutChannels::new(2))),
        (
            "norms",
            image()
                .add(LayerNorm::new().last_axes(2).eps(1e-3))
                .add(GroupNorm::new(2))
                .add(InstanceNorm::new().affine(true)),
        ),
        ("LocalResponseNorm", image().add(LocalResponseNorm::new(3).alpha(0.5).beta(0.6).k(2.0))),
        (
            "Conv1d",
            Sequential::builder([4, 11]).add(Conv1d::new(6, 3).stride(2).padding(1).groups(2)),
        ),
        (
            "ConvTranspose2d",
            image().add(ConvTranspose2d::new(6, 3).stride(2).output_padding(1).bias(false)),
        ),
        (
            "ZeroPad",
            image()
                .add(ZeroPad::new((1, 2)))
                .add(Upsample::new(2))
                .add(Upsample::to((5, 7)).bilinear()),
        ),
        (
            "adaptive",
            image()
                .add(AdaptiveAvgPool2d::new((4, 3)))
                .add(AdaptiveMaxPool2d::new(2))
                .add(GlobalMaxPool),
        ),
        ("Reshape", image().add(Reshape::new([10, 36])).add(Permute::new([1, 0]))),
        (
            "Residual",
            image().add(
                Residual::new(Block::new().add(Conv2d::new(6, 3).stride(2).padding(1)))
                    .projection(Block::new().add(Conv2d::new(6, 1).stride(2))),
            ),
        ),
        (
            "StochasticDepth",
            flat().add(
                StochasticDepth::new(Block::new().add(Linear::new(12)))
                    .survival(0.7)
                    .inverted(true),
            ),
        ),
        (
            "Parallel",
            image()
                .add(
                    Parallel::concat()
                        .branch(Block::new().add(Conv2d::new(3, 1)))
                        .branch(Block::new().add(Relu)),
                )
                .add(Parallel::sum().branch(Block::new().add(Relu)).branch(Block::new().add(Tanh))),
        ),
        ("FractionalMaxPool2d", image().add(FractionalMaxPool2d::new(1.4))),
        ("MaxoutConv2d", image().add(MaxoutConv2d::new(4, 3, 2))),
        (
            "Block",
            image()
                .add_named(
                    "stem",
                    Block::new().add(Conv2d::new(6, 3)).add_named("norm", BatchNorm::new()),
                )
                .add(Block::new().add(Block::new().add(Flatten)).add(Linear::new(3))),
        ),
        ("Sequential", image().add(Flatten).add(flat_model(360))),
        ("boxed", flat().add(Box::new(LeakyRelu::new(0.5)) as Box<dyn LayerSpec>)),
        ("nothing", flat()),
    ];
    for (name, builder) in models {
        comes_back(
            name,
            builder.seed(11).build().unwrap_or_else(|error| panic!("{name}: {error}")),
        );
    }
    comes_back("convnet", small_convnet(3));
    let mut replaced = small_convnet(3);
    replaced.replace_from("10", Block::new().add(Linear::new(7))).expect("there");
    comes_back("another head", replaced);
    comes_back("inference form", small_convnet(3).into_inference().expect("it fits"));
}

fn flat_model(features: usize) -> Sequential {
    Sequential::builder([features])
        .add(Linear::new(6))
        .add_named("out", Tanh)
        .build()
        .expect("it fits")
}

#[test]
fn layers_of_the_users_own_come_back_by_a_registry() {
    let model =
        Sequential::builder([3]).add(Wide { times: 4 }).add(Block::new().add(Scaled { by: 0.5 }));
    let model = model.seed(4).build().expect("it fits");
    let folder = Folder::new("own");
    let path = folder.join("model");
    model.save_model(&path).expect("saved");
    let registry = Registry::<f32>::new().add::<Wide>("Wide").add::<Scaled>("Scaled");
    let opened = Sequential::open_with(&path, &registry).expect("known");
    let x = normal::<f32>(&[2, 3], 1);
    assert_eq!(opened.predict(&x).expect("it fits"), model.predict(&x).expect("it fits"));
    assert_eq!(
        text(Sequential::<f32>::open(&path)),
        format!(
            "{0}: 2 problems\n  \
             layer 0: needs a kind of layer that is known, got Wide; add it to a Registry and open the file with that\n  \
             layer 1.0: needs a kind of layer that is known, got Scaled; add it to a Registry and open the file with that",
            path.display()
        )
    );
    // It is a file of weights too.
    let mut plain = Sequential::builder([3]).add(Linear::new(12)).build().expect("it fits");
    plain.load(&path).expect("it fits");
    assert_eq!(plain.value("0.weight"), model.value("0.weight"));
}

#[test]
fn layers_that_cannot_be_saved_are_all_named() {
    let layer: Box<dyn Layer> =
        Relu.build(&[3].into(), &mut Init::new(Seed::new(1))).expect("it fits");
    let inner = Block::new().add(Linear::new(3)).add_named("quiet", Silent);
    let model =
        Sequential::builder([3]).add(Silent).add_named("body", inner).add_layer(Boxed(layer));
    let model = model.build().expect("it fits");
    assert_eq!(
        text(model.model_to_bytes()),
        "bytes: 3 problems\n  \
         layer 0: cannot be recorded, for it is Silent; add a LayerSpec with a record\n  \
         layer body.quiet: cannot be recorded, for it is Silent; add a LayerSpec with a record\n  \
         layer 2: cannot be recorded, for it is a Boxed that was added built; add a LayerSpec with a record"
    );
}

#[test]
fn functions_are_saved_by_name_and_say_so_if_they_have_none() {
    let square = || Lambda::elementwise(|x: f32| x * x, |x| 2.0 * x);
    let unnamed = Sequential::builder([3]).add(Block::new().add(square())).build();
    assert_eq!(
        text(unnamed.expect("it fits").model_to_bytes()),
        "bytes: layer 0.0: cannot be recorded, for it is a Lambda without a name; \
         name it with Lambda::kind, and open the file with a Registry that has it (add_lambda)"
    );
    // A name that a layer has is still a function's.
    let model = Sequential::builder([3]).add(square().kind("Relu")).build().expect("it fits");
    let bytes = model.model_to_bytes().expect("saved");
    assert_eq!(
        text(Sequential::<f32>::from_bytes(&bytes)),
        "bytes: layer 0: needs the function Relu, a Lambda; \
         add it to a Registry with add_lambda and open the file with that"
    );
    let registry = Registry::new().add_lambda(square().kind("Relu"));
    let opened = Sequential::from_bytes_with(&bytes, &registry).expect("known");
    let x = normal::<f32>(&[2, 3], 1);
    assert_eq!(opened.predict(&x).expect("it fits"), x.mapv(|x| x * x));
}

#[test]
fn an_activation_inside_a_layer_comes_back_or_is_named() {
    let with =
        |activation| Sequential::builder([3]).add(DropConnect::new(2).activation(activation));
    let model = with(Scaled { by: 0.5 }).seed(2).build().expect("it fits");
    let bytes = model.model_to_bytes().expect("saved");
    let registry = Registry::<f32>::new().add_activation::<Scaled>("Scaled");
    let opened = Sequential::from_bytes_with(&bytes, &registry).expect("known");
    let x = normal::<f32>(&[2, 3], 1);
    assert_eq!(opened.predict(&x).expect("it fits"), model.predict(&x).expect("it fits"));
    assert_eq!(
        text(Sequential::<f32>::from_bytes(&bytes)),
        "bytes: layer 0: DropConnect: needs an activation that is known, got Scaled; \
         add it to a Registry with add_activation and open the file with that"
    );
    let silent = Sequential::builder([3]).add(DropConnect::new(2).activation(Mute));
    assert_eq!(
        text(silent.build().expect("it fits").model_to_bytes()),
        "bytes: layer 0.activation: cannot be recorded, for it is Mute; add a LayerSpec with a record"
    );
}

/// An activation that says nothing of itself.
#[derive(Debug, Clone)]
struct Mute;

impl Activation for Mute {
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        y.copy_from_slice(x);
    }
    fn backward<F: Scalar>(&self, _x: &[F], _y: &[F], dy: &[F], dx: &mut [F]) {
        dx.copy_from_slice(dy);
    }
}

/// Some layer that is built.
#[derive(Debug, Clone)]
struct Boxed(Box<dyn Layer>);

impl Layer for Boxed {
    fn kind(&self) -> &'static str {
        "Boxed"
    }
    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.0.output_shape(input)
    }
    fn forward(&self, pass: Forward<'_>) -> Result<()> {
        self.0.forward(pass)
    }
    fn backward(&mut self, pass: Backward<'_>) -> Result<()> {
        self.0.backward(pass)
    }
}

/// A file of the format's first version, made by the test below it when the format was made.
/// `format1.safetensors` is what `save_model` wrote when the format was new, `format1.txt` that model's prediction. Neither is
/// ever written again; a new format gets files of its own.
#[test]
fn the_first_format_is_still_read() {
    let model = Sequential::<f32>::open(models("format1.safetensors"))
        .expect("every format is read for ever");
    let kinds: Vec<_> =
        model.summary().rows.iter().map(|row| (row.name.clone(), row.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("0".to_string(), "Conv2d"),
            ("1".into(), "BatchNorm"),
            ("2".into(), "Relu"),
            ("pool".into(), "MaxPool2d"),
            ("4".into(), "Sequential"),
            ("5".into(), "Softmax"),
        ]
    );
    let x = Array4::from_shape_fn((2, 2, 6, 6), |(n, c, h, w)| {
        ((5 * n + 3 * c + 2 * h + w) % 7) as f32 - 3.0
    });
    let y = model.predict(&x).expect("it fits");
    // The output of the model that was written.
    let text = std::fs::read_to_string(models("format1.txt")).expect("part of the repository");
    let want: Vec<f32> = text.split_whitespace().map(|y| y.parse().expect("a number")).collect();
    assert_eq!(want.len(), 6);
    assert!(y.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-6), "{y:?}");
}

fn models(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models").join(name)
}

#[test]
fn damaged_or_newer_architectures_are_errors() {
    let with = |json: &str| {
        let json = json.replace('\\', "\\\\").replace('"', "\\\"");
        let header = format!(r#"{{"__metadata__":{{"layerwise.model":"{json}"}}}}"#);
        text(Sequential::<f32>::from_bytes(&file(&header, &[])))
    };
    let plain = small_convnet::<f32>(1).to_bytes().expect("saved");
    assert_eq!(
        text(Sequential::<f32>::from_bytes(&plain)),
        "bytes: has weights and no architecture; build the model and load it, or save it with save_model"
    );
    assert_eq!(
        with(r#"{"format":2,"new":[]}"#),
        "bytes: needs format 1 of models, got 2; use a newer version"
    );
    assert!(with("{").starts_with("bytes: architecture: EOF while parsing"), "{}", with("{"));
    let layers = |layers: &str| {
        with(&format!(r#"{{"format":1,"input":[3],"seed":"1","layers":[{layers}]}}"#))
    };
    assert_eq!(
        layers(r#"{"kind":"Linear","settings":{"out_features":2}}"#),
        "bytes: layer 0: Linear: missing field `bias`"
    );
    assert_eq!(
        layers(r#"{"kind":"Linear","settings":{"out_features":-2,"bias":true}}"#),
        "bytes: layer 0: Linear: invalid value: integer `-2`, expected usize"
    );
    // Nothing is allocated for what the file does not bring.
    assert_eq!(
        layers(r#"{"kind":"Linear","settings":{"out_features":1000000000000,"bias":false}}"#),
        "layer 0 (Init): needs 0.weight of [1000000000000, 3] in the file, got nothing"
    );
    assert_eq!(
        layers(r#"{"kind":"Dropout","settings":{"p":2.0,"spatial":false,"vanilla":false}}"#),
        "layer 0 (Dropout): p must be a probability to drop, 0 ≤ p < 1, got 2"
    );
    // A tensor that no layer asks for.
    let mut bytes = flat_model(3).model_to_bytes().expect("saved");
    let (from, to) = (r#"out\",\"kind\":\"Tanh"#, r#"out\",\"kind\":\"Selu"#);
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("there");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    let changed = Sequential::<f32>::from_bytes(&bytes).expect("a good file");
    assert_eq!(changed.summary().rows[1].kind, "Selu");
    assert!(
        WeightsFile::from_bytes(&bytes).expect("a good file").metadata("layerwise.model").is_some()
    );
}
