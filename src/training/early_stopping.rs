//! Stopping when nothing gets better, and keeping the best.

use super::{Callback, Monitor, Run, Weights};
use crate::error::ensure;
use crate::persist::{PartReader, PartWriter, Resumable};
use crate::{Result, Scalar};

/// Stops the run when a figure has not improved for some epochs, and puts back the best epoch's weights.
///
/// After `patience` epochs in a row that are not better than the best by more than `min_delta` the run stops. At its
/// end, however it ends, the model gets the parameters and running statistics of the best epoch, unless
/// [`EarlyStopping::restore_best`] says otherwise. A figure that is NaN is never better.
///
/// Each run starts afresh; [`EarlyStopping::state`] and [`EarlyStopping::set_state`] carry it over an interruption.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::{EarlyStopping, Monitor};
///
/// let stopping = EarlyStopping::<f32>::new(5).monitor(Monitor::metric("accuracy")).min_delta(0.001);
/// assert!(stopping.best().is_none());
/// ```
///
/// # Errors
/// The run fails at its begin with [`crate::Error::Setting`] for a patience of 0, a `min_delta` below 0, or a figure that
/// the run does not compute.
///
/// # References
/// Prechelt 1998. Keras's `patience` is 0 and its `restore_best_weights` false by default.
#[derive(Debug, Clone)]
pub struct EarlyStopping<F: Scalar = f32> {
    patience: u64,
    min_delta: f64,
    restore_best: bool,
    best: BestWeights<F>,
    waited: u64,
    keeps_state: bool,
}

impl<F: Scalar> EarlyStopping<F> {
    /// `patience`: how many epochs without improvement are borne, at least 1. By the loss over the validation data.
    pub fn new(patience: u64) -> Self {
        let best = BestWeights::new();
        Self { patience, min_delta: 0.0, restore_best: true, best, waited: 0, keeps_state: false }
    }

    /// The figure to go by; default the loss over the validation data.
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.best.monitor = monitor;
        self
    }

    /// By how much a figure must be better to count, at least 0; default 0.
    pub fn min_delta(mut self, min_delta: f64) -> Self {
        self.min_delta = min_delta;
        self
    }

    /// Whether the model ends with the best epoch's weights; default true. If not, none are copied.
    pub fn restore_best(mut self, restore_best: bool) -> Self {
        self.restore_best = restore_best;
        self
    }

    /// The best figure and its epoch.
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best.best
    }

    /// What the next run needs to go on in the place of this one.
    pub fn state(&self) -> StoppingState<F> {
        StoppingState {
            best: self.best.best,
            waited: self.waited,
            weights: self.best.weights.clone().filter(|_| self.best.best.is_some()),
        }
    }

    /// Goes on where [`EarlyStopping::state`] was taken: the next run does not start afresh.
    ///
    /// ```
    /// use layerwise::training::{EarlyStopping, StoppingState};
    ///
    /// let mut stopping = EarlyStopping::<f32>::new(3);
    /// stopping.set_state(StoppingState { best: Some((0.25, 7)), waited: 2, weights: None });
    /// assert_eq!(stopping.best(), Some((0.25, 7)));
    /// ```
    pub fn set_state(&mut self, state: StoppingState<F>) {
        (self.best.best, self.best.weights) = (state.best, state.weights);
        (self.waited, self.keeps_state) = (state.waited, true);
    }
}

/// What [`EarlyStopping`] knows between two epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct StoppingState<F: Scalar = f32> {
    /// The best figure and its epoch.
    pub best: Option<(f64, u64)>,
    /// Epochs without improvement since.
    pub waited: u64,
    /// The best epoch's weights, if they are kept.
    pub weights: Option<Weights<F>>,
}

/// The best so far, with its weights, and how long ago it was.
impl<F: Scalar> Resumable<F> for EarlyStopping<F> {
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        out.value("waited", self.waited);
        self.best.save_state(out);
    }

    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()> {
        let (waited, (best, weights)) = (saved.value("waited")?, BestWeights::load_state(saved)?);
        self.set_state(StoppingState { best, waited, weights });
        Ok(())
    }
}

impl<F: Scalar> Callback<F> for EarlyStopping<F> {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        ensure(self.patience > 0, "EarlyStopping", "patience", "at least 1", self.patience)?;
        let valid = self.min_delta >= 0.0 && self.min_delta.is_finite();
        ensure(valid, "EarlyStopping", "min_delta", "at least 0", self.min_delta)?;
        self.best.monitor.check("EarlyStopping", run)?;
        if !std::mem::take(&mut self.keeps_state) {
            (self.waited, self.best.best) = (0, None);
        }
        Ok(())
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if self.best.look(run, self.min_delta, self.restore_best)? {
            self.waited = 0;
            return Ok(());
        }
        self.waited += 1;
        if self.waited >= self.patience {
            let (what, waited) = (&self.best.monitor, self.waited);
            run.stop(format!("{} has not improved for {waited} epochs", what.name()));
        }
        Ok(())
    }

    fn fit_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        // What was put back was for this run.
        self.keeps_state = false;
        if self.restore_best { self.best.restore(run) } else { Ok(()) }
    }

    fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable<F>)> {
        Some(("EarlyStopping", self))
    }
}

