//! Schedules made of schedules.

use crate::error::ensure;
use crate::{Result, Schedule};

/// One schedule to its end, then another; made by [`Schedule::then`].
///
/// ```
/// use layerwise::prelude::*;
///
/// let schedule = LinearWarmup::new(2).then(Cosine::new(4)).then(layerwise::schedules::Constant.scaled(0.5));
/// assert_eq!(schedule.factor(5), Cosine::new(4).factor(3));
/// assert_eq!(schedule.factor(6), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Then<A, B> {
    first: A,
    next: B,
}

impl<A, B> Then<A, B> {
    pub(crate) fn new(first: A, next: B) -> Self {
        Self { first, next }
    }
}

impl<A: Schedule, B: Schedule> Schedule for Then<A, B> {
    fn factor(&self, step: u64) -> f64 {
        match self.first.steps().and_then(|steps| step.checked_sub(steps)) {
            Some(step) => self.next.factor(step),
            None => self.first.factor(step),
        }
    }

    fn steps(&self) -> Option<u64> {
        Some(self.first.steps()?.saturating_add(self.next.steps()?))
    }

    fn check(&self) -> Result<()> {
        let must_be = "one that ends; give it an end with `until`";
        let first = format_args!("{:?}", self.first);
        ensure(self.first.steps().is_some(), "Then", "the first schedule", must_be, first)?;
        self.first.check()?;
        self.next.check()
    }
}

/// The first steps of a schedule, whose last value stays; made by [`Schedule::until`].
///
/// ```
/// use layerwise::prelude::*;
///
/// let schedule = ExponentialDecay { gamma: 0.5 }.until(3);
/// assert_eq!((schedule.factor(2), schedule.factor(9), schedule.steps()), (0.25, 0.125, Some(3)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Until<S> {
    schedule: S,
    steps: u64,
}

impl<S> Until<S> {
    pub(crate) fn new(schedule: S, steps: u64) -> Self {
        Self { schedule, steps }
    }
}

impl<S: Schedule> Schedule for Until<S> {
    fn factor(&self, step: u64) -> f64 {
        self.schedule.factor(step.min(self.steps))
    }

    fn steps(&self) -> Option<u64> {
        Some(self.steps)
    }

    fn check(&self) -> Result<()> {
        self.schedule.check()
    }
}

/// A schedule times a number; made by [`Schedule::scaled`].
///
/// ```
/// use layerwise::prelude::*;
/// assert_eq!(Cosine::new(10).scaled(0.5).factor(0), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Scaled<S> {
    schedule: S,
    factor: f64,
}

impl<S> Scaled<S> {
    pub(crate) fn new(schedule: S, factor: f64) -> Self {
        Self { schedule, factor }
    }
}

impl<S: Schedule> Schedule for Scaled<S> {
    fn factor(&self, step: u64) -> f64 {
        self.factor * self.schedule.factor(step)
    }

    fn steps(&self) -> Option<u64> {
        self.schedule.steps()
    }

    fn check(&self) -> Result<()> {
        let valid = self.factor >= 0.0 && self.factor.is_finite();
        ensure(valid, "Scaled", "factor", "at least 0", self.factor)?;
        self.schedule.check()
    }
}
