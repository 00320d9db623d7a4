//! How several predictions become one.

use crate::error::ensure;
use crate::kernels::softmax::log_sum_exp;
use crate::{Result, Scalar, Shape};

/// How several predictions become one.
///
/// ```
/// use layerwise::ensembles::Combine;
/// assert_eq!(Combine::default(), Combine::Probabilities);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Combine {
    /// The mean of `softmax(output)` over `[classes]`, for models that put out logits or log-probabilities. What comes out is its
    /// logarithm: log-probabilities, which are logits, so that metrics and losses take them like a model's output. A
    /// probability too small for the element counts as the smallest number above 0.
    #[default]
    Probabilities,
    /// The mean of what comes out of the models, of any shape: values, logits, or the probabilities of a
    /// [`Softmax`](crate::layers::Softmax) layer.
    Outputs,
    /// The share of votes for each class, from 0 to 1. A prediction votes for its highest output, of equals the first.
    Votes,
}

impl Combine {
    /// Whether outputs of this shape can be combined so.
    pub(super) fn check(self, kind: &'static str, output: &Shape) -> Result<()> {
        let valid = self == Self::Outputs || output.rank() == 1;
        let must_be = "Outputs unless the models put out [classes]";
        ensure(valid, kind, "combine", must_be, format_args!("{self:?} for {output}"))
    }

    /// One prediction's contribution, in place of its outputs: rows of `classes`.
    pub(super) fn contribute<F: Scalar>(self, classes: usize, outputs: &mut [F]) {
        if self == Self::Outputs {
            return;
        }
        for row in outputs.chunks_exact_mut(classes.max(1)) {
            if self == Self::Votes {
                let best =
                    (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best });
                let of = |i| if Some(i) == best { F::one() } else { F::zero() };
                (0..row.len()).for_each(|i| row[i] = of(i));
            } else {
                let (max, rest) = log_sum_exp(row);
                row.iter_mut().for_each(|x| *x = (*x - max - rest).exp());
            }
        }
    }

    /// What comes out, in place of the mean of contributions.
    pub(super) fn finish<F: Scalar>(self, mean: &mut [F]) {
        if self == Self::Probabilities {
            mean.iter_mut().for_each(|p| *p = p.max(F::min_positive_value()).ln());
        }
    }

    /// Probabilities of classes, in place of what came out.
    pub(super) fn probabilities<F: Scalar>(self, classes: usize, outputs: &mut [F]) {
        if self != Self::Votes {
            Self::Probabilities.contribute(classes, outputs);
        }
    }
}
