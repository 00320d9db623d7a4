//! Much for few, little for many.

use super::run::{Job, Session};
use super::{Results, Search, Trial};
use crate::Result;
use crate::error::ensure;

/// Successive halving: all trials with a small budget, the best share of them with `eta` times as much, and so on.
///
/// Rung `k` has budget `min_budget · etaᵏ`, as long as that is at most `max_budget`, and the best `⌊trials / etaᵏ⌋` trials, at least one.
/// A trial that goes up begins again from its own seed.
///
/// ```
/// use layerwise::Seed;
/// use layerwise::search::{Halving, Search, Space};
///
/// let search = Search::new(Space::new().uniform("x", 0.0, 1.0), Seed::new(1));
/// let results = search.halving(&Halving::new(9, 1, 9), |trial| {
///     Ok((trial.point().number("x")? - 0.5).powi(2) + 1.0 / trial.budget() as f64)
/// })?;
/// let count = |budget| results.trials.iter().filter(|trial| trial.budget == budget).count();
/// assert_eq!([count(1), count(3), count(9)], [9, 3, 1]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Jamieson & Talwalkar 2016. Li et al. 2020 (ASHA) promote a trial as soon as it can be, without waiting for its rung; which
/// ones then depends on timing. Here a rung is finished first, so that any number of workers gives the same trials.
#[doc(alias = "ASHA")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halving {
    trials: usize,
    min_budget: u64,
    max_budget: u64,
    eta: u64,
}

impl Halving {
    /// `trials` at first, at least 1; budgets from `min_budget`, at least 1, to at most `max_budget`. `eta` is 3.
    pub fn new(trials: usize, min_budget: u64, max_budget: u64) -> Self {
        Self { trials, min_budget, max_budget, eta: 3 }
    }

    /// One in `eta` goes up, to `eta` times the budget; at least 2, default 3.
    pub fn eta(mut self, eta: u64) -> Self {
        self.eta = eta;
        self
    }

    fn check(&self) -> Result<()> {
        ensure(self.trials > 0, "Halving", "trials", "at least 1", self.trials)?;
        ensure(self.min_budget > 0, "Halving", "min_budget", "at least 1", self.min_budget)?;
        let (low, high) = (self.min_budget, self.max_budget);
        ensure(high >= low, "Halving", "max_budget", "at least min_budget", high)?;
        ensure(self.eta > 1, "Halving", "eta", "at least 2", self.eta)
    }
}

impl Search {
    /// Successive halving.
    ///
    /// # Errors
    /// See [`Search`] and [`Halving`].
    pub fn halving(
        &self,
        plan: &Halving,
        objective: impl Fn(&mut Trial<'_>) -> Result<f64> + Sync,
    ) -> Result<Results> {
        plan.check()?;
        let mut session = Session::open(self, &format!("{plan:?}"))?;
        let (mut budget, mut jobs) = (plan.min_budget, Vec::new());
        for id in 0..plan.trials as u64 {
            let point = self.space.draw(self.draw_seed(id))?;
            jobs.push(Job { id, stage: 0, budget, point });
        }
        for stage in 1u64.. {
            let records = session.run(jobs, &objective)?;
            let best = session.ranked(records);
            let divisor = usize::try_from(plan.eta.saturating_pow(stage.min(64) as u32));
            let keep = (plan.trials / divisor.unwrap_or(usize::MAX)).max(1).min(best.len());
            budget = budget.saturating_mul(plan.eta);
            if budget > plan.max_budget || keep == 0 {
                break;
            }
            let again = best.into_iter().take(keep);
            jobs = again.map(|r| Job { id: r.id, stage, budget, point: r.point }).collect();
            jobs.sort_by_key(|job| job.id);
        }
        Ok(session.finish())
    }
}
