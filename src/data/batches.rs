//! Mini-batches.

use std::fmt;
use std::sync::Arc;

use super::order::Order;
use super::{Source, Targets};
use crate::augment::{BatchAugmentation, BatchMut};
use crate::workspace::{grown, view};
use crate::{Result, Scalar, Seed, Shape, View};

/// Hands out samples in batches, gathered into buffers that are used again; made by
/// [`super::Dataset::batches`] or [`Source::batches`].
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
/// while let Some(batch) = batches.next_batch()? {
///     sizes.push(batch.target.len());
/// }
/// assert_eq!(sizes, [4, 4, 2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Batches<'a, F: Scalar, T> {
    source: Handle<'a, F, T>,
    order: Order,
    augmentations: Vec<Box<dyn BatchAugmentation<F, T>>>,
    buffers: Buffers<F, T>,
}

/// Some samples with their targets.
#[derive(Debug)]
pub struct Batch<'b, F: Scalar, T: Targets + 'b> {
    /// `[batch, ..sample shape]`
    pub x: View<'b, F>,
    /// One target for each sample.
    pub target: T::View<'b>,
}

/// What hands out batches, epoch by epoch: [`Batches`] on the calling thread, [`super::Prefetch`] from a
/// thread of its own. Training and evaluation take either.
pub trait Loader<F: Scalar = f32> {
    /// The targets of the samples.
    type Targets: Targets;

    /// The next batch of this epoch, or `None` at its end; the call after that begins the next epoch.
    ///
    /// # Errors
    /// What the source reports. The batch is then lost; the next call goes on after it.
    fn next_batch(&mut self) -> Result<Option<Batch<'_, F, Self::Targets>>>;

    /// Goes to the beginning of an epoch: to that of the next one if this one has begun.
    fn restart(&mut self);

    /// Goes to the beginning of this epoch, to repeat it or to go on where another run stopped.
    fn set_epoch(&mut self, epoch: u64);

    /// The epoch that the next batch belongs to, from 0.
    fn epoch(&self) -> u64;

    /// Batches of a whole epoch.
    fn count(&self) -> usize;

    /// Samples of a whole data set.
    fn samples(&self) -> usize;
}

/// Where samples come from: borrowed, or held by several.
#[derive(Debug)]
enum Handle<'a, F: Scalar, T> {
    Borrowed(&'a dyn Source<F, Targets = T>),
    Shared(Arc<dyn Source<F, Targets = T>>),
}

impl<F: Scalar, T: Targets> Handle<'_, F, T> {
    fn get(&self) -> &dyn Source<F, Targets = T> {
        match self {
            Self::Borrowed(source) => *source,
            Self::Shared(source) => &**source,
        }
    }
}

/// One batch, being prepared or lent out.
pub(super) struct Buffers<F, T> {
    rows: usize,
    x: Vec<F>,
    target: T,
    scratch: Vec<F>,
}

/// Its size, not its contents.
impl<F, T> fmt::Debug for Buffers<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} of {} elements)", self.rows, self.x.len())
    }
}

impl<F: Scalar, T: Targets> Buffers<F, T> {
    /// What was prepared.
    pub(super) fn batch(&self, shape: &Shape) -> Batch<'_, F, T> {
        let x = &self.x[..self.rows * shape.numel()];
        Batch { x: view(self.rows, shape, x), target: self.target.first(self.rows) }
    }
}

impl<'a, F: Scalar, T: Targets> Batches<'a, F, T> {
    pub(super) fn new(source: &'a dyn Source<F, Targets = T>, batch_size: usize) -> Result<Self> {
        Self::over(Handle::Borrowed(source), batch_size)
    }

    fn over(source: Handle<'a, F, T>, batch_size: usize) -> Result<Self> {
        let order = Order::new(source.get().len(), batch_size)?;
        let buffers = buffers(source.get(), order.batch_size())?;
        Ok(Self { source, order, augmentations: Vec::new(), buffers })
    }

    /// In a new random order each epoch, which takes 8 bytes for each sample.
    pub fn shuffled(mut self, seed: Seed) -> Self {
        self.order.shuffle(seed);
        self
    }

    /// Every class as often as any other, in a new random order each epoch. `classes` has the class of each
    /// sample.
    ///
    /// An epoch still has as many samples as the data: rare classes come several times, each of their samples
    /// as often as the others give or take one, and of frequent classes another random part comes each epoch. An
    /// augmentation changes a sample alike each time that it comes in one epoch.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let classes: Vec<usize> = (0..100).map(|i| usize::from(i < 10)).collect(); // 10 of class 1
    /// let data = Dataset::new(Array2::<f32>::zeros((100, 4)).into_dyn(), classes.clone())?;
    /// let mut batches = data.batches(100)?.balanced(&classes, Seed::new(1))?;
    /// let ones: usize = batches.next_batch()?.unwrap().target.iter().sum();
    /// assert_eq!(ones, 50);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Data`] if there are not as many classes as samples.
    pub fn balanced(mut self, classes: &[usize], seed: Seed) -> Result<Self> {
        self.order.balance(classes, seed)?;
        Ok(self)
    }

