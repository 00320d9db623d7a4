//! One evaluation of a point.

use crate::{Error, Result, Seed};

use super::Point;

/// One evaluation of a point: what a search hands to the function that trains and measures.
///
/// ```
/// use layerwise::Seed;
/// use layerwise::search::{Search, Space};
///
/// let search = Search::new(Space::new().uniform("x", -1.0, 1.0), Seed::new(1));
/// let results = search.random(20, 5, |trial| {
///     let x = trial.point().number("x")?;
///     let mut loss = 1.0;
///     for epoch in 0..trial.budget() {
///         loss = x * x + 1.0 / (epoch + 1) as f64;
///         trial.report(loss)?; // ends the trial if it makes no sense to go on
///     }
///     Ok(loss)
/// })?;
/// assert!(results.best().unwrap().point.number("x")?.abs() < 0.3);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Trial<'s> {
    pub(super) id: u64,
    pub(super) point: &'s Point,
    pub(super) budget: u64,
    pub(super) seed: Seed,
    pub(super) reports: Vec<f64>,
}

/// A loss above this many times the first ends a trial.
const DIVERGED: f64 = 3.0;

impl Trial<'_> {
    /// Its number. The same point has the same number at every budget.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Values of the hyperparameters.
    pub fn point(&self) -> &Point {
        self.point
    }

    /// How much to spend: epochs, usually.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// A seed of its own, for weights and the order of data. The same at every budget.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Takes note of a loss on the way, such as an epoch's.
    ///
    /// # Errors
    /// [`Error::Aborted`] if it is not a number, or above 3 times the first: to be passed on with `?`, which ends the trial. The
    /// search goes on.
    pub fn report(&mut self, loss: f64) -> Result<()> {
        self.reports.push(loss);
        let first = self.reports[0];
        if !loss.is_finite() {
            return Err(Error::Aborted(format!("the loss is {loss}")));
        }
        if first > 0.0 && loss > DIVERGED * first {
            return Err(Error::Aborted(format!("the loss rose from {first} to {loss}")));
        }
        Ok(())
    }
}
