//! NumPy's `.npz` format: a ZIP archive of `.npy` members.

use std::collections::BTreeMap;
use std::io::{self, Read};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use ndarray::ArrayD;

use super::npy::read_npy_of;
use crate::{Error, Result, Scalar};

const NPZ: &str = "NPZ";

/// Reads a NumPy `.npz` stream, as `numpy.savez` and `numpy.savez_compressed` write it: arrays by name.
///
/// Every array is one that [`crate::data::read_npy`] understands. Checksums are verified. Archives of 4 GiB and more are
/// refused.
///
/// # Examples
/// ```no_run
/// use layerwise::data::read_npz;
///
/// let arrays = read_npz::<f32>(std::fs::File::open("train.npz").unwrap())?;
/// println!("{:?}", arrays["images"].shape());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Memory
/// The file, which takes up to twice its length while it is read, and the arrays. Members are unpacked piece by piece:
/// memory follows what has come out, never what is claimed. An archive whose members share data is refused: so a
/// small one cannot unpack to more than deflate's 1,032 times its length.
///
/// # Errors
/// [`Error::Format`] if the archive or a member is broken or of another kind; [`Error::Io`] if reading fails.
pub fn read_npz<F: Scalar>(mut reader: impl Read) -> Result<BTreeMap<String, ArrayD<F>>> {
    let mut file = Vec::new();
    reader
        .read_to_end(&mut file)
        .map_err(|source| Error::Io { action: "read NPZ data", source })?;
    // Reading took up to twice that.
    file.shrink_to_fit();
    let (mut arrays, mut packed) = (BTreeMap::new(), 0);
    let (count, mut at) = directory(&file)?;
    for _ in 0..count {
        let member = Member::read(&file, &mut at)?;
        packed += member.compressed;
        if packed > file.len() {
            return Err(Error::format(NPZ, "members share data; the archive is not NumPy's"));
        }
        let name = member.name.strip_suffix(".npy").unwrap_or(&member.name).to_owned();
        let array = member.array(&file).map_err(|error| inside(&name, error))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// An error of a member, with its name.
fn inside(name: &str, error: Error) -> Error {
    match error {
        Error::Format { message, .. } => Error::format(NPZ, format!("member {name}: {message}")),
        // The file is in memory: what failed is the decompressor.
        Error::Io { source, .. } => {
            Error::format(NPZ, format!("member {name}: cannot be decompressed: {source}"))
        }
        other => other,
    }
}

/// An entry of the archive's directory.
struct Member {
    name: String,
    method: u16,
    crc: u32,
    compressed: usize,
    size: usize,
    /// Where its own header begins.
    header: usize,
}

/// How many members there are, and where the directory begins: from the record at the archive's end.
fn directory(file: &[u8]) -> Result<(usize, usize)> {
    /// The end record without its comment, which has at most 65,535 bytes.
    const END: usize = 22;
    let last = file.len().saturating_sub(END);
    let first = last.saturating_sub(usize::from(u16::MAX));
    let end = (first..=last).rev().find(|&at| file[at..].starts_with(b"PK\x05\x06"));
    let (Some(end), true) = (end, file.len() >= END) else {
        return Err(Error::format(
            NPZ,
            "needs a ZIP archive, got no directory; the file is cut off or of another kind",
        ));
    };
    Ok((short(file, end + 10)?, word(file, end + 16)?))
}

impl Member {
    /// The directory's entry at `at`, which is moved to the next.
    fn read(file: &[u8], at: &mut usize) -> Result<Self> {
        let entry = *at;
        if !slice(file, entry, 4)?.starts_with(b"PK\x01\x02") {
            return Err(broken("the directory"));
        }
        let [name, extra, comment] =
            [short(file, entry + 28)?, short(file, entry + 30)?, short(file, entry + 32)?];
        *at += 46 + name + extra + comment;
        Ok(Self {
            name: String::from_utf8_lossy(slice(file, entry + 46, name)?).into_owned(),
            // A `u16` in the file.
            method: short(file, entry + 10)? as u16,
            // A `u32` in the file.
            crc: word(file, entry + 16)? as u32,
            compressed: word(file, entry + 20)?,
            size: word(file, entry + 24)?,
            header: word(file, entry + 42)?,
        })
    }

    fn array<F: Scalar>(&self, file: &[u8]) -> Result<ArrayD<F>> {
        const ZIP64: usize = u32::MAX as usize;
        if [self.compressed, self.size, self.header].contains(&ZIP64) {
            return Err(Error::format(NPZ, "is larger than 4 GiB; save it as .npy"));
        }
        if !slice(file, self.header, 4)?.starts_with(b"PK\x03\x04") {
            return Err(broken("its header"));
        }
        let begin =
            self.header + 30 + short(file, self.header + 26)? + short(file, self.header + 28)?;
        let packed = slice(file, begin, self.compressed)?;
        let state = match self.method {
            0 => None,
            8 => Some(InflateState::new_boxed(DataFormat::Raw)),
            method => {
                return Err(Error::format(
                    NPZ,
                    format!(
                        "needs to be stored (0) or deflated (8), got compression method {method}"
                    ),
                ));
            }
        };
        let mut bytes = Unpack { packed, state, left: self.size, crc: !0 };
        let array = read_npy_of(&mut bytes, self.size);
        // To the end, also of a member that is no array: a damaged one should say that it is damaged.
        let unpacked = io::copy(&mut bytes, &mut io::sink());
        unpacked.map_err(|source| Error::Io { action: "read NPZ data", source })?;
        if bytes.left > 0 || !bytes.crc != self.crc {
            return Err(broken("its checksum"));
        }
        array
    }
}

/// The bytes of a member, unpacked as they are read: no more than it claims to have.
struct Unpack<'a> {
    packed: &'a [u8],
    /// `None` where they are stored as they are.
    state: Option<Box<InflateState>>,
    /// Bytes still to come.
    left: usize,
    crc: u32,
}

impl Read for Unpack<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.left);
        let into = &mut into[..most];
        if into.is_empty() {
            return Ok(0);
        }
        let (consumed, written) = match &mut self.state {
            None => {
                let len = into.len().min(self.packed.len());
                into[..len].copy_from_slice(&self.packed[..len]);
                (len, len)
            }
            Some(state) => {
                let result = inflate(state, self.packed, into, MZFlush::None);
                match result.status {
                    Ok(MZStatus::Ok | MZStatus::StreamEnd) => {}
                    Ok(MZStatus::NeedDict) => {
                        return Err(io::Error::other("it needs a dictionary"));
                    }
                    Err(MZError::Buf) => return Err(io::Error::other("the data end early")),
                    Err(_) => return Err(io::Error::other("the data are damaged")),
                }
                (result.bytes_consumed, result.bytes_written)
            }
        };
        self.packed = &self.packed[consumed..];
        self.left -= written;
        self.crc = crc32(self.crc, &into[..written]);
        Ok(written)
    }
}

fn broken(what: &str) -> Error {
    Error::format(NPZ, format!("{what} is not what it should be; the file is damaged"))
}

fn slice(file: &[u8], at: usize, len: usize) -> Result<&[u8]> {
    file.get(at..).and_then(|rest| rest.get(..len)).ok_or_else(|| broken("the length"))
}

fn short(file: &[u8], at: usize) -> Result<usize> {
    Ok(slice(file, at, 2)?.iter().rev().fold(0, |number, &byte| (number << 8) | usize::from(byte)))
}

fn word(file: &[u8], at: usize) -> Result<usize> {
    Ok(slice(file, at, 4)?.iter().rev().fold(0, |number, &byte| (number << 8) | usize::from(byte)))
}

/// The checksum of ZIP, continued: from all ones, and inverted at the end. A table entry for each byte.
fn crc32(begun: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut crc, mut bit) = (i as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    bytes.iter().fold(begun, |crc, &byte| (crc >> 8) ^ TABLE[(crc as u8 ^ byte) as usize])
}
