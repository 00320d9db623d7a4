//! Samples that are read by index.

use std::fmt::Debug;

use super::{Batches, Targets};
use crate::{Result, Scalar, Shape};

/// Samples with their targets, read by index: from memory ([`super::Dataset`]), from a mapped file
/// ([`super::ByteImages`]), from many files, or made on the fly.
///
/// What is larger than memory is a source: only the batch in use is held. The same samples give the same bits
/// from any source.
///
/// # Examples
/// A source of your own: points on a circle, computed when they are asked for.
/// ```
/// use layerwise::prelude::*;
///
/// #[derive(Debug)]
/// struct Circle { shape: Shape }
///
/// impl Source for Circle {
///     type Targets = Vec<usize>;
///     fn len(&self) -> usize { 1_000_000_000 }
///     fn shape(&self) -> &Shape { &self.shape }
///     fn room(&self, rows: usize) -> Vec<usize> { vec![0; rows] }
///     fn read(&self, rows: &[usize], x: &mut [f32], targets: &mut Vec<usize>) -> Result<()> {
///         for (i, &row) in rows.iter().enumerate() {
///             (x[2 * i], x[2 * i + 1]) = ((row as f32).cos(), (row as f32).sin());
///             targets[i] = usize::from(x[2 * i] > 0.0);
///         }
///         Ok(())
///     }
/// }
///
/// let part = layerwise::data::Subset::new(Circle { shape: [2].into() }, (0..100).collect())?;
/// let mut batches = part.batches(10)?.shuffled(Seed::new(1));
/// assert_eq!(batches.next_batch()?.unwrap().x.shape(), [10, 2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Source<F: Scalar = f32>: Debug + Send + Sync {
    /// Their targets: `Vec<usize>` for classes, `ArrayD` for values.
    type Targets: Targets;

    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shape of one sample.
    fn shape(&self) -> &Shape;

    /// Room for the targets of `rows` samples.
    fn room(&self, rows: usize) -> Self::Targets;

    /// Writes the samples of these indices, all in range, one after another to `x`, and their targets to the
    /// front of `targets`. `x` has exactly as many elements as these samples.
    ///
    /// # Errors
    /// Whatever reading can meet. The batch is then lost; the next one can be read.
    fn read(&self, rows: &[usize], x: &mut [F], targets: &mut Self::Targets) -> Result<()>;

    /// Hands the samples out in batches of at most `batch_size`, in order, or shuffled by
    /// [`Batches::shuffled`].
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a batch size of 0, [`crate::Error::Data`] if there is no sample,
    /// [`crate::Error::Memory`] if there is no memory for a batch.
    fn batches(&self, batch_size: usize) -> Result<Batches<'_, F, Self::Targets>>
    where
        Self: Sized,
    {
        Batches::new(self, batch_size)
    }
}
