//! Reads a folder of reference numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use layerwise::ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// All cases of a folder.
pub(super) struct Set {
    pub(super) dir: PathBuf,
    /// Whether this is the folder that comes with the crate.
    pub(super) is_default: bool,
    pub(super) cases: Vec<Case>,
}

/// One entry of `cases.json` with its tensors.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) group: String,
    entry: Value,
    tensors: BTreeMap<String, ArrayD<f64>>,
}

impl Set {
    /// The set under test, read once. Panics with the cause if there is none.
    pub(super) fn get() -> &'static Self {
        static SET: OnceLock<Set> = OnceLock::new();
        SET.get_or_init(|| {
            let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
            let (dir, is_default) = match std::env::var_os("LAYERWISE_REFERENCE_DIR") {
                Some(dir) => (PathBuf::from(dir), false),
                None => (data.join("reference"), true),
            };
            let mut cases = load(&dir)
                .unwrap_or_else(|cause| panic!("no reference data in {}: {cause}", dir.display()));
            if is_default {
                // What the other folder has no kind for.
                cases.extend(load(&data.join("layers")).expect("it comes with the crate"));
            }
            Set { dir, is_default, cases }
        })
    }

    pub(super) fn of(&self, group: &str, kind: &str) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(move |case| case.group == group && case.kind == kind)
    }
}

impl Case {
    pub(super) fn config(&self) -> Config<'_> {
        Config(&self.entry["config"])
    }

    /// The bound on the error that stands in the entry, for `"f64"` or `"f32"`. An entry without one states
    /// targets; what it has to compare is exact.
    pub(super) fn tolerance(&self, precision: &str) -> Result<f64, String> {
        if self.entry["tolerance"].is_null() {
            return Ok(1e-12);
        }
        Config(&self.entry["tolerance"]).number(precision)
    }

    /// Whether the numbers can be met in `f32`. A layer that PyTorch was not run on in `f32` is one where
    /// rounding the input alone moves the result by more than the bound (a mean of 1000 standard deviations).
    pub(super) fn has_f32_run(&self) -> bool {
        self.group != "layer" || self.entry.get("torch_f32_error").is_some()
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&ArrayD<f64>, String> {
        self.tensors.get(name).ok_or_else(|| format!("the case has no tensor {name}"))
    }
}

/// A JSON object of settings, or a part of it.
#[derive(Clone, Copy)]
pub(super) struct Config<'a>(&'a Value);

impl<'a> Config<'a> {
    /// The value of `key`, unless there is none or it is null.
    pub(super) fn get(self, key: &str) -> Option<Config<'a>> {
        self.0.get(key).filter(|value| !value.is_null()).map(Config)
    }

    fn need<T>(self, key: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T, String> {
        let value = self.0.get(key).ok_or_else(|| format!("no setting {key} in {}", self.0))?;
        read(value).ok_or_else(|| format!("setting {key} has the unexpected value {value}"))
    }

    pub(super) fn section(self, key: &str) -> Result<Config<'a>, String> {
        self.need(key, |value| value.is_object().then_some(Config(value)))
    }

    pub(super) fn number(self, key: &str) -> Result<f64, String> {
        self.need(key, Value::as_f64)
    }

    pub(super) fn whole(self, key: &str) -> Result<usize, String> {
        self.need(key, |value| value.as_u64()?.try_into().ok())
    }

    pub(super) fn flag(self, key: &str) -> Result<bool, String> {
        self.need(key, Value::as_bool)
    }

    pub(super) fn text(self, key: &str) -> Result<&'a str, String> {
        self.need(key, Value::as_str)
    }

    pub(super) fn list(self, key: &str) -> Result<Vec<Config<'a>>, String> {
        self.need(key, |value| Some(value.as_array()?.iter().map(Config).collect()))
    }

    pub(super) fn texts(self, key: &str) -> Result<Vec<&'a str>, String> {
        self.need(key, |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    pub(super) fn sizes(self, key: &str) -> Result<Vec<usize>, String> {
        self.need(key, |value| {
            value.as_array()?.iter().map(|size| size.as_u64()?.try_into().ok()).collect()
        })
    }

    pub(super) fn numbers(self, key: &str) -> Result<Vec<f64>, String> {
        self.need(key, |value| value.as_array()?.iter().map(Value::as_f64).collect())
    }

    /// `[height, width]`
    pub(super) fn pair(self, key: &str) -> Result<[usize; 2], String> {
        let sizes = self.sizes(key)?;
        <[usize; 2]>::try_from(sizes).map_err(|sizes| format!("{key}: {sizes:?} is no pair"))
    }
}

fn load(dir: &Path) -> Result<Vec<Case>, String> {
    let read = |name: &str| std::fs::read(dir.join(name)).map_err(|e| format!("{name}: {e}"));
    let index: Value = serde_json::from_slice(&read("cases.json")?).map_err(|e| e.to_string())?;
    let bytes = read("cases.safetensors")?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| e.to_string())?;
    let entries = index["cases"].as_array().ok_or("cases.json has no list of cases")?;
    if entries.is_empty() {
        return Err("the list of cases is empty".into());
    }
    entries.iter().map(|entry| case(entry, &file)).collect()
}

fn case(entry: &Value, file: &SafeTensors<'_>) -> Result<Case, String> {
    let text = |key| Config(entry).text(key).map(String::from);
    let name = text("name")?;
    let shapes = entry["tensors"].as_object().ok_or_else(|| format!("{name}: no tensors"))?;
    let mut tensors = BTreeMap::new();
    for key in shapes.keys() {
        let shape = Config(&entry["tensors"]).sizes(key)?;
        let array = array(file, &format!("{name}/{key}"))?;
        if array.shape() != shape {
            return Err(format!("{name}/{key}: listed as {shape:?}, is {:?}", array.shape()));
        }
        tensors.insert(key.clone(), array);
    }
    Ok(Case { name, kind: text("kind")?, group: text("group")?, entry: entry.clone(), tensors })
}

fn array(file: &SafeTensors<'_>, key: &str) -> Result<ArrayD<f64>, String> {
    let tensor = file.tensor(key).map_err(|e| format!("{key}: {e}"))?;
    if tensor.dtype() != Dtype::F64 {
        return Err(format!("{key}: {:?} instead of F64", tensor.dtype()));
    }
    let values = tensor.data().as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
    ArrayD::from_shape_vec(IxDyn(tensor.shape()), values.collect())
        .map_err(|e| format!("{key}: {e}"))
}
