//! Batches prepared ahead of time.

use super::batches::Buffers;
use super::{Batch, Batches, Loader, Targets};
use crate::kernels::background::Background;
use crate::{Error, Result, Scalar, Shape};

/// Prepares batches on a thread of its own while the ones before are trained on.
///
/// Reading, decoding and augmenting then cost no time as long as they are faster than training. The batches
/// are the same, to the bit, as those of the [`Batches`] given. At most `depth` batches are prepared ahead;
/// dropping it ends the thread and waits for it. The thread works alone: it uses no rayon pool.
///
/// # Examples
/// ```
/// use layerwise::data::Prefetch;
/// use layerwise::prelude::*;
/// use std::sync::Arc;
///
/// let data = Dataset::new(Array2::<f32>::ones((10, 4)).into_dyn(), vec![0usize; 10])?;
/// let batches = Batches::shared(Arc::new(data), 5)?.shuffled(Seed::new(1));
/// let mut batches = Prefetch::new(batches, 2)?;
///
/// let mut model = Sequential::builder([4]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1));
/// let loss = trainer.epoch(&mut model, &mut batches)?;
/// assert!(loss > 0.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Prefetch<F: Scalar, T: Targets> {
    worker: Background<Request<F, T>, Answer<F, T>>,
    shape: Shape,
    count: usize,
    samples: usize,
    /// The batch that the caller has.
    lent: Option<Buffers<F, T>>,
    /// Rises with every jump to another epoch: what was prepared before it is thrown away.
    generation: u64,
    /// Where the next request has to jump first.
    jump: Option<u64>,
    epoch: u64,
    begun: bool,
}

#[derive(Debug)]
struct Request<F, T> {
    buffers: Buffers<F, T>,
    generation: u64,
    jump: Option<u64>,
}

#[derive(Debug)]
struct Answer<F, T> {
    buffers: Buffers<F, T>,
    generation: u64,
    /// Whether there is a batch; if not, the epoch has ended.
    filled: Result<bool>,
}

impl<F: Scalar, T: Targets + 'static> Prefetch<F, T> {
    /// `batches`: made by [`Batches::shared`]. `depth`: batches prepared ahead, at least 1; 2 is enough unless
    /// single batches take much longer than others.
    ///
    /// # Errors
    /// [`Error::Setting`] for a depth of 0; [`Error::Io`] if the system gives no thread.
    pub fn new(mut batches: Batches<'static, F, T>, depth: usize) -> Result<Self> {
        if depth == 0 {
            let (kind, field) = ("Prefetch", "depth");
            return Err(Error::Setting { kind, field, must_be: "at least 1", got: "0".into() });
        }
        let (shape, count, samples) = (batches.shape().clone(), batches.count(), batches.samples());
        let (epoch, room) =
            (batches.epoch(), (0..depth).map(|_| batches.buffers()).collect::<Result<Vec<_>>>()?);
        let lent = Some(batches.buffers()?);
        let answer = move |mut request: Request<F, T>| {
            if let Some(epoch) = request.jump {
                batches.set_epoch(epoch);
            }
            let filled = batches.fill(&mut request.buffers);
            Answer { buffers: request.buffers, generation: request.generation, filled }
        };
        let worker = Background::spawn("layerwise-prefetch", answer)
            .map_err(|source| Error::Io { action: "start a thread to prepare batches", source })?;
        let mut prefetch = Self {
            worker,
            shape,
            count,
            samples,
            lent,
            generation: 0,
            jump: None,
            epoch,
            begun: false,
        };
        room.into_iter().for_each(|buffers| prefetch.request(buffers));
        Ok(prefetch)
    }
}

impl<F: Scalar, T: Targets> Prefetch<F, T> {
    fn request(&mut self, buffers: Buffers<F, T>) {
        let jump = self.jump.take();
        // A worker that has died is noticed when its answer is missing.
        self.worker.send(Request { buffers, generation: self.generation, jump });
    }

    /// The next answer that is not from before a jump.
    fn answer(&mut self) -> Result<Answer<F, T>> {
        loop {
            let answer = self.worker.receive().ok_or_else(|| {
                Error::Data(
                    "the thread that prepares batches has stopped: its source panicked".into(),
                )
            })?;
            if answer.generation == self.generation {
                return Ok(answer);
            }
            self.request(answer.buffers);
        }
    }
}

impl<F: Scalar, T: Targets> Loader<F> for Prefetch<F, T> {
    type Targets = T;

    fn next_batch(&mut self) -> Result<Option<Batch<'_, F, T>>> {
        if let Some(buffers) = self.lent.take() {
            self.request(buffers);
        }
        let Answer { buffers, filled, .. } = self.answer()?;
        // Kept also if there is nothing in it: the next call sends it off again.
        let buffers = self.lent.insert(buffers);
        if filled? {
            self.begun = true;
            return Ok(Some(buffers.batch(&self.shape)));
        }
        self.epoch += 1;
        self.begun = false;
        Ok(None)
    }

    fn restart(&mut self) {
        if self.begun {
            self.set_epoch(self.epoch + 1);
        }
    }

    fn set_epoch(&mut self, epoch: u64) {
        self.generation += 1;
        (self.jump, self.epoch, self.begun) = (Some(epoch), epoch, false);
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn count(&self) -> usize {
        self.count
    }

    fn samples(&self) -> usize {
        self.samples
    }
}
