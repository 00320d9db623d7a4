//! A run as `tracing` events.

use super::{Callback, Rescue, Run};
use crate::{Error, Result, Scalar};

/// Emits a run as events of the `tracing` crate, target `layerwise::training`: `debug` for each step, `info` for each epoch and for the end,
/// `warn` for a step that failed. What becomes of them is up to the program's subscriber. Feature `tracing`.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::Events;
///
/// let data = Dataset::new(Array2::<f32>::ones((6, 3)).into_dyn(), vec![0; 6])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1));
/// let history = trainer.fit_with(&mut model, &mut data.batches(2)?, None, &mut [&mut Events])?;
/// assert_eq!(history.steps.len(), 3);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Events;

const TARGET: &str = "layerwise::training";

impl<F: Scalar> Callback<F> for Events {
    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if let Some(step) = run.step() {
            let (loss, lr, grad_norm) = (step.loss, step.lr, step.grad_norm);
            ::tracing::debug!(target: TARGET, step = step.step, loss, lr, grad_norm, "step");
        }
        Ok(())
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let now = run.now;
        let metrics = format!("{:?}", now.metrics);
        ::tracing::info!(
            target: TARGET,
            epoch = now.epoch,
            loss = now.loss,
            valid_loss = now.valid_loss,
            metrics,
            "epoch"
        );
        Ok(())
    }

    fn fit_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let (steps, failed) = (run.history.steps.len(), run.has_failed());
        let stopped = run.stop.as_deref();
        ::tracing::info!(target: TARGET, steps, stopped, failed, "end");
        Ok(())
    }

    fn step_failed(&mut self, error: &Error, run: &mut Run<'_, F>) -> Rescue {
        ::tracing::warn!(target: TARGET, epoch = run.now.epoch, error = %error, "step failed");
        Rescue::Fail
    }
}
