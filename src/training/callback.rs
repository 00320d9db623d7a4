//! What takes part in a run of training.

use super::{EpochRecord, History, StepRecord};
use crate::optimizers::ModelOptimizer;
use crate::persist::{CheckpointFolder, Resumable, SavedCheckpoint};
use crate::{Error, Result, Scalar, Sequential};

/// Takes part in [`super::Trainer::fit_with`]: is told what happens, may change model and optimizer between steps, and may
/// stop the run with [`Run::stop`].
///
/// Events come in this order: `fit_begin`; for each epoch `epoch_begin`, for each batch `batch_begin` and
/// `batch_end`, then `validation_begin` and `validation_end` if there are validation data, `epoch_end`; `fit_end`, which comes
/// also after a stop or an error. Several callbacks are told in the order they are given in.
///
/// An error that a callback returns ends the run. Model and optimizer are then as the last finished step left them, and
/// can be used on; the same after a panic.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::Run;
///
/// /// Stops when an epoch's mean loss is below a limit.
/// struct GoodEnough(f64);
///
/// impl Callback for GoodEnough {
///     fn epoch_end(&mut self, run: &mut Run<'_>) -> Result<()> {
///         if run.now.loss < self.0 {
///             run.stop(format!("the loss is below {}", self.0));
///         }
///         Ok(())
///     }
/// }
///
/// let data = Dataset::new(Array2::<f32>::ones((4, 3)).into_dyn(), vec![1; 4])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.5)).epochs(100);
/// let history = trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut GoodEnough(0.1)])?;
/// assert_eq!(history.stopped.as_deref(), Some("the loss is below 0.1"));
/// assert!(history.epochs.len() < 100);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Callback<F: Scalar = f32> {
    /// The run begins: nothing is trained yet. The place to check settings.
    ///
    /// # Errors
    /// Whatever shall end the run; so for all others.
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// An epoch begins.
    ///
    /// # Errors
    /// Whatever shall end the run.
    fn epoch_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// A batch is there and not trained on yet.
    ///
    /// # Errors
    /// Whatever shall end the run.
    fn batch_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// A step is done: see [`Run::step`]. The model's last forward is still in its memory.
    ///
    /// # Errors
    /// Whatever shall end the run.
    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// The model is about to be applied to the validation data.
    ///
    /// # Errors
    /// Whatever shall end the run.
    fn validation_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// The figures over the validation data are in [`Run::now`]. After an error during validation it is called all the
    /// same, without figures.
    ///
    /// # Errors
    /// Whatever shall end the run.
    fn validation_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// An epoch is over.
    ///
    /// # Errors
    /// Whatever shall end the run.
    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// The run is over: finished, stopped or failed.
    ///
    /// # Errors
    /// Reported unless the run has failed before.
    fn fit_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// The checkpoint that the run goes on from, if this callback has one, as [`super::Checkpoints`] does. Asked before
    /// `fit_begin`, which then sees the model and the history of the run before.
    ///
    /// # Errors
    /// Whatever shall end the run before it begins.
    fn resume(&mut self) -> Result<Option<SavedCheckpoint<'static>>> {
        Ok(None)
    }

    /// A name for this kind of callback, and what of it belongs in a checkpoint; default nothing. When a run goes on, it is
    /// put back after `fit_begin`, and after `epoch_begin` if the run was cut inside an epoch.
    ///
    /// ```
    /// use layerwise::persist::{PartReader, PartWriter, Resumable};
    /// use layerwise::prelude::*;
    /// use layerwise::training::Run;
    ///
    /// /// Counts batches, over an interruption too.
    /// #[derive(Debug, Default)]
    /// struct Count(u64);
    ///
    /// impl Resumable for Count {
    ///     fn save_state<'a>(&'a self, out: &mut PartWriter<'a>) {
    ///         out.value("count", self.0);
    ///     }
    ///     fn load_state(&mut self, saved: &mut PartReader<'_>) -> Result<()> {
    ///         self.0 = saved.value("count")?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl Callback for Count {
    ///     fn batch_end(&mut self, _run: &mut Run<'_>) -> Result<()> {
    ///         self.0 += 1;
    ///         Ok(())
    ///     }
    ///     fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable)> {
    ///         Some(("Count", self))
    ///     }
    /// }
    /// assert_eq!(Count(3).resumable().unwrap().0, "Count");
    /// ```
    fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable<F>)> {
        None
    }

    /// A step failed; model and optimizer are as they were before it. The first callback that does not say
    /// [`Rescue::Fail`] decides.
    fn step_failed(&mut self, error: &Error, run: &mut Run<'_, F>) -> Rescue {
        let _ = (error, run);
        Rescue::Fail
    }
}

