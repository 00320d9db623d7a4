//! A trainer: loss and optimizer together.

use std::fmt;
use std::ops::ControlFlow;

use ndarray::ArrayViewMut;

use crate::data::{Loader, Targets};
use crate::error::ensure;
use crate::kernels::aligned::Aligned;
use crate::metrics::Mean;
use crate::optimizers::{ModelOptimizer, StepReport};
use crate::workspace::grown;
use crate::{Error, IntoView, Loss, Metric, Result, Scalar, Sequential, View, Workspace};

/// A loss and an optimizer that train a model, step by step or epoch by epoch.
///
/// The loop stays yours: [`Trainer::step`] is one mini-batch, [`Trainer::epoch`] one pass over the data with a
/// call after every step, [`Trainer::evaluate`] the loss over a data set in eval mode. [`Trainer::fit`] runs the whole:
/// epochs, validation, metrics, callbacks, a history. Schedule, clipping and accumulation belong to the optimizer
/// ([`ModelOptimizer`]), regularizers and frozen parts to the model. Nothing is printed.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// // XOR, which no linear classifier can do.
/// let x = arr2(&[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).into_dyn();
/// let data = Dataset::new(x.clone(), vec![0, 1, 1, 0])?;
/// let mut model =
///     Sequential::builder([2]).add(Linear::new(8)).add(Tanh).add(Linear::new(2)).seed(1).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.05));
/// let mut batches = data.batches(4)?.shuffled(Seed::new(1));
/// for _ in 0..200 {
///     trainer.epoch(&mut model, &mut batches)?;
/// }
/// let loss = trainer.evaluate(&model, &mut data.batches(4)?)?.loss;
/// assert!(loss < 0.05, "{loss}");
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<L: Loss<F>, F: Scalar = f32> {
    pub(super) loss: L,
    pub(super) optimizer: ModelOptimizer<F>,
    pub(super) metrics: Vec<Named<dyn Metric<F, Target = L::Target>>>,
    pub(super) epochs: Option<u64>,
    pub(super) steps: Option<u64>,
    pub(super) clock: Clock,
    pub(super) workspace: Workspace<F>,
    grad: Aligned<F>,
}

/// A metric under the name that the caller gave it.
#[derive(Debug)]
pub(super) struct Named<M: ?Sized> {
    pub(super) name: String,
    pub(super) metric: Box<M>,
}

/// The caller's clock, if there is one.
#[derive(Default)]
pub(super) struct Clock(Option<Box<dyn FnMut() -> f64 + Send + Sync>>);

impl Clock {
    pub(super) fn read(&mut self) -> Option<f64> {
        self.0.as_mut().map(|clock| clock())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock" } else { "no clock" })
    }
}

/// What one training step did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Step<F = f32> {
    /// The optimizer's step, from 1.
    pub step: u64,
    /// Samples in the batch.
    pub samples: usize,
    /// The loss before the update, without penalties.
    pub loss: F,
    /// The sum of all regularizers' penalties.
    pub penalty: F,
    /// L2 norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub lr: f64,
    /// Parameters updated: whole arrays, not elements. 0 if everything is frozen.
    pub parameters: usize,
}

/// What an evaluation found.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The loss: batches' losses, weighted by their samples.
    pub loss: f64,
    /// Samples seen.
    pub samples: usize,
}

impl<F: Scalar, L: Loss<F>> Trainer<L, F> {
    /// Trains by this loss with this optimizer.
    pub fn new(loss: L, optimizer: ModelOptimizer<F>) -> Self {
        Self {
            loss,
            optimizer,
            metrics: Vec::new(),
            epochs: None,
            steps: None,
            clock: Clock::default(),
            workspace: Workspace::new(),
            grad: Aligned::default(),
        }
    }

    /// How many epochs [`Trainer::fit`] trains for, at least 1; default 1, or without limit where
    /// [`Trainer::steps`] is set.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// After how many batches [`Trainer::fit`] ends at the latest, at least 1, also in the middle of an epoch; default
    /// without limit.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let data = Dataset::new(Array2::<f32>::ones((6, 3)).into_dyn(), vec![0; 6])?;
    /// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
    /// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1)).steps(8);
    /// let history = trainer.fit(&mut model, &mut data.batches(2)?, None)?;
    /// assert_eq!((history.steps.len(), history.epochs.len()), (8, 3));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Adds a figure that [`Trainer::fit`] computes over the validation data after each epoch, under this name.
    pub fn metric(
        mut self,
        name: &str,
        metric: impl Metric<F, Target = L::Target> + 'static,
    ) -> Self {
        self.metrics.push(Named { name: name.into(), metric: Box::new(metric) });
        self
    }

