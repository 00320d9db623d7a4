//! A whole run: epochs, validation, callbacks.

use super::callback::{Callback, Plan};
use super::session::Session;
use super::{History, StepRecord, Trainer};
use crate::data::{Loader, Targets};
use crate::metrics::Mean;
use crate::{Error, Loss, Result, Scalar, Sequential, ShapeError};

/// Data to validate with, of any kind of loader.
type Valid<'v, F, T> = Option<&'v mut dyn Loader<F, Targets = T>>;

impl<F: Scalar, L: Loss<F>> Trainer<L, F> {
    /// Trains for [`Trainer::epochs`] and returns every number of the run. After each epoch the loss and the trainer's
    /// metrics are computed over the validation data, if there are any, in eval mode.
    ///
    /// The run begins with a new epoch of the loader and goes on where the optimizer is: called again, it trains on.
    ///
    /// # Errors
    /// What [`Trainer::step`] and the loaders report; [`Error::Data`] if an epoch has no batch; [`Error::Input`] if the
    /// validation data have another shape than the model's input, before anything is trained; [`Error::Setting`] for 0
    /// epochs or steps.
    ///
    /// # Examples
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let x = Array2::<f32>::from_shape_fn((40, 2), |(i, j)| if j == 0 { i as f32 / 40.0 } else { 1.0 });
    /// let classes: Vec<usize> = (0..40).map(|i| usize::from(i >= 20)).collect();
    /// let data = Dataset::new(x.into_dyn(), classes)?;
    /// let mut model = Sequential::builder([2]).add(Linear::new(2)).seed(1).build()?;
    /// let optimizer = ModelOptimizer::new(Adam::new(), 0.1);
    /// let mut trainer =
    ///     Trainer::new(CrossEntropy::new(), optimizer).epochs(30).metric("accuracy", Accuracy::new());
    /// let mut train = data.batches(8)?.shuffled(Seed::new(1));
    /// let history = trainer.fit(&mut model, &mut train, Some(&mut data.batches(40)?))?;
    /// let last = history.last().unwrap();
    /// assert!(last.metric("accuracy").unwrap() > 0.9);
    /// assert!(last.valid_loss.unwrap() < history.epochs[0].valid_loss.unwrap());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn fit<B>(
        &mut self,
        model: &mut Sequential<F>,
        train: &mut B,
        valid: Option<&mut dyn Loader<F, Targets = B::Targets>>,
    ) -> Result<History>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        self.fit_with(model, train, valid, &mut [])
    }

    /// Like [`Trainer::fit`], with callbacks. They stay the caller's, to be asked afterwards.
    ///
    /// # Errors
    /// As for [`Trainer::fit`], and what a callback reports.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// use layerwise::training::EarlyStopping;
    ///
    /// let data = Dataset::new(Array2::<f32>::ones((4, 3)).into_dyn(), vec![0, 1, 0, 1])?;
    /// let mut model = Sequential::builder([3]).add(Linear::new(2)).seed(1).build()?;
    /// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.5)).epochs(500);
    /// let mut stopping = EarlyStopping::new(3);
    /// let (mut train, mut valid) = (data.batches(4)?, data.batches(4)?);
    /// let history = trainer.fit_with(&mut model, &mut train, Some(&mut valid), &mut [&mut stopping])?;
    /// assert!(history.epochs.len() < 500); // equal samples of two classes: the loss cannot go below ln 2
    /// assert!((stopping.best().unwrap().0 - 2f64.ln()).abs() < 1e-3);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn fit_with<B>(
        &mut self,
        model: &mut Sequential<F>,
        train: &mut B,
        mut valid: Option<&mut dyn Loader<F, Targets = B::Targets>>,
        callbacks: &mut [&mut dyn Callback<F>],
    ) -> Result<History>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        self.check_limits()?;
        train.restart();
        check_valid(model, &mut valid)?;
        let plan = self.plan(train.count(), valid.is_some());
        if plan.batches == 0 {
            return Err(Error::Data(
                "an epoch needs at least one batch, got none; make batches smaller".into(),
            ));
        }
        let mut session = Session::new(callbacks, plan);
        let result = self.run(model, train, valid, &mut session);
        session.failed = result.is_err();
        let end = session.emit(model, &mut self.optimizer, |callback, run| callback.fit_end(run));
        result.and(end)?;
        let Session { mut history, stop, .. } = session;
        history.stopped = stop;
        Ok(history)
    }

    fn plan(&self, batches: usize, validates: bool) -> Plan {
        let metrics = self.metrics.iter().map(|named| named.name.clone()).collect();
        let epochs =
            if self.steps.is_none() { Some(self.epochs.unwrap_or(1)) } else { self.epochs };
        Plan { epochs, steps: self.steps, batches, validates, metrics }
    }

    fn run<B>(
        &mut self,
        model: &mut Sequential<F>,
        train: &mut B,
        mut valid: Valid<'_, F, B::Targets>,
        session: &mut Session<'_, '_, F>,
    ) -> Result<()>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        session.data = (train.count(), train.samples());
        session.valid_epoch = valid.as_ref().map(|valid| valid.epoch());
        let saved = session.resume(model, &mut self.optimizer)?;
        if saved.is_some() {
            session.position().go_to(train)?;
            if let (Some(valid), Some(epoch)) = (&mut valid, session.valid_epoch) {
                valid.set_epoch(epoch);
            }
        }
        session.emit(model, &mut self.optimizer, |callback, run| callback.fit_begin(run))?;
        // Cut inside an epoch: the rest of that comes first.
        let mut inside = session.taken > 0;
        if inside {
            session.emit(model, &mut self.optimizer, |callback, run| callback.epoch_begin(run))?;
        }
        if let Some(saved) = saved {
            session.restore_callbacks(&saved)?;
        }
        while inside || session.goes_on() {
            let begin = self.clock.read();
            if !std::mem::take(&mut inside) {
                train.restart();
                session.begin_epoch(train.epoch());
                session
                    .emit(model, &mut self.optimizer, |callback, run| callback.epoch_begin(run))?;
            }
            self.train_epoch(model, train, session)?;
            if let Some(valid) = &mut valid {
                self.validate(model, &mut **valid, session)?;
                session.valid_epoch = Some(valid.epoch());
            }
            session.now.seconds = begin.and_then(|begin| Some(self.clock.read()? - begin));
            session.emit(model, &mut self.optimizer, |callback, run| callback.epoch_end(run))?;
            session.end_epoch();
            session.save(model, &self.optimizer)?;
        }
        Ok(())
    }

    fn train_epoch<B>(
        &mut self,
        model: &mut Sequential<F>,
        train: &mut B,
        session: &mut Session<'_, '_, F>,
    ) -> Result<()>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        model.train();
        while !session.is_full() {
            let Some(batch) = train.next_batch()? else { break };
            session.emit(model, &mut self.optimizer, |callback, run| callback.batch_begin(run))?;
            if session.stop.is_some() {
                break;
            }
            session.tried += 1;
            session.taken += 1;
            match self.step(model, batch.x, &batch.target) {
                Ok(step) => {
                    let seconds = self.clock.read();
                    session.record(StepRecord::new(session.now.epoch, &step, seconds));
                    session.emit(model, &mut self.optimizer, |callback, run| {
                        callback.batch_end(run)
                    })?;
                    session.save(model, &self.optimizer)?;
                }
                Err(error) => session.rescue(model, &mut self.optimizer, error)?,
            }
        }
        Ok(())
    }

    /// Fills in the figures over the validation data.
    fn validate<T: Targets<Target = L::Target>>(
        &mut self,
        model: &mut Sequential<F>,
        valid: &mut dyn Loader<F, Targets = T>,
        session: &mut Session<'_, '_, F>,
    ) -> Result<()> {
        session.emit(model, &mut self.optimizer, |callback, run| callback.validation_begin(run))?;
        let result = self.measure(model, valid);
        session.failed = result.is_err();
        if let Ok((loss, metrics)) = &result {
            session.now.valid_loss = Some(*loss);
            session.now.metrics.clone_from(metrics);
        }
        let end =
            session.emit(model, &mut self.optimizer, |callback, run| callback.validation_end(run));
        result?;
        end
    }

    /// The loss and all metrics over some data.
    fn measure<T: Targets<Target = L::Target>>(
        &mut self,
        model: &Sequential<F>,
        data: &mut dyn Loader<F, Targets = T>,
    ) -> Result<(f64, Vec<(String, f64)>)> {
        let mut mean = Mean::default();
        self.metrics.iter_mut().for_each(|named| named.metric.reset());
        data.restart();
        while let Some(batch) = data.next_batch()? {
            let samples = batch.x.shape().first().copied().unwrap_or(0);
            let prediction = model.predict_with(batch.x, &mut self.workspace)?;
            mean.add(self.loss.value(prediction.view(), &batch.target)?.widen(), samples);
            for named in &mut self.metrics {
                named.metric.update(prediction.view(), &batch.target)?;
            }
        }
        let metrics = self.metrics.iter().map(|named| (named.name.clone(), named.metric.value()));
        Ok((mean.value(), metrics.collect()))
    }
}

/// Another shape would show only after a whole epoch of training. Leaves the loader where it was.
fn check_valid<F: Scalar, T: Targets>(
    model: &Sequential<F>,
    valid: &mut Valid<'_, F, T>,
) -> Result<()> {
    let Some(valid) = valid else { return Ok(()) };
    valid.restart();
    let epoch = valid.epoch();
    let result = match valid.next_batch()? {
        None => Err(Error::Data("validation needs at least one batch, got none".into())),
        Some(batch) => match batch.x.shape() {
            [_, sample @ ..] if sample == model.input_shape().dims() => Ok(()),
            shape => Err(Error::Input(
                ShapeError::new(model.input_shape().with_batch(), shape)
                    .hint("validation data must have the shape of the training data"),
            )),
        },
    };
    valid.set_epoch(epoch);
    result
}
