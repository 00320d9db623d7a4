//! An opened file of weights.

use std::fmt;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};

use super::Dtype;
use super::header::{Entry, Header, LENGTH};
use super::problem::FileProblems;
use crate::{Error, Result, Scalar, Shape};

/// A file of weights in the safetensors format, read and checked as a whole.
///
/// For a look at what is in it, for [`crate::Sequential::load_partial`], and to load from memory or a mapped file.
///
/// # Examples
/// ```
/// use layerwise::persist::{Dtype, WeightsFile};
/// use layerwise::prelude::*;
///
/// let bytes = Sequential::builder([4]).add(Linear::new(2)).build()?.to_bytes()?;
/// let weights = WeightsFile::from_bytes(&bytes)?;
/// let names: Vec<String> = weights.tensors().map(|tensor| tensor.name).collect();
/// assert_eq!(names, ["0.bias", "0.weight"]);
/// let bias = weights.value::<f32>("0.bias")?;
/// assert_eq!(bias.as_slice().unwrap(), [0.0, 0.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Opening fails with [`Error::File`] if the file cannot be read, and with [`Error::Weights`], which names every problem, if
/// a tensor lies outside the file, overlaps another, is not as long as its shape says or has the name of another, or if the
/// header is broken. No more memory is taken than twice the file's size, whatever the header claims.
pub struct WeightsFile<'a> {
    bytes: Bytes<'a>,
    header: Header,
    path: Option<PathBuf>,
}

enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    /// What comes before the numbers: see [`super::stream`].
    Head(Vec<u8>),
    #[cfg(feature = "mmap")]
    Mapped(crate::data::Map),
}

/// What is known of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Its name, such as `0.weight`.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Length of each axis.
    pub shape: Shape,
}

impl WeightsFile<'static> {
    /// Reads a file into memory.
    ///
    /// # Errors
    /// See [`WeightsFile`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::File {
            action: "read",
            path: path.into(),
            source,
        })?;
        Self::new(Bytes::Owned(bytes), Some(path))
    }

    /// Maps a file: only what is used is read, and dropped when memory is short. See [`crate::data::Map`] for what must not
    /// happen to the file meanwhile.
    ///
    /// # Errors
    /// See [`WeightsFile`].
    ///
    /// ```
    /// use layerwise::persist::WeightsFile;
    /// use layerwise::prelude::*;
    ///
    /// let path = std::env::temp_dir().join(format!("layerwise-mapped-{}", std::process::id()));
    /// let mut model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// model.save(&path)?;
    /// model.load_weights(&WeightsFile::map(&path)?)?;
    /// std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    #[cfg(feature = "mmap")]
    pub fn map(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::new(Bytes::Mapped(crate::data::Map::open(path)?), Some(path))
    }
}

