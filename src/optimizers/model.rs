//! The driver: one update rule, or several, over a whole model.

use std::collections::HashMap;
use std::sync::Arc;

use super::groups::check_decay;
use super::{Clip, GroupOptions, ensure};
use crate::kernels::parallel::{self, Cost};
use crate::kernels::update::{self, MAX_STATES};
use crate::kernels::{elementwise, reduce};
use crate::schedules::Constant;
use crate::{
    Decay, Entry, EntryMut, Error, Group, Optimizer, Param, ParamId, Result, Scalar, Schedule,
    Sequential, StepInfo, Visitor, VisitorMut,
};

/// Drives an [`Optimizer`] over a whole model: learning rate, schedule, clipping, decay, groups, state.
///
/// State belongs to a parameter's identity: freezing, inserting layers or cloning the model cannot mix it
/// up. A frozen parameter has none and costs nothing. [`ModelOptimizer::step`] uses gradients up: there
/// is no `zero_grad` to forget, and gradient accumulation is calling `backward` several times before it.
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
    rule: Arc<dyn Optimizer<F>>,
    lr: f64,
    schedule: Box<dyn Schedule>,
    clip: Option<Clip>,
    decay: Option<Decay>,
    groups: HashMap<Group, GroupOptions<F>>,
    states: HashMap<ParamId, State<F>>,
    steps: u64,
}

/// What a rule keeps for one parameter.
#[derive(Debug)]
struct State<F> {
    steps: u64,
    arrays: Vec<Vec<F>>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The learning rate of the default group.
    pub lr: f64,
    /// L2 norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Parameters updated: whole arrays, not elements.
    pub parameters: usize,
}

impl<F: Scalar> ModelOptimizer<F> {
    /// Applies `rule` with the base learning rate `lr`, at least 0.
    pub fn new(rule: impl Optimizer<F> + 'static, lr: f64) -> Self {
        Self {
            rule: Arc::new(rule),
            lr,
            schedule: Box::new(Constant),
            clip: None,
            decay: None,
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

    /// Options of the parameters in `group`; see [`crate::Sequential::assign_group`].
    pub fn group(mut self, group: Group, options: GroupOptions<F>) -> Self {
        self.set_group(group, options);
        self
    }

    /// Like [`ModelOptimizer::group`], at any time.
    pub fn set_group(&mut self, group: Group, options: GroupOptions<F>) {
        self.groups.insert(group, options);
    }

    /// The base learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Changes the base learning rate, at least 0.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Updates every trainable parameter, brings it back inside its limit ([`crate::Sequential::set_constraint`]) and
    /// clears the gradients it used.
    ///
    /// # Errors
    /// [`Error::MissingGradient`], [`Error::NonFinite`] with the parameter's name, [`Error::Setting`]. All
    /// before anything is changed, gradients included.
    pub fn step(&mut self, model: &mut Sequential<F>) -> Result<StepReport> {
        self.check()?;
        let step = self.steps + 1;
        let (grad_norm, elements) = survey(model, step)?;
        let lr = self.lr * self.schedule.factor(self.steps);
        ensure(lr >= 0.0 && lr.is_finite(), "ModelOptimizer", "learning rate", "at least 0", lr)?;
        let mut parameters = 0;
        parallel::enter(Cost::elements(4 * elements), || {
            model.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
                if let EntryMut::Param(param) = entry
                    && param.trainable()
                {
                    self.update(param, lr, grad_norm);
                    param.constrain();
                    parameters += 1;
                }
            }));
        });
        self.steps = step;
        Ok(StepReport { lr, grad_norm, parameters })
    }

    fn check(&self) -> Result<()> {
        ensure(
            self.lr >= 0.0 && self.lr.is_finite(),
            "ModelOptimizer",
            "lr",
            "at least 0",
            self.lr,
        )?;
        self.rule.check()?;
        check_decay(self.decay.unwrap_or(self.rule.default_decay()))?;
        self.clip.map_or(Ok(()), |clip| clip.check())?;
        for options in self.groups.values() {
            options.check()?;
        }
        let mut rules =
            self.groups.values().filter_map(|options| options.rule.as_ref()).chain([&self.rule]);
        match rules.find(|rule| rule.state_names().len() > MAX_STATES) {
            Some(rule) => Err(Error::Setting {
                kind: "Optimizer",
                field: "state_names",
                must_be: "at most 8 names",
                got: rule.state_names().len().to_string(),
            }),
            None => Ok(()),
        }
    }

    fn update(&mut self, param: &mut Param<F>, lr: f64, grad_norm: f64) {
        let options = self.groups.get(&param.group());
        let rule =
            options.and_then(|options| options.rule.clone()).unwrap_or_else(|| self.rule.clone());
        let decay = options.and_then(|options| options.weight_decay).or(self.decay);
        let job = Job {
            decay: decay.unwrap_or_else(|| rule.default_decay()),
            clip: self.clip,
            factor: F::lit(self.clip.map_or(1.0, |clip| clip.factor(grad_norm))),
            info: StepInfo { step: 0, lr: lr * options.map_or(1.0, |options| options.lr_scale) },
        };
        let (id, len, names) = (param.id(), param.numel(), rule.state_names().len());
        let state = self.states.entry(id).or_insert_with(|| State { steps: 0, arrays: Vec::new() });
        if state.arrays.len() != names || state.arrays.iter().any(|array| array.len() != len) {
            // New, or the group changed to a rule that keeps something else.
            *state = State { steps: 0, arrays: vec![vec![F::zero(); len]; names] };
        }
        if let Some((value, grad)) = param.take_grad() {
            state.steps += 1;
            let job = Job { info: StepInfo { step: state.steps, ..job.info }, ..job };
            update::pieces(value, grad, &mut state.arrays, |value, grad, state| {
                job.piece(&*rule, value, grad, state);
            });
        }
    }
}

/// One parameter's update in one step.
#[derive(Debug, Clone, Copy)]
struct Job<F> {
    decay: Decay,
    clip: Option<Clip>,
    factor: F,
    info: StepInfo,
}

impl<F: Scalar> Job<F> {
    /// Everything that happens to one piece of a parameter, while it is in the cache.
    fn piece(
        &self,
        rule: &dyn Optimizer<F>,
        value: &mut [F],
        grad: &mut [F],
        state: &mut [&mut [F]],
    ) {
        match self.clip {
            Some(Clip::Norm(_)) if self.factor < F::one() => elementwise::scale(self.factor, grad),
            Some(Clip::Value(limit)) => {
                let limit = F::lit(limit);
                grad.iter_mut().for_each(|g| *g = g.max(-limit).min(limit));
            }
            _ => {}
        }
        match self.decay {
            Decay::None => {}
            Decay::L2(lambda) => elementwise::axpy(F::lit(lambda), value, grad),
            Decay::Decoupled(lambda) => {
                elementwise::scale(F::lit(1.0 - self.info.lr * lambda), value)
            }
        }
        rule.update(&self.info, value, grad, state);
        grad.fill(F::zero());
    }
}

/// The norm of all gradients and the number of their elements, if every trainable parameter has a
/// finite one and no limit that makes no sense.
fn survey<F: Scalar>(model: &Sequential<F>, step: u64) -> Result<(f64, usize)> {
    let (mut squares, mut elements, mut problem) = (0.0, 0, None);
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
        elements += param.numel();
    }));
    match problem {
        Some(problem) => Err(problem),
        None => Ok((squares.sqrt(), elements)),
    }
}
