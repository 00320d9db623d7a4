//! Samples with their targets, in memory.

use std::ops::Range;

use ndarray::ArrayD;

use super::{Batch, Batches, Source, Targets};
use crate::workspace::{view, view_mut};
use crate::{Error, Result, Scalar, Shape, View, ViewMut};

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

    pub(crate) fn into_targets(self) -> T {
        self.targets
    }

    /// All samples, `[n, ..sample shape]`.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), vec![0usize; 10])?;
    /// assert_eq!(data.samples().shape(), [10, 4]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn samples(&self) -> View<'_, F> {
        view(self.len(), &self.shape, &self.samples)
    }

    /// Samples in order where they lie, with their targets; all in range.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Batch<'_, F, T> {
        let len = self.shape.numel();
        let x = &self.samples[rows.start * len..rows.end * len];
        Batch { x: view(rows.len(), &self.shape, x), target: self.targets.range(rows) }
    }

    /// All samples, to be changed in place.
    pub fn samples_mut(&mut self) -> ViewMut<'_, F> {
        view_mut(self.targets.len(), &self.shape, &mut self.samples)
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
        super::parts::check_indices(indices, self.len())?;
        let mut samples = vec![F::zero(); indices.len() * self.shape.numel()];
        self.gather(indices, &mut samples);
        let mut targets = self.targets.room(indices.len());
        self.targets.gather(indices, &mut targets, 0);
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

    fn gather(&self, rows: &[usize], into: &mut [F]) {
        let len = self.shape.numel();
        for (into, &row) in into.chunks_exact_mut(len).zip(rows) {
            into.copy_from_slice(&self.samples[row * len..][..len]);
        }
    }
}

impl<F: Scalar> Dataset<F> {
    /// The same samples with targets `[n, classes]`: 1 for the class, 0 elsewhere. What
    /// [`crate::augment::Mixup`] and losses of probabilities take.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let data = Dataset::new(Array2::<f32>::zeros((2, 4)).into_dyn(), vec![2, 0])?;
    /// let soft = data.one_hot(3)?;
    /// assert_eq!(soft.targets().as_slice().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Target`] for a class of `classes` or above.
    pub fn one_hot(self, classes: usize) -> Result<Dataset<F, ArrayD<F>>> {
        let targets = crate::preprocessing::OneHot::new(classes).apply(&self.targets)?;
        Ok(Dataset { samples: self.samples, shape: self.shape, targets })
    }
}

impl<F: Scalar, T: Targets> Source<F> for Dataset<F, T> {
    type Targets = T;

    fn len(&self) -> usize {
        Dataset::len(self)
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn room(&self, rows: usize) -> T {
        self.targets.room(rows)
    }

    fn read(&self, rows: &[usize], x: &mut [F], targets: &mut T) -> Result<()> {
        self.gather(rows, x);
        self.targets.gather(rows, targets, 0);
        Ok(())
    }
}
