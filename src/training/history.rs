//! What a run of training did, step by step and epoch by epoch.

use std::io::Write;

use super::Step;
use crate::{Error, Result, Scalar};

/// What one step of a run did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepRecord {
    /// The epoch it belongs to, from 1, as the loader counts.
    pub epoch: u64,
    /// The optimizer's step, from 1.
    pub step: u64,
    /// Samples in the batch.
    pub samples: usize,
    /// The loss before the update, without penalties.
    pub loss: f64,
    /// The sum of all regularizers' penalties.
    pub penalty: f64,
    /// L2 norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub lr: f64,
    /// By the caller's clock, when the step was done; see [`super::Trainer::clock`].
    pub seconds: Option<f64>,
}

impl StepRecord {
    pub(super) fn new<F: Scalar>(epoch: u64, step: &Step<F>, seconds: Option<f64>) -> Self {
        Self {
            epoch,
            step: step.step,
            samples: step.samples,
            loss: step.loss.widen(),
            penalty: step.penalty.widen(),
            grad_norm: step.grad_norm,
            lr: step.lr,
            seconds,
        }
    }
}

/// What one epoch of a run did.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct EpochRecord {
    /// Its number, from 1, as the loader counts.
    pub epoch: u64,
    /// Batches trained on.
    pub batches: usize,
    /// Samples trained on.
    pub samples: usize,
    /// Mean loss of its steps, each batch counting by its samples. NaN before the first.
    pub loss: f64,
    /// Loss over the validation data, if there are any.
    pub valid_loss: Option<f64>,
    /// Names and values of the trainer's metrics over the validation data.
    pub metrics: Vec<(String, f64)>,
    /// The last step's learning rate.
    pub lr: f64,
    /// By the caller's clock, from beginning to end.
    pub seconds: Option<f64>,
}

impl EpochRecord {
    /// The metric of this name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(known, _)| known == name).map(|&(_, value)| value)
    }
}

/// Every step's and epoch's numbers of a run: what [`super::Trainer::fit`] returns.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::ones((6, 3)).into_dyn(), vec![0, 1, 0, 1, 0, 1])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1)).epochs(2);
/// let history = trainer.fit(&mut model, &mut data.batches(2)?, None)?;
/// assert_eq!((history.steps.len(), history.epochs.len()), (6, 2));
///
/// let mut csv = Vec::new();
/// history.write_epochs_csv(&mut csv)?;
/// let first = String::from_utf8_lossy(&csv).lines().next().map(str::to_string);
/// assert_eq!(first.as_deref(), Some("epoch,batches,samples,loss,valid_loss,lr,seconds"));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct History {
    /// One for each step.
    pub steps: Vec<StepRecord>,
    /// One for each epoch, the last one perhaps cut short.
    pub epochs: Vec<EpochRecord>,
    /// Why a callback stopped the run before its end.
    pub stopped: Option<String>,
    /// Batches that a callback gave up after an error; see [`super::NanGuard`].
    pub skipped: u64,
}

impl History {
    /// The last epoch.
    pub fn last(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// Writes one row for each step, with a header. What is not known is empty.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails.
    ///
    /// ```
    /// use layerwise::training::History;
    ///
    /// let mut csv = Vec::new();
    /// History::default().write_steps_csv(&mut csv)?;
    /// assert_eq!(csv, b"epoch,step,samples,loss,penalty,grad_norm,lr,seconds\n");
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn write_steps_csv(&self, mut to: impl Write) -> Result<()> {
        let mut text = String::from("epoch,step,samples,loss,penalty,grad_norm,lr,seconds\n");
        for row in &self.steps {
            let StepRecord { epoch, step, samples, loss, penalty, grad_norm, lr, seconds } = row;
            let seconds = optional(*seconds);
            text +=
                &format!("{epoch},{step},{samples},{loss},{penalty},{grad_norm},{lr},{seconds}\n");
        }
        to.write_all(text.as_bytes()).map_err(io)
    }

    /// Writes one row for each epoch, with a header that names the metrics.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails.
    pub fn write_epochs_csv(&self, mut to: impl Write) -> Result<()> {
        let names = self.epochs.first().map_or(Vec::new(), |row| metric_names(row));
        let mut text = header(&names);
        self.epochs.iter().for_each(|row| text += &epoch_row(row));
        to.write_all(text.as_bytes()).map_err(io)
    }
}

fn metric_names(row: &EpochRecord) -> Vec<&str> {
    row.metrics.iter().map(|(name, _)| name.as_str()).collect()
}

/// The header of a table of epochs.
pub(super) fn header(metrics: &[&str]) -> String {
    let mut text = String::from("epoch,batches,samples,loss,valid_loss,");
    metrics.iter().for_each(|name| text += &format!("{},", field(name)));
    text + "lr,seconds\n"
}

/// A row of a table of epochs.
pub(super) fn epoch_row(row: &EpochRecord) -> String {
    let EpochRecord { epoch, batches, samples, loss, .. } = row;
    let mut text = format!("{epoch},{batches},{samples},{loss},{},", optional(row.valid_loss));
    row.metrics.iter().for_each(|(_, value)| text += &format!("{value},"));
    text + &format!("{},{}\n", row.lr, optional(row.seconds))
}

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// A name as a field of a CSV file (RFC 4180).
fn field(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_string()
    }
}

pub(super) fn io(source: std::io::Error) -> Error {
    Error::Io { action: "write the history", source }
}

#[cfg(feature = "json")]
impl History {
    /// Writes everything as one JSON object: `steps` and `epochs` as lists, `stopped` and `skipped`. What is not a number, or
    /// not known, is null.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails.
    ///
    /// ```
    /// use layerwise::training::History;
    ///
    /// let mut json = Vec::new();
    /// History::default().write_json(&mut json)?;
    /// assert_eq!(json, br#"{"epochs":[],"skipped":0,"steps":[],"stopped":null}"#);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn write_json(&self, mut to: impl Write) -> Result<()> {
        use serde_json::{Map, Value, json};

        let steps = self.steps.iter().map(|row| {
            json!({
                "epoch": row.epoch, "step": row.step, "samples": row.samples, "loss": row.loss,
                "penalty": row.penalty, "grad_norm": row.grad_norm, "lr": row.lr,
                "seconds": row.seconds,
            })
        });
        let epochs = self.epochs.iter().map(|row| {
            let metrics = row.metrics.iter().map(|(name, value)| (name.clone(), json!(value)));
            json!({
                "epoch": row.epoch, "batches": row.batches, "samples": row.samples,
                "loss": row.loss, "valid_loss": row.valid_loss, "lr": row.lr,
                "metrics": metrics.collect::<Map<String, Value>>(), "seconds": row.seconds,
            })
        });
        let all = json!({
            "steps": steps.collect::<Vec<_>>(), "epochs": epochs.collect::<Vec<_>>(),
            "stopped": self.stopped, "skipped": self.skipped,
        });
        to.write_all(all.to_string().as_bytes()).map_err(io)
    }
}
