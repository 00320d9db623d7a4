//! Penalties: value and derivative, in both conventions.

use layerwise::ndarray::ArrayD;
use layerwise::regularizers::{ElasticNet, L1, L2, MaxNorm};
use layerwise::{Constraint, Regularizer, Scalar};

use super::check::{Check, Done};

pub(super) fn check_l1<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let penalty = L1(check.config().number("lambda")?);
    check_penalty(check, penalty, "value", "dw")
}

/// `L2` has the ½; twice its `λ` is the convention without.
pub(super) fn check_l2<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let lambda = check.config().number("lambda")?;
    check_penalty(check, L2(lambda), "value_half", "dw_half")?;
    check_penalty(check, L2(2.0 * lambda), "value", "dw")
}

/// `ElasticNet` is without the ½; half its `λ₂` is the convention with.
pub(super) fn check_elastic_net<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (l1, l2) = (check.config().number("lambda1")?, check.config().number("lambda2")?);
    check_penalty(check, ElasticNet { l1, l2 }, "value", "dw")?;
    check_penalty(check, ElasticNet { l1, l2: l2 / 2.0 }, "value_half", "dw_half")
}

/// PyTorch's own result is off by a small number in its divisor.
pub(super) fn check_max_norm<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let axis = check.config().text("axis")?;
    if axis != "each row (output unit)" {
        return Err(format!("axis {axis}").into());
    }
    let limit = MaxNorm(check.config().number("max_norm")?);
    let mut w = check.tensor("w")?;
    let shape = w.shape().to_vec();
    limit.project(w.as_slice_mut().ok_or("w is not contiguous")?, &shape);
    check.set_aside("w_after_torch");
    check.same("w_after", &w)
}

fn check_penalty<F: Scalar>(
    check: &mut Check<'_, F>,
    penalty: impl Regularizer<F>,
    value: &str,
    derivative: &str,
) -> Done {
    let w = check.tensor("w")?;
    let w = w.as_slice().ok_or("w is not contiguous")?;
    check.same_elements(value, [penalty.penalty(w).widen()])?;
    let mut grad = ArrayD::zeros(check.exact("w")?.raw_dim());
    penalty.accumulate(w, grad.as_slice_mut().ok_or("the gradient is not contiguous")?);
    check.same(derivative, &grad)
}
