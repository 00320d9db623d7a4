//! A run under way: what it has done, and whom it tells.

use super::callback::{Callback, Plan, Request, Rescue, Run};
use super::standing::Standing;
use super::{EpochRecord, History, StepRecord};
use crate::metrics::Mean;
use crate::optimizers::ModelOptimizer;
use crate::persist::{Checkpoint, Position, Resumable, SavedCheckpoint};
use crate::{Error, Result, Scalar, Sequential};

/// Callbacks, told in this order.
pub(super) type Callbacks<'s, 'c, F> = &'s mut [&'c mut dyn Callback<F>];

/// A run under way.
pub(super) struct Session<'s, 'c, F: Scalar> {
    pub(super) callbacks: Callbacks<'s, 'c, F>,
    pub(super) plan: Plan,
    pub(super) history: History,
    pub(super) now: EpochRecord,
    /// The running epoch's loss.
    pub(super) mean: Mean,
    /// Batches tried, failed ones too, so that a run of failures ends.
    pub(super) tried: u64,
    /// Those of the running epoch.
    pub(super) taken: u64,
    /// The running epoch or, between two, the next one, as the loader counts from 0; and that of the validation data.
    pub(super) epoch: u64,
    pub(super) valid_epoch: Option<u64>,
    /// Batches and samples of an epoch.
    pub(super) data: (usize, usize),
    pub(super) stop: Option<String>,
    pub(super) failed: bool,
    pub(super) resumed: bool,
    pub(super) requests: Vec<Request>,
}

impl<'s, 'c, F: Scalar> Session<'s, 'c, F> {
    pub(super) fn new(callbacks: Callbacks<'s, 'c, F>, plan: Plan) -> Self {
        Self {
            callbacks,
            plan,
            history: History::default(),
            now: EpochRecord::default(),
            mean: Mean::default(),
            tried: 0,
            taken: 0,
            epoch: 0,
            valid_epoch: None,
            data: (0, 0),
            stop: None,
            failed: false,
            resumed: false,
            requests: Vec::new(),
        }
    }

    pub(super) fn begin_epoch(&mut self, epoch: u64) {
        (self.epoch, self.taken, self.mean) = (epoch, 0, Mean::default());
        self.now = EpochRecord { epoch: epoch + 1, loss: f64::NAN, ..Default::default() };
    }

    pub(super) fn end_epoch(&mut self) {
        self.history.epochs.push(std::mem::take(&mut self.now));
        (self.epoch, self.taken, self.mean) = (self.epoch + 1, 0, Mean::default());
    }

    /// Whether the steps are used up or someone stopped the run.
    pub(super) fn is_full(&self) -> bool {
        self.stop.is_some() || self.plan.steps.is_some_and(|steps| self.tried >= steps)
    }

    pub(super) fn goes_on(&self) -> bool {
        let epochs = self.history.epochs.len() as u64;
        !self.is_full() && self.plan.epochs.is_none_or(|planned| epochs < planned)
    }

    pub(super) fn emit(
        &mut self,
        model: &mut Sequential<F>,
        optimizer: &mut ModelOptimizer<F>,
        mut event: impl FnMut(&mut dyn Callback<F>, &mut Run<'_, F>) -> Result<()>,
    ) -> Result<()> {
        let Self { callbacks, plan, history, now, stop, failed, tried, resumed, requests, .. } =
            self;
        let (failed, tried, resumed) = (*failed, *tried, *resumed);
        let mut result = Ok(());
        for callback in callbacks.iter_mut() {
            #[rustfmt::skip]
            let mut run =
                Run { model, optimizer, history, now, plan, stop, failed, tried, resumed, requests };
            // All are told, so that each can put back what it changed; the first error counts.
            let told = event(&mut **callback, &mut run);
            result = result.and(told);
        }
        result
    }

    pub(super) fn record(&mut self, step: StepRecord) {
        self.mean.add(step.loss, step.samples);
        self.now.batches += 1;
        self.now.samples = self.mean.samples();
        self.now.loss = self.mean.value();
        self.now.lr = step.lr;
        self.history.steps.push(step);
    }

    pub(super) fn rescue(
        &mut self,
        model: &mut Sequential<F>,
        optimizer: &mut ModelOptimizer<F>,
        error: Error,
    ) -> Result<()> {
        let mut rescue = Rescue::Fail;
        self.emit(model, optimizer, |callback, run| {
            if rescue == Rescue::Fail {
                rescue = callback.step_failed(&error, run);
            }
            Ok(())
        })?;
        match rescue {
            Rescue::Fail => return Err(error),
            Rescue::Skip => self.history.skipped += 1,
            Rescue::Stop => self.stop = self.stop.take().or_else(|| Some(error.to_string())),
        }
        Ok(())
    }

    /// The place in the training data.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, batch: self.taken }
    }