/// What becomes of a run whose step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rescue {
    /// It returns the error.
    #[default]
    Fail,
    /// It goes on with the next batch.
    Skip,
    /// It ends in good order, as if stopped.
    Stop,
}

/// A run of training, as a [`Callback`] sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run<'a, F: Scalar = f32> {
    /// The model.
    pub model: &'a mut Sequential<F>,
    /// The optimizer.
    pub optimizer: &'a mut ModelOptimizer<F>,
    /// All steps so far, and all epochs that are over.
    pub history: &'a History,
    /// The running epoch, as far as it has come.
    pub now: &'a EpochRecord,
    /// What was planned.
    pub plan: &'a Plan,
    pub(super) stop: &'a mut Option<String>,
    pub(super) failed: bool,
    pub(super) tried: u64,
    pub(super) resumed: bool,
    pub(super) requests: &'a mut Vec<Request>,
}

/// A checkpoint that a callback wants.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) folder: CheckpointFolder,
    pub(super) score: Option<f64>,
}

impl<F: Scalar> Run<'_, F> {
    /// Ends the run after this event; [`History::stopped`] tells why. The first reason stays.
    pub fn stop(&mut self, reason: impl Into<String>) {
        if self.stop.is_none() {
            *self.stop = Some(reason.into());
        }
    }

    /// Whether someone has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether the run ends by an error, in [`Callback::validation_end`] and [`Callback::fit_end`].
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the run goes on from a checkpoint.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Batches so far, in all epochs and before an interruption too; those that a guard gave up count.
    pub fn batches(&self) -> u64 {
        self.tried
    }

    /// Asks for a checkpoint in this folder, with a score if it has one. It is written after the batch or, if the epoch is over,
    /// after the epoch, when all callbacks have been told: with the state of each ([`Callback::resumable`]).
    /// [`super::Checkpoints`] does this every so often.
    pub fn save_checkpoint(&mut self, folder: &CheckpointFolder, score: Option<f64>) {
        self.requests.push(Request { folder: folder.clone(), score });
    }

    /// The last step.
    pub fn step(&self) -> Option<&StepRecord> {
        self.history.steps.last()
    }
}

/// What a run was to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Plan {
    /// Epochs, if they are limited.
    pub epochs: Option<u64>,
    /// Steps, if they are limited.
    pub steps: Option<u64>,
    /// Batches of an epoch.
    pub batches: usize,
    /// Whether there are validation data.
    pub validates: bool,
    /// The trainer's metrics.
    pub metrics: Vec<String>,
}

/// A closure as a callback, called when an epoch is over.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::{EpochEnd, Run};
///
/// let data = Dataset::new(Array2::<f32>::ones((4, 3)).into_dyn(), vec![1; 4])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.5)).epochs(3);
/// let mut losses = Vec::new();
/// let mut each = EpochEnd(|run: &mut Run<'_>| {
///     losses.push(run.now.loss);
///     Ok(())
/// });
/// trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut each])?;
/// assert!(losses.len() == 3 && losses[2] < losses[0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EpochEnd<C>(
    /// What to call.
    pub C,
);

impl<F: Scalar, C: FnMut(&mut Run<'_, F>) -> Result<()>> Callback<F> for EpochEnd<C> {
    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        (self.0)(run)
    }
}

/// A closure as a callback, called after each step.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::{BatchEnd, Run};
///
/// let data = Dataset::new(Array2::<f32>::ones((4, 3)).into_dyn(), vec![1; 4])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.5)).epochs(3);
/// let mut each = BatchEnd(|run: &mut Run<'_>| {
///     if run.step().is_some_and(|step| step.step == 5) {
///         run.stop("five steps are enough");
///     }
///     Ok(())
/// });
/// let history = trainer.fit_with(&mut model, &mut data.batches(2)?, None, &mut [&mut each])?;
/// assert_eq!((history.steps.len(), history.epochs.len()), (5, 3));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchEnd<C>(
    /// What to call.
    pub C,
);

impl<F: Scalar, C: FnMut(&mut Run<'_, F>) -> Result<()>> Callback<F> for BatchEnd<C> {
    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        (self.0)(run)
    }
}
