//! The trait of learning-rate schedules.

use std::fmt::Debug;

use crate::Result;
use crate::schedules::{Scaled, Then, Until};

/// Factor on the base learning rate, as a pure function of the step (0, 1, 2, …). Nothing to save,
/// nothing to forget.
///
/// A step is one update, so a schedule in epochs counts `epochs · batches`. Schedules compose: see
/// [`Schedule::then`].
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

    /// After how many steps it has run its course, if it ends at all; from then on its last value stays.
    fn steps(&self) -> Option<u64> {
        None
    }

    /// Checks the settings; every step of an optimizer does, before anything changes.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a setting out of range.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// This schedule to its end, then `next` from its beginning.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let schedule = LinearWarmup::new(100).then(Cosine::new(900));
    /// assert_eq!([schedule.factor(50), schedule.factor(100), schedule.factor(1000)], [0.5, 1.0, 0.0]);
    /// ```
    ///
    /// # Errors
    /// [`Schedule::check`] fails if this schedule has no end; [`Schedule::until`] gives it one.
    fn then<S: Schedule>(self, next: S) -> Then<Self, S>
    where
        Self: Sized,
    {
        Then::new(self, next)
    }

    /// This schedule for its first `steps` steps.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// // Constant for 30 steps, then a tenth.
    /// let schedule = layerwise::schedules::Constant.until(30).then(layerwise::schedules::Constant.scaled(0.1));
    /// assert_eq!([schedule.factor(29), schedule.factor(30)], [1.0, 0.1]);
    /// ```
    fn until(self, steps: u64) -> Until<Self>
    where
        Self: Sized,
    {
        Until::new(self, steps)
    }

    /// This schedule with every value multiplied by `factor`.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// assert_eq!(LinearWarmup::new(4).scaled(0.8).factor(2), 0.4);
    /// ```
    fn scaled(self, factor: f64) -> Scaled<Self>
    where
        Self: Sized,
    {
        Scaled::new(self, factor)
    }
}

/// A schedule chosen at run time.
impl Schedule for Box<dyn Schedule> {
    fn factor(&self, step: u64) -> f64 {
        (**self).factor(step)
    }

    fn steps(&self) -> Option<u64> {
        (**self).steps()
    }

    fn check(&self) -> Result<()> {
        (**self).check()
    }
}
