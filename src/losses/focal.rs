//! Cross-entropy that looks away from what is easy.

use super::by_class::{ByClass, Options, loss_by_class};
use crate::kernels::softmax::Distribution;
use crate::{Error, Result, Scalar};

/// Focal loss, from logits: `L_i = −w_y (1 − p_y)^γ log p_y`, with `p` the softmax of the scores. Samples that are
/// classified well already count little, so that many easy ones do not drown the few hard ones.
///
/// With `γ = 0` it is [`super::CrossEntropy`].
///
/// # Shape
/// prediction `[n, classes]`, target `[n]` class indices.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use ndarray::arr2;
///
/// let logits = arr2(&[[0.0f64, 0.0]]).into_dyn();
/// let loss = Focal::new(2.0).value(logits.view(), &[0])?;
/// assert!((loss - 0.25 * 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As for [`super::CrossEntropy`]; [`Error::Setting`] unless `γ` is finite and at least 0.
///
/// # References
/// Lin et al. 2017, for two classes and a sigmoid: here that is two scores, `0` and `x`. Their `α` is
/// [`Focal::class_weights`], by whose sum the mean divides here.
#[derive(Debug, Clone, PartialEq)]
pub struct Focal {
    gamma: f64,
    options: Options,
}

impl Focal {
    /// `gamma`: how much easy samples are played down, at least 0; the paper's best is 2.
    pub fn new(gamma: f64) -> Self {
        Self { gamma, options: Options::default() }
    }
}

/// `γ = 2`, the paper's.
impl Default for Focal {
    fn default() -> Self {
        Self::new(2.0)
    }
}

impl ByClass for Focal {
    const KIND: &'static str = "Focal";

    fn options(&self) -> &Options {
        &self.options
    }

    fn check(&self) -> Result<()> {
        if self.gamma >= 0.0 && self.gamma.is_finite() {
            return Ok(());
        }
        let (kind, got) = (Self::KIND, self.gamma.to_string());
        Err(Error::Setting { kind, field: "gamma", must_be: "finite and at least 0", got })
    }

    fn row<F: Scalar>(
        &self,
        row: &[F],
        class: usize,
        weight: f64,
        mut grad: Option<(f64, &mut [F])>,
    ) -> f64 {
        let softmax = Distribution::of(row, grad.as_mut().map(|(_, grad)| &mut **grad));
        let log = softmax.log(row[class]).widen();
        // 1 − p, without cancelling.
        let rest = -log.exp_m1();
        let damping = weight * rest.powf(self.gamma);
        if let Some((factor, grad)) = grad {
            // By score j the derivative is slope · (p_j − [j = y]), with
            // slope = (1 − p)^γ − γ p (1 − p)^(γ − 1) log p; the quotient tends to −1.
            let quotient = if rest > 0.0 { log / rest } else { -1.0 };
            let slope = damping * (1.0 - self.gamma * log.exp() * quotient);
            softmax.scale(F::lit(slope * factor), grad);
            grad[class] -= F::lit(slope * factor);
        }
        damping * -log
    }
}

loss_by_class!(Focal);
