//! The messages of an ONNX file.

use super::protobuf::Message;

/// `TensorProto.FLOAT` and `TensorProto.INT64`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// The operators' version, and the file's that goes with it.
const OPSET: i64 = 21;
const IR: i64 = 10;

/// A graph that grows by one operator after the other.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Message>,
    initializers: Vec<Message>,
    values: usize,
}

/// A setting of an operator.
pub(super) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(&'a str),
}

impl Graph {
    /// A name that no value has.
    fn fresh(&mut self) -> String {
        self.values += 1;
        format!("value{}", self.values)
    }

    /// Applies an operator and returns the name of its output.
    pub(super) fn op(
        &mut self,
        kind: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) -> String {
        let output = self.fresh();
        let mut node = Message::default();
        for input in inputs {
            node.text(1, input);
        }
        node.text(2, &output).text(3, &format!("{kind}_{output}")).text(4, kind);
        for (name, attribute) in attributes {
            node.message(5, &attribute.message(name));
        }
        self.nodes.push(node);
        output
    }

    /// Numbers under this name.
    pub(super) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, FLOAT, shape, &bytes)
    }

    /// Whole numbers, for operators that take a shape.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let name = self.fresh();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(&name, INT64, &[values.len()], &bytes)
    }

    /// One number.
    pub(super) fn scalar(&mut self, value: f64) -> String {
        let name = self.fresh();
        self.constant(&name, &[], &[value as f32])
    }

    fn initializer(&mut self, name: &str, kind: i64, shape: &[usize], bytes: &[u8]) -> String {
        let mut tensor = Message::default();
        for &len in shape {
            tensor.int(1, len as i64);
        }
        tensor.int(2, kind).text(8, name).bytes(9, bytes);
        self.initializers.push(tensor);
        name.into()
    }

    /// The file. `input` and `output`: name and shape of a sample.
    pub(super) fn model(self, input: (&str, &[usize]), output: (&str, &[usize])) -> Vec<u8> {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph.message(1, node);
        }
        graph.text(2, "layerwise");
        for initializer in &self.initializers {
            graph.message(5, initializer);
        }
        graph.message(11, &value(input.0, input.1)).message(12, &value(output.0, output.1));
        let mut opset = Message::default();
        opset.int(2, OPSET);
        let mut model = Message::default();
        model.int(1, IR).text(2, "layerwise").text(3, env!("CARGO_PKG_VERSION"));
        model.message(7, &graph).message(8, &opset);
        model.into_bytes()
    }
}

impl Attribute<'_> {
    fn message(&self, name: &str) -> Message {
        let mut message = Message::default();
        message.text(1, name);
        match self {
            Self::Float(value) => message.float(2, *value).int(20, 1),
            Self::Int(value) => message.int(3, *value).int(20, 2),
            Self::Text(value) => message.text(4, value).int(20, 3),
            Self::Ints(values) => {
                for &value in values {
                    message.int(8, value);
                }
                message.int(20, 7)
            }
        };
        message
    }
}

/// A value with its type: floats, `[batch, ..shape]`.
fn value(name: &str, shape: &[usize]) -> Message {
    let mut dims = Message::default();
    let mut batch = Message::default();
    batch.text(2, "batch");
    dims.message(1, &batch);
    for &len in shape {
        let mut dim = Message::default();
        dim.int(1, len as i64);
        dims.message(1, &dim);
    }
    let mut tensor = Message::default();
    tensor.int(1, FLOAT).message(2, &dims);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut value = Message::default();
    value.text(1, name).message(2, &kind);
    value
}
