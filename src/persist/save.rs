//! From a model into a file.

use std::io::Write;
use std::path::Path;

use super::atomic::write_atomically;
use super::header::METADATA;
use super::json::write_string;
use super::problem::FileProblems;
use super::{Dtype, Storage};
use crate::{Entry, Error, Result, Role, Scalar, Sequential, Visitor};

/// Elements converted at a time.
const PIECE: usize = 1 << 14;

/// The largest number of [`Storage::Int8`].
const LEVELS: f64 = 127.0;

impl<F: Scalar> Sequential<F> {
    /// Writes every parameter and buffer to a safetensors file, in the model's own element type: to a temporary file beside
    /// it, which takes its place when all is on the disk. Whatever happens, there is the old file or the new one.
    ///
    /// Names and layouts are PyTorch's: `model.load_state_dict(safetensors.torch.load_file(path), strict=True)` takes it into a
    /// `torch.nn.Sequential` of the same layers.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written, [`Error::Weights`] if two parameters have the same name. What was at
    /// `path` is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_as(path, Storage::exact::<F>())
    }

    /// Like [`Sequential::save`], in another type.
    ///
    /// # Errors
    /// As there; [`Error::Weights`] if a weight that [`Storage::Int8`] should hold is not finite.
    ///
    /// ```
    /// use layerwise::persist::Storage;
    /// use layerwise::prelude::*;
    ///
    /// let path = std::env::temp_dir().join(format!("layerwise-save-{}", std::process::id()));
    /// let mut model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// let before = model.value("0.weight").unwrap();
    /// model.save_as(&path, Storage::F16)?;
    /// model.load(&path)?;
    /// let change = (model.value("0.weight").unwrap() - &before).mapv(f32::abs);
    /// assert!(change.iter().zip(&before).all(|(change, before)| *change <= before.abs() / 2048.0));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn save_as(&self, path: impl AsRef<Path>, storage: Storage) -> Result<()> {
        let path = path.as_ref();
        let contents =
            Contents { storage, metadata: Vec::new(), each: &|each| show(self, "", each) };
        let header = contents.header(Some(path))?;
        write_atomically(path, |out| contents.write(&header, out))
    }

    /// The bytes that [`Sequential::save`] would write.
    ///
    /// # Errors
    /// [`Error::Weights`] if two parameters have the same name.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.to_bytes_as(Storage::exact::<F>())
    }

    /// The bytes that [`Sequential::save_as`] would write.
    ///
    /// # Errors
    /// As for [`Sequential::to_bytes`].
    pub fn to_bytes_as(&self, storage: Storage) -> Result<Vec<u8>> {
        Contents { storage, metadata: Vec::new(), each: &|each| show(self, "", each) }.to_bytes()
    }
}

/// Something to be written, while it is shown.
pub(in crate::persist) struct Tensor<'a, F: Scalar> {
    pub(in crate::persist) name: &'a str,
    pub(in crate::persist) shape: &'a [usize],
    /// Whether [`Storage::Int8`] makes it smaller.
    pub(in crate::persist) is_weight: bool,
    pub(in crate::persist) values: &'a [F],
}

/// Is called with every tensor.
pub(in crate::persist) type Each<'e, F> = &'e mut dyn FnMut(Tensor<'_, F>);

/// What goes into a file. A model lends what it holds only while it is visited, so `each` is called once for the
/// header, and again for each type of element to write the numbers.
pub(in crate::persist) struct Contents<'a, F: Scalar> {
    pub(in crate::persist) storage: Storage,
    pub(in crate::persist) metadata: Vec<(String, String)>,
    /// Shows every tensor, always in the same order.
    pub(in crate::persist) each: &'a dyn Fn(Each<'_, F>),
}

/// Shows every parameter and buffer, with `prefix` in front of its name.
pub(in crate::persist) fn show<F: Scalar>(model: &Sequential<F>, prefix: &str, each: Each<'_, F>) {
    model.visit(&mut Visitor::new(&mut |name, entry| {
        let name = &*format!("{prefix}{name}");
        let (shape, values) = (entry.shape(), entry.as_slice());
        let is_weight = matches!(entry, Entry::Param(param) if param.role() == Role::Weight);
        each(Tensor { name, shape, is_weight, values });
    }));
}

impl<F: Scalar> Tensor<'_, F> {
    fn is_int8(&self, storage: Storage) -> bool {
        storage == Storage::Int8 && self.is_weight && self.shape.len() >= 2
    }

    /// Elements that share a factor.
    fn row(&self) -> usize {
        (self.values.len() / self.shape.first().copied().unwrap_or(1).max(1)).max(1)
    }

    /// For each row the largest number divided by [`LEVELS`].
    fn factors(&self) -> Vec<f32> {
        let largest =
            |row: &[F]| row.iter().fold(0.0, |most: f64, value| most.max(value.widen().abs()));
        self.values.chunks(self.row()).map(|row| (largest(row) / LEVELS) as f32).collect()
    }
}

/// What stands in the header before it is text.
struct Line {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: usize,
}

