//! What parameters of one group share.

use std::sync::Arc;

use crate::{Decay, Optimizer, Result, Scalar};

/// What differs for the parameters of one group; see [`super::ModelOptimizer::group`].
///
/// ```
/// use layerwise::prelude::*;
///
/// const HEAD: Group = Group::new(1);
/// let optimizer = ModelOptimizer::<f32>::new(Adam::new(), 1e-3)
///     .group(HEAD, GroupOptions::new().lr_scale(10.0).weight_decay(Decay::None));
/// # let _ = optimizer;
/// ```
#[derive(Debug, Clone)]
pub struct GroupOptions<F: Scalar = f32> {
    pub(super) lr_scale: f64,
    pub(super) weight_decay: Option<Decay>,
    pub(super) rule: Option<Arc<dyn Optimizer<F>>>,
}

impl<F: Scalar> GroupOptions<F> {
    /// Like every other group.
    pub fn new() -> Self {
        Self { lr_scale: 1.0, weight_decay: None, rule: None }
    }

    /// Factor on the learning rate, at least 0; default 1.
    pub fn lr_scale(mut self, lr_scale: f64) -> Self {
        self.lr_scale = lr_scale;
        self
    }

    /// The group's own weight decay; default the driver's.
    pub fn weight_decay(mut self, decay: Decay) -> Self {
        self.weight_decay = Some(decay);
        self
    }

    /// The group's own update rule; default the driver's.
    pub fn rule(mut self, rule: impl Optimizer<F> + 'static) -> Self {
        self.rule = Some(Arc::new(rule));
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let valid = self.lr_scale >= 0.0 && self.lr_scale.is_finite();
        super::ensure(valid, "GroupOptions", "lr_scale", "at least 0", self.lr_scale)?;
        check_decay(self.weight_decay.unwrap_or_default())?;
        self.rule.as_ref().map_or(Ok(()), |rule| rule.check())
    }
}

impl<F: Scalar> Default for GroupOptions<F> {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn check_decay(decay: Decay) -> Result<()> {
    let (Decay::L2(lambda) | Decay::Decoupled(lambda)) = decay else { return Ok(()) };
    super::ensure(
        lambda >= 0.0 && lambda.is_finite(),
        "ModelOptimizer",
        "weight_decay",
        "at least 0",
        lambda,
    )
}
