//! Trying rates out, and forgetting it.

use std::collections::HashMap;

use super::ModelOptimizer;
use super::state::State;
use crate::schedules::Constant;
use crate::{ParamId, Scalar, Schedule};

/// What [`ModelOptimizer::begin_probe`] put aside.
#[derive(Debug)]
pub(crate) struct Probe<F: Scalar> {
    lr: f64,
    schedule: Box<dyn Schedule>,
    momentum: Option<Box<dyn Schedule>>,
    gathered: u64,
    states: HashMap<ParamId, State<F>>,
    steps: u64,
}

impl<F: Scalar> ModelOptimizer<F> {
    /// Puts rate, schedules and state aside: until [`ModelOptimizer::end_probe`] the rate is what `set_lr` says.
    pub(crate) fn begin_probe(&mut self) -> Probe<F> {
        Probe {
            lr: self.lr,
            schedule: std::mem::replace(&mut self.schedule, Box::new(Constant)),
            momentum: self.momentum.take(),
            gathered: std::mem::take(&mut self.gathered),
            states: self.states.clone(),
            steps: self.steps,
        }
    }

    /// Everything as it was.
    pub(crate) fn end_probe(&mut self, probe: Probe<F>) {
        let Probe { lr, schedule, momentum, gathered, states, steps } = probe;
        (self.lr, self.schedule, self.momentum) = (lr, schedule, momentum);
        (self.gathered, self.states, self.steps) = (gathered, states, steps);
    }

    /// Replaces the schedule, which goes on from the step the optimizer is at; see [`ModelOptimizer::steps`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut optimizer = ModelOptimizer::<f32>::new(Sgd::new(), 0.5);
    /// optimizer.set_schedule(Cosine::new(1000));
    /// ```
    pub fn set_schedule(&mut self, schedule: impl Schedule + 'static) {
        self.schedule = Box::new(schedule);
    }

    /// Replaces the schedule of the momentum, or removes it; see [`ModelOptimizer::momentum_schedule`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut optimizer = ModelOptimizer::<f32>::new(Sgd::new().momentum(0.9), 0.5);
    /// optimizer.set_momentum_schedule(Some(Box::new(OneCycle::new(100).momentum(0.85, 0.95))));
    /// ```
    pub fn set_momentum_schedule(&mut self, schedule: Option<Box<dyn Schedule>>) {
        self.momentum = schedule;
    }
}
