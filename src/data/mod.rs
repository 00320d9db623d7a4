//! Reading data and handing it out in batches.
//!
//! | to | see |
//! |---|---|
//! | hold samples with their targets in memory | [`Dataset`] |
//! | read IDX (MNIST, Fashion-MNIST, EMNIST) | [`read_idx`], [`ByteImages::idx`] |
//! | read CIFAR-10 and CIFAR-100 | [`read_cifar10`], [`read_cifar100`] |
//! | read CSV (feature `csv`) | `Csv` |
//! | read NumPy's `.npy`, and `.npz` (feature `npz`) | [`read_npy`], `read_npz` |
//! | read folders of images, one for each class (feature `image`), and single ones | `ImageFolder`, `read_image` |
//! | have some real data at once (feature `digits`) | `digits` |
//! | divide data | [`Dataset::split`], [`Dataset::split_stratified`], [`k_folds`], [`stratified_k_folds`] |
//! | hand samples out in batches | [`Dataset::batches`], [`Batches`] |
//! | prepare batches on another thread | [`Prefetch`] |
//! | use data larger than memory | [`Source`], `Map` (feature `mmap`), [`Subset`], [`Concat`] |

mod batches;
mod byte_images;
#[cfg(feature = "csv")]
mod csv;
mod dataset;
#[cfg(feature = "digits")]
mod digits;
#[cfg(feature = "image")]
mod folder;
mod idx;
#[cfg(feature = "mmap")]
mod map;
mod npy;
#[cfg(feature = "npz")]
mod npz;
mod order;
mod parts;
#[cfg(feature = "image")]
mod picture;
mod prefetch;
mod source;
mod split;
mod targets;

pub use batches::{Batch, Batches, Loader};
pub use byte_images::{ByteImages, read_cifar10, read_cifar100};
#[cfg(feature = "csv")]
pub use csv::{Csv, CsvClasses, CsvValues};
pub use dataset::Dataset;
#[cfg(feature = "digits")]
pub use digits::digits;
#[cfg(feature = "image")]
pub use folder::{ImageFolder, Unreadable};
pub use idx::{Idx, read_idx};
#[cfg(feature = "mmap")]
pub use map::Map;
pub use npy::read_npy;
#[cfg(feature = "npz")]
pub use npz::read_npz;
pub use parts::{Concat, Subset};
#[cfg(feature = "image")]
pub use picture::read_image;
pub use prefetch::Prefetch;
pub use source::Source;
pub use split::{Fold, k_folds, stratified_k_folds};
pub use targets::Targets;
