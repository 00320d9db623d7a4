//! Mini-batches.

use super::{Dataset, Targets};
use crate::workspace::view;
use crate::{Error, Result, Scalar, Seed, View};

/// Hands out a data set in batches, gathered into buffers that are used again; made by
/// [`Dataset::batches`].
///
/// Not an `Iterator`: each batch borrows the buffers until the next. Shuffled, the order of epoch `n` is
/// always the same for the same seed.
///
/// ```
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), (0..10).collect::<Vec<usize>>())?;
/// let mut batches = data.batches(4)?.shuffled(Seed::new(1));
/// let mut sizes = Vec::new();
/// while let Some(batch) = batches.next_batch() {
///     sizes.push(batch.target.len());
/// }
/// assert_eq!(sizes, [4, 4, 2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Batches<'a, F: Scalar, T> {
    data: &'a Dataset<F, T>,
    batch_size: usize,
    drop_last: bool,
    seed: Option<Seed>,
    /// Epochs finished or given up.
    epoch: u64,
    order: Vec<usize>,
    /// Samples handed out in this epoch.
    at: usize,
    x: Vec<F>,
    target: T,
}

/// Some samples with their targets.
#[derive(Debug)]
pub struct Batch<'b, F: Scalar, T: Targets + 'b> {
    /// `[batch, ..sample shape]`
    pub x: View<'b, F>,
    /// One target for each sample.
    pub target: T::View<'b>,
}

impl<'a, F: Scalar, T: Targets> Batches<'a, F, T> {
    pub(super) fn new(data: &'a Dataset<F, T>, batch_size: usize) -> Result<Self> {
        if batch_size == 0 {
            let (kind, field) = ("Batches", "batch_size");
            return Err(Error::Setting { kind, field, must_be: "at least 1", got: "0".into() });
        }
        let batch_size = batch_size.min(data.len());
        Ok(Self {
            data,
            batch_size,
            drop_last: false,
            seed: None,
            epoch: 0,
            order: (0..data.len()).collect(),
            at: 0,
            x: vec![F::zero(); batch_size * data.shape().numel()],
            target: data.targets().room(batch_size),
        })
    }

    /// In a new random order each epoch.
    pub fn shuffled(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self.shuffle();
        self
    }

    /// Whether to leave out a last batch that is smaller; default false.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Batches of a whole epoch.
    pub fn count(&self) -> usize {
        if self.drop_last {
            self.data.len() / self.batch_size
        } else {
            self.data.len().div_ceil(self.batch_size)
        }
    }

    /// Samples of a whole data set.
    pub fn samples(&self) -> usize {
        self.data.len()
    }

    /// The epoch that the next batch belongs to, from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Goes to the beginning of an epoch, to repeat it or to go on where another run stopped.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.at = 0;
        self.shuffle();
    }

    /// Goes to the beginning of an epoch: to that of the next one if this one has begun.
    pub fn restart(&mut self) {
        if self.at > 0 {
            self.set_epoch(self.epoch + 1);
        }
    }

    /// The next batch of this epoch, or `None` at its end; the call after that begins the next epoch.
    pub fn next_batch(&mut self) -> Option<Batch<'_, F, T>> {
        let left = self.data.len() - self.at;
        if left == 0 || (self.drop_last && left < self.batch_size) {
            self.set_epoch(self.epoch + 1);
            return None;
        }
        let rows = left.min(self.batch_size);
        let indices = &self.order[self.at..self.at + rows];
        self.at += rows;
        let x = &mut self.x[..rows * self.data.shape().numel()];
        self.data.gather(indices, x);
        self.data.targets().gather(indices, &mut self.target);
        Some(Batch { x: view(rows, self.data.shape(), x), target: self.target.first(rows) })
    }

    fn shuffle(&mut self) {
        let Some(seed) = self.seed else { return };
        // From the natural order, so that an epoch's order does not depend on the epochs before.
        for (i, index) in self.order.iter_mut().enumerate() {
            *index = i;
        }
        seed.fold(self.epoch).rng().shuffle(&mut self.order);
    }
}
