//! NumPy's `.npy` format.
//!
//! Read here and not by one of the crates for it: those take memory as the header says before they see data, and
//! bring a grammar for Python literals with some twenty crates, for a header of three fields.

use std::cmp::Ordering;
use std::io::Read;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use crate::{Error, Result, Scalar, Shape};

const NPY: &str = "NPY";

/// Reads a NumPy `.npy` stream to its end: an array of numbers of any shape, as `F`.
///
/// Elements may be floats of 4 or 8 bytes, integers of 1 to 8 bytes with or without sign, or booleans, of
/// either byte order, in C or Fortran order; the result is row-major. Integers beyond 2⁵³ are rounded.
///
/// # Examples
/// ```
/// use layerwise::data::read_npy;
///
/// // What `numpy.save` writes for `numpy.array([[1.5, -2]], dtype="<f4")`.
/// let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
/// let mut file = b"\x93NUMPY\x01\x00".to_vec();
/// file.extend((header.len() as u16).to_le_bytes());
/// file.extend(header.as_bytes());
/// file.extend([1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
/// assert_eq!(read_npy::<f64>(&file[..])?, ndarray::arr2(&[[1.5, -2.0]]).into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Format`] if the header is not understood, elements are of another kind, or the stream is shorter
/// or longer than its header says; [`Error::Io`] if reading fails.
///
/// # Memory
/// Whatever a header claims, a stream that turns out wrong has cost at most twice its own length; a good one costs
/// the array, and where `F` is wider than the elements their bytes besides. An array in Fortran order is copied once.
///
/// # References
/// The format is described in NumPy's `numpy.lib.format`, versions 1.0 to 3.0.
pub fn read_npy<F: Scalar>(mut reader: impl Read) -> Result<ArrayD<F>> {
    let header = Header::read(&mut reader)?;
    header.array(reader)
}

/// As [`read_npy`], of a stream that is known to have `len` bytes: a header that claims another length is an error
/// before anything else is read.
#[cfg(feature = "npz")]
pub(super) fn read_npy_of<F: Scalar>(mut reader: impl Read, len: usize) -> Result<ArrayD<F>> {
    let header = Header::read(&mut reader)?;
    let (elements, rest) = (len.saturating_sub(header.len), header.kind.size());
    match elements.cmp(&header.shape.numel().saturating_mul(rest)) {
        Ordering::Equal => header.array(reader),
        Ordering::Less => Err(header.cut_off(elements / rest)),
        Ordering::Greater => Err(header.too_long()),
    }
}

/// What stands before the elements.
struct Header {
    /// Its bytes.
    #[cfg_attr(
        not(feature = "npz"),
        expect(dead_code, reason = "archives know how long a member is")
    )]
    len: usize,
    kind: Kind,
    little_endian: bool,
    fortran_order: bool,
    shape: Shape,
}

/// The kind of an element, with its size in bytes.
#[derive(Clone, Copy)]
enum Kind {
    Float(usize),
    Signed(usize),
    Unsigned(usize),
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Float(size) | Self::Signed(size) | Self::Unsigned(size) => size,
        }
    }

    /// From NumPy's name without the byte order: `f4`, `i8`, `b1`.
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "f4" | "f8" => Self::Float(name[1..].parse().ok()?),
            "i1" | "i2" | "i4" | "i8" => Self::Signed(name[1..].parse().ok()?),
            "u1" | "u2" | "u4" | "u8" => Self::Unsigned(name[1..].parse().ok()?),
            "b1" => Self::Unsigned(1),
            _ => return None,
        })
    }
}