    /// Goes to where a callback's checkpoint was made, if one has one: model, optimizer and this session. The loaders and the
    /// callbacks are still to go there.
    pub(super) fn resume(
        &mut self,
        model: &mut Sequential<F>,
        optimizer: &mut ModelOptimizer<F>,
    ) -> Result<Option<SavedCheckpoint<'static>>> {
        let mut saved = None;
        for callback in self.callbacks.iter_mut() {
            saved = saved.or(callback.resume()?);
        }
        let Some(saved) = saved else { return Ok(None) };
        let standing = Standing::read(&saved)?;
        standing.check(&saved, self.data, self.valid_epoch.is_some(), &self.names())?;
        saved.restore(model, optimizer)?;
        let position = saved.position();
        (self.epoch, self.taken) = (position.epoch, position.batch);
        (self.tried, self.mean, self.now) = (standing.tried, standing.mean, standing.now);
        (self.valid_epoch, self.stop) = (standing.valid_epoch, standing.stop);
        (self.history.epochs, self.history.skipped) = (standing.epochs, standing.skipped);
        self.resumed = true;
        Ok(Some(saved))
    }

    /// Names of the callbacks that have a state, by their place in the list.
    fn names(&mut self) -> Vec<String> {
        self.parts().into_iter().map(|(name, _)| name).collect()
    }

    fn parts(&mut self) -> Vec<(String, &mut dyn Resumable<F>)> {
        let callbacks = self.callbacks.iter_mut().enumerate();
        let parts = callbacks.filter_map(|(i, callback)| {
            let (kind, part) = callback.resumable()?;
            Some((format!("{i}.{kind}"), part))
        });
        parts.collect()
    }

    /// Puts back what the callbacks know.
    pub(super) fn restore_callbacks(&mut self, saved: &SavedCheckpoint<'_>) -> Result<()> {
        for (name, part) in self.parts() {
            saved.restore_part(&format!("callback.{name}"), part)?;
        }
        Ok(())
    }

    /// Writes the checkpoints that were asked for.
    pub(super) fn save(
        &mut self,
        model: &Sequential<F>,
        optimizer: &ModelOptimizer<F>,
    ) -> Result<()> {
        for Request { folder, score } in std::mem::take(&mut self.requests) {
            let standing = Standing {
                tried: self.tried,
                skipped: self.history.skipped,
                mean: self.mean,
                now: self.now.clone(),
                epochs: self.history.epochs.clone(),
                valid_epoch: self.valid_epoch,
                data: self.data,
                stop: self.stop.clone(),
                callbacks: self.names(),
            };
            let position = self.position();
            let parts = self.parts();
            let mut checkpoint =
                Checkpoint::of(model, optimizer).at(position).part(Standing::PART, &standing);
            for (name, part) in &parts {
                checkpoint = checkpoint.part(&format!("callback.{name}"), &**part);
            }
            match score {
                Some(score) => folder.save_scored(&checkpoint, score)?,
                None => folder.save(&checkpoint)?,
            };
        }
        Ok(())
    }
}
