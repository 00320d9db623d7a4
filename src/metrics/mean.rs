//! A running mean.

/// A mean over samples, of batches' means.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
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

    /// What it goes on from: the total and the samples.
    pub(crate) fn parts(&self) -> (f64, usize) {
        (self.total, self.samples)
    }

    /// Goes on from its parts.
    pub(crate) fn of_parts((total, samples): (f64, usize)) -> Self {
        Self { total, samples }
    }

    pub(crate) fn samples(&self) -> usize {
        self.samples
    }
}
