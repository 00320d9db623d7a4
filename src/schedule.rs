//! The trait of learning-rate schedules.

use std::fmt::Debug;

/// Factor on the base learning rate, as a pure function of the step (0, 1, 2, …). Nothing to save,
/// nothing to forget.
///
/// ```
/// use layerwise::prelude::*;
///
/// /// Halves the rate every 100 steps.
/// #[derive(Debug)]
/// struct Halve;
///
/// impl Schedule for Halve {
///     fn factor(&self, step: u64) -> f64 { 0.5f64.powf((step / 100) as f64) }
/// }
///
/// assert_eq!(Halve.factor(250), 0.25);
/// ```
pub trait Schedule: Debug + Send + Sync {
    /// The factor in force during `step`.
    fn factor(&self, step: u64) -> f64;
}
