//! From a file into new arrays, without the file in memory: one copy, a piece at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::WeightsFile;
use super::header::{Entry, LENGTH, json_end};
use super::load::Sources;
use super::problem::FileProblems;
use crate::{Error, Result, Scalar};

/// Bytes read at a time: they are converted while they lie in the second cache.
const PIECE: usize = 1 << 17;

/// A file whose head was read and checked.
pub(super) struct Stream {
    pub(super) weights: WeightsFile<'static>,
    file: File,
    len: usize,
    path: PathBuf,
}

/// A tensor's numbers, and whether all are finite.
pub(super) struct Values<F> {
    pub(super) values: Vec<F>,
    pub(super) finite: bool,
}

impl Stream {
    /// `None` for what has no length, such as a pipe.
    ///
    /// # Errors
    /// As for [`WeightsFile`].
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        let fail = |source| Error::File { action: "read", path: path.into(), source };
        let mut file = File::open(path).map_err(fail)?;
        let about = file.metadata().map_err(fail)?;
        let Some(len) = usize::try_from(about.len()).ok().filter(|_| about.is_file()) else {
            return Ok(None);
        };
        let mut head = vec![0; LENGTH.min(len)];
        file.read_exact(&mut head).map_err(fail)?;
        let mut problems = FileProblems::new(Some(path));
        let end = json_end(&head, len, &mut problems);
        problems.into_result()?;
        let end = end.expect("a file without problems has a head");
        // No longer than the file: checked.
        head.reserve_exact(end - LENGTH);
        head.resize(end, 0);
        file.read_exact(&mut head[LENGTH..]).map_err(fail)?;
        let weights = WeightsFile::of_head(head, len, path)?;
        Ok(Some(Self { weights, file, len, path: path.into() }))
    }

    /// The tensors' numbers, as new arrays: a model changes only when all of them are there. `None` if they take more memory
    /// than the file, for it has smaller elements: then it is better read as a whole and converted in place.
    ///
    /// # Errors
    /// [`Error::File`] if reading fails.
    pub(super) fn read<F: Scalar>(
        &mut self,
        sources: &Sources,
    ) -> Result<Option<Vec<Option<Values<F>>>>> {
        let memory = |entry: &Entry| {
            ((entry.to - entry.from) / entry.dtype.size() as u64)
                .saturating_mul(size_of::<F>() as u64)
        };
        let needed = sources.iter().flatten().map(memory).fold(0, u64::saturating_add);
        if needed > self.len as u64 || sources.iter().flatten().any(|entry| !entry.dtype.is_read())
        {
            return Ok(None);
        }
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_unstable_by_key(|&i| sources[i].map(|entry| entry.from));
        let mut values: Vec<_> = sources.iter().map(|_| None).collect();
        let mut piece = Vec::new();
        for i in order {
            if let Some(entry) = &sources[i] {
                let read = self.tensor(entry, &mut piece);
                values[i] = Some(read.map_err(|source| Error::File {
                    action: "read",
                    path: self.path.clone(),
                    source,
                })?);
            }
        }
        Ok(Some(values))
    }

    fn tensor<F: Scalar>(
        &mut self,
        entry: &Entry,
        piece: &mut Vec<u8>,
    ) -> std::io::Result<Values<F>> {
        let mut left = (entry.to - entry.from) as usize;
        let mut values = Vec::new();
        values.try_reserve_exact(left / entry.dtype.size())?;
        // A whole number of elements.
        piece.resize(PIECE.min(left).max(piece.len()), 0);
        self.file.seek(SeekFrom::Start(self.weights.place(entry)))?;
        let mut finite = true;
        while left > 0 {
            let bytes = &mut piece[..left.min(PIECE)];
            self.file.read_exact(bytes)?;
            finite &= entry.dtype.append(bytes, &mut values);
            left -= bytes.len();
        }
        Ok(Values { values, finite })
    }
}
