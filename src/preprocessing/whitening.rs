//! The preprocessors that follow the covariance.

use super::{Covariance, Preprocessor, Projection};
use crate::{Error, Result, Scalar, Shape};

/// Rotates centered data to its principal components, the one of the largest variance first.
///
/// `y = (x − mean) Uᵀ`; with [`Pca::whiten`] each component is divided by `√(eigenvalue + eps)`, so that all have
/// variance 1. The covariance has the number of samples as divisor. An axis's sign is such that its largest entry
/// is positive.
///
/// # Shape
/// samples `[n, ..]` of any shape → `[n, components]`.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{Pca, Preprocessor, Transform};
///
/// let x = ndarray::arr2(&[[0.0f64, 2.0], [0.0, -2.0], [1.0, 0.0], [-1.0, 0.0]]);
/// let y = Pca::new().whiten(true).eps(0.0).fit(&x)?.apply(&x)?;
/// assert!((y.var_axis(ndarray::Axis(0), 0.0) - 1.0).iter().all(|error| error.abs() < 1e-12));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Fitting fails with [`Error::Setting`] for a setting out of range; [`Error::Preprocessing`] for no sample, values
/// that are not finite, or more than 8192 features.
///
/// # References
/// As the CS231n notes (there by SVD of the covariance); scikit-learn's `PCA` divides by one less than the number of
/// samples.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pca {
    components: Option<usize>,
    whiten: bool,
    eps: f64,
}

/// Whitens and rotates back: of all whitened data the nearest to the original.
///
/// `y = (x − mean) U diag(1/√(eigenvalue + eps)) Uᵀ`. Whitened images still look like images.
///
/// # Shape
/// samples `[n, ..]` of any shape → the same.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{Preprocessor, Transform, Zca};
///
/// let x = ndarray::arr2(&[[0.0f64, 2.0], [0.0, -2.0], [1.0, 0.0], [-1.0, 0.0]]);
/// let y = Zca::new().eps(0.0).fit(&x)?.apply(&x)?;
/// assert!((y[[0, 1]] - 2f64.sqrt()).abs() < 1e-12 && y[[0, 0]].abs() < 1e-12);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`Pca`].
///
/// # References
/// Bell & Sejnowski 1997; `eps` as in Krizhevsky 2009.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Zca {
    eps: f64,
}

impl Default for Pca {
    fn default() -> Self {
        Self::new()
    }
}

impl Pca {
    /// All components, not whitened.
    pub fn new() -> Self {
        Self { components: None, whiten: false, eps: 1e-5 }
    }

    /// How many components to keep, from 1 to the number of features; default all.
    pub fn components(mut self, components: usize) -> Self {
        self.components = Some(components);
        self
    }

    /// Whether to divide by the standard deviations; default false.
    pub fn whiten(mut self, whiten: bool) -> Self {
        self.whiten = whiten;
        self
    }

    /// Added to the variances before the root, `eps ≥ 0`; default 1e-5. Larger values leave noise small.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl Default for Zca {
    fn default() -> Self {
        Self::new()
    }
}

impl Zca {
    /// With the default `eps`.
    pub fn new() -> Self {
        Self { eps: 1e-5 }
    }

    /// Added to the variances before the root, `eps ≥ 0`; default 1e-5. Larger values leave noise small.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl Preprocessor for Pca {
    type Statistics = Covariance;
    type Fitted<F: Scalar> = Projection<F>;

    fn statistics(&self, sample: &Shape) -> Result<Covariance> {
        check_eps("Pca", self.eps)?;
        let features = sample.numel();
        match self.components {
            Some(components) if !(1..=features).contains(&components) => Err(Error::Setting {
                kind: "Pca",
                field: "components",
                must_be: "from 1 to the number of features",
                got: format!("{components} of {features}"),
            }),
            _ => Covariance::new(sample),
        }
    }

    fn fitted<F: Scalar>(&self, covariance: &Covariance) -> Result<Projection<F>> {
        let (variances, mut axes) = covariance.axes()?;
        let features = variances.len();
        let components = self.components.unwrap_or(features);
        axes.truncate(components * features);
        let mut inverse = axes.clone();
        if self.whiten {
            let rows = axes.chunks_exact_mut(features).zip(inverse.chunks_exact_mut(features));
            for ((axis, inverse), variance) in rows.zip(&variances) {
                let spread = spread(variance + self.eps);
                axis.iter_mut().for_each(|x| *x /= spread);
                inverse.iter_mut().for_each(|x| *x *= spread);
            }
        }
        let (shape, mean) = (covariance.shape(), covariance.mean());
        Ok(Projection::new(shape, [components].into(), mean, &axes, &inverse, &variances))
    }
}

impl Preprocessor for Zca {
    type Statistics = Covariance;
    type Fitted<F: Scalar> = Projection<F>;

    fn statistics(&self, sample: &Shape) -> Result<Covariance> {
        check_eps("Zca", self.eps)?;
        Covariance::new(sample)
    }

    fn fitted<F: Scalar>(&self, covariance: &Covariance) -> Result<Projection<F>> {
        let (variances, axes) = covariance.axes()?;
        let features = variances.len();
        let (mut weight, mut inverse) = (vec![0.0; axes.len()], vec![0.0; axes.len()]);
        for (axis, variance) in axes.chunks_exact(features).zip(&variances) {
            let spread = spread(variance + self.eps);
            add_outer(&mut weight, axis, 1.0 / spread);
            add_outer(&mut inverse, axis, spread);
        }
        let (shape, mean) = (covariance.shape(), covariance.mean());
        Ok(Projection::new(shape, shape.clone(), mean, &weight, &inverse, &variances))
    }
}

/// What to divide by: nothing where there is no variance at all, which leaves zeros zero.
fn spread(variance: f64) -> f64 {
    if variance > 0.0 { variance.sqrt() } else { 1.0 }
}

/// `matrix += factor · axis axisᵀ`
fn add_outer(matrix: &mut [f64], axis: &[f64], factor: f64) {
    for (row, &x) in matrix.chunks_exact_mut(axis.len()).zip(axis) {
        row.iter_mut().zip(axis).for_each(|(sum, y)| *sum += factor * x * y);
    }
}

fn check_eps(kind: &'static str, eps: f64) -> Result<()> {
    if eps >= 0.0 && eps.is_finite() {
        return Ok(());
    }
    Err(Error::Setting { kind, field: "eps", must_be: "at least 0", got: eps.to_string() })
}