impl<'a> WeightsFile<'a> {
    /// What was read elsewhere, or is part of the program (`include_bytes!`).
    ///
    /// # Errors
    /// See [`WeightsFile`].
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        Self::new(Bytes::Borrowed(bytes), None)
    }

    fn new(bytes: Bytes<'a>, path: Option<&Path>) -> Result<Self> {
        let len = bytes.get().len();
        Self::checked(bytes, len, path)
    }

    /// A file of `len` bytes, of which only the head was read: its numbers are read by [`super::stream`].
    pub(super) fn of_head(head: Vec<u8>, len: usize, path: &Path) -> Result<Self> {
        Self::checked(Bytes::Head(head), len, Some(path))
    }

    fn checked(bytes: Bytes<'a>, len: usize, path: Option<&Path>) -> Result<Self> {
        let mut problems = FileProblems::new(path);
        let header = Header::read(bytes.get(), len, &mut problems);
        problems.into_result()?;
        let header = header.expect("a file without problems has a header");
        Ok(Self { bytes, header, path: path.map(Path::to_path_buf) })
    }

    /// What is in it, by name.
    pub fn tensors(&self) -> impl Iterator<Item = TensorInfo> {
        self.header.entries.iter().map(|entry| self.info(entry))
    }

    /// What the file says about itself under `key`.
    ///
    /// ```
    /// # use layerwise::persist::WeightsFile;
    /// # use layerwise::prelude::*;
    /// # let bytes = Sequential::builder([4]).add(Linear::new(2)).build()?.to_bytes()?;
    /// assert_eq!(WeightsFile::from_bytes(&bytes)?.metadata("format").as_deref(), Some("pt"));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.header.metadata(self.json(), key)
    }

    /// A tensor, converted to `F`.
    ///
    /// # Errors
    /// [`Error::Weights`] if there is none of this name, or none of floats.
    pub fn value<F: Scalar>(&self, name: &str) -> Result<ArrayD<F>> {
        let mut problems = self.problems();
        let entry = self.find(name);
        let Some(entry) = entry.filter(|entry| self.check_dtype(entry, &mut problems)) else {
            if problems.count() == 0 {
                problems.add(Some(name), || "is not in the file".into());
            }
            return Err(problems.into());
        };
        let shape = self.shape(entry);
        let mut values = vec![F::zero(); shape.numel()];
        self.decode(entry, &mut values);
        Ok(ArrayD::from_shape_vec(IxDyn(shape.dims()), values)
            .expect("as many elements as the header's shape, which was checked"))
    }

    pub(super) fn problems(&self) -> FileProblems {
        FileProblems::new(self.path.as_deref())
    }

    fn json(&self) -> &[u8] {
        &self.bytes.get()[LENGTH..self.header.end]
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.header.entries
    }

    /// Where a tensor's bytes begin in the file.
    pub(super) fn place(&self, entry: &Entry) -> u64 {
        self.header.end as u64 + entry.from
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.header.find(self.json(), name)
    }

    pub(super) fn name(&self, entry: &Entry) -> std::borrow::Cow<'_, str> {
        entry.name(self.json())
    }

    pub(super) fn shape(&self, entry: &Entry) -> Shape {
        entry.shape(self.json()).into()
    }

    fn info(&self, entry: &Entry) -> TensorInfo {
        let name = self.name(entry).into_owned();
        TensorInfo { name, dtype: entry.dtype, shape: self.shape(entry) }
    }

    /// The factors of an [`super::Storage::Int8`] tensor.
    pub(super) fn scale_of(&self, entry: &Entry) -> Option<&Entry> {
        let scale = self.find(&format!("{}.scale", self.name(entry)))?;
        let rows = self.shape(entry).dims().first().copied();
        (scale.dtype.is_read() && self.shape(scale).dims() == rows.as_slice()).then_some(scale)
    }

    /// Whether the tensor can be converted; notes if not.
    pub(super) fn check_dtype(&self, entry: &Entry, problems: &mut FileProblems) -> bool {
        if entry.dtype.is_read() || entry.dtype == Dtype::I8 && self.scale_of(entry).is_some() {
            return true;
        }
        let (name, dtype) = (self.name(entry), entry.dtype);
        problems.add(Some(&name), || match dtype {
            Dtype::I8 => {
                format!("needs a factor for each of its rows in {name}.scale, as I8 weights do")
            }
            _ => format!("needs F32, F64, F16 or BF16, or I8 with factors, got {dtype}"),
        });
        false
    }

    /// Converts as many elements as the tensor has; returns whether all are finite.
    pub(super) fn decode<F: Scalar>(&self, entry: &Entry, out: &mut [F]) -> bool {
        let mut finite = entry.dtype.decode(self.data(entry), out);
        if let (Dtype::I8, Some(scale)) = (entry.dtype, self.scale_of(entry)) {
            let mut factors = vec![F::zero(); self.shape(scale).numel()];
            finite = scale.dtype.decode(self.data(scale), &mut factors);
            let row = out.len() / factors.len().max(1);
            for (row, &factor) in out.chunks_mut(row.max(1)).zip(&factors) {
                row.iter_mut().for_each(|value| *value *= factor);
            }
        }
        finite
    }

    fn data(&self, entry: &Entry) -> &[u8] {
        let data = &self.bytes.get()[self.header.end..];
        // Inside the data, whose length is a `usize`: checked when the file was opened.
        &data[entry.from as usize..entry.to as usize]
    }
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) | Self::Head(bytes) => bytes,
            #[cfg(feature = "mmap")]
            Self::Mapped(map) => map.as_ref(),
        }
    }
}

/// Its file and size, not its contents.
impl fmt::Debug for WeightsFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightsFile")
            .field("path", &self.path)
            .field("bytes", &self.bytes.get().len())
            .field("tensors", &self.header.entries.len())
            .finish_non_exhaustive()
    }
}
