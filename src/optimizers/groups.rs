//! What parameters of one group share.

use std::sync::Arc;

use super::{ModelOptimizer, ensure_above_zero, ensure_at_least_zero};
use crate::error::ensure;
use crate::{Decay, Group, Optimizer, Result, Scalar};

/// What differs for the parameters of one group; see [`super::ModelOptimizer::group`].
///
/// ```
/// use layerwise::prelude::*;
///
/// const HEAD: Group = Group::new(1);
/// let mut model = Sequential::builder([4]).add_named("head", Linear::new(1)).build()?;
/// assert_eq!(model.assign_group(HEAD, |p| p.matches("head.*") && p.role == Role::Weight), 1);
/// let mut optimizer = ModelOptimizer::<f32>::new(Adam::new(), 1e-3)
///     .group(HEAD, GroupOptions::new().lr_scale(10.0).weight_decay(Decay::None));
/// // Later, at any time:
/// optimizer.set_group(HEAD, GroupOptions::new().lr_scale(2.0).rule(Sgd::new()));
/// assert_eq!(optimizer.group_lr(HEAD), 2e-3);
/// # Ok::<(), layerwise::Error>(())
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

    /// The group's own weight decay; default the driver's, or that of the group's own rule.
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
        ensure_at_least_zero("GroupOptions", "lr_scale", self.lr_scale)?;
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
    ensure_at_least_zero("ModelOptimizer", "weight_decay", lambda)
}

/// Different rates for different depths, as for a pretrained model: its lowest layers know most already.
impl<F: Scalar> ModelOptimizer<F> {
    /// Spreads rates geometrically over groups, from `lo` for the first to `hi` for the last; the base
    /// rate, which parameters in no such group keep, becomes `hi`. The groups' other options stay. fastai
    /// writes it `slice(lo, hi)`.
    ///
    /// # Examples
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4])
    ///     .add_named("stem", Linear::new(4))
    ///     .add_named("body", Linear::new(4))
    ///     .add_named("head", Linear::new(2))
    ///     .build()?;
    /// let groups = model.layer_groups(&["stem.*", "body.*", "head.*"])?;
    /// let optimizer = ModelOptimizer::<f32>::new(Adam::new(), 1e-3).differential(1e-5, 1e-3, &groups)?;
    /// let rates = groups.iter().map(|&group| optimizer.group_lr(group));
    /// for (rate, want) in rates.zip([1e-5, 1e-4, 1e-3]) {
    ///     assert!((rate / want - 1.0).abs() < 1e-12);
    /// }
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Setting`] unless both rates are above 0 and there is a group.
    pub fn differential(mut self, lo: f64, hi: f64, groups: &[Group]) -> Result<Self> {
        self.set_differential(lo, hi, groups)?;
        Ok(self)
    }

    /// Like [`ModelOptimizer::differential`], at any time.
    ///
    /// # Errors
    /// As there; nothing is changed then.
    pub fn set_differential(&mut self, lo: f64, hi: f64, groups: &[Group]) -> Result<()> {
        ensure_above_zero("ModelOptimizer", "differential lo", lo)?;
        // The last group has the whole rate; the only one too.
        let last = groups.len().saturating_sub(1);
        self.spread(hi, groups, |i| (lo / hi).powf((last - i) as f64 / last.max(1) as f64))
    }

    /// Gives the last group the rate `hi` and every other a tenth of it: fastai's `slice(hi)`. At any time.
    ///
    /// # Errors
    /// As for [`ModelOptimizer::differential`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let groups = [Group::new(1), Group::new(2), Group::new(3)];
    /// let mut optimizer = ModelOptimizer::<f32>::new(Adam::new(), 1e-3);
    /// optimizer.set_differential_last(0.5, &groups)?;
    /// assert_eq!(groups.map(|group| optimizer.group_lr(group)), [0.05, 0.05, 0.5]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn set_differential_last(&mut self, hi: f64, groups: &[Group]) -> Result<()> {
        let last = groups.len().saturating_sub(1);
        self.spread(hi, groups, |i| if i == last { 1.0 } else { 0.1 })
    }

    fn spread(&mut self, hi: f64, groups: &[Group], scale: impl Fn(usize) -> f64) -> Result<()> {
        ensure_above_zero("ModelOptimizer", "differential hi", hi)?;
        ensure(
            !groups.is_empty(),
            "ModelOptimizer",
            "differential groups",
            "at least one",
            "none",
        )?;
        self.set_lr(hi);
        for (i, &group) in groups.iter().enumerate() {
            self.groups.entry(group).or_default().lr_scale = scale(i);
        }
        Ok(())
    }
}
