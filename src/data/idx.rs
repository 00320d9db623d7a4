//! The IDX format of MNIST, Fashion-MNIST and EMNIST.

use std::io::Read;

use crate::{Error, Result, Shape};

/// An array of bytes with its shape, as an IDX file holds it.
///
/// ```
/// use layerwise::data::read_idx;
///
/// let file = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 20, 30, 40, 50, 255];
/// let idx = read_idx(&file[..])?;
/// assert_eq!(idx.shape().dims(), [2, 3]);
/// assert_eq!(idx.to_array::<f32>(1.0 / 255.0)[[1, 2]], 1.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    shape: Shape,
    bytes: Vec<u8>,
}

/// Reads an IDX stream of unsigned bytes to its end: big-endian magic `0, 0, 8, axes`, then the length of
/// each axis in 4 bytes, then the elements. For a `.gz` file wrap the reader in a decompressor.
///
/// # Errors
/// [`Error::Idx`] if the magic number is wrong, the elements are not unsigned bytes, or the stream is
/// shorter or longer than its header says; [`Error::Io`] if reading fails.
pub fn read_idx(mut reader: impl Read) -> Result<Idx> {
    let magic = header(&mut reader)?;
    if magic[..2] != [0, 0] {
        return Err(Error::Idx(format!(
            "needs a magic number that begins with 0, 0, got {magic:?}; is the file still compressed?"
        )));
    }
    if magic[2] != 8 {
        let kind = magic[2];
        return Err(Error::Idx(format!(
            "needs elements of unsigned bytes (type 8), got type {kind}"
        )));
    }
    let mut dims = Vec::new();
    for _ in 0..magic[3] {
        let len = u32::from_be_bytes(header(&mut reader)?);
        dims.push(
            usize::try_from(len).map_err(|_| Error::Idx(format!("axis of {len} is too long")))?,
        );
    }
    let shape = Shape::from(dims);
    let expected = shape.numel();
    // The header is not trusted with memory: the buffer grows as data comes.
    let mut bytes = Vec::new();
    let limit = u64::try_from(expected).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes).map_err(io)?;
    let got = bytes.len();
    if got < expected {
        return Err(Error::Idx(format!(
            "needs {expected} bytes for {shape}, got {got}; the stream is cut off"
        )));
    }
    if got > expected {
        return Err(Error::Idx(format!(
            "needs {expected} bytes for {shape}, got more; the header is wrong"
        )));
    }
    Ok(Idx { shape, bytes })
}

fn header(reader: &mut impl Read) -> Result<[u8; 4]> {
    let mut word = [0; 4];
    reader.read_exact(&mut word).map_err(|source| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::Idx("the stream ends inside the header".into()),
        _ => io(source),
    })?;
    Ok(word)
}

fn io(source: std::io::Error) -> Error {
    Error::Io { action: "read IDX data", source }
}

impl Idx {
    /// Length of each axis; the first counts samples.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The elements in row-major order.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements times `scale`, in the file's shape.
    pub fn to_array<F: crate::Scalar>(&self, scale: f64) -> ndarray::ArrayD<F> {
        // One product for each of the 256 values.
        let table: Vec<F> = (0..=255u8).map(|byte| F::lit(f64::from(byte) * scale)).collect();
        let values = self.bytes.iter().map(|&byte| table[usize::from(byte)]).collect();
        ndarray::ArrayD::from_shape_vec(ndarray::IxDyn(self.shape.dims()), values)
            .expect("read_idx reads as many bytes as the shape has elements")
    }

    /// Grey images `[n, height, width]` as samples `[n, 1, height, width]`, times `scale`.
    ///
    /// # Errors
    /// [`Error::Idx`] unless there are three axes.
    ///
    /// ```
    /// use layerwise::data::read_idx;
    ///
    /// let idx = read_idx(&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255][..])?;
    /// assert_eq!(idx.to_images::<f32>(1.0 / 255.0)?.shape(), [1, 1, 1, 2]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn to_images<F: crate::Scalar>(&self, scale: f64) -> Result<ndarray::ArrayD<F>> {
        if self.shape.rank() != 3 {
            return Err(Error::Idx(format!(
                "images need three axes [n, height, width], got {}",
                self.shape
            )));
        }
        Ok(self.to_array(scale).insert_axis(ndarray::Axis(1)))
    }

    /// Class indices, from one axis.
    ///
    /// # Errors
    /// [`Error::Idx`] unless there is one axis.
    ///
    /// ```
    /// use layerwise::data::read_idx;
    ///
    /// let idx = read_idx(&[0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9][..])?;
    /// assert_eq!(idx.to_labels()?, [7, 0, 9]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn to_labels(&self) -> Result<Vec<usize>> {
        if self.shape.rank() != 1 {
            return Err(Error::Idx(format!("labels need one axis [n], got {}", self.shape)));
        }
        Ok(self.bytes.iter().map(|&byte| usize::from(byte)).collect())
    }
}
