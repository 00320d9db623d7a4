//! What an optimizer remembers, to be saved and put back.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{ModelOptimizer, ensure_at_least_zero};
use crate::error::ensure;
use crate::{Entry, Error, Param, ParamId, Result, Scalar, Sequential, Visitor};

/// What a rule keeps for one parameter.
#[derive(Debug, Clone)]
pub(super) struct State<F> {
    pub(super) steps: u64,
    pub(super) names: &'static [&'static str],
    pub(super) arrays: Vec<Vec<F>>,
}

impl<F: Scalar> State<F> {
    pub(super) fn new(names: &'static [&'static str], len: usize) -> Self {
        Self { steps: 0, names, arrays: vec![vec![F::zero(); len]; names.len()] }
    }

    pub(super) fn fits(&self, names: &'static [&'static str], len: usize) -> bool {
        self.names == names && self.arrays.iter().all(|array| array.len() == len)
    }
}

/// What a [`ModelOptimizer`] remembers between steps: lent by [`ModelOptimizer::state`], put back by
/// [`ModelOptimizer::set_state`].
///
/// Settings are not part of it, but for the base learning rate, which programs change while they train: rule,
/// schedules, groups, decay and clipping are given anew when the optimizer is made.
///
/// # In a checkpoint
/// Save `lr` and `steps`; of each entry of `params` save `steps` and every array as `{param}.{array}`, such as
/// `0.weight.exp_avg`, with the parameter's own shape. To go on, make model and optimizer as before, load the
/// model's values, fill an `OptimizerState` with what was saved, and give it to [`ModelOptimizer::set_state`]. Training then goes on
/// with the same bits, if the model goes on with the same seed and pass. Save after an update: gradients gathered by
/// [`ModelOptimizer::accumulate`] lie in the model and are not part of the state.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::optimizers::{OptimizerState, ParamState};
///
/// let mut model = Sequential::builder([2]).add(Linear::new(1).bias(false)).build()?;
/// let mut optimizer = ModelOptimizer::new(Sgd::new().momentum(0.9), 0.1);
/// model.forward(&Array2::ones((1, 2)))?;
/// model.backward(&Array2::ones((1, 1)))?;
/// optimizer.step(&mut model)?;
///
/// let state = optimizer.state(&model);
/// assert_eq!((state.lr, state.steps, state.params[0].param.as_str()), (0.1, 1, "0.weight"));
/// assert_eq!(state.params[0].arrays[0], ("momentum_buffer".to_string(), vec![1.0, 1.0].into()));
///
/// // What a reader of a checkpoint makes.
/// let arrays = vec![("momentum_buffer".to_string(), vec![1.0, 1.0].into())];
/// let params = vec![ParamState { param: "0.weight".into(), steps: 1, arrays }];
/// let saved = OptimizerState { lr: 0.1, steps: 1, params };
/// let mut resumed = ModelOptimizer::new(Sgd::new().momentum(0.9), 0.1);
/// resumed.set_state(&model, saved)?;
/// assert_eq!(resumed.state(&model), state);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OptimizerState<'a, F: Scalar = f32> {
    /// The base learning rate, at least 0.
    pub lr: f64,
    /// Updates so far: where the schedules are.
    pub steps: u64,
    /// In the model's order, one for each parameter that was updated and is not frozen.
    pub params: Vec<ParamState<'a, F>>,
}

/// What an [`OptimizerState`] holds of one parameter.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ParamState<'a, F: Scalar = f32> {
    /// Its dotted name, such as `0.weight`.
    pub param: String,
    /// How often it was updated. It starts afresh when it was frozen, so this may be less than the optimizer's.
    pub steps: u64,
    /// The rule's arrays, by the names of [`crate::Optimizer::state_names`]; each has one number for each of the
    /// parameter's elements, in row-major order.
    pub arrays: Vec<(String, Cow<'a, [F]>)>,
}

/// Above this, counting on would come near the end of `u64`.
const MAX_STEPS: u64 = 1 << 62;

impl<F: Scalar> ModelOptimizer<F> {
    /// Calls of `step` since the last update.
    pub(crate) fn gathered(&self) -> u64 {
        self.gathered
    }

    pub(crate) fn set_gathered(&mut self, calls: u64) {
        self.gathered = calls;
    }

