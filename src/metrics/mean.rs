//! A running mean.

/// A mean over samples, of batches' means.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mean {
    total: f64,
    samples: usize,
}

impl Mean {
    /// Takes in the mean over `samples`.
    pub(crate) fn add(&mut self, value: f64, samples: usize) {
        self.total += value * samples as f64;
        self.samples += samples;
    }

    /// NaN if nothing was added.
    pub(crate) fn value(&self) -> f64 {
        self.total / self.samples as f64
    }

    pub(crate) fn samples(&self) -> usize {
        self.samples
    }
}