impl<F: Scalar> Contents<'_, F> {
    /// Wider elements first: each tensor then begins at a multiple of its element's size.
    fn dtypes(&self) -> &'static [Dtype] {
        match self.storage {
            Storage::F64 => &[Dtype::F64],
            Storage::F32 => &[Dtype::F32],
            Storage::F16 => &[Dtype::F16],
            Storage::Bf16 => &[Dtype::BF16],
            Storage::Int8 => &[Dtype::F32, Dtype::I8],
        }
    }

    /// Everything before the numbers.
    ///
    /// # Errors
    /// [`Error::Weights`] if two tensors have the same name, or one cannot be stored so.
    pub(in crate::persist) fn header(&self, path: Option<&Path>) -> Result<Vec<u8>> {
        let mut problems = FileProblems::new(path);
        let mut lines: Vec<Line> = Vec::new();
        for &dtype in self.dtypes() {
            (self.each)(&mut |tensor| lines.extend(line(&tensor, self.storage, dtype)));
        }
        (self.each)(&mut |tensor| {
            // Not NaN, and with a factor that is finite.
            let fits = |value: &F| value.widen().abs() <= f64::from(f32::MAX);
            let finite = || tensor.values.iter().all(fits);
            if tensor.is_int8(self.storage) && !finite() {
                problems.add(Some(tensor.name), || {
                    "needs finite numbers to be stored in 8 bits".into()
                });
            }
        });
        let mut names: Vec<&str> = lines.iter().map(|line| &*line.name).collect();
        names.sort_unstable();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1] || pair[0] == METADATA) {
            problems.add(Some(pair[0]), || "is the name of two tensors".into());
        }
        problems.into_result()?;
        let mut json = self.metadata_json();
        let mut at = 0;
        for Line { name, dtype, shape, bytes } in &lines {
            json.push(',');
            write_string(name, &mut json);
            let end = at + bytes;
            json.push_str(&format!(
                r#":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{at},{end}]}}"#
            ));
            at = end;
        }
        json.push('}');
        // The numbers begin at a multiple of eight.
        while !json.len().is_multiple_of(8) {
            json.push(' ');
        }
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend_from_slice(json.as_bytes());
        Ok(header)
    }

    fn metadata_json(&self) -> String {
        let mut json = String::from("{");
        write_string(METADATA, &mut json);
        json.push_str(r#":{"format":"pt""#);
        for (key, value) in &self.metadata {
            json.push(',');
            write_string(key, &mut json);
            json.push(':');
            write_string(value, &mut json);
        }
        json.push('}');
        json
    }

    pub(in crate::persist) fn write(
        &self,
        header: &[u8],
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        out.write_all(header)?;
        let mut result = Ok(());
        let mut bytes = Vec::new();
        for &dtype in self.dtypes() {
            (self.each)(&mut |tensor| {
                if result.is_ok() {
                    result = write_tensor(&tensor, self.storage, dtype, &mut bytes, out);
                }
            });
        }
        result
    }

    pub(in crate::persist) fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = self.header(None)?;
        let mut bytes = Vec::new();
        self.write(&header, &mut bytes)
            .map_err(|source| Error::Io { action: "write weights", source })?;
        Ok(bytes)
    }
}

/// What the header has of a tensor among elements of this type: itself, its factors, or nothing.
fn line<F: Scalar>(tensor: &Tensor<'_, F>, storage: Storage, dtype: Dtype) -> Option<Line> {
    let (int8, name) = (tensor.is_int8(storage), tensor.name);
    let (name, shape) = match dtype {
        Dtype::I8 if !int8 => return None,
        Dtype::F32 if int8 => (format!("{name}.scale"), tensor.shape.get(..1).unwrap_or_default()),
        _ => (name.into(), tensor.shape),
    };
    let bytes = shape.iter().product::<usize>() * dtype.size();
    Some(Line { name, dtype, shape: shape.into(), bytes })
}

/// Writes the numbers of the [`line`].
fn write_tensor<F: Scalar>(
    tensor: &Tensor<'_, F>,
    storage: Storage,
    dtype: Dtype,
    bytes: &mut Vec<u8>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let int8 = tensor.is_int8(storage);
    if !int8 && dtype != Dtype::I8 {
        for values in tensor.values.chunks(PIECE) {
            bytes.clear();
            dtype.encode(values, bytes);
            out.write_all(bytes)?;
        }
    } else if int8 && dtype == Dtype::F32 {
        bytes.clear();
        dtype.encode(&tensor.factors(), bytes);
        out.write_all(bytes)?;
    } else if int8 {
        for (row, factor) in tensor.values.chunks(tensor.row()).zip(tensor.factors()) {
            bytes.clear();
            // A row of zeros has the factor 0: the quotient is NaN, which `as` makes 0. In range otherwise, but for the
            // factor's own rounding, which `as` cuts.
            let level = |value: &F| (value.widen() / f64::from(factor)).round() as i8;
            bytes.extend(row.iter().map(|value| level(value).to_le_bytes()[0]));
            out.write_all(bytes)?;
        }
    }
    Ok(())
}