    /// What it remembers of this model's parameters, lent.
    pub fn state(&self, model: &Sequential<F>) -> OptimizerState<'_, F> {
        let mut params = Vec::new();
        model.visit(&mut Visitor::new(&mut |name, entry| {
            if let Entry::Param(param) = entry
                && param.trainable()
                && let Some(state) = self.states.get(&param.id())
            {
                let arrays = state.names.iter().zip(&state.arrays);
                let arrays = arrays.map(|(name, array)| (name.to_string(), array.into())).collect();
                params.push(ParamState { param: name.to_string(), steps: state.steps, arrays });
            }
        }));
        OptimizerState { lr: self.lr, steps: self.steps, params }
    }

    /// Goes on from a saved state: base rate, updates so far, and what the rule keeps for each parameter of this
    /// model. Everything remembered before is forgotten. A parameter that the state does not name starts afresh; the
    /// state of a frozen one is left out.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([2]).add(Linear::new(1).bias(false)).build()?;
    /// let mut optimizer = ModelOptimizer::new(Adam::new(), 0.1);
    /// model.forward(&Array2::ones((1, 2)))?;
    /// model.backward(&Array2::ones((1, 1)))?;
    /// optimizer.step(&mut model)?;
    ///
    /// let mut other = ModelOptimizer::new(Lion::new(), 0.1);
    /// let error = other.set_state(&model, optimizer.state(&model)).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "optimizer state: 0.weight needs [exp_avg] of its rule, got [exp_avg, exp_avg_sq]"
    /// );
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OptimizerState`] lists all that does not fit: a name that the model has no parameter for or that comes
    /// twice, arrays that are not those of the parameter's rule, a length that is not the parameter's, a number
    /// that is not one (NaN), more updates of a parameter than of all; [`Error::Setting`] for the rate. The optimizer is
    /// then as it was.
    pub fn set_state(&mut self, model: &Sequential<F>, state: OptimizerState<'_, F>) -> Result<()> {
        ensure_at_least_zero("OptimizerState", "lr", state.lr)?;
        ensure(state.steps <= MAX_STEPS, "OptimizerState", "steps", "at most 2⁶²", state.steps)?;
        let (mut named, mut problems) = (HashMap::new(), Vec::new());
        for param in state.params {
            if param.steps > state.steps {
                let (name, steps) = (&param.param, param.steps);
                problems
                    .push(format!("{name} has {steps} updates, more than all: {}", state.steps));
            }
            if let Some(twice) = named.insert(param.param.clone(), param) {
                problems.push(format!("{} comes twice", twice.param));
            }
        }
        let mut states = HashMap::new();
        model.visit(&mut Visitor::new(&mut |name, entry| {
            if let Entry::Param(param) = entry
                && let Some(saved) = named.remove(&name.to_string())
                && param.trainable()
            {
                match self.fitting(param, saved) {
                    Ok((id, state)) => drop(states.insert(id, state)),
                    Err(problem) => problems.push(problem),
                }
            }
        }));
        let mut unknown: Vec<_> = named.into_keys().collect();
        unknown.sort();
        problems.extend(unknown.iter().map(|name| format!("the model has no parameter {name}")));
        if !problems.is_empty() {
            return Err(Error::OptimizerState { problems });
        }
        (self.lr, self.steps, self.gathered, self.states) = (state.lr, state.steps, 0, states);
        Ok(())
    }

    /// The saved state in the order of the parameter's rule, or what does not fit.
    fn fitting(
        &self,
        param: &Param<F>,
        saved: ParamState<'_, F>,
    ) -> Result<(ParamId, State<F>), String> {
        let (name, names) = (saved.param, self.rule_of(param).state_names());
        let mut got: Vec<&str> = saved.arrays.iter().map(|(array, _)| array.as_str()).collect();
        let mut needs = names.to_vec();
        got.sort_unstable();
        needs.sort_unstable();
        if got != needs {
            let (needs, got) = (needs.join(", "), got.join(", "));
            return Err(format!("{name} needs [{needs}] of its rule, got [{got}]"));
        }
        let mut arrays = vec![Vec::new(); names.len()];
        for (array, values) in saved.arrays {
            if values.len() != param.numel() {
                let (needs, got) = (param.numel(), values.len());
                return Err(format!("{name}.{array} needs {needs} numbers, got {got}"));
            }
            if values.iter().any(|value| value.is_nan()) {
                return Err(format!("{name}.{array} has a value that is not a number"));
            }
            if let Some(at) = names.iter().position(|&name| name == array) {
                arrays[at] = values.into_owned();
            }
        }
        Ok((param.id(), State { steps: saved.steps, names, arrays }))
    }
}
