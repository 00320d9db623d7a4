//! Samples with their targets, in memory.

use std::fmt::Debug;
use std::ops::{Deref, Range};

use ndarray::{ArrayD, ArrayRef, ArrayViewD, Axis, IxDyn, Slice};

use super::{Batch, Batches};
use crate::workspace::view;
use crate::{Error, Result, Scalar, Shape};

/// Targets of a data set: `Vec<usize>` for class indices, `ArrayD` for values.
pub trait Targets: Debug + Send + Sync {
    /// What a [`crate::Loss`] takes.
    type Target: ?Sized;
    /// The targets of one batch.
    type View<'a>: Deref<Target = Self::Target> + Debug
    where
        Self: 'a;

    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Room for the targets of `rows` samples.
    fn room(&self, rows: usize) -> Self;

    /// Copies the targets of these samples, all in range, to the front of `into`.
    fn gather(&self, rows: &[usize], into: &mut Self);

    /// The targets of these samples, all in range.
    fn range(&self, rows: Range<usize>) -> Self::View<'_>;

    /// The first `rows` targets.
    fn first(&self, rows: usize) -> Self::View<'_> {
        self.range(0..rows)
    }
}

impl Targets for Vec<usize> {
    type Target = [usize];
    type View<'a> = &'a [usize];

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn room(&self, rows: usize) -> Self {
        vec![0; rows]
    }

    fn gather(&self, rows: &[usize], into: &mut Self) {
        for (into, &row) in into.iter_mut().zip(rows) {
            *into = self[row];
        }
    }

    fn range(&self, rows: Range<usize>) -> &[usize] {
        &self[rows]
    }
}

impl<F: Scalar> Targets for ArrayD<F> {
    type Target = ArrayRef<F, IxDyn>;
    type View<'a> = ArrayViewD<'a, F>;

    fn len(&self) -> usize {
        self.shape().first().copied().unwrap_or(0)
    }

    fn room(&self, rows: usize) -> Self {
        let mut shape = self.raw_dim();
        shape[0] = rows;
        ArrayD::zeros(shape)
    }

    fn gather(&self, rows: &[usize], into: &mut Self) {
        for (mut into, &row) in into.outer_iter_mut().zip(rows) {
            into.assign(&self.index_axis(Axis(0), row));
        }
    }

    fn range(&self, rows: Range<usize>) -> ArrayViewD<'_, F> {
        self.slice_axis(Axis(0), Slice::from(rows))
    }
}

/// Samples with their targets, in memory.
///
/// ```
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), vec![0usize; 10])?;
/// assert_eq!((data.len(), data.shape().dims()), (10, &[4][..]));
/// let error = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), vec![0usize; 9]).unwrap_err();
/// assert_eq!(error.to_string(), "data set: 10 samples but 9 targets; each sample needs one");
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dataset<F: Scalar = f32, T = Vec<usize>> {
    /// Row-major.
    samples: Vec<F>,
    shape: Shape,
    targets: T,
}

impl<F: Scalar, T: Targets> Dataset<F, T> {
    /// Samples `[n, ..sample shape]` and `n` targets.
    ///
    /// # Errors
    /// [`Error::Data`] if the numbers differ, or there is no sample.
    pub fn new(samples: ArrayD<F>, targets: T) -> Result<Self> {
        let (&count, shape) = samples
            .shape()
            .split_first()
            .ok_or_else(|| Error::Data("samples need a batch axis, got a single number".into()))?;
        if count != targets.len() {
            let got = targets.len();
            return Err(Error::Data(format!(
                "{count} samples but {got} targets; each sample needs one"
            )));
        }
        if samples.is_empty() {
            let shape = Shape::from(samples.shape());
            return Err(Error::Data(format!(
                "needs at least one sample with at least one element, got {shape}"
            )));
        }
        let shape = Shape::from(shape);
        let samples = if samples.is_standard_layout() {
            samples
        } else {
            samples.as_standard_layout().into_owned()
        };
        // A sliced array lies somewhere inside its buffer.
        let len = samples.len();
        let (samples, offset) = samples.into_raw_vec_and_offset();
        let samples = match offset.unwrap_or(0) {
            0 if samples.len() == len => samples,
            offset => samples[offset..offset + len].to_vec(),
        };
        Ok(Self { samples, shape, targets })
    }

    /// Number of samples, at least 1.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Always false: a data set has samples.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Shape of one sample.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The targets.
    pub fn targets(&self) -> &T {
        &self.targets
    }

    /// One sample's elements in row-major order, if there are so many samples.
    pub fn sample(&self, index: usize) -> Option<&[F]> {
        self.samples.chunks_exact(self.shape.numel()).nth(index)
    }

    /// The samples of these indices, in this order, as a data set of their own.
    ///
    /// # Errors
    /// [`Error::Data`] for an index out of range, or for none.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), (0..10).collect::<Vec<usize>>())?;
    /// assert_eq!(data.select(&[7, 7, 1])?.targets(), &[7, 7, 1]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if indices.is_empty() {
            return Err(Error::Data("a selection needs at least one index".into()));
        }
        if let Some(index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(Error::Data(format!(
                "index {index} is out of range: there are {} samples",
                self.len()
            )));
        }
        let mut samples = vec![F::zero(); indices.len() * self.shape.numel()];
        self.gather(indices, &mut samples);
        let mut targets = self.targets.room(indices.len());
        self.targets.gather(indices, &mut targets);
        Ok(Self { samples, shape: self.shape.clone(), targets })
    }

    /// Hands the samples out in batches of at most `batch_size`, in order, or shuffled by
    /// [`Batches::shuffled`].
    ///
    /// # Errors
    /// [`Error::Setting`] for a batch size of 0.
    pub fn batches(&self, batch_size: usize) -> Result<Batches<'_, F, T>> {
        Batches::new(self, batch_size)
    }

    /// Samples in order where they lie, with their targets; all in range.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Batch<'_, F, T> {
        let len = self.shape.numel();
        let x = &self.samples[rows.start * len..rows.end * len];
        Batch { x: view(rows.len(), &self.shape, x), target: self.targets.range(rows) }
    }

    pub(super) fn gather(&self, rows: &[usize], into: &mut [F]) {
        let len = self.shape.numel();
        for (into, &row) in into.chunks_exact_mut(len).zip(rows) {
            into.copy_from_slice(&self.samples[row * len..][..len]);
        }
    }
}
