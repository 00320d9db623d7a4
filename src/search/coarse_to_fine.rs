//! Narrowing the ranges down.

use super::run::{Job, Session};
use super::space::Range;
use super::{Point, Results, Search, Space, Trial, TrialRecord, Value};
use crate::Result;
use crate::error::ensure;

/// The course's "coarse to fine search, narrowing down iteratively": short runs over wide ranges, then longer ones around the
/// best.
///
/// Each stage has a budget. After a stage every range shrinks to the part where its best `keep` trials lie, as far as the next
/// trial on both sides, or to the range's end if there is none; at least by one trial's share of the range, and never beyond the
/// space. Distances in log-uniform ranges are those of the logarithms. Choices keep the options of these trials. The next
/// stage runs the best trials again with its own budget, and new random ones.
///
/// If the best trial of the last stage lies in the outer twentieth of a range of the space, the results have a warning: the best may
/// be outside.
///
/// # Examples
/// ```
/// use layerwise::Seed;
/// use layerwise::search::{CoarseToFine, Search, Space};
///
/// let search = Search::new(Space::new().log_uniform("lr", 1e-6, 10.0), Seed::new(1));
/// let results = search.coarse_to_fine(&CoarseToFine::new(10, &[1, 5]), |trial| {
///     let off = trial.point().number("lr")?.log10() + 2.5; // best at 10^-2.5
///     Ok(off * off + 1.0 / trial.budget() as f64)
/// })?;
/// let lr = results.best().unwrap().point.number("lr")?;
/// assert!((lr.log10() + 2.5).abs() < 0.3, "{lr}");
/// assert!(results.warnings.is_empty());
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoarseToFine {
    trials: usize,
    budgets: Vec<u64>,
    keep: usize,
}

impl CoarseToFine {
    /// `trials` for each stage, at least 2, and the stages' budgets, such as 1, 5 and 20 epochs. The best fifth is kept, at least 2.
    pub fn new(trials: usize, budgets: &[u64]) -> Self {
        Self { trials, budgets: budgets.to_vec(), keep: (trials / 5).max(2) }
    }

    /// How many trials of a stage decide on the next, at least 1 and fewer than there are; default a fifth, at least 2.
    pub fn keep(mut self, keep: usize) -> Self {
        self.keep = keep;
        self
    }

    fn check(&self) -> Result<()> {
        ensure(self.trials > 1, "CoarseToFine", "trials", "at least 2", self.trials)?;
        let stages = self.budgets.len();
        ensure(stages > 0, "CoarseToFine", "budgets", "at least one", stages)?;
        let valid = self.keep > 0 && self.keep <= self.trials;
        ensure(valid, "CoarseToFine", "keep", "from 1 to the number of trials", self.keep)
    }
}

/// The outer share of a range in which the best is a warning.
const BORDER: f64 = 0.05;

impl Search {
    /// Coarse to fine.
    ///
    /// # Errors
    /// See [`Search`] and [`CoarseToFine`].
    pub fn coarse_to_fine(
        &self,
        plan: &CoarseToFine,
        objective: impl Fn(&mut Trial<'_>) -> Result<f64> + Sync,
    ) -> Result<Results> {
        plan.check()?;
        let mut session = Session::open(self, &format!("{plan:?}"))?;
        let (mut space, mut id) = (self.space.clone(), 0);
        let mut kept: Vec<TrialRecord> = Vec::new();
        for (stage, &budget) in (0u64..).zip(&plan.budgets) {
            let again =
                kept.iter().map(|r| Job { id: r.id, stage, budget, point: r.point.clone() });
            let mut jobs: Vec<Job> = again.collect();
            jobs.sort_by_key(|job| job.id);
            while jobs.len() < plan.trials {
                let point = space.draw(self.draw_seed(id))?;
                jobs.push(Job { id, stage, budget, point });
                id += 1;
            }
            let all = session.run(jobs, &objective)?;
            kept = session.ranked(all.clone());
            kept.truncate(plan.keep);
            if kept.is_empty() {
                break;
            }
            space = shrunk(&self.space, &space, &all, &kept);
        }
        if let Some(best) = kept.first() {
            session.results.warnings = borders(&self.space, &best.point);
        }
        Ok(session.finish())
    }
}

/// The part of `whole` around the trials kept of all that were drawn from `space`.
fn shrunk(whole: &Space, space: &Space, all: &[TrialRecord], kept: &[TrialRecord]) -> Space {
    let mut next = space.clone();
    for (dimension, whole) in next.dimensions_mut().iter_mut().zip(whole.dimensions()) {
        let values = kept.iter().filter_map(|record| record.point.get(&dimension.name));
        if let Range::Choice(options) = &mut dimension.range {
            let chosen: Vec<_> = values.map(ToString::to_string).collect();
            if !chosen.is_empty() {
                options.retain(|option| chosen.contains(option));
            }
            continue;
        }
        let share = |value: &Value| whole.range.share_of(value);
        let tried = all.iter().filter_map(|record| share(record.point.get(&dimension.name)?));
        let [Some(low), Some(high)] = bounds(&dimension.range).map(|bound| share(&bound)) else {
            continue;
        };
        let (tried, kept): (Vec<f64>, Vec<f64>) =
            (tried.collect(), values.filter_map(share).collect());
        if let (Some(first), Some(last)) =
            (kept.iter().copied().reduce(f64::min), kept.iter().copied().reduce(f64::max))
        {
            let margin = (high - low) / tried.len() as f64;
            let below = tried.iter().copied().filter(|&share| share < first).fold(low, f64::max);
            let above = tried.iter().copied().filter(|&share| share > last).fold(high, f64::min);
            dimension.range = whole.range.part(below.min(first - margin), above.max(last + margin));
        }
    }
    next
}

fn bounds(range: &Range) -> [Value; 2] {
    match range {
        Range::Number { low, high, .. } => [Value::Number(*low), Value::Number(*high)],
        Range::Integer { low, high, .. } => [Value::Integer(*low), Value::Integer(*high)],
        Range::Choice(_) => [Value::Choice(String::new()), Value::Choice(String::new())],
    }
}

fn borders(space: &Space, best: &Point) -> Vec<String> {
    let mut warnings = Vec::new();
    for dimension in space.dimensions() {
        let (name, range) = (&dimension.name, &dimension.range);
        let Some(value) = best.get(name) else { continue };
        let [low, high] = bounds(range);
        let side = match range.share_of(value) {
            _ if low == high => continue,
            Some(share) if share < BORDER => "lower",
            Some(share) if share > 1.0 - BORDER => "upper",
            _ => continue,
        };
        warnings.push(format!(
            "the best {name}, {value}, lies at the {side} border of its range ({range}); widen the range"
        ));
    }
    warnings
}