    /// Seconds since any moment, for the times in a [`super::History`]. The crate itself reads no clock.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let start = std::time::Instant::now();
    /// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1))
    ///     .clock(move || start.elapsed().as_secs_f64());
    /// let data = Dataset::new(Array2::<f32>::ones((6, 3)).into_dyn(), vec![0; 6])?;
    /// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
    /// let history = trainer.fit(&mut model, &mut data.batches(2)?, None)?;
    /// assert!(history.epochs[0].seconds.unwrap() > 0.0);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn clock(mut self, clock: impl FnMut() -> f64 + Send + Sync + 'static) -> Self {
        self.clock = Clock(Some(Box::new(clock)));
        self
    }

    /// Changes the number of epochs of [`Trainer::fit`].
    pub fn set_epochs(&mut self, epochs: u64) {
        self.epochs = Some(epochs);
    }

    pub(super) fn check_limits(&self) -> Result<()> {
        for (field, limit) in [("epochs", self.epochs), ("steps", self.steps)] {
            ensure(limit != Some(0), "Trainer", field, "at least 1", 0)?;
        }
        Ok(())
    }

    /// The loss.
    pub fn loss(&self) -> &L {
        &self.loss
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &ModelOptimizer<F> {
        &self.optimizer
    }

    /// The optimizer, to change its rate or groups between steps.
    pub fn optimizer_mut(&mut self) -> &mut ModelOptimizer<F> {
        &mut self.optimizer
    }

    /// One mini-batch: forward in the model's mode, loss, backward, penalties, update. Gradients left by
    /// the caller's own `backward` are part of the step.
    ///
    /// # Errors
    /// What the model, the loss and the optimizer report; [`Error::NonFinite`] if the loss or a gradient is
    /// not finite. The model is then as it was, running statistics included, with its gradients cleared.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
    /// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1));
    /// let step = trainer.step(&mut model, &Array2::zeros((4, 3)), &[0, 1, 0, 1])?;
    /// assert!((step.loss - 2f32.ln()).abs() < 1e-6);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn step<'a>(
        &mut self,
        model: &mut Sequential<F>,
        x: impl IntoView<'a, F>,
        target: &L::Target,
    ) -> Result<Step<F>> {
        let result = self.try_step(model, x.into_view(), target);
        if result.is_err() {
            model.zero_grad();
            self.optimizer.forget_gathered();
        }
        result
    }

    fn try_step(
        &mut self,
        model: &mut Sequential<F>,
        x: View<'_, F>,
        target: &L::Target,
    ) -> Result<Step<F>> {
        let step = self.optimizer.steps() + 1;
        let samples = model.forward_only(x)?;
        let prediction = model.last_output(samples);
        let shape = prediction.raw_dim();
        let grad = grown(&mut self.grad, 1, prediction.len())?;
        let mut grad =
            ArrayViewMut::from_shape(shape, grad).expect("the buffer was cut for the prediction");
        let loss = self.loss.value_and_grad(prediction, target, grad.view_mut())?;
        if !loss.is_finite() {
            return Err(Error::NonFinite { what: "loss".into(), step });
        }
        model.backward(&grad)?;
        let penalty = model.regularize();
        let report = self.optimizer.step(model)?;
        model.commit()?;
        let StepReport { lr, grad_norm, parameters, .. } = report;
        Ok(Step { step, samples, loss, penalty, grad_norm, lr, parameters })
    }

    /// One pass over the data: switches the model to train mode and takes a step for each batch.
    /// Returns the mean loss.
    ///
    /// # Errors
    /// As for [`Trainer::step`]; the steps before the error are done.
    pub fn epoch<B>(&mut self, model: &mut Sequential<F>, batches: &mut B) -> Result<f64>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        self.epoch_with(model, batches, |_| ControlFlow::Continue(()))
    }

    /// Like [`Trainer::epoch`], and calls `each` after every step, which may stop the epoch.
    ///
    /// # Errors
    /// As for [`Trainer::step`].
    ///
    /// ```
    /// # use layerwise::prelude::*;
    /// # let data = Dataset::new(Array2::zeros((8, 3)).into_dyn(), vec![0; 8])?;
    /// # let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
    /// # let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1));
    /// use std::ops::ControlFlow;
    ///
    /// let mut steps = 0;
    /// trainer.epoch_with(&mut model, &mut data.batches(2)?, |step| {
    ///     steps = step.step;
    ///     if step.step == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// })?;
    /// assert_eq!(steps, 3);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn epoch_with<B>(
        &mut self,
        model: &mut Sequential<F>,
        batches: &mut B,
        mut each: impl FnMut(&Step<F>) -> ControlFlow<()>,
    ) -> Result<f64>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        model.train();
        let mut mean = Mean::default();
        batches.restart();
        while let Some(batch) = batches.next_batch()? {
            let step = self.step(model, batch.x, &batch.target)?;
            mean.add(step.loss.widen(), step.samples);
            if each(&step).is_break() {
                break;
            }
        }
        Ok(mean.value())
    }

    /// The loss over a data set, in eval mode.
    ///
    /// # Errors
    /// What the model and the loss report.
    pub fn evaluate<B>(&mut self, model: &Sequential<F>, batches: &mut B) -> Result<Evaluation>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        let mut mean = Mean::default();
        batches.restart();
        while let Some(batch) = batches.next_batch()? {
            let samples = batch.x.shape().first().copied().unwrap_or(0);
            let prediction = model.predict_with(batch.x, &mut self.workspace)?;
            mean.add(self.loss.value(prediction, &batch.target)?.widen(), samples);
        }
        Ok(Evaluation { loss: mean.value(), samples: mean.samples() })
    }
}
