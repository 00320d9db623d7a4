//! Saving and loading: nothing lost, nothing half done, every problem named.

mod checkpoints;
mod disk;
mod hostile;
mod inference;
#[cfg(feature = "serde")]
mod model;
mod resumed_fit;
mod weights;

use layerwise::prelude::*;

/// A safetensors file of this header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A header with these tensors: name, rest.
fn header(tensors: &[(&str, &str)]) -> String {
    let tensors = tensors.iter().map(|(name, rest)| format!(r#""{name}":{{{rest}}}"#));
    format!("{{{}}}", tensors.collect::<Vec<_>>().join(","))
}

/// `0.weight` `[2, 3]` and `0.bias` `[2]`.
fn small(seed: u64) -> Sequential {
    Sequential::builder([3]).add(Linear::new(2)).seed(seed).build().expect("it fits")
}

/// A folder of this test's own, gone when dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("layerwise-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn join(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }

    /// The names of all files in it, in order.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("there").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
