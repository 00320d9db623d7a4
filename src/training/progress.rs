//! A progress bar.

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Callback, Run};
use crate::{Result, Scalar};

/// Shows on the standard error how far a run is: a bar for each epoch with its loss, and a line when it is over. The only part of
/// the crate that writes to a terminal, and only if you ask for it. Where there is no terminal nothing is written. Feature
/// `progress`.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::Progress;
///
/// let data = Dataset::new(Array2::<f32>::ones((6, 3)).into_dyn(), vec![0; 6])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1)).epochs(2);
/// let mut progress = Progress::new();
/// trainer.fit_with(&mut model, &mut data.batches(2)?, None, &mut [&mut progress])?;
/// assert_eq!(progress.epochs(), 2);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub struct Progress {
    bar: ProgressBar,
    epochs: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("epochs", &self.epochs).finish_non_exhaustive()
    }
}

impl Progress {
    /// On the standard error.
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} {eta} {msg}");
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            epochs: 0,
        }
    }

    /// Epochs shown so far.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }
}

impl<F: Scalar> Callback<F> for Progress {
    fn epoch_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let of = run.plan.epochs.map_or(String::new(), |epochs| format!("/{epochs}"));
        self.bar.reset();
        self.bar.set_length(run.plan.batches as u64);
        self.bar.set_prefix(format!("epoch {}{of}", run.now.epoch));
        Ok(())
    }

    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.bar.inc(1);
        self.bar.set_message(format!("loss {:.4}", run.now.loss));
        Ok(())
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let now = run.now;
        let mut line = format!("epoch {}: loss {:.4}", now.epoch, now.loss);
        if let Some(loss) = now.valid_loss {
            line += &format!(", validation {loss:.4}");
        }
        for (name, value) in &now.metrics {
            line += &format!(", {name} {value:.4}");
        }
        self.bar.println(line);
        self.epochs += 1;
        Ok(())
    }

    fn fit_end(&mut self, _run: &mut Run<'_, F>) -> Result<()> {
        self.bar.finish_and_clear();
        Ok(())
    }
}
