//! Sources made of sources.

use super::{Source, Targets};
use crate::{Error, Result, Scalar, Shape};

/// Some samples of a source, without copying them: a part of data that is larger than memory.
///
/// ```
/// use layerwise::data::Subset;
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), (0..10).collect::<Vec<usize>>())?;
/// let part = Subset::new(data, vec![7, 2])?;
/// let mut batches = part.batches(5)?;
/// assert_eq!(batches.next_batch()?.unwrap().target, [7, 2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Subset<S> {
    source: S,
    indices: Vec<usize>,
}

impl<S> Subset<S> {
    /// The samples of these indices, in this order; one may occur several times.
    ///
    /// # Errors
    /// [`Error::Data`] for an index out of range.
    pub fn new<F: Scalar>(source: S, indices: Vec<usize>) -> Result<Self>
    where
        S: Source<F>,
    {
        check_indices(&indices, source.len())?;
        Ok(Self { source, indices })
    }

    /// Where in the source each sample is.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<F: Scalar, S: Source<F>> Source<F> for Subset<S> {
    type Targets = S::Targets;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> &Shape {
        self.source.shape()
    }

    fn room(&self, rows: usize) -> S::Targets {
        self.source.room(rows)
    }

    fn read(&self, rows: &[usize], x: &mut [F], targets: &mut S::Targets) -> Result<()> {
        let rows: Vec<usize> = rows.iter().map(|&row| self.indices[row]).collect();
        self.source.read(&rows, x, targets)
    }
}

/// Several sources of one kind as one, such as the five training files of CIFAR-10.
///
/// ```
/// use layerwise::data::Concat;
/// use layerwise::prelude::*;
///
/// let part = |class| Dataset::new(Array2::<f32>::zeros((2, 4)).into_dyn(), vec![class; 2]);
/// let both = Concat::new(vec![part(3)?, part(5)?])?;
/// let mut batches = both.batches(4)?;
/// assert_eq!(batches.next_batch()?.unwrap().target, [3, 3, 5, 5]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Concat<S> {
    sources: Vec<S>,
    /// Samples up to the end of each source.
    ends: Vec<usize>,
}

impl<S> Concat<S> {
    /// The sources one after another.
    ///
    /// # Errors
    /// [`Error::Data`] if there is none, or if their samples have different shapes.
    pub fn new<F: Scalar>(sources: Vec<S>) -> Result<Self>
    where
        S: Source<F>,
    {
        let Some(first) = sources.first() else {
            return Err(Error::Data("needs at least one source to put together, got none".into()));
        };
        if let Some(at) = sources.iter().position(|source| source.shape() != first.shape()) {
            let (shape, other) = (first.shape(), sources[at].shape());
            return Err(Error::Data(format!(
                "samples of source {at} are {other}, those of source 0 {shape}; all must be alike"
            )));
        }
        let ends = sources.iter().scan(0usize, |end, source| {
            *end += source.len();
            Some(*end)
        });
        Ok(Self { ends: ends.collect(), sources })
    }

    /// The source that holds a sample, and the sample's index there.
    fn place(&self, row: usize) -> (usize, usize) {
        let source = self.ends.partition_point(|&end| end <= row);
        let begin = if source == 0 { 0 } else { self.ends[source - 1] };
        (source, row - begin)
    }
}

impl<F: Scalar, S: Source<F>> Source<F> for Concat<S> {
    type Targets = S::Targets;

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn shape(&self) -> &Shape {
        self.sources[0].shape()
    }

    fn room(&self, rows: usize) -> S::Targets {
        self.sources[0].room(rows)
    }

    fn read(&self, rows: &[usize], x: &mut [F], targets: &mut S::Targets) -> Result<()> {
        let len = Source::<F>::shape(self).numel();
        let mut one = Source::<F>::room(self, 1);
        for (at, (x, &row)) in x.chunks_exact_mut(len).zip(rows).enumerate() {
            let (source, row) = self.place(row);
            self.sources[source].read(&[row], x, &mut one)?;
            one.gather(&[0], targets, at);
        }
        Ok(())
    }
}

/// That every index is below `count`.
pub(super) fn check_indices(indices: &[usize], count: usize) -> Result<()> {
    match indices.iter().find(|&&index| index >= count) {
        None => Ok(()),
        Some(index) => {
            Err(Error::Data(format!("index {index} is out of range: there are {count} samples")))
        }
    }
}