impl Header {
    fn read(reader: &mut impl Read) -> Result<Self> {
        let mut start = [0; 8];
        fill(reader, &mut start)?;
        if &start[..6] != b"\x93NUMPY" {
            let got = &start[..6];
            return Err(Error::format(
                NPY,
                format!(
                    "needs to begin with \\x93NUMPY, got {got:?}; is the file still compressed?"
                ),
            ));
        }
        let (len, before) = match start[6] {
            1 => {
                let mut len = [0; 2];
                fill(reader, &mut len)?;
                (u32::from(u16::from_le_bytes(len)), start.len() + 2)
            }
            2 | 3 => {
                let mut len = [0; 4];
                fill(reader, &mut len)?;
                (u32::from_le_bytes(len), start.len() + 4)
            }
            version => {
                return Err(Error::format(
                    NPY,
                    format!("needs format version 1 to 3, got {version}"),
                ));
            }
        };
        let mut text = Vec::new();
        reader.take(u64::from(len)).read_to_end(&mut text).map_err(io)?;
        // As many bytes as there were: at most 2³² − 1, and `usize` has no fewer bits here.
        if text.len() as u64 != u64::from(len) {
            return Err(Error::format(NPY, "the stream ends inside the header"));
        }
        let text = std::str::from_utf8(&text)
            .map_err(|_| Error::format(NPY, "the header is not UTF-8 text"))?;
        Self::parse(text, before)
    }

    /// From a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    /// `before`: bytes before it.
    fn parse(text: &str, before: usize) -> Result<Self> {
        let descr = field(text, "descr")?;
        let name = descr.strip_prefix(['\'', '"']).and_then(|rest| rest.split(['\'', '"']).next());
        let name = name.unwrap_or(descr);
        let kind = name.strip_prefix(['<', '>', '|', '=']).unwrap_or(name);
        let Some(kind) = Kind::parse(kind) else {
            return Err(Error::format(
                NPY,
                format!(
                    "needs elements of floats (4 or 8 bytes), integers or booleans, got {}",
                    short(name)
                ),
            ));
        };
        let fortran_order = field(text, "fortran_order")?;
        let fortran_order = match fortran_order {
            _ if fortran_order.starts_with("True") => true,
            _ if fortran_order.starts_with("False") => false,
            other => {
                return Err(Error::format(
                    NPY,
                    format!("fortran_order must be True or False, got {}", short(other)),
                ));
            }
        };
        let shape = shape(field(text, "shape")?)?;
        let len = before + text.len();
        Ok(Self { len, kind, little_endian: !name.starts_with('>'), fortran_order, shape })
    }

    /// The array, from a reader that stands behind the header and is read to its end.
    fn array<F: Scalar>(self, reader: impl Read) -> Result<ArrayD<F>> {
        let values = if self.kind.size() < size_of::<F>() {
            self.widened(reader)?
        } else {
            self.streamed(reader)?
        };
        let shape = IxDyn(self.shape.dims());
        let array = ArrayD::from_shape_vec(shape.set_f(self.fortran_order), values)
            .map_err(|_| Error::format(NPY, format!("{} is too large for memory", self.shape)))?;
        Ok(if self.fortran_order { array.as_standard_layout().into_owned() } else { array })
    }

    /// Elements that take no more memory as `F` than in the stream. The header is not trusted with memory: the array
    /// grows as data comes, up to what the header says.
    fn streamed<F: Scalar>(&self, mut reader: impl Read) -> Result<Vec<F>> {
        let (size, count) = (self.kind.size(), self.shape.numel());
        let (mut values, mut chunk) = (Vec::new(), [0; 8192]);
        while values.len() < count {
            let most = (count - values.len()).saturating_mul(size).min(chunk.len());
            let got = read_some(&mut reader, &mut chunk[..most], size)?;
            if got == 0 {
                return Err(self.cut_off(values.len()));
            }
            let elements = chunk[..got].chunks_exact(size);
            if values.capacity() - values.len() < elements.len() {
                values.reserve_exact(values.len().max(elements.len()).min(count - values.len()));
            }
            values.extend(elements.map(|bytes| self.number::<F>(bytes)));
        }
        if read_some(&mut reader, &mut [0], 1)? > 0 {
            return Err(self.too_long());
        }
        Ok(values)
    }

