//! Other schedules for a while: trying rates out, and forgetting it.

use std::collections::HashMap;

use super::ModelOptimizer;
use super::state::State;
use crate::schedules::Constant;
use crate::{ParamId, Result, Scalar, Schedule};

/// What [`ModelOptimizer::begin_probe`] put aside.
#[derive(Debug)]
pub(crate) struct Probe<F: Scalar> {
    lr: f64,
    schedules: Schedules,
    gathered: u64,
    states: HashMap<ParamId, State<F>>,
    steps: u64,
}

impl<F: Scalar> ModelOptimizer<F> {
    /// Puts rate, schedules and state aside: until [`ModelOptimizer::end_probe`] the rate is what `set_lr` says.
    pub(crate) fn begin_probe(&mut self) -> Probe<F> {
        Probe {
            lr: self.lr,
            schedules: self.take_schedules(),
            gathered: std::mem::take(&mut self.gathered),
            states: self.states.clone(),
            steps: self.steps,
        }
    }

    /// Everything as it was.
    pub(crate) fn end_probe(&mut self, probe: Probe<F>) {
        let Probe { lr, schedules, gathered, states, steps } = probe;
        self.put_schedules(schedules);
        (self.lr, self.gathered, self.states, self.steps) = (lr, gathered, states, steps);
    }

    /// Replaces the schedule. The new one begins with the next step, whatever was done before.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([1]).add(Linear::new(1)).build()?;
    /// let mut optimizer = ModelOptimizer::new(Sgd::new(), 0.5);
    /// let mut rates = Vec::new();
    /// for step in 0..4 {
    ///     if step == 2 {
    ///         optimizer.set_schedule(StepDecay { every: 1, gamma: 0.5 });
    ///     }
    ///     model.forward(&Array2::ones((1, 1)))?;
    ///     model.backward(&Array2::ones((1, 1)))?;
    ///     rates.push(optimizer.step(&mut model)?.lr);
    /// }
    /// assert_eq!(rates, [0.5, 0.5, 0.5, 0.25]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn set_schedule(&mut self, schedule: impl Schedule + 'static) {
        self.schedule = Box::new(Later { schedule, from: self.steps });
    }

    /// Replaces the schedule of the momentum ([`ModelOptimizer::momentum_schedule`]), beginning with the next step, or
    /// removes it.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut optimizer = ModelOptimizer::<f32>::new(Sgd::new().momentum(0.9), 0.5);
    /// optimizer.set_momentum_schedule(Some(OneCycle::new(100).momentum(0.85, 0.95)));
    /// ```
    pub fn set_momentum_schedule(&mut self, schedule: Option<impl Schedule + 'static>) {
        let from = self.steps;
        self.momentum = schedule.map(|schedule| Box::new(Later { schedule, from }) as _);
    }

    /// Whether the rule has a momentum that can follow a schedule.
    pub(crate) fn has_momentum(&self) -> bool {
        self.rule.has_momentum()
    }

    /// How many updates so many batches make.
    pub(crate) fn updates(&self, batches: u64) -> u64 {
        batches / self.accumulate.max(1)
    }

    /// Puts both schedules aside.
    pub(crate) fn take_schedules(&mut self) -> Schedules {
        (std::mem::replace(&mut self.schedule, Box::new(Constant)), self.momentum.take())
    }

    /// Both schedules as they were.
    pub(crate) fn put_schedules(&mut self, (schedule, momentum): Schedules) {
        (self.schedule, self.momentum) = (schedule, momentum);
    }
}

/// That of the rate and, if there is one, that of the momentum.
pub(crate) type Schedules = (Box<dyn Schedule>, Option<Box<dyn Schedule>>);

/// A schedule that begins at a step.
#[derive(Debug)]
struct Later<S> {
    schedule: S,
    from: u64,
}

impl<S: Schedule> Schedule for Later<S> {
    fn factor(&self, step: u64) -> f64 {
        self.schedule.factor(step.saturating_sub(self.from))
    }

    fn steps(&self) -> Option<u64> {
        self.schedule.steps().map(|steps| steps.saturating_add(self.from))
    }

    fn check(&self) -> Result<()> {
        self.schedule.check()
    }
}
