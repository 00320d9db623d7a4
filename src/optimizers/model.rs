//! The driver: one update rule, or several, over a whole model.

use std::collections::HashMap;
use std::sync::Arc;

use super::apply::{Job, centralize, elements, norm};
use super::groups::check_decay;
use super::state::State;
use super::{Clip, GroupOptions, ensure_at_least_zero};
use crate::error::ensure;
use crate::kernels::parallel::{self, Cost};
use crate::kernels::update::{self, MAX_STATES};
use crate::schedules::Constant;
use crate::{
    Decay, EntryMut, Group, Optimizer, Param, ParamId, Result, Role, Scalar, Schedule, Sequential,
    StepInfo, VisitorMut,
};

/// Drives an [`Optimizer`] over a whole model: learning rate, schedule, clipping, decay, groups, state.
///
/// State belongs to a parameter's identity: freezing, inserting layers or cloning the model cannot mix it
/// up. A frozen parameter has none and costs nothing; unfrozen, it starts afresh. [`ModelOptimizer::step`]
/// uses gradients up: there is no `zero_grad` to forget.
///
/// A gradient goes through this, in one pass over memory: mean over gathered batches
/// ([`ModelOptimizer::accumulate`]), centralisation, clipping, weight decay, the rule.
///
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([2]).add(Linear::new(1)).build()?;
/// let mut optimizer = ModelOptimizer::new(Sgd::new().momentum(0.9), 0.1).clip(Clip::Norm(1.0));
/// for _ in 0..3 {
///     let grad = model.forward(&Array2::ones((4, 2)))?.to_owned();
///     model.backward(grad.view())?; // loss = ½ Σ y²
///     optimizer.step(&mut model)?;
/// }
/// assert_eq!(optimizer.steps(), 3);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct ModelOptimizer<F: Scalar = f32> {
    pub(super) rule: Arc<dyn Optimizer<F>>,
    pub(super) lr: f64,
    pub(super) schedule: Box<dyn Schedule>,
    pub(super) momentum: Option<Box<dyn Schedule>>,
    clip: Option<Clip>,
    decay: Option<Decay>,
    decay_all: bool,
    centralize: bool,
    pub(super) accumulate: u64,
    /// Calls of `step` since the last update.
    pub(super) gathered: u64,
    pub(super) groups: HashMap<Group, GroupOptions<F>>,
    pub(super) states: HashMap<ParamId, State<F>>,
    pub(super) steps: u64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The learning rate of the default group.
    pub lr: f64,
    /// The momentum, if it follows a schedule.
    pub momentum: Option<f64>,
    /// L2 norm of all gradients together, before centralising and clipping.
    pub grad_norm: f64,
    /// Parameters updated: whole arrays, not elements. 0 in a call that only gathered.
    pub parameters: usize,
}

impl<F: Scalar> ModelOptimizer<F> {
    /// Applies `rule` with the base learning rate `lr`, at least 0.
    pub fn new(rule: impl Optimizer<F> + 'static, lr: f64) -> Self {
        Self {
            rule: Arc::new(rule),
            lr,
            schedule: Box::new(Constant),
            momentum: None,
            clip: None,
            decay: None,
            decay_all: true,
            centralize: false,
            accumulate: 1,
            gathered: 0,
            groups: HashMap::new(),
            states: HashMap::new(),
            steps: 0,
        }
    }

