//! From a file into a model.

use std::collections::HashMap;
use std::path::Path;

use super::WeightsFile;
use super::header::Entry;
use super::problem::FileProblems;
use super::stream::{Stream, Values};
use crate::{Result, Scalar, Sequential, Shape, Visitor, VisitorMut};

/// What a load did. Names are the model's, but for what was left over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Set from the file.
    pub matched: Vec<String>,
    /// Not in the file: as they were.
    pub missing: Vec<String>,
    /// In the file, and of no use to the model. Its own names.
    pub left_over: Vec<String>,
    /// In the file under another shape: as they were.
    pub mismatched: Vec<Mismatched>,
    /// Set from the file, and with an element that is infinite or not a number.
    pub not_finite: Vec<String>,
}

/// A tensor whose shape is not that of the parameter or buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatched {
    /// The parameter or buffer.
    pub name: String,
    /// Its shape.
    pub needs: Shape,
    /// The tensor's.
    pub got: Shape,
}

/// For each parameter and buffer of a model, in its order, what is loaded into it.
pub(super) type Sources = Vec<Option<Entry>>;

/// Loading checks everything before it changes anything. PyTorch's `num_batches_tracked`, of which this crate has no need, is
/// passed over.
impl<F: Scalar> Sequential<F> {
    /// Sets every parameter and buffer from a safetensors file, which must have all of them in their shapes, and nothing
    /// else: a PyTorch `Sequential`'s `state_dict()`, or what [`Sequential::save`] wrote. Any kind of float is converted.
    ///
    /// Numbers that are not finite are loaded and named in [`Loaded::not_finite`].
    ///
    /// # Errors
    /// [`crate::Error::File`] if the file cannot be read; [`crate::Error::Weights`] with everything that does not fit. The
    /// model is then as it was.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let path = std::env::temp_dir().join(format!("layerwise-load-{}", std::process::id()));
    /// let trained = Sequential::builder([4]).add(Linear::new(2)).seed(1).build()?;
    /// trained.save(&path)?;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(2)).seed(2).build()?;
    /// let loaded = model.load(&path)?;
    /// assert_eq!(loaded.matched, ["0.weight", "0.bias"]);
    /// assert!(loaded.not_finite.is_empty());
    /// assert_eq!(model.value("0.weight"), trained.value("0.weight"));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        let path = path.as_ref();
        if let Some(mut stream) = Stream::open(path)? {
            let (sources, mut loaded) = match_all(self, &stream.weights)?;
            if let Some(values) = stream.read(&sources)? {
                replace(self, values, &mut loaded);
                return Ok(loaded);
            }
        }
        self.load_weights(&WeightsFile::open(path)?)
    }

    /// Like [`Sequential::load`], from the bytes of a file.
    ///
    /// # Errors
    /// As there.
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<Loaded> {
        self.load_weights(&WeightsFile::from_bytes(bytes)?)
    }

    /// Like [`Sequential::load`], from an opened file.
    ///
    /// # Errors
    /// [`crate::Error::Weights`], as there.
    pub fn load_weights(&mut self, weights: &WeightsFile<'_>) -> Result<Loaded> {
        let (sources, mut loaded) = match_all(self, weights)?;
        fill(self, weights, &sources, &mut loaded);
        Ok(loaded)
    }

    /// Loads what fits and says what did not. `rename` gives the model's name for a name in the file, or `None` to leave a
    /// tensor out: a prefix taken away, a table looked up.
    ///
    /// # Errors
    /// [`crate::Error::Weights`] if a tensor that fits is not of floats, or if two of them get the same name. The model is
    /// then as it was.
    ///
    /// ```
    /// use layerwise::persist::WeightsFile;
    /// use layerwise::prelude::*;
    ///
    /// // The features of one model for another, with another head.
    /// let features = Sequential::builder([4]).add(Linear::new(8)).add(Relu).build()?;
    /// let bytes = Sequential::builder([4]).add_named("features", features).add(Linear::new(10)).build()?.to_bytes()?;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(8)).add(Relu).add(Linear::new(2)).build()?;
    /// let loaded = model.load_partial(&WeightsFile::from_bytes(&bytes)?, |name| {
    ///     name.strip_prefix("features.").map(String::from)
    /// })?;
    /// assert_eq!(loaded.matched, ["0.weight", "0.bias"]);
    /// assert_eq!(loaded.missing, ["2.weight", "2.bias"]);
    /// assert_eq!(loaded.left_over, ["1.bias", "1.weight"]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn load_partial(
        &mut self,
        weights: &WeightsFile<'_>,
        rename: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded> {
        let mut problems = weights.problems();
        let (sources, mut loaded) = match_names(self, weights, rename, &mut problems);
        problems.into_result()?;
        fill(self, weights, &sources, &mut loaded);
        Ok(loaded)
    }
}

