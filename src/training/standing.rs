//! What a run has beside model, optimizer and callbacks, for its checkpoints.

use std::str::FromStr;

use super::EpochRecord;
use crate::metrics::Mean;
use crate::persist::{PartReader, PartWriter, Resumable, SavedCheckpoint};
use crate::{Result, Scalar};

/// How far a run has come. The place in the training data is the checkpoint's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Standing {
    pub(super) tried: u64,
    pub(super) skipped: u64,
    /// The running epoch's loss.
    pub(super) mean: Mean,
    pub(super) now: EpochRecord,
    pub(super) epochs: Vec<EpochRecord>,
    pub(super) valid_epoch: Option<u64>,
    /// Batches and samples of an epoch.
    pub(super) data: (usize, usize),
    pub(super) stop: Option<String>,
    /// Those with a state.
    pub(super) callbacks: Vec<String>,
}

impl Standing {
    /// Its name in a checkpoint.
    pub(super) const PART: &str = "fit";

    pub(super) fn read(saved: &SavedCheckpoint<'_>) -> Result<Self> {
        if !saved.has(Self::PART, "tried") {
            let message = "was not made by Trainer::fit; restore model and optimizer from it, or make an empty folder for this run";
            return Err(saved.error(message.into()));
        }
        let mut standing = Self::default();
        saved.restore_part::<f64>(Self::PART, &mut standing)?;
        Ok(standing)
    }

    /// Whether the run that goes on is made as the one before.
    pub(super) fn check(
        &self,
        saved: &SavedCheckpoint<'_>,
        data: (usize, usize),
        validates: bool,
        callbacks: &[String],
    ) -> Result<()> {
        let list = |names: &[String]| {
            if names.is_empty() { "none".into() } else { names.join(", ") }
        };
        if self.data != data {
            let ((batches, samples), (b, s)) = (self.data, data);
            return Err(saved.error(format!(
                "needs training data of {samples} samples in {batches} batches, as before, got {s} in {b}"
            )));
        }
        if self.valid_epoch.is_some() != validates {
            let (needs, got) = if validates { ("no", "some") } else { ("some", "none") };
            return Err(saved.error(format!("needs {needs} validation data, as before, got {got}")));
        }
        if self.callbacks != callbacks {
            let (needs, got) = (list(&self.callbacks), list(callbacks));
            return Err(saved.error(format!(
                "needs the callbacks with a state that there were before, {needs}, got {got}"
            )));
        }
        Ok(())
    }
}

impl<F: Scalar> Resumable<F> for Standing {
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        let (total, samples) = self.mean.parts();
        out.value("tried", self.tried);
        out.value("skipped", self.skipped);
        out.value("loss.total", total);
        out.value("loss.samples", samples);
        out.option("valid_epoch", self.valid_epoch);
        out.value("data.batches", self.data.0);
        out.value("data.samples", self.data.1);
        out.option("stop", self.stop.as_ref());
        out.value("callbacks", self.callbacks.join(","));
        out.value("now", row(&self.now));
        // One value for all: every look at a value goes over the whole header.
        let rows: Vec<String> = self.epochs.iter().map(row).collect();
        out.value("epochs", rows.join(";"));
        let named = self.epochs.iter().find(|epoch| !epoch.metrics.is_empty());
        for (i, (name, _)) in named.iter().flat_map(|epoch| &epoch.metrics).enumerate() {
            out.value(&format!("metric.{i}"), name);
        }
    }

    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()> {
        let mut names = Vec::new();
        while let Some(name) = saved.option::<String>(&format!("metric.{}", names.len()))? {
            names.push(name);
        }
        let read = |name: &str, text: &str| {
            let wrong =
                || saved.error(name, format!("needs the figures of an epoch, got \"{text}\""));
            record(text, &names).ok_or_else(wrong)
        };
        let (now, epochs): (String, String) = (saved.value("now")?, saved.value("epochs")?);
        let rows = epochs.split(';').filter(|row| !row.is_empty());
        let callbacks: String = saved.value("callbacks")?;
        *self = Self {
            tried: saved.value("tried")?,
            skipped: saved.value("skipped")?,
            mean: Mean::of_parts((saved.value("loss.total")?, saved.value("loss.samples")?)),
            now: read("now", &now)?,
            epochs: rows.map(|text| read("epochs", text)).collect::<Result<_>>()?,
            valid_epoch: saved.option("valid_epoch")?,
            data: (saved.value("data.batches")?, saved.value("data.samples")?),
            stop: saved.option("stop")?,
            callbacks: callbacks.split(',').filter(|n| !n.is_empty()).map(Into::into).collect(),
        };
        Ok(())
    }
}

/// An epoch's figures; what is not known is empty. Floats keep every bit.
fn row(epoch: &EpochRecord) -> String {
    let EpochRecord { epoch, batches, samples, loss, valid_loss, metrics, lr, seconds } = epoch;
    let [valid_loss, seconds] =
        [valid_loss, seconds].map(|figure| figure.map_or(String::new(), |x| x.to_string()));
    let mut row = format!("{epoch},{batches},{samples},{loss},{valid_loss},{lr},{seconds}");
    metrics.iter().for_each(|(_, value)| row += &format!(",{value}"));
    row
}

fn record(text: &str, names: &[String]) -> Option<EpochRecord> {
    fn number<T: FromStr>(text: &str) -> Option<T> {
        text.parse().ok()
    }
    fn figure(text: &str) -> Option<Option<f64>> {
        if text.is_empty() { Some(None) } else { number(text).map(Some) }
    }
    let fields: Vec<&str> = text.split(',').collect();
    let ([epoch, batches, samples, loss, valid_loss, lr, seconds], values) =
        fields.split_first_chunk()?;
    let metrics =
        names.iter().zip(values).map(|(name, value)| Some((name.clone(), number(value)?)));
    Some(EpochRecord {
        epoch: number(epoch)?,
        batches: number(batches)?,
        samples: number(samples)?,
        loss: number(loss)?,
        valid_loss: figure(valid_loss)?,
        metrics: metrics.collect::<Option<_>>().filter(|_| values.len() <= names.len())?,
        lr: number(lr)?,
        seconds: figure(seconds)?,
    })
}
