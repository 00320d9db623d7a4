//! How well scores rank one class above the others.

use super::check_numbers;
use crate::kernels::softmax::log_sum_exp;
use crate::losses::{check_classes, scores};
use crate::{Error, Metric, Result, Scalar, View};

/// The probability that a sample of the positive class has a higher score than one of the others: the area
/// under the ROC curve. Equal scores count one half.
///
/// 1 is perfect, 0.5 is chance. Scores are kept, 16 bytes for each sample, because the exact area needs
/// their order. NaN until there is a sample of either kind.
///
/// # Shape
/// prediction `[n]` or `[n, 1]` (a score, or one logit), or `[n, classes]` of logits, of which the positive
/// class's log-odds are the score; target `n` class indices, below 2 for a single score.
///
/// # Examples
/// ```
/// use layerwise::metrics::RocAuc;
/// use layerwise::prelude::*;
///
/// let mut auc = RocAuc::new();
/// auc.update(ndarray::arr1(&[0.1, 0.4, 0.35, 0.8]).view().into_dyn(), &[0, 0, 1, 1])?;
/// assert_eq!(Metric::<f64>::value(&auc), 0.75);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`super::Accuracy`], and [`Error::Setting`] for a positive class that the prediction does not have.
#[doc(alias = "AUROC")]
#[derive(Debug, Clone)]
pub struct RocAuc {
    ranking: Ranking,
}

/// Precision averaged over recall: the area under the precision-recall curve, by steps.
///
/// `Σ (recallᵢ − recallᵢ₋₁) · precisionᵢ` over the distinct scores from the highest down, as scikit-learn's
/// `average_precision_score`. Unlike [`RocAuc`] it tells how well a rare class is found. Scores are kept, 16
/// bytes for each sample. NaN until there is a sample of the positive class.
///
/// # Shape
/// As [`RocAuc`].
///
/// # Examples
/// ```
/// use layerwise::metrics::AveragePrecision;
/// use layerwise::prelude::*;
///
/// let mut precision = AveragePrecision::new();
/// precision.update(ndarray::arr1(&[0.1, 0.4, 0.35, 0.8]).view().into_dyn(), &[0, 0, 1, 1])?;
/// assert!((Metric::<f64>::value(&precision) - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`RocAuc`].
#[derive(Debug, Clone)]
pub struct AveragePrecision {
    ranking: Ranking,
}

/// Every score seen, and whether its sample is of the positive class.
#[derive(Debug, Clone)]
struct Ranking {
    positive: usize,
    scores: Vec<(f64, bool)>,
}

/// Samples with one and the same score.
struct Tie {
    positives: usize,
    negatives: usize,
}

impl Ranking {
    fn new() -> Self {
        Self { positive: 1, scores: Vec::new() }
    }

    fn update<F: Scalar>(
        &mut self,
        metric: &'static str,
        prediction: View<'_, F>,
        target: &[usize],
    ) -> Result<()> {
        let single = prediction.ndim() == 1;
        let prediction = if single { prediction.insert_axis(ndarray::Axis(1)) } else { prediction };
        let (rows, columns, values) = scores(&prediction)?;
        check_classes(rows, columns.max(2), target)?;
        if self.positive >= columns.max(2) {
            return Err(Error::Setting {
                kind: metric,
                field: "positive",
                must_be: "a class of the prediction",
                got: format!("{} of {} classes", self.positive, columns.max(2)),
            });
        }
        check_numbers(metric, columns, values.iter())?;
        for (row, &class) in values.chunks_exact(columns).zip(target) {
            self.scores.push((self.score(row), class == self.positive));
        }
        Ok(())
    }

    /// The log-odds of the positive class: they rank samples as its probability does, and keep their digits
    /// where probabilities are next to 0 or 1.
    fn score<F: Scalar>(&self, row: &[F]) -> f64 {
        match *row {
            [score] if self.positive == 1 => score.widen(),
            [score] => -score.widen(),
            _ => {
                let (before, after) = row.split_at(self.positive);
                let others: [_; 2] = [before, &after[1..]].map(|part| match part {
                    [] => f64::NEG_INFINITY,
                    part => {
                        let (max, rest) = log_sum_exp(part);
                        max.widen() + rest.widen()
                    }
                });
                let (max, rest) = log_sum_exp(&others);
                after[0].widen() - max - rest
            }
        }
    }

    /// Groups of equal scores, from the highest down.
    fn ties(&self) -> Vec<Tie> {
        let mut sorted = self.scores.clone();
        sorted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let groups = sorted.chunk_by(|a, b| a.0 == b.0);
        let count = |group: &[(f64, bool)]| {
            let positives = group.iter().filter(|sample| sample.1).count();
            Tie { positives, negatives: group.len() - positives }
        };
        groups.map(count).collect()
    }
}

/// `new`, `positive` and `Metric` of a metric that is computed from the ranking.
macro_rules! ranking_metric {
    ($name:ident, $value:ident) => {
        impl $name {
            /// Class 1 is the positive one.
            pub fn new() -> Self {
                Self { ranking: Ranking::new() }
            }

            /// The class that is to be ranked above the others; default 1.
            pub fn positive(mut self, class: usize) -> Self {
                self.ranking.positive = class;
                self
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<F: Scalar> Metric<F> for $name {
            type Target = [usize];

            fn update(&mut self, prediction: View<'_, F>, target: &[usize]) -> Result<()> {
                self.ranking.update(stringify!($name), prediction, target)
            }

            fn value(&self) -> f64 {
                $value(&self.ranking.ties())
            }

            fn reset(&mut self) {
                self.ranking.scores.clear();
            }
        }
    };
}
ranking_metric!(RocAuc, roc_auc);
ranking_metric!(AveragePrecision, average_precision);

fn roc_auc(ties: &[Tie]) -> f64 {
    // Pairs of a positive and a negative: those ranked rightly, those tied.
    let (mut won, mut positives, mut negatives) = (0.0, 0.0, 0.0);
    for tie in ties {
        let (here, against) = (tie.positives as f64, tie.negatives as f64);
        won += against * (positives + 0.5 * here);
        positives += here;
        negatives += against;
    }
    won / (positives * negatives)
}

fn average_precision(ties: &[Tie]) -> f64 {
    let (mut sum, mut hits, mut taken) = (0.0, 0.0, 0.0);
    for tie in ties {
        hits += tie.positives as f64;
        taken += (tie.positives + tie.negatives) as f64;
        sum += tie.positives as f64 * hits / taken;
    }
    sum / hits
}
