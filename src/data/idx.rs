//! The IDX format of MNIST, Fashion-MNIST and EMNIST.

use std::cmp::Ordering;
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
/// [`Error::Format`] if the magic number is wrong, the elements are not unsigned bytes, or the stream is
/// shorter or longer than its header says; [`Error::Io`] if reading fails.
pub fn read_idx(mut reader: impl Read) -> Result<Idx> {
    let shape = read_shape(&mut reader)?;
    let expected = shape.numel();
    // The header is not trusted with memory: the buffer grows as data comes.
    let mut bytes = Vec::new();
    let limit = u64::try_from(expected).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes).map_err(io)?;
    check_length(&shape, bytes.len())?;
    Ok(Idx { shape, bytes })
}

/// Reads the header: leaves the reader at the first element.
pub(super) fn read_shape(reader: &mut impl Read) -> Result<Shape> {
    let magic = header(reader)?;
    if magic[..2] != [0, 0] {
        return Err(Error::format(
            "IDX",
            format!(
                "needs a magic number that begins with 0, 0, got {magic:?}; is the file still compressed?"
            ),
        ));
    }
    if magic[2] != 8 {
        let kind = magic[2];
        return Err(Error::format(
            "IDX",
            format!("needs elements of unsigned bytes (type 8), got type {kind}"),
        ));
    }
    // All of it is read before memory is taken: a header that is cut off costs none.
    let (mut dims, axes) = ([0; 255], usize::from(magic[3]));
    for dim in &mut dims[..axes] {
        let len = u32::from_be_bytes(header(reader)?);
        *dim = usize::try_from(len)
            .map_err(|_| Error::format("IDX", format!("axis of {len} is too long")))?;
    }
    Ok(Shape::from(&dims[..axes]))
}

/// As many bytes as the shape has elements, neither more nor less.
pub(super) fn check_length(shape: &Shape, got: usize) -> Result<()> {
    let expected = shape.numel();
    let (got, why) = match got.cmp(&expected) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => (got.to_string(), "the stream is cut off"),
        Ordering::Greater => ("more".into(), "the header is wrong"),
    };
    Err(Error::format("IDX", format!("needs {expected} bytes for {shape}, got {got}; {why}")))
}

fn header(reader: &mut impl Read) -> Result<[u8; 4]> {
    let mut word = [0; 4];
    reader.read_exact(&mut word).map_err(|source| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::format("IDX", "the stream ends inside the header")
        }
        _ => io(source),
    })?;
    Ok(word)
}

fn io(source: std::io::Error) -> Error {
    Error::Io { action: "read IDX data", source }
}

/// `byte · scale` for each of the 256 values of a byte: one product each, and the same bits wherever
/// bytes become numbers.
pub(super) fn scaled<F: crate::Scalar>(scale: f64) -> [F; 256] {
    std::array::from_fn(|byte| F::lit(byte as f64 * scale))
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
        let table = scaled::<F>(scale);
        let values = self.bytes.iter().map(|&byte| table[usize::from(byte)]).collect();
        ndarray::ArrayD::from_shape_vec(ndarray::IxDyn(self.shape.dims()), values)
            .expect("read_idx reads as many bytes as the shape has elements")
    }

    /// Grey images `[n, height, width]` as samples `[n, 1, height, width]`, times `scale`.
    ///
    /// # Errors
    /// [`Error::Format`] unless there are three axes.
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
            return Err(Error::format(
                "IDX",
                format!("images need three axes [n, height, width], got {}", self.shape),
            ));
        }
        Ok(self.to_array(scale).insert_axis(ndarray::Axis(1)))
    }

    /// Class indices, from one axis.
    ///
    /// # Errors
    /// [`Error::Format`] unless there is one axis.
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
            return Err(Error::format(
                "IDX",
                format!("labels need one axis [n], got {}", self.shape),
            ));
        }
        Ok(self.bytes.iter().map(|&byte| usize::from(byte)).collect())
    }
}