    /// Lets the learning rate follow a schedule of the step.
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Box::new(schedule);
        self
    }

    /// Lets the momentum follow a schedule of the step, whose values are the momenta themselves and at
    /// least 0 and below 1. It takes the place of `μ` in [`super::Sgd`] and [`super::RmsProp`], which need a momentum
    /// of their own to keep a velocity, and of `β₁` in Adam's family and [`super::Lion`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([1]).add(Linear::new(1)).build()?;
    /// let momentum = LinearWarmup::new(4).start(0.5).scaled(0.8); // from 0.4 to 0.8
    /// let mut optimizer = ModelOptimizer::new(Sgd::new().momentum(0.8), 0.1).momentum_schedule(momentum);
    /// model.forward(&Array2::ones((1, 1)))?;
    /// model.backward(&Array2::ones((1, 1)))?;
    /// assert_eq!(optimizer.step(&mut model)?.momentum, Some(0.4));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn momentum_schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.momentum = Some(Box::new(schedule));
        self
    }

    /// Limits gradients before the rule sees them.
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }

    /// Weight decay of every group without its own; default the rule's.
    pub fn weight_decay(mut self, decay: Decay) -> Self {
        self.decay = Some(decay);
        self
    }

    /// Whether weight decay acts on biases, scales and shifts too; default true, as in PyTorch. With false
    /// only parameters of [`Role::Weight`] decay, which is fastai's `wd_bn_bias=False`. A [`Role::Slope`] decays only in a
    /// group with a decay of its own.
    pub fn decay_all(mut self, decay_all: bool) -> Self {
        self.decay_all = decay_all;
        self
    }

    /// Takes from the gradient of each weight of two or more axes its mean over all axes but the first, the
    /// output's; default false. The weights of one output then keep their mean (Yong et al. 2020).
    #[doc(alias = "gradient centralization")]
    pub fn centralize(mut self, centralize: bool) -> Self {
        self.centralize = centralize;
        self
    }

    /// Updates in every `calls`-th call of [`ModelOptimizer::step`] only, by the mean of the gradients
    /// gathered since; at least 1, default 1. So small batches train like one that is `calls` times
    /// larger, but for batch norm. Schedules and [`ModelOptimizer::steps`] count updates.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([1]).add(Linear::new(1).bias(false).weight_init(Zeros)).build()?;
    /// let mut optimizer = ModelOptimizer::new(Sgd::new(), 1.0).accumulate(2);
    /// for grad in [1.0, 3.0] {
    ///     model.forward(&Array2::ones((1, 1)))?;
    ///     model.backward(&Array2::from_elem((1, 1), grad))?;
    ///     optimizer.step(&mut model)?;
    /// }
    /// assert_eq!((model.value("0.weight").unwrap().sum(), optimizer.steps()), (-2.0, 1));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn accumulate(mut self, calls: u64) -> Self {
        self.accumulate = calls;
        self
    }

    /// Options of the parameters in `group`; see [`crate::Sequential::assign_group`].
    pub fn group(mut self, group: Group, options: GroupOptions<F>) -> Self {
        self.set_group(group, options);
        self
    }

    /// Like [`ModelOptimizer::group`], at any time.
    pub fn set_group(&mut self, group: Group, options: GroupOptions<F>) {
        self.groups.insert(group, options);
    }

    /// The base learning rate of a group, without the schedule's factor.
    pub fn group_lr(&self, group: Group) -> f64 {
        self.lr * self.groups.get(&group).map_or(1.0, |options| options.lr_scale)
    }

    /// The base learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Changes the base learning rate, at least 0.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// Updates so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Updates every trainable parameter, brings it back inside its limit ([`crate::Sequential::set_constraint`]) and
    /// clears the gradients it used.
    ///
    /// # Errors
    /// [`crate::Error::MissingGradient`], [`crate::Error::NonFinite`] with the parameter's name, [`crate::Error::Setting`]. All
    /// before anything is changed, gradients included.
    pub fn step(&mut self, model: &mut Sequential<F>) -> Result<StepReport> {
        self.check()?;
        parallel::enter(Cost::elements(5 * elements(model)), || self.step_in_pool(model))
    }

    fn step_in_pool(&mut self, model: &mut Sequential<F>) -> Result<StepReport> {
        let step = self.steps + 1;
        let sum_norm = norm(model, step)?;
        let (lr, momentum) = (self.scheduled_lr()?, self.scheduled_momentum()?);
        self.gathered += 1;
        let share = 1.0 / self.gathered as f64;
        let grad_norm = sum_norm * share;
        let mut parameters = 0;
        if self.gathered >= self.accumulate {
            let info = StepInfo { step, lr, momentum };
            model.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
                if let EntryMut::Param(param) = entry
                    && self.update(param, info, grad_norm, share)
                {
                    param.constrain();
                    parameters += 1;
                }
            }));
            (self.steps, self.gathered) = (step, 0);
        }
        Ok(StepReport { lr, momentum, grad_norm, parameters })
    }

    /// The rule of the parameter's group.
    pub(super) fn rule_of(&self, param: &Param<F>) -> &dyn Optimizer<F> {
        let own = self.groups.get(&param.group()).and_then(|options| options.rule.as_ref());
        &**own.unwrap_or(&self.rule)
    }

    /// Begins gathering anew: the gradients gathered so far were thrown away.
    pub(crate) fn forget_gathered(&mut self) {
        self.gathered = 0;
    }

    fn scheduled_lr(&self) -> Result<f64> {
        let lr = self.lr * self.schedule.factor(self.steps);
        ensure_at_least_zero("ModelOptimizer", "learning rate", lr)?;
        Ok(lr)
    }

    fn scheduled_momentum(&self) -> Result<Option<f64>> {
        let Some(schedule) = &self.momentum else { return Ok(None) };
        let momentum = schedule.factor(self.steps);
        super::ensure_fraction("ModelOptimizer", "scheduled momentum", momentum)?;
        Ok(Some(momentum))
    }

    fn check(&self) -> Result<()> {
        ensure_at_least_zero("ModelOptimizer", "lr", self.lr)?;
        ensure(self.accumulate > 0, "ModelOptimizer", "accumulate", "at least 1", self.accumulate)?;
        self.schedule.check()?;
        self.momentum.as_ref().map_or(Ok(()), |schedule| schedule.check())?;
        self.clip.map_or(Ok(()), |clip| clip.check())?;
        check_decay(self.decay.unwrap_or(Decay::None))?;
        self.check_rule(&*self.rule)?;
        for options in self.groups.values() {
            options.check()?;
            options.rule.as_ref().map_or(Ok(()), |rule| self.check_rule(&**rule))?;
        }
        Ok(())
    }

    fn check_rule(&self, rule: &dyn Optimizer<F>) -> Result<()> {
        rule.check()?;
        check_decay(rule.default_decay())?;
        let names = rule.state_names().len();
        ensure(names <= MAX_STATES, "Optimizer", "state_names", "at most 8 names", names)?;
        let valid = self.momentum.is_none() || rule.has_momentum();
        let must_be = "left out where a rule has no momentum";
        ensure(valid, "ModelOptimizer", "momentum_schedule", must_be, format_args!("{rule:?}"))
    }

    /// Updates one parameter, if it is trainable.
    fn update(&mut self, param: &mut Param<F>, info: StepInfo, norm: f64, share: f64) -> bool {
        if !param.trainable() {
            self.states.remove(&param.id());
            return false;
        }
        if self.centralize {
            centralize(param);
        }
        let options = self.groups.get(&param.group());
        // Not `rule_of`: that borrows all of the driver.
        let own_rule = options.and_then(|options| options.rule.as_ref());
        let rule = &**own_rule.unwrap_or(&self.rule);
        let decay = options.and_then(|options| options.weight_decay).or(self.decay);
        let decays = match param.role() {
            Role::Weight => true,
            Role::Slope => options.is_some_and(|options| options.weight_decay.is_some()),
            _ => self.decay_all,
        };
        let decay =
            if decays { decay.unwrap_or_else(|| rule.default_decay()) } else { Decay::None };
        let lr = info.lr * options.map_or(1.0, |options| options.lr_scale);
        let (names, len) = (rule.state_names(), param.numel());
        let state = self.states.entry(param.id()).or_insert_with(|| State::new(names, len));
        if !state.fits(names, len) {
            // The group changed to a rule that keeps something else.
            *state = State::new(names, len);
        }
        let Some((value, grad)) = param.take_grad() else { return false };
        state.steps += 1;
        let info = StepInfo { step: state.steps, lr, ..info };
        let job = Job::new(info, decay, self.clip, norm, share);
        update::pieces(value, grad, &mut state.arrays, |value, grad, state| {
            job.piece(rule, value, grad, state);
        });
        true
    }
}
