//! Layers as data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A spec as data: what kind it is, and its settings. What [`crate::LayerSpec::record`] returns.
///
/// ```
/// use layerwise::persist::Record;
///
/// let record = Record::of("Scale", &serde_json::json!({ "start": 0.5 }));
/// assert_eq!(record.kind(), "Scale");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Empty for a spec that cannot be recorded.
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) settings: Value,
}

/// A record under the name that the layer has in its model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NamedRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(flatten)]
    pub(crate) record: Record,
}

/// The settings of a list of layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) layers: Vec<NamedRecord>,
}

impl Record {
    /// Of a spec that serde can write, under the name that a [`super::Registry`] will know it by.
    ///
    /// A spec that serde cannot write is noted as one that cannot be saved.
    pub fn of(kind: &str, spec: &impl Serialize) -> Self {
        match serde_json::to_value(spec) {
            Ok(settings) => Self { kind: kind.into(), settings },
            Err(error) => Self::missing(format!("{kind}: {error}")),
        }
    }

    /// Of a spec that says nothing of itself; `what` goes into the error.
    pub(crate) fn missing(what: String) -> Self {
        Self::refused(format!("it is {what}; add a LayerSpec with a record"))
    }

    /// Of a spec that cannot be saved: why not, and what to do.
    pub(crate) fn refused(why: String) -> Self {
        Self { kind: String::new(), settings: Value::String(why) }
    }

    /// Several layers, one after the other.
    pub(crate) fn list(layers: Vec<NamedRecord>) -> Self {
        Self::of("Block", &List { layers })
    }

    /// The layers of a list.
    #[cfg(feature = "onnx")]
    pub(crate) fn layers(&self) -> Option<Vec<NamedRecord>> {
        if self.kind != "Block" {
            return None;
        }
        List::deserialize(&self.settings).ok().map(|list| list.layers)
    }

    /// Changes a setting, if there is one of this name.
    pub(crate) fn set(&mut self, setting: &str, value: impl Into<Value>) {
        if let Some(place) = self.settings.get_mut(setting) {
            *place = value.into();
        }
    }

    /// Puts another record in the place of a setting.
    pub(crate) fn set_record(&mut self, setting: &str, record: &Record) {
        self.set(setting, serde_json::to_value(record).expect("strings and values can be written"));
    }

    /// A layer of blocks: its settings, and each block under a name.
    pub(crate) fn with_inner<'n>(
        kind: &str,
        settings: &impl Serialize,
        inner: impl IntoIterator<Item = (&'n str, Option<Record>)>,
    ) -> Self {
        let inner = inner.into_iter().filter_map(|(name, record)| Some((name, record?)));
        let inner: std::collections::BTreeMap<&str, Record> = inner.collect();
        Self::of(kind, &serde_json::json!({ "of": settings, "settings": inner }))
    }

    /// A block inside this layer.
    pub(crate) fn inner(&self, name: &str) -> Option<Record> {
        Record::deserialize(self.settings.get("settings")?.get(name)?).ok()
    }

    /// The kind, such as `Linear`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Calls `each` with the place of every layer that has no record, inside this one too.
    pub(crate) fn each_missing(&self, place: &str, each: &mut dyn FnMut(&str, &str)) {
        fn walk(value: &Value, place: &str, each: &mut dyn FnMut(&str, &str)) {
            match value {
                Value::Object(fields) => {
                    if fields.get("kind").is_some_and(|kind| kind == "") {
                        let what = fields.get("settings").and_then(Value::as_str);
                        each(place, what.unwrap_or_default());
                    }
                    for (key, value) in fields {
                        let below = if key == "settings" || key == "layers" {
                            place.to_string()
                        } else {
                            format!("{place}.{key}")
                        };
                        walk(value, &below, each);
                    }
                }
                Value::Array(values) => {
                    for (i, value) in values.iter().enumerate() {
                        let name = value.get("name").and_then(Value::as_str).map(String::from);
                        walk(
                            value,
                            &format!("{place}.{}", name.unwrap_or_else(|| i.to_string())),
                            each,
                        );
                    }
                }
                _ => {}
            }
        }
        if self.kind.is_empty() {
            return each(place, self.settings.as_str().unwrap_or_default());
        }
        walk(&self.settings, place, each);
    }
}
