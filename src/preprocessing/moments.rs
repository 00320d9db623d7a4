//! Means, spreads and ranges, gathered in one pass.

use super::Statistics;
use crate::{Error, Result, Scalar, Shape};

/// What has a figure of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Per {
    /// Every element of a sample: each feature, each pixel.
    Element,
    /// Every channel, that is the first axis of a sample: all pixels of it together.
    Channel,
}

impl Per {
    /// How many figures there are, and how many neighbouring elements share one.
    ///
    /// # Errors
    /// [`Error::Preprocessing`] for samples without elements, or channels without an axis.
    pub(super) fn groups(self, sample: &Shape) -> Result<(usize, usize)> {
        let (groups, run) = self.count(sample)?;
        if Vec::<f64>::new().try_reserve_exact(groups).is_err() {
            return Err(Error::Preprocessing(format!("samples {sample} are too large for memory")));
        }
        Ok((groups, run))
    }

    /// Like [`Per::groups`], without asking whether there is memory for them.
    pub(super) fn count(self, sample: &Shape) -> Result<(usize, usize)> {
        let numel = sample.numel();
        if numel == 0 || (self == Self::Channel && sample.rank() == 0) {
            let needs =
                if self == Self::Channel { "[channels, ..]" } else { "at least one element" };
            return Err(Error::Preprocessing(format!("samples need {needs}, got {sample}")));
        }
        Ok(match self {
            Self::Element => (numel, 1),
            Self::Channel => (sample.dims()[0], numel / sample.dims()[0]),
        })
    }
}

/// Mean, variance, least and largest value of every element or channel.
///
/// Batches are combined by the formula of Chan, Golub & LeVeque 1979, and each batch's own figures take two
/// passes: no digits are lost where the mean is large.
///
/// ```
/// use layerwise::preprocessing::{Moments, Per, Statistics};
///
/// let mut moments = Moments::new(&[2].into(), Per::Element)?;
/// moments.update(&[1.0f32, 1e6, 3.0, 1e6 + 2.0]); // two samples
/// moments.update(&[5.0f32, 1e6 + 4.0]);
/// assert_eq!(moments.mean(), [3.0, 1e6 + 2.0]);
/// assert_eq!(moments.variance(), [8.0 / 3.0, 8.0 / 3.0]);
/// assert_eq!(moments.max(), [5.0, 1e6 + 4.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Moments {
    shape: Shape,
    per: Per,
    /// Neighbouring elements that share a figure.
    run: usize,
    samples: usize,
    mean: Vec<f64>,
    /// `Σ (x − mean)²`
    deviations: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
    /// Mean and deviations of the batch being taken in.
    batch: [Vec<f64>; 2],
}

impl Moments {
    /// Of samples of this shape, none of them seen yet.
    ///
    /// # Errors
    /// [`Error::Preprocessing`] for samples without elements, or without a channel axis where there is to be a
    /// figure per channel.
    pub fn new(sample: &Shape, per: Per) -> Result<Self> {
        let (groups, run) = per.groups(sample)?;
        let zeros = vec![0.0; groups];
        Ok(Self {
            shape: sample.clone(),
            per,
            run,
            samples: 0,
            mean: zeros.clone(),
            deviations: zeros.clone(),
            min: vec![f64::INFINITY; groups],
            max: vec![f64::NEG_INFINITY; groups],
            batch: [zeros.clone(), zeros],
        })
    }

    /// Shape of the samples.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What has a figure of its own.
    pub fn per(&self) -> Per {
        self.per
    }

    /// Samples seen.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The means.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The least values.
    pub fn min(&self) -> &[f64] {
        &self.min
    }

    /// The largest values.
    pub fn max(&self) -> &[f64] {
        &self.max
    }

    /// The variances, with the number of values as divisor (the population's, as scikit-learn's
    /// `StandardScaler`); NaN if there are none.
    pub fn variance(&self) -> Vec<f64> {
        let count = (self.samples * self.run) as f64;
        self.deviations.iter().map(|sum| sum / count).collect()
    }

    /// The standard deviations, and 1 for what is constant up to rounding, so that dividing leaves it as it is.
    pub fn std_or_one(&self) -> Vec<f64> {
        let count = (self.samples * self.run) as f64;
        let std = |(&mean, variance): (&f64, f64)| {
            // The bound on the error of a computed variance, as in scikit-learn.
            let noise = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
            if variance <= noise { 1.0 } else { variance.sqrt() }
        };
        self.mean.iter().zip(self.variance()).map(std).collect()
    }

    /// That there is a sample, and every figure is finite.
    pub(super) fn check(&self) -> Result<()> {
        if self.samples == 0 {
            return Err(Error::Preprocessing(
                "needs at least one sample to fit to, got none".into(),
            ));
        }
        match self.deviations.iter().position(|deviations| !deviations.is_finite()) {
            None => Ok(()),
            Some(group) => {
                let what = if self.per == Per::Channel { "channel" } else { "feature" };
                Err(Error::Preprocessing(format!(
                    "{what} {group} has values that are not finite; check the data"
                )))
            }
        }
    }
}

impl Statistics for Moments {
    fn update<F: Scalar>(&mut self, samples: &[F]) {
        let (numel, run) = (self.shape.numel(), self.run);
        let rows = samples.len() / numel;
        if rows == 0 {
            return;
        }
        let [mean, deviations] = &mut self.batch;
        let count = (rows * run) as f64;
        mean.fill(0.0);
        for sample in samples.chunks_exact(numel) {
            for (sum, values) in mean.iter_mut().zip(sample.chunks_exact(run)) {
                *sum += values.iter().map(|value| value.widen()).sum::<f64>();
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        deviations.fill(0.0);
        for sample in samples.chunks_exact(numel) {
            for (group, values) in sample.chunks_exact(run).enumerate() {
                for value in values {
                    let value = value.widen();
                    deviations[group] += (value - mean[group]) * (value - mean[group]);
                    self.min[group] = self.min[group].min(value);
                    self.max[group] = self.max[group].max(value);
                }
            }
        }
        let before = (self.samples * run) as f64;
        let share = count / (before + count);
        for group in 0..mean.len() {
            let apart = mean[group] - self.mean[group];
            self.mean[group] += apart * share;
            self.deviations[group] += deviations[group] + apart * apart * before * share;
        }
        self.samples += rows;
    }
}
