//! Saving, loading and exchanging weights.
//!
//! | to | see |
//! |---|---|
//! | save and load weights | [`Sequential::save`](crate::Sequential::save), [`Sequential::load`](crate::Sequential::load) |
//! | store them in fewer bytes | [`Storage`], [`Sequential::save_as`](crate::Sequential::save_as) |
//! | do without a file system | [`Sequential::to_bytes`](crate::Sequential::to_bytes), [`Sequential::load_bytes`](crate::Sequential::load_bytes) |
//! | load a part, or other names | [`Sequential::load_partial`](crate::Sequential::load_partial) |
//! | interrupt a run and go on | [`Checkpoint`], [`SavedCheckpoint`], [`CheckpointFolder`] |
//! | save layers and weights in one file (feature `serde`) | `Sequential::save_model`, `Sequential::open`, `Registry` |
//! | make a model smaller and faster to predict with | [`Sequential::into_inference`](crate::Sequential::into_inference) |
//! | write an ONNX file (feature `onnx`) | `Sequential::save_onnx` |
//! | look into a file, or map one | [`WeightsFile`] |
//!
//! Files have the safetensors format, with PyTorch's names and layouts: a PyTorch `Sequential`'s weights load without a
//! mapping, and what is saved here loads there. A file is checked as a whole before a model changes, and everything that is
//! wrong with it is reported at once. A file that is written takes its name when all of it is on the disk.

mod atomic;
mod checkpoint;
mod dtype;
mod header;
mod json;
mod load;
#[cfg(feature = "serde")]
mod model;
#[cfg(feature = "onnx")]
mod onnx;
mod problem;
mod save;
mod stream;
mod weights_file;

pub use checkpoint::{
    Checkpoint, CheckpointFolder, PartReader, PartWriter, Position, Resumable, SavedCheckpoint,
};
pub use dtype::{Dtype, Storage};
pub use load::{Loaded, Mismatched};
#[cfg(feature = "serde")]
pub(crate) use model::{NamedRecord, record};
#[cfg(feature = "serde")]
pub use model::{Record, Registry};
pub use problem::{FileProblems, Problem};
pub use weights_file::{TensorInfo, WeightsFile};
