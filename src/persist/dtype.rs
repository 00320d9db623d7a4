//! Element types of stored tensors.

use std::fmt;

use crate::Scalar;
use crate::kernels::convert::{self, bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// Element type of a tensor in a file, as the safetensors format names it.
///
/// Any float is read into a model and converted; `I8` is read with the scales that
/// [`Storage::Int8`] writes. Other integers, such as PyTorch's `num_batches_tracked`, can be listed but not loaded.
///
/// ```
/// use layerwise::persist::Dtype;
///
/// assert_eq!((Dtype::BF16.to_string(), Dtype::BF16.size()), ("BF16".to_string(), 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    F8E5M2,
    F8E4M3,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

const NAMES: [(Dtype, &str, usize); 15] = [
    (Dtype::F64, "F64", 8),
    (Dtype::F32, "F32", 4),
    (Dtype::F16, "F16", 2),
    (Dtype::BF16, "BF16", 2),
    (Dtype::F8E5M2, "F8_E5M2", 1),
    (Dtype::F8E4M3, "F8_E4M3", 1),
    (Dtype::I64, "I64", 8),
    (Dtype::I32, "I32", 4),
    (Dtype::I16, "I16", 2),
    (Dtype::I8, "I8", 1),
    (Dtype::U64, "U64", 8),
    (Dtype::U32, "U32", 4),
    (Dtype::U16, "U16", 2),
    (Dtype::U8, "U8", 1),
    (Dtype::Bool, "BOOL", 1),
];

impl Dtype {
    pub(super) fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        NAMES.iter().find(|row| row.0 == self).map_or(1, |row| row.2)
    }

    /// Whether tensors of this type are read into a model without more.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Converts as many elements as `out` has; returns whether all are finite.
    pub(super) fn decode<F: Scalar>(self, bytes: &[u8], out: &mut [F]) -> bool {
        let half = |x: f32| F::lit(f64::from(x));
        match self {
            Self::F64 => convert::decode(bytes, out, |b| F::lit(f64::from_le_bytes(b))),
            Self::F32 => convert::decode(bytes, out, |b| half(f32::from_le_bytes(b))),
            Self::F16 => convert::decode(bytes, out, |b| half(f16_to_f32(u16::from_le_bytes(b)))),
            Self::BF16 => convert::decode(bytes, out, |b| half(bf16_to_f32(u16::from_le_bytes(b)))),
            Self::I8 => convert::decode(bytes, out, |b| F::lit(f64::from(i8::from_le_bytes(b)))),
            // Refused before: see `is_read`.
            _ => false,
        }
    }

    /// Appends the elements of these bytes; returns whether all are finite.
    pub(super) fn append<F: Scalar>(self, bytes: &[u8], out: &mut Vec<F>) -> bool {
        let half = |x: f32| F::lit(f64::from(x));
        match self {
            Self::F64 => convert::append(bytes, out, |b| F::lit(f64::from_le_bytes(b))),
            Self::F32 => convert::append(bytes, out, |b| half(f32::from_le_bytes(b))),
            Self::F16 => convert::append(bytes, out, |b| half(f16_to_f32(u16::from_le_bytes(b)))),
            Self::BF16 => convert::append(bytes, out, |b| half(bf16_to_f32(u16::from_le_bytes(b)))),
            // Eight bits have factors, which are elsewhere; others were refused: see `is_read`.
            _ => false,
        }
    }

    /// Appends the elements, rounded to nearest.
    pub(super) fn encode<F: Scalar>(self, values: &[F], out: &mut Vec<u8>) {
        // Halves go through `f32`, as in PyTorch.
        let single = |x: F| x.widen() as f32;
        match self {
            Self::F64 => convert::encode(values, out, |x| x.widen().to_le_bytes()),
            Self::F16 => convert::encode(values, out, |x| f32_to_f16(single(x)).to_le_bytes()),
            Self::BF16 => convert::encode(values, out, |x| f32_to_bf16(single(x)).to_le_bytes()),
            _ => convert::encode(values, out, |x| single(x).to_le_bytes()),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|row| row.0 == *self).map_or("?", |row| row.1))
    }
}

/// How the numbers of a model are written.
///
/// Reading gives the model's own element type whatever the file has.
///
/// ```
/// use layerwise::persist::Storage;
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([100]).add(Linear::new(100)).build()?;
/// let [f32, f16, int8] = [Storage::F32, Storage::F16, Storage::Int8].map(|s| model.to_bytes_as(s).unwrap().len());
/// assert!(f16 < f32 * 6 / 10 && int8 < f32 * 4 / 10);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Storage {
    /// 4 bytes: about 7 digits. Exact for `f32` models.
    F32,
    /// 8 bytes: about 16 digits.
    F64,
    /// 2 bytes, IEEE 754 binary16: about 3 digits, up to ±65504; larger numbers become infinite.
    F16,
    /// 2 bytes, bfloat16: about 2 digits in the range of `f32`.
    Bf16,
    /// 1 byte for each weight of two or more axes, between −127 and 127, and an `f32` factor for each of its rows
    /// (outputs) in a tensor of its own, `{name}.scale`: the largest of a row is kept, the error at most half a step. All
    /// else as [`Storage::F32`]. A format of this crate: PyTorch has no use for it.
    Int8,
}

impl Storage {
    /// What keeps every bit of a model with this element.
    pub(super) fn exact<F: Scalar>() -> Self {
        if size_of::<F>() == 4 { Self::F32 } else { Self::F64 }
    }
}