/// Keeps the weights of the best epoch, and puts them into the model when the run ends.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::{BestModel, Monitor};
///
/// let data = Dataset::new(Array2::<f32>::ones((4, 3)).into_dyn(), vec![0, 1, 0, 1])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).seed(1).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 5.0)).epochs(5);
/// let mut best = BestModel::new().monitor(Monitor::train_loss());
/// trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut best])?;
/// assert!(best.best().is_some() && best.weights().is_some());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As for [`EarlyStopping`].
#[derive(Debug, Clone)]
pub struct BestModel<F: Scalar = f32> {
    best: BestWeights<F>,
    restore: bool,
}

impl<F: Scalar> BestModel<F> {
    /// By the loss over the validation data.
    pub fn new() -> Self {
        Self { best: BestWeights::new(), restore: true }
    }

    /// The figure to go by; default the loss over the validation data.
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.best.monitor = monitor;
        self
    }

    /// Whether the model gets them when the run ends; default true. If not, see [`BestModel::weights`].
    pub fn restore(mut self, restore: bool) -> Self {
        self.restore = restore;
        self
    }

    /// The best figure and its epoch.
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best.best
    }

    /// The best epoch's weights.
    pub fn weights(&self) -> Option<&Weights<F>> {
        self.best.weights.as_ref().filter(|_| self.best.best.is_some())
    }
}

impl<F: Scalar> Default for BestModel<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Scalar> Callback<F> for BestModel<F> {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.best.best = None;
        self.best.monitor.check("BestModel", run)
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.best.look(run, 0.0, true).map(|_| ())
    }

    fn fit_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if self.restore { self.best.restore(run) } else { Ok(()) }
    }

    fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable<F>)> {
        Some(("BestModel", self))
    }
}

/// The best so far, with its weights.
impl<F: Scalar> Resumable<F> for BestModel<F> {
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        self.best.save_state(out);
    }

    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()> {
        (self.best.best, self.best.weights) = BestWeights::load_state(saved)?;
        Ok(())
    }
}

/// The best figure with its epoch, and that epoch's weights.
type Best<F> = (Option<(f64, u64)>, Option<Weights<F>>);

/// The best so far.
#[derive(Debug, Clone)]
struct BestWeights<F: Scalar> {
    monitor: Monitor,
    best: Option<(f64, u64)>,
    weights: Option<Weights<F>>,
}

impl<F: Scalar> BestWeights<F> {
    fn new() -> Self {
        Self { monitor: Monitor::valid_loss(), best: None, weights: None }
    }

    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        out.option("best", self.best.map(|(best, _)| best));
        out.option("epoch", self.best.map(|(_, epoch)| epoch));
        // Those of a run before mean nothing.
        if let Some(weights) = self.weights.as_ref().filter(|_| self.best.is_some()) {
            weights.save_state(out);
        }
    }

    fn load_state(saved: &PartReader<'_, F>) -> Result<Best<F>> {
        let weights = match saved.option::<usize>("arrays")? {
            Some(_) => Some(Weights::load_state(saved)?),
            None => None,
        };
        let (best, epoch): (Option<f64>, Option<u64>) =
            (saved.option("best")?, saved.option("epoch")?);
        Ok((best.zip(epoch), weights))
    }

    /// Whether this epoch is better than the best by more than `by`; it is then the best.
    fn look(&mut self, run: &Run<'_, F>, by: f64, keep: bool) -> Result<bool> {
        let value = self.monitor.read(run.now);
        let best = self.best.map_or(f64::NAN, |(best, _)| best);
        if !self.monitor.improves(value, best, by) {
            return Ok(false);
        }
        self.best = Some((value, run.now.epoch));
        if keep {
            match &mut self.weights {
                // In the memory of the best before, of this run or the one before it.
                Some(weights) if weights.check(run.model).is_ok() => weights.update(run.model)?,
                weights => *weights = Some(Weights::of(run.model)),
            }
        }
        Ok(true)
    }

    fn restore(&self, run: &mut Run<'_, F>) -> Result<()> {
        let (Some((_, epoch)), Some(weights)) = (self.best, &self.weights) else { return Ok(()) };
        // The model has them already, if nothing was trained since.
        let is_last = run.history.last().is_some_and(|last| last.epoch == epoch);
        if is_last && run.now.batches == 0 { Ok(()) } else { weights.restore(run.model) }
    }
}
