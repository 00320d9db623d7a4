//! A whole model in one file: its layers as data, in the metadata, and its weights.

mod record;
mod registry;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use record::NamedRecord;
pub use record::Record;
pub use registry::Registry;
pub(crate) use registry::record;

use super::atomic::write_atomically;
use super::problem::FileProblems;
use super::save::{Contents, show};
use super::{Storage, WeightsFile};
use crate::{Init, Result, Scalar, Seed, Sequential, SequentialBuilder, Shape};

/// Where the architecture stands in the metadata.
const KEY: &str = "layerwise.model";

/// The format that is written. Every one that ever was is read.
const FORMAT: u32 = 1;

/// The longest architecture, in bytes: five to ten thousand layers. What JSON becomes in memory is many times as long, so a file
/// that is nothing but architecture must not be large.
const LONGEST: usize = 1 << 20;

/// The architecture, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Architecture {
    format: u32,
    input: Shape,
    /// As text: JSON's numbers are safe up to 2⁵³ only.
    seed: String,
    layers: Vec<NamedRecord>,
}

/// Its format alone, whatever else a newer one may have.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl<F: Scalar> Sequential<F> {
    /// Writes layers and weights to one file, which [`Sequential::open`] makes a model of without this program's source. It
    /// is a file of weights as well: [`Sequential::load`] and PyTorch take it.
    ///
    /// Not in it: what fills new parameters, penalties, limits, groups, and which parameters are frozen.
    ///
    /// # Errors
    /// As for [`Sequential::save`]; [`crate::Error::Weights`] names every layer that cannot be recorded: one that was added
    /// built, or a spec without [`crate::LayerSpec::record`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let path = std::env::temp_dir().join(format!("layerwise-model-{}", std::process::id()));
    /// let model = Sequential::builder([1, 8, 8])
    ///     .add(Conv2d::new(4, 3).padding(1))
    ///     .add(LeakyRelu::new(0.1))
    ///     .add(Flatten)
    ///     .add_named("head", Linear::new(10))
    ///     .build()?;
    /// model.save_model(&path)?;
    ///
    /// let opened: Sequential = Sequential::open(&path)?;
    /// let x = Array4::ones((2, 1, 8, 8));
    /// assert_eq!(opened.predict(&x)?, model.predict(&x)?);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn save_model(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_model_as(path, Storage::exact::<F>())
    }

    /// Like [`Sequential::save_model`], in another type.
    ///
    /// # Errors
    /// As there.
    pub fn save_model_as(&self, path: impl AsRef<Path>, storage: Storage) -> Result<()> {
        let path = path.as_ref();
        let metadata = self.architecture(Some(path))?;
        let contents = Contents { storage, metadata, each: &|each| show(self, "", each) };
        let header = contents.header(Some(path))?;
        write_atomically(path, |out| contents.write(&header, out))
    }

    /// The bytes that [`Sequential::save_model`] would write.
    ///
    /// # Errors
    /// As there.
    pub fn model_to_bytes(&self) -> Result<Vec<u8>> {
        let (storage, metadata) = (Storage::exact::<F>(), self.architecture(None)?);
        Contents { storage, metadata, each: &|each| show(self, "", each) }.to_bytes()
    }

    /// Makes a model from a file that [`Sequential::save_model`] wrote, with any version of this crate so far.
    ///
    /// # Errors
    /// [`crate::Error::File`] if it cannot be read; [`crate::Error::Weights`] if it is damaged, has no architecture, or has a
    /// layer of a kind that is not known; what building reports.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &Registry::new())
    }

    /// Like [`Sequential::open`], with kinds of layers beside the crate's own.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(path: impl AsRef<Path>, registry: &Registry<F>) -> Result<Self> {
        build(&WeightsFile::open(path)?, registry)
    }

    /// Like [`Sequential::open`], from the bytes of a file.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes_with(bytes, &Registry::new())
    }

    /// Like [`Sequential::open_with`], from the bytes of a file.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes_with(bytes: &[u8], registry: &Registry<F>) -> Result<Self> {
        build(&WeightsFile::from_bytes(bytes)?, registry)
    }

    fn architecture(&self, path: Option<&Path>) -> Result<Vec<(String, String)>> {
        let mut problems = FileProblems::new(path);
        let layers = self.records();
        for NamedRecord { name, record } in &layers {
            record.each_missing(name.as_deref().unwrap_or_default(), &mut |place, what| {
                problems.add(None, || format!("layer {place}: cannot be recorded, for {what}"));
            });
        }
        problems.into_result()?;
        let (input, seed) = (self.input_shape().clone(), self.seed().number().to_string());
        let architecture = Architecture { format: FORMAT, input, seed, layers };
        let json =
            serde_json::to_string(&architecture).expect("strings and numbers can be written");
        let mut problems = FileProblems::new(path);
        check_length(json.len(), &mut problems);
        problems.into_result()?;
        Ok(vec![(KEY.into(), json)])
    }
}

fn check_length(length: usize, problems: &mut FileProblems) {
    if length > LONGEST {
        problems.add(None, || {
            format!("needs an architecture of at most {LONGEST} bytes, got {length}; save the weights alone")
        });
    }
}

fn build<F: Scalar>(file: &WeightsFile<'_>, registry: &Registry<F>) -> Result<Sequential<F>> {
    let refuse = |message: String| {
        let mut problems = file.problems();
        problems.add(None, || message);
        crate::Error::from(problems)
    };
    let json = file.metadata(KEY).ok_or_else(|| {
        refuse("has weights and no architecture; build the model and load it, or save it with save_model".into())
    })?;
    let mut problems = file.problems();
    check_length(json.len(), &mut problems);
    problems.into_result()?;
    let broken = |error: serde_json::Error| refuse(format!("architecture: {error}"));
    let Format { format } = serde_json::from_str(&json).map_err(broken)?;
    if format != FORMAT {
        return Err(refuse(format!(
            "needs format {FORMAT} of models, got {format}; use a newer version"
        )));
    }
    let architecture: Architecture = serde_json::from_str(&json).map_err(broken)?;
    let number = architecture
        .seed
        .parse()
        .map_err(|_| refuse("architecture: the seed is no number".into()))?;
    let mut problems = file.problems();
    let mut builder = SequentialBuilder::<F>::new(architecture.input);
    for (i, NamedRecord { name, record }) in architecture.layers.iter().enumerate() {
        let place = name.clone().unwrap_or_else(|| i.to_string());
        match registry.spec(&place, record) {
            Ok(spec) => builder = builder.add_named(&place, spec),
            Err(message) => problems.add(None, || message),
        }
    }
    problems.into_result()?;
    let seed = Seed::from_number(number);
    // Parameters are made only in the shapes that the file has: it cannot ask for more memory than it brings.
    let shapes: HashMap<String, Shape> =
        file.tensors().map(|tensor| (tensor.name, tensor.shape)).collect();
    let mut model = builder.build_with(seed, &Init::blank(seed, Arc::new(shapes)))?;
    model.load_weights(file)?;
    Ok(model)
}