/// Finds for each parameter and buffer its tensor, and no tensor must be left over.
fn match_all<F: Scalar>(
    model: &Sequential<F>,
    weights: &WeightsFile<'_>,
) -> Result<(Sources, Loaded)> {
    let mut problems = weights.problems();
    let (sources, loaded) = match_names(model, weights, |name| Some(name.into()), &mut problems);
    note(&loaded, &mut problems);
    problems.into_result()?;
    Ok((sources, loaded))
}

/// Finds for each parameter and buffer its tensor; notes tensors that cannot be used.
pub(super) fn match_names<F: Scalar>(
    model: &Sequential<F>,
    weights: &WeightsFile<'_>,
    rename: impl Fn(&str) -> Option<String>,
    problems: &mut FileProblems,
) -> (Sources, Loaded) {
    let mut loaded = Loaded::default();
    let shapes = shapes(model);
    let places: HashMap<&str, usize> =
        shapes.iter().enumerate().map(|(i, (name, _))| (&**name, i)).collect();
    let mut sources: Sources = vec![None; shapes.len()];
    for entry in weights.entries() {
        let name = weights.name(entry);
        let renamed = rename(&name);
        let Some(&place) = renamed.as_ref().and_then(|renamed| places.get(&**renamed)) else {
            if !is_of_no_interest(weights, &name) {
                loaded.left_over.push(name.into_owned());
            }
            continue;
        };
        let (target, needs) = &shapes[place];
        if let Some(other) = &sources[place] {
            let other = weights.name(other);
            problems.add(Some(&name), || format!("is renamed to {target}, and so is {other}"));
            continue;
        }
        sources[place] = Some(*entry);
        if weights.shape(entry) == *needs {
            weights.check_dtype(entry, problems);
        }
    }
    for (source, (name, needs)) in sources.iter_mut().zip(shapes) {
        match source.as_ref().map(|entry| weights.shape(entry)) {
            None => loaded.missing.push(name),
            Some(got) if got == needs => loaded.matched.push(name),
            Some(got) => {
                *source = None;
                loaded.mismatched.push(Mismatched { name, needs, got });
            }
        }
    }
    (sources, loaded)
}

/// What a file may have beside parameters: PyTorch's count of batches, and factors of another tensor.
fn is_of_no_interest(weights: &WeightsFile<'_>, name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let factors_of = name.strip_suffix(".scale").and_then(|owner| weights.find(owner));
    last == "num_batches_tracked" || factors_of.is_some_and(|owner| owner.dtype == super::Dtype::I8)
}

/// Everything that keeps a file from being loaded as a whole.
pub(super) fn note(loaded: &Loaded, problems: &mut FileProblems) {
    for Mismatched { name, needs, got } in &loaded.mismatched {
        problems.add(Some(name), || format!("needs {needs}, got {got}"));
    }
    for name in &loaded.missing {
        problems.add(Some(name), || "needed by the model, is missing".into());
    }
    for name in &loaded.left_over {
        problems.add(Some(name), || "is not in the model".into());
    }
}

/// Every parameter and buffer with its shape, in the model's order.
fn shapes<F: Scalar>(model: &Sequential<F>) -> Vec<(String, Shape)> {
    let mut shapes = Vec::new();
    model.visit(&mut Visitor::new(&mut |name, entry| {
        shapes.push((name.to_string(), entry.shape().into()));
    }));
    shapes
}

/// Cannot fail: everything was checked.
pub(super) fn fill<F: Scalar>(
    model: &mut Sequential<F>,
    weights: &WeightsFile<'_>,
    sources: &Sources,
    loaded: &mut Loaded,
) {
    let mut sources = sources.iter();
    model.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
        let Some(Some(source)) = sources.next() else { return };
        if !weights.decode(source, entry.into_slice_mut()) {
            loaded.not_finite.push(name.to_string());
        }
    }));
}

/// Puts in what was read, array by array. Cannot fail: everything was checked.
fn replace<F: Scalar>(
    model: &mut Sequential<F>,
    values: Vec<Option<Values<F>>>,
    loaded: &mut Loaded,
) {
    let mut values = values.into_iter();
    model.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
        let Some(Some(Values { values, finite })) = values.next() else { return };
        entry.replace(values);
        if !finite {
            loaded.not_finite.push(name.to_string());
        }
    }));
}