    /// Whether to leave out a last batch that is smaller; default false.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.order.drop_last = drop_last;
        self
    }

    /// Changes every batch at random before it is handed out: a [`crate::augment::Pipeline`], or
    /// [`crate::augment::Mixup`]. Called again, the next is applied after the one before.
    ///
    /// ```
    /// use layerwise::augment::{HorizontalFlip, Pipeline};
    /// use layerwise::prelude::*;
    ///
    /// let data = Dataset::new(Array4::<f32>::zeros((10, 3, 8, 8)).into_dyn(), vec![0usize; 10])?;
    /// let augment = Pipeline::new(Seed::new(1)).add(HorizontalFlip::new());
    /// let mut batches = data.batches(4)?.shuffled(Seed::new(1)).augmented(augment)?;
    /// assert_eq!(batches.next_batch()?.unwrap().x.shape(), [4, 3, 8, 8]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a setting out of range; [`crate::Error::Data`] if the samples are not what
    /// it works on, such as images.
    pub fn augmented(
        mut self,
        augmentation: impl BatchAugmentation<F, T> + 'static,
    ) -> Result<Self> {
        augmentation.check(self.source.get().shape())?;
        self.augmentations.push(Box::new(augmentation));
        Ok(self)
    }

    /// Batches of a whole epoch.
    pub fn count(&self) -> usize {
        self.order.batches()
    }

    /// Samples of a whole data set.
    pub fn samples(&self) -> usize {
        self.source.get().len()
    }

    /// The epoch that the next batch belongs to, from 0.
    pub fn epoch(&self) -> u64 {
        self.order.epoch()
    }

    /// Goes to the beginning of an epoch, to repeat it or to go on where another run stopped.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.order.set_epoch(epoch);
    }

    /// Goes to the beginning of an epoch: to that of the next one if this one has begun.
    pub fn restart(&mut self) {
        if self.order.has_begun() {
            self.set_epoch(self.epoch() + 1);
        }
    }

    /// The next batch of this epoch, or `None` at its end; the call after that begins the next epoch.
    ///
    /// # Errors
    /// What the source reports; a [`super::Dataset`] reports nothing. The batch is then lost; the next call
    /// goes on after it.
    pub fn next_batch(&mut self) -> Result<Option<Batch<'_, F, T>>> {
        let Self { source, order, augmentations, buffers } = self;
        let filled = fill(source.get(), order, augmentations, buffers)?;
        Ok(filled.then(|| buffers.batch(source.get().shape())))
    }

    /// Like [`Batches::next_batch`], into buffers of the caller; false at the end of the epoch.
    pub(super) fn fill(&mut self, buffers: &mut Buffers<F, T>) -> Result<bool> {
        fill(self.source.get(), &mut self.order, &self.augmentations, buffers)
    }

    /// Room for one more batch.
    pub(super) fn buffers(&self) -> Result<Buffers<F, T>> {
        buffers(self.source.get(), self.order.batch_size())
    }

    pub(super) fn shape(&self) -> &Shape {
        self.source.get().shape()
    }
}

impl<F: Scalar, T: Targets> Batches<'static, F, T> {
    /// The samples of a source that is held by several, such as the calling thread and a [`super::Prefetch`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// use std::sync::Arc;
    ///
    /// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), vec![0usize; 10])?;
    /// let batches = Batches::shared(Arc::new(data), 5)?;
    /// assert_eq!(batches.count(), 2);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Source::batches`].
    pub fn shared(source: Arc<dyn Source<F, Targets = T>>, batch_size: usize) -> Result<Self> {
        Self::over(Handle::Shared(source), batch_size)
    }
}

impl<F: Scalar, T: Targets> Loader<F> for Batches<'_, F, T> {
    type Targets = T;

    fn next_batch(&mut self) -> Result<Option<Batch<'_, F, T>>> {
        Batches::next_batch(self)
    }

    fn restart(&mut self) {
        Batches::restart(self);
    }

    fn set_epoch(&mut self, epoch: u64) {
        Batches::set_epoch(self, epoch);
    }

    fn epoch(&self) -> u64 {
        Batches::epoch(self)
    }

    fn count(&self) -> usize {
        Batches::count(self)
    }

    fn samples(&self) -> usize {
        Batches::samples(self)
    }
}

fn buffers<F: Scalar, T: Targets>(
    source: &dyn Source<F, Targets = T>,
    rows: usize,
) -> Result<Buffers<F, T>> {
    let mut x = Vec::new();
    grown(&mut x, rows, source.shape().numel())?;
    Ok(Buffers { rows: 0, x, target: source.room(rows), scratch: Vec::new() })
}

fn fill<F: Scalar, T: Targets>(
    source: &dyn Source<F, Targets = T>,
    order: &mut Order,
    augmentations: &[Box<dyn BatchAugmentation<F, T>>],
    buffers: &mut Buffers<F, T>,
) -> Result<bool> {
    let epoch = order.epoch();
    let Some(rows) = order.next() else { return Ok(false) };
    let Buffers { rows: count, x, target, scratch } = buffers;
    *count = rows.len();
    let shape = source.shape();
    let x = &mut x[..rows.len() * shape.numel()];
    source.read(rows, x, target)?;
    for augmentation in augmentations {
        let (x, target) = (&mut *x, &mut *target);
        augmentation.apply(BatchMut { x, target, shape, samples: rows, epoch, scratch });
    }
    Ok(true)
}
