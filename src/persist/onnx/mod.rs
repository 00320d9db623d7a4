//! Models for other programs: the ONNX format.

mod graph;
mod operators;
mod protobuf;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use graph::Graph;

use super::atomic::write_atomically;
use super::model::{NamedRecord, Registry};
use super::problem::FileProblems;
use crate::{Init, LayerSpec, Result, Scalar, Sequential, Shape, Visitor};

/// Numbers of one parameter or buffer.
#[derive(Debug, Clone)]
struct Numbers {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// A model on its way into a graph.
struct Export<F: Scalar> {
    graph: Graph,
    numbers: HashMap<String, Numbers>,
    registry: Registry<F>,
    init: Init,
    problems: FileProblems,
}

impl<F: Scalar> Sequential<F> {
    /// Writes the model, as it predicts, to an ONNX file (operator set 21) for other runtimes. Input `input` and output
    /// `output` are `[batch, ..]` of `f32`. Layers that only act in training are left out.
    ///
    /// Every layer of this crate that the operator set can express is written; the table in docs/saving.md says which. Call
    /// [`Sequential::into_inference`] first for a smaller graph.
    ///
    /// # Errors
    /// [`crate::Error::File`] if it cannot be written; [`crate::Error::Weights`] naming every layer that ONNX does not know.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([1, 8, 8]).add(Conv2d::new(4, 3)).add(Relu).add(Flatten).add(Linear::new(2)).build()?;
    /// let bytes = model.to_onnx()?;
    /// assert!(bytes.windows(4).any(|window| window == b"Gemm"));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn save_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.onnx(Some(path))?;
        write_atomically(path, |out| out.write_all(&bytes))
    }

    /// The bytes that [`Sequential::save_onnx`] would write.
    ///
    /// # Errors
    /// [`crate::Error::Weights`], as there.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        self.onnx(None)
    }

    fn onnx(&self, path: Option<&Path>) -> Result<Vec<u8>> {
        let mut numbers = HashMap::new();
        self.visit(&mut Visitor::new(&mut |name, entry| {
            let values = entry.as_slice().iter().map(|value| value.widen() as f32).collect();
            numbers.insert(name.to_string(), Numbers { shape: entry.shape().into(), values });
        }));
        let shapes = numbers.iter().map(|(name, n)| (name.clone(), Shape::from(&n.shape[..])));
        let init = Init::blank(self.seed(), Arc::new(shapes.collect()));
        let (registry, problems) = (Registry::<F>::new(), FileProblems::new(path));
        let mut export = Export { graph: Graph::default(), numbers, registry, init, problems };
        let init = export.init.clone();
        let (output, shape) =
            export.layers("", &self.records(), &init, "input", self.input_shape());
        export.problems.into_result()?;
        // A name that is the input's, where nothing computes, would not do.
        let output = export.graph.op("Identity", &[&output], &[]);
        Ok(export.graph.model(("input", self.input_shape().dims()), (&output, shape.dims())))
    }
}

impl<F: Scalar> Export<F> {
    /// Adds layers one after the other; returns the last one's output and its shape.
    fn layers(
        &mut self,
        prefix: &str,
        layers: &[NamedRecord],
        init: &Init,
        input: &str,
        shape: &Shape,
    ) -> (String, Shape) {
        let (mut value, mut shape) = (input.to_string(), shape.clone());
        for (i, NamedRecord { name, record }) in layers.iter().enumerate() {
            let name = name.clone().unwrap_or_else(|| i.to_string());
            let path = format!("{prefix}{name}");
            let mut init = init.child(&name);
            match self.layer(&path, record, &mut init, &value, &shape) {
                Ok((output, after)) => (value, shape) = (output, after),
                Err(message) => {
                    self.problems.add(None, || format!("layer {path}: {message}"));
                    // What comes after may need this layer's shape.
                    break;
                }
            }
        }
        (value, shape)
    }

    fn layer(
        &mut self,
        path: &str,
        record: &super::Record,
        init: &mut Init,
        input: &str,
        shape: &Shape,
    ) -> Result<(String, Shape), String> {
        if let Some(layers) = record.layers() {
            return Ok(self.layers(&format!("{path}."), &layers, init, input, shape));
        }
        match record.kind() {
            "" => {
                return Err("has no operator in ONNX, for nothing is known of it".into());
            }
            "Lambda" => return Err("Lambda has no operator in ONNX".into()),
            _ => {}
        }
        let spec = self.registry.spec(path, record)?;
        let layer = spec.build(shape, init).map_err(|error| error.to_string())?;
        let after = layer.output_shape(shape).map_err(|error| error.to_string())?;
        let output = self.operator(path, record, input, shape, &after)?;
        Ok((output, after))
    }
}