    /// Elements that take more memory as `F` than in the stream: first their bytes, so that a stream that is not what
    /// its header says never costs more than it is long.
    fn widened<F: Scalar>(&self, reader: impl Read) -> Result<Vec<F>> {
        let size = self.kind.size();
        let expected = self.shape.numel().saturating_mul(size);
        let limit = u64::try_from(expected).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        reader.take(limit).read_to_end(&mut bytes).map_err(io)?;
        match bytes.len().cmp(&expected) {
            Ordering::Equal => {
                Ok(bytes.chunks_exact(size).map(|bytes| self.number(bytes)).collect())
            }
            Ordering::Less => Err(self.cut_off(bytes.len() / size)),
            Ordering::Greater => Err(self.too_long()),
        }
    }

    fn number<F: Scalar>(&self, bytes: &[u8]) -> F {
        // The lowest byte first, in eight.
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        if !self.little_endian {
            word[..bytes.len()].reverse();
        }
        let bits = u64::from_le_bytes(word);
        let unused = 64 - 8 * bytes.len() as u32;
        F::lit(match self.kind {
            // `as u32` takes the four bytes there are.
            Kind::Float(4) => f64::from(f32::from_bits(bits as u32)),
            Kind::Float(_) => f64::from_bits(bits),
            // Up to the top and back down: the sign fills what is unused. `as f64` rounds to nearest.
            Kind::Signed(_) => ((bits << unused) as i64 >> unused) as f64,
            Kind::Unsigned(_) => bits as f64,
        })
    }

    fn cut_off(&self, got: usize) -> Error {
        self.wrong_length(&got.to_string(), "the stream is cut off")
    }

    fn too_long(&self) -> Error {
        self.wrong_length("more", "the header is wrong")
    }

    fn wrong_length(&self, got: &str, why: &str) -> Error {
        let needed = self.shape.numel();
        Error::format(NPY, format!("needs {needed} elements for {}, got {got}; {why}", self.shape))
    }
}

/// What follows `'key':` in the text of a Python dictionary.
fn field<'a>(text: &'a str, key: &str) -> Result<&'a str> {
    let after = |quote: char| {
        let (_, rest) = text.split_once(&format!("{quote}{key}{quote}"))?;
        rest.trim_start().strip_prefix(':')
    };
    match after('\'').or_else(|| after('"')) {
        Some(value) => Ok(value.trim_start()),
        None => Err(Error::format(NPY, format!("the header has no {key}, got {}", short(text)))),
    }
}

/// Most axes of an array: NumPy's own limit. More would only cost memory.
const MOST_AXES: usize = 64;

/// From a Python tuple: `(3, 4)`, `(3,)`, `()`.
fn shape(text: &str) -> Result<Shape> {
    let dims = text.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(dims, _)| dims);
    let dims = dims.map(|dims| {
        let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty());
        let dims = dims.take(MOST_AXES + 1).map(|dim| dim.trim_end_matches('L').parse().ok());
        dims.collect::<Option<Vec<usize>>>()
    });
    match dims.flatten() {
        Some(dims) if dims.len() <= MOST_AXES => Ok(dims.into()),
        _ => Err(Error::format(
            NPY,
            format!("shape must be a tuple of at most {MOST_AXES} lengths, got {}", short(text)),
        )),
    }
}

/// The beginning of a text, for an error.
fn short(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.trim_end())
}

fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    if read_some(reader, bytes, bytes.len())? == bytes.len() {
        return Ok(());
    }
    Err(Error::format(NPY, "the stream ends inside the header"))
}

/// Fills `bytes` as far as the stream goes, in whole elements of `size` bytes; 0 at its end.
fn read_some(reader: &mut impl Read, bytes: &mut [u8], size: usize) -> Result<usize> {
    let mut got = 0;
    let whole = bytes.len() / size * size;
    while got < whole {
        match reader.read(&mut bytes[got..whole]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
    Ok(got / size * size)
}

fn io(source: std::io::Error) -> Error {
    Error::Io { action: "read NPY data", source }
}
