//! The covariance of features, gathered in one pass.

use super::Statistics;
use crate::kernels::eigen::eigen;
use crate::kernels::gemm::{Begin, Mat, gemm, scratch_len};
use crate::{Error, Result, Scalar, Shape};

/// Most features: their covariance takes 0.5 GB, and its eigenvectors hours.
const MOST: usize = 8192;

/// Rows whose products are summed at once.
const ROWS: usize = 512;

/// Mean and covariance of all elements of a sample.
///
/// Memory grows with the square of the number of elements, and [`super::Pca`] and [`super::Zca`] take time with
/// its cube: a quarter of a second for 256 elements, 6 seconds for the 784 of MNIST.
///
/// ```
/// use layerwise::preprocessing::{Covariance, Statistics};
///
/// let mut covariance = Covariance::new(&[2].into())?;
/// covariance.update(&[1.0f32, 2.0]); // a sample
/// covariance.update(&[3.0f32, 6.0]);
/// assert_eq!(covariance.mean(), [2.0, 4.0]);
/// assert_eq!(covariance.matrix(), [1.0, 2.0, 2.0, 4.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Covariance {
    shape: Shape,
    samples: usize,
    mean: Vec<f64>,
    /// `Σ (x − mean)(x − mean)ᵀ`, row-major.
    products: Vec<f64>,
}

impl Covariance {
    /// Of samples of this shape, none of them seen yet.
    ///
    /// # Errors
    /// [`Error::Preprocessing`] for samples of no element or more than 8192.
    pub fn new(sample: &Shape) -> Result<Self> {
        let features = sample.numel();
        if !(1..=MOST).contains(&features) {
            return Err(Error::Preprocessing(format!(
                "whitening needs samples of 1 to {MOST} elements, got {sample}; make them smaller first"
            )));
        }
        Ok(Self {
            shape: sample.clone(),
            samples: 0,
            mean: vec![0.0; features],
            products: vec![0.0; features * features],
        })
    }

    /// Shape of the samples.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Samples seen.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, row-major, with the number of samples as divisor.
    pub fn matrix(&self) -> Vec<f64> {
        self.products.iter().map(|sum| sum / self.samples as f64).collect()
    }

    /// Variances along the principal axes, largest first, and the axes as rows. An axis's largest entry is
    /// positive.
    pub(crate) fn axes(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        if self.samples == 0 {
            return Err(Error::Preprocessing(
                "needs at least one sample to fit to, got none".into(),
            ));
        }
        let mut matrix = self.matrix();
        if !matrix.iter().all(|value| value.is_finite()) {
            return Err(Error::Preprocessing(
                "samples have values that are not finite; check the data".into(),
            ));
        }
        let features = self.mean.len();
        let mut axes = vec![0.0; features * features];
        let mut variances = eigen(&mut matrix, &mut axes, features);
        // Rounding may leave a variance of zero below it.
        variances.iter_mut().for_each(|variance| *variance = variance.max(0.0));
        for axis in axes.chunks_exact_mut(features) {
            let largest =
                axis.iter().fold(0.0f64, |top, &x| if x.abs() > top.abs() { x } else { top });
            if largest < 0.0 {
                axis.iter_mut().for_each(|x| *x = -*x);
            }
        }
        Ok((variances, axes))
    }

    /// Takes in a few samples.
    fn add<F: Scalar>(&mut self, samples: &[F], scratch: &mut Vec<f64>) {
        let features = self.mean.len();
        let rows = samples.len() / features;
        let mut mean = vec![0.0; features];
        for sample in samples.chunks_exact(features) {
            mean.iter_mut().zip(sample).for_each(|(sum, x)| *sum += x.widen());
        }
        mean.iter_mut().for_each(|sum| *sum /= rows as f64);
        let centered: Vec<f64> = samples
            .chunks_exact(features)
            .flat_map(|sample| sample.iter().zip(&mean))
            .map(|(x, mean)| x.widen() - mean)
            .collect();
        scratch.resize(scratch_len::<f64>(features, features, rows), 0.0);
        let (a, b) = (Mat::transposed(&centered, features), Mat::new(&centered, features));
        gemm(features, features, rows, a, b, &mut self.products, Begin::Add, scratch);
        // The two means lie apart: Chan, Golub & LeVeque 1979, for products.
        let (before, count) = (self.samples as f64, rows as f64);
        let weight = before * count / (before + count);
        mean.iter_mut().zip(&self.mean).for_each(|(new, old)| *new -= old);
        for (row, &apart) in self.products.chunks_exact_mut(features).zip(&mean) {
            row.iter_mut().zip(&mean).for_each(|(sum, other)| *sum += weight * apart * other);
        }
        self.mean
            .iter_mut()
            .zip(&mean)
            .for_each(|(old, apart)| *old += apart * count / (before + count));
        self.samples += rows;
    }
}

impl Statistics for Covariance {
    fn update<F: Scalar>(&mut self, samples: &[F]) {
        let mut scratch = Vec::new();
        for samples in samples.chunks(ROWS * self.mean.len()) {
            self.add(samples, &mut scratch);
        }
    }
}
