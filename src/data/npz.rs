//! NumPy's `.npz` format: a ZIP archive of `.npy` members.

use std::collections::BTreeMap;
use std::io::Read;

use miniz_oxide::inflate::decompress_to_vec_with_limit;
use ndarray::ArrayD;

use super::read_npy;
use crate::{Error, Result, Scalar};

const NPZ: &str = "NPZ";

/// Reads a NumPy `.npz` stream, as `numpy.savez` and `numpy.savez_compressed` write it: arrays by name.
///
/// Every array is one that [`read_npy`] understands. Checksums are verified. Archives of 4 GiB and more are
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
/// # Errors
/// [`Error::Format`] if the archive or a member is broken or of another kind; [`Error::Io`] if reading fails.
pub fn read_npz<F: Scalar>(mut reader: impl Read) -> Result<BTreeMap<String, ArrayD<F>>> {
    let mut file = Vec::new();
    reader
        .read_to_end(&mut file)
        .map_err(|source| Error::Io { action: "read NPZ data", source })?;
    let mut arrays = BTreeMap::new();
    for member in directory(&file)? {
        let name = member.name.strip_suffix(".npy").unwrap_or(&member.name).to_owned();
        let inside = |error| match error {
            Error::Format { message, .. } => {
                Error::format(NPZ, format!("member {name}: {message}"))
            }
            other => other,
        };
        let array = member.read(&file).and_then(|bytes| read_npy(&bytes[..])).map_err(inside)?;
        arrays.insert(name, array);
    }
    Ok(arrays)
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

/// The archive's directory, which stands at its end.
fn directory(file: &[u8]) -> Result<Vec<Member>> {
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
    let (count, mut at) = (short(file, end + 10)?, word(file, end + 16)?);
    let mut members = Vec::new();
    for _ in 0..count {
        if !slice(file, at, 4)?.starts_with(b"PK\x01\x02") {
            return Err(broken("the directory"));
        }
        let [name_len, extra_len, comment_len] =
            [short(file, at + 28)?, short(file, at + 30)?, short(file, at + 32)?];
        let name = String::from_utf8_lossy(slice(file, at + 46, name_len)?).into_owned();
        members.push(Member {
            name,
            // A `u16` in the file.
            method: short(file, at + 10)? as u16,
            // A `u32` in the file.
            crc: word(file, at + 16)? as u32,
            compressed: word(file, at + 20)?,
            size: word(file, at + 24)?,
            header: word(file, at + 42)?,
        });
        at += 46 + name_len + extra_len + comment_len;
    }
    Ok(members)
}

impl Member {
    fn read(&self, file: &[u8]) -> Result<Vec<u8>> {
        const ZIP64: usize = u32::MAX as usize;
        if [self.compressed, self.size, self.header].contains(&ZIP64) {
            return Err(Error::format(NPZ, "is larger than 4 GiB; save it as .npy"));
        }
        if !slice(file, self.header, 4)?.starts_with(b"PK\x03\x04") {
            return Err(broken("its header"));
        }
        let begin =
            self.header + 30 + short(file, self.header + 26)? + short(file, self.header + 28)?;
        let data = slice(file, begin, self.compressed)?;
        let bytes = match self.method {
            0 => data.to_vec(),
            8 => decompress_to_vec_with_limit(data, self.size)
                .map_err(|error| Error::format(NPZ, format!("cannot be decompressed: {error}")))?,
            method => {
                return Err(Error::format(
                    NPZ,
                    format!(
                        "needs to be stored (0) or deflated (8), got compression method {method}"
                    ),
                ));
            }
        };
        if bytes.len() != self.size || crc32(&bytes) != self.crc {
            return Err(broken("its checksum"));
        }
        Ok(bytes)
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

/// The checksum of ZIP, a table entry for each byte.
fn crc32(bytes: &[u8]) -> u32 {
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
    !bytes.iter().fold(!0, |crc, &byte| (crc >> 8) ^ TABLE[(crc as u8 ^ byte) as usize])
}
