//! What happens to one parameter in a step.

use crate::kernels::{elementwise, reduce};
use crate::optimizers::Clip;
use crate::{
    Decay, Entry, Error, Optimizer, Param, Result, Role, Scalar, Sequential, StepInfo, Visitor,
};

/// One parameter's update in one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<F> {
    pub(super) info: StepInfo,
    pub(super) decay: Decay,
    /// Factor on the gradient: the share of each gathered batch, and the norm's limit.
    pub(super) factor: F,
    /// Limit on each element of the gradient after that.
    pub(super) limit: Option<F>,
}

impl<F: Scalar> Job<F> {
    pub(super) fn new(
        info: StepInfo,
        decay: Decay,
        clip: Option<Clip>,
        norm: f64,
        share: f64,
    ) -> Self {
        let factor = F::lit(share * clip.map_or(1.0, |clip| clip.factor(norm)));
        let limit = match clip {
            Some(Clip::Value(limit)) => Some(F::lit(limit)),
            _ => None,
        };
        Self { info, decay, factor, limit }
    }

    /// Everything that happens to one piece of a parameter, while it is in the cache.
    pub(super) fn piece(
        &self,
        rule: &dyn Optimizer<F>,
        value: &mut [F],
        grad: &mut [F],
        state: &mut [&mut [F]],
    ) {
        if self.factor != F::one() {
            elementwise::scale(self.factor, grad);
        }
        if let Some(limit) = self.limit {
            elementwise::clamp(limit, grad);
        }
        match self.decay {
            Decay::None => {}
            Decay::L2(lambda) => elementwise::axpy(F::lit(lambda), value, grad),
            Decay::Decoupled(lambda) => {
                elementwise::scale(F::lit(1.0 - self.info.lr * lambda), value)
            }
        }
        rule.update(&self.info, value, grad, state);
    }
}

/// The norm of all gradients, if every trainable parameter has a finite one and no limit that makes no sense.
pub(super) fn norm<F: Scalar>(model: &Sequential<F>, step: u64) -> Result<f64> {
    let (mut squares, mut problem) = (0.0, None);
    model.visit(&mut Visitor::new(&mut |name, entry| {
        let Entry::Param(param) = entry else { return };
        if !param.trainable() || problem.is_some() {
            return;
        }
        if let Some(error) = param.constraint().and_then(|constraint| constraint.check().err()) {
            problem = Some(error);
            return;
        }
        let Some(grad) = param.grad() else {
            problem = Some(Error::MissingGradient { name: name.to_string() });
            return;
        };
        let sum = grad.as_slice().map_or(0.0, reduce::sum_squares);
        if !sum.is_finite() {
            problem = Some(Error::NonFinite { what: format!("gradient of {name}"), step });
        }
        squares += sum;
    }));
    match problem {
        Some(problem) => Err(problem),
        None => Ok(squares.sqrt()),
    }
}

/// Elements of all trainable parameters.
pub(super) fn elements<F: Scalar>(model: &Sequential<F>) -> usize {
    let mut elements = 0;
    model.visit(&mut Visitor::new(&mut |_, entry| {
        if let Entry::Param(param) = entry
            && param.trainable()
        {
            elements += param.numel();
        }
    }));
    elements
}

/// Takes from the gradient of a weight the mean of each output's part.
pub(super) fn centralize<F: Scalar>(param: &mut Param<F>) {
    let outputs = match param.shape() {
        [outputs, _, ..] if param.role() == Role::Weight => *outputs,
        _ => return,
    };
    let len = param.numel() / outputs.max(1);
    if let Some(grad) = param.grad_slice().filter(|_| len > 0) {
        for part in grad.chunks_exact_mut(len) {
            let mean = reduce::sum(part) / F::lit(len as f64);
            elementwise::shift(-mean, part);
        }
    }
}
