//! Small callbacks: a rate that listens, a log, a guard.

use std::fmt;
use std::io::Write;

use super::history::{epoch_row, header, io};
use super::{Callback, Monitor, Rescue, Run};
use crate::persist::{PartReader, PartWriter, Resumable};
use crate::schedules::ReduceOnPlateau;
use crate::{Error, Result, Scalar};

/// Tells a [`ReduceOnPlateau`] each epoch's figure, and gives the optimizer the rate it answers.
///
/// The monitor only names the figure; whether larger is better is the rule's own setting
/// ([`ReduceOnPlateau::maximize`]).
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::{Monitor, Plateau};
///
/// let data = Dataset::new(Array2::<f32>::ones((4, 3)).into_dyn(), vec![0, 1, 0, 1])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2).weight_init(Zeros)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.8)).epochs(5);
/// let mut plateau =
///     Plateau::new(ReduceOnPlateau::new().factor(0.5).patience(1)).monitor(Monitor::train_loss());
/// trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut plateau])?;
/// assert_eq!(trainer.optimizer().lr(), 0.2); // the loss cannot fall: halved after epochs 3 and 5
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The run fails with [`Error::Setting`] for a figure that it does not compute, or a setting out of range.
#[derive(Debug, Clone)]
pub struct Plateau {
    rule: ReduceOnPlateau,
    monitor: Monitor,
}

impl Plateau {
    /// By the loss over the validation data.
    pub fn new(rule: ReduceOnPlateau) -> Self {
        Self { rule, monitor: Monitor::valid_loss() }
    }

    /// The figure to report; default the loss over the validation data.
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.monitor = monitor;
        self
    }
}

impl<F: Scalar> Callback<F> for Plateau {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.monitor.check("Plateau", run)
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let lr = self.rule.report(self.monitor.read(run.now), run.optimizer.lr())?;
        run.optimizer.set_lr(lr);
        Ok(())
    }

    fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable<F>)> {
        Some(("Plateau", &mut self.rule))
    }
}

/// Writes each epoch's figures as a row of CSV as soon as it is over, so that a crash loses nothing.
///
/// The columns are those of [`super::History::write_epochs_csv`]. The header is written when the first run begins, unless
/// that goes on from a checkpoint.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::CsvLog;
///
/// let data = Dataset::new(Array2::<f32>::ones((4, 3)).into_dyn(), vec![0; 4])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1)).epochs(2);
/// let mut log = CsvLog::new(Vec::new()); // or a File
/// trainer.fit_with(&mut model, &mut data.batches(2)?, None, &mut [&mut log])?;
/// assert_eq!(String::from_utf8_lossy(&log.into_inner()).lines().count(), 3);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The run fails with [`Error::Io`] if a row cannot be written.
pub struct CsvLog<W> {
    to: W,
    begun: bool,
}

impl<W: Write> CsvLog<W> {
    /// Writes to `to`, flushed after each row.
    pub fn new(to: W) -> Self {
        Self { to, begun: false }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.to
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()).map_err(io)
    }
}

impl<W> fmt::Debug for CsvLog<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvLog").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl<F: Scalar, W: Write> Callback<F> for CsvLog<W> {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if std::mem::replace(&mut self.begun, true) || run.is_resumed() {
            return Ok(());
        }
        let validated: &[String] = if run.plan.validates { &run.plan.metrics } else { &[] };
        let names: Vec<&str> = validated.iter().map(String::as_str).collect();
        self.write(&header(&names))
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.write(&epoch_row(run.now))
    }
}

/// Decides what becomes of a step whose loss, gradient or batch statistics are not finite: the run stops in good order, or goes on
/// without that batch.
///
/// Without a guard such a step ends the run with an error ([`Error::is_non_finite`]). Either way nothing was changed by it: the weights
/// are those of the step before. Other errors end the run.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::NanGuard;
///
/// let mut x = Array2::<f32>::ones((6, 3));
/// x[[2, 0]] = f32::NAN;
/// let data = Dataset::new(x.into_dyn(), vec![0; 6])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1));
/// let history = trainer.fit_with(&mut model, &mut data.batches(2)?, None, &mut [&mut NanGuard::skip(1)])?;
/// assert_eq!((history.steps.len(), history.skipped), (2, 1));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NanGuard {
    most: u64,
    left: u64,
    then: Rescue,
}

impl NanGuard {
    /// Stops the run at the first such step.
    pub fn stop() -> Self {
        Self { most: 0, left: 0, then: Rescue::Stop }
    }

    /// Skips at most `most` such batches in a row; one more ends the run with the error.
    pub fn skip(most: u64) -> Self {
        Self { most, left: most, then: Rescue::Fail }
    }
}

impl<F: Scalar> Callback<F> for NanGuard {
    fn fit_begin(&mut self, _run: &mut Run<'_, F>) -> Result<()> {
        self.left = self.most;
        Ok(())
    }

    fn batch_end(&mut self, _run: &mut Run<'_, F>) -> Result<()> {
        self.left = self.most;
        Ok(())
    }

    fn step_failed(&mut self, error: &Error, _run: &mut Run<'_, F>) -> Rescue {
        if !error.is_non_finite() {
            return Rescue::Fail;
        }
        if self.left == 0 {
            return self.then;
        }
        self.left -= 1;
        Rescue::Skip
    }

    fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable<F>)> {
        Some(("NanGuard", self))
    }
}

/// How many more batches in a row may fail.
impl<F: Scalar> Resumable<F> for NanGuard {
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        out.value("left", self.left);
    }

    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()> {
        self.left = saved.value("left")?;
        Ok(())
    }
}
