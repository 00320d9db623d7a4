//! The trait every metric implements.

use std::fmt::Debug;

use crate::{Result, Scalar, View};

/// A figure over a whole data set, gathered batch by batch: [`Metric::update`] for each batch, then
/// [`Metric::value`].
///
/// A metric takes what a model puts out, that is logits where there are classes. The result does not
/// depend on how the samples are cut into batches. [`crate::metrics::evaluate`] runs a model and several
/// metrics over a data set.
///
/// # Examples
/// A metric of your own: the share of samples whose best two scores are within 0.1.
/// ```
/// use layerwise::prelude::*;
/// use layerwise::View;
///
/// #[derive(Debug, Default)]
/// struct Undecided { close: usize, samples: usize }
///
/// impl Metric for Undecided {
///     type Target = [usize];
///     fn update(&mut self, prediction: View<'_>, _target: &[usize]) -> Result<()> {
///         for row in prediction.outer_iter() {
///             let mut scores: Vec<f32> = row.iter().copied().collect();
///             scores.sort_by(f32::total_cmp);
///             self.close += usize::from(scores[scores.len() - 1] - scores[scores.len() - 2] < 0.1);
///             self.samples += 1;
///         }
///         Ok(())
///     }
///     fn value(&self) -> f64 { self.close as f64 / self.samples as f64 }
///     fn reset(&mut self) { *self = Self::default(); }
/// }
///
/// let mut undecided = Undecided::default();
/// undecided.update(ndarray::arr2(&[[1.0, 3.0], [2.0, 2.05]]).view().into_dyn(), &[0, 0])?;
/// assert_eq!(undecided.value(), 0.5);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Metric<F: Scalar = f32>: Debug + Send + Sync {
    /// What a prediction is compared with: `[usize]` for class indices, `ArrayRef` for values.
    type Target: ?Sized;

    /// Takes in one batch.
    ///
    /// # Errors
    /// [`crate::Error::Prediction`] or [`crate::Error::Target`] if the shapes or classes do not fit,
    /// [`crate::Error::Metric`] for a value that the metric is not defined for. The metric is then as before.
    fn update(&mut self, prediction: View<'_, F>, target: &Self::Target) -> Result<()>;

    /// The figure over everything since the start or the last reset; NaN where it is not defined, as for
    /// no samples at all.
    fn value(&self) -> f64;

    /// Forgets everything.
    fn reset(&mut self);
}
