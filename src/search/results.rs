//! What a search found.

use std::fmt;

use super::Point;

/// What became of one trial.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrialRecord {
    /// The trial's number.
    pub id: u64,
    /// The stage or rung of the search, from 0.
    pub stage: u64,
    /// What it could spend.
    pub budget: u64,
    /// Values of the hyperparameters.
    pub point: Point,
    /// How it ended.
    pub status: Status,
    /// What it reported on the way.
    pub reports: Vec<f64>,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// With this figure.
    Done(f64),
    /// The loss became infinite, not a number, or too large.
    Aborted(String),
    /// An error, which concerns this trial alone.
    Failed(String),
}

impl TrialRecord {
    /// Its figure, if it came to one.
    pub fn value(&self) -> Option<f64> {
        if let Status::Done(value) = self.status { Some(value) } else { None }
    }
}

/// All trials of a search; displayed, a table with the best first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Results {
    /// In the order of stages and numbers, whatever order they ran in.
    pub trials: Vec<TrialRecord>,
    /// What the search noticed: that the best lies at the border of a range.
    pub warnings: Vec<String>,
    /// Lines of the results file that could not be read, each with its number and why. Their trials were run again.
    pub unreadable: Vec<String>,
    /// Trials that were not run, because the file had them.
    pub resumed: usize,
    pub(super) maximize: bool,
}

impl Results {
    /// The best trial of those with the largest budget that came to an end; of equals the first.
    pub fn best(&self) -> Option<&TrialRecord> {
        self.sorted().into_iter().next().filter(|best| best.value().is_some())
    }

    /// All trials, the best first: larger budgets before smaller ones, then by their figures; last those without.
    pub fn sorted(&self) -> Vec<&TrialRecord> {
        let mut trials: Vec<_> = self.trials.iter().collect();
        trials.sort_by(|a, b| {
            let rank = |trial: &TrialRecord| (trial.value().is_none(), u64::MAX - trial.budget);
            let figure = |trial: &TrialRecord| self.key(trial);
            rank(a).cmp(&rank(b)).then(figure(a).total_cmp(&figure(b)))
        });
        trials
    }

    /// Smaller is better.
    fn key(&self, trial: &TrialRecord) -> f64 {
        let value = trial.value().unwrap_or(f64::INFINITY);
        if self.maximize { -value } else { value }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.trials.iter().flat_map(|trial| trial.point.iter()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut rows = vec![["trial", "budget", "result"].map(String::from).to_vec()];
        rows[0].extend(names.iter().map(|name| name.to_string()));
        for trial in self.sorted() {
            let result = match &trial.status {
                Status::Done(value) => format!("{value:.6}"),
                Status::Aborted(_) => "aborted".into(),
                Status::Failed(_) => "failed".into(),
            };
            let mut row = vec![trial.id.to_string(), trial.budget.to_string(), result];
            let value = |name: &&str| trial.point.get(name).map_or(String::new(), short);
            row.extend(names.iter().map(value));
            rows.push(row);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
        for (i, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}"));
            let end = if i + 1 < rows.len() { "\n" } else { "" };
            write!(f, "{}{end}", cells.collect::<Vec<_>>().join("  "))?;
        }
        Ok(())
    }
}

/// Numbers with five digits: a table is for the eye.
fn short(value: &super::Value) -> String {
    match value {
        super::Value::Number(x) if *x != 0.0 && !(1e-3..1e6).contains(&x.abs()) => {
            format!("{x:.4e}")
        }
        super::Value::Number(x) => format!("{x:.5}"),
        other => other.to_string(),
    }
}
