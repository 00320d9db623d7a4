//! L-BFGS.

use std::collections::VecDeque;

use super::line_search::{Line, Point, dot, largest, strong_wolfe};
use super::{ensure_above_zero, ensure_at_least_zero};
use crate::error::ensure;
use crate::{Error, Minimizer, Minimum, Objective, Result, Stop};

/// Quasi-Newton with the Hessian's effect learned from the last steps, for full batches.
///
/// The direction is `−H g`, where `H` is applied by the two-loop recursion over the last `history` pairs of steps `s` and
/// gradient changes `y`, beginning from `sᵀy / yᵀy`. A pair counts if `sᵀy > 1e-10`. How far to go is decided by a line search
/// for the strong Wolfe conditions (`c₁` 1e-4, `c₂` 0.9) that begins at `min(1, 1 / ‖g‖₁) · lr` in the first iteration and
/// at `lr` in the others.
///
/// The course: if you can afford full batches, try it, and discard all sources of noise. Whatever draws or samples
/// spoils the comparison of two gradients; [`crate::training::ModelObjective`] runs the model in eval mode.
///
/// It ends when no element of the gradient is above `tolerance_grad`; when the value changed by less than
/// `tolerance_change`, or no variable by more; or at a limit. Defaults are PyTorch's: `lr` 1, at most 20 iterations and ⌊1.25 ·
/// iterations⌋ evaluations, `tolerance_grad` 1e-7, `tolerance_change` 1e-9, history 100. 20 iterations are few: see
/// [`Minimum::stop`](crate::Minimum::stop) and raise [`Lbfgs::max_iterations`].
///
/// Memory: `2 · history + 8` vectors of the variables, in `f64`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // Logistic regression on four points, to the minimum.
/// let data = Dataset::new(ndarray::arr2(&[[0.0], [1.0], [2.0], [3.0]]).into_dyn(), vec![0, 1, 0, 1])?;
/// let mut model = Sequential::builder([1]).add(Linear::new(2)).build()?;
/// let mut objective = ModelObjective::new(&mut model, CrossEntropy::new(), &data);
/// let minimum = objective.minimize(&Lbfgs::new().max_iterations(100).tolerance_grad(1e-4))?;
/// assert!((minimum.value - 0.58687).abs() < 1e-4, "{minimum:?}");
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] unless `lr > 0`, history and iterations are at least 1, and tolerances at least 0.
///
/// # References
/// Nocedal 1980; Liu & Nocedal 1989; Nocedal & Wright 2006, algorithm 7.4. The stopping rules and numbers are those of
/// PyTorch's `LBFGS` with `line_search_fn="strong_wolfe"`, which is the only line search here.
#[doc(alias = "LBFGS")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lbfgs {
    lr: f64,
    max_iterations: usize,
    max_evaluations: Option<usize>,
    tolerance_grad: f64,
    tolerance_change: f64,
    history: usize,
}

impl Default for Lbfgs {
    fn default() -> Self {
        Self::new()
    }
}

impl Lbfgs {
    /// With PyTorch's defaults.
    pub fn new() -> Self {
        Self {
            lr: 1.0,
            max_iterations: 20,
            max_evaluations: None,
            tolerance_grad: 1e-7,
            tolerance_change: 1e-9,
            history: 100,
        }
    }

    /// Where each line search begins, above 0; default 1, Newton's step.
    pub fn lr(mut self, lr: f64) -> Self {
        self.lr = lr;
        self
    }

    /// Most directions to try, at least 1; default 20.
    pub fn max_iterations(mut self, max_iterations: usize) -> Self {
        self.max_iterations = max_iterations;
        self
    }

    /// Evaluations after which no other direction is tried; default ⌊1.25 · iterations⌋.
    pub fn max_evaluations(mut self, max_evaluations: usize) -> Self {
        self.max_evaluations = Some(max_evaluations);
        self
    }

    /// The largest element of a gradient that counts as zero, at least 0; default 1e-7.
    pub fn tolerance_grad(mut self, tolerance_grad: f64) -> Self {
        self.tolerance_grad = tolerance_grad;
        self
    }

    /// The change of value and variables that counts as none, at least 0; default 1e-9.
    pub fn tolerance_change(mut self, tolerance_change: f64) -> Self {
        self.tolerance_change = tolerance_change;
        self
    }

    /// Steps remembered, at least 1; default 100.
    #[doc(alias = "history_size")]
    pub fn history(mut self, history: usize) -> Self {
        self.history = history;
        self
    }

    fn check(&self) -> Result<()> {
        ensure_above_zero("Lbfgs", "lr", self.lr)?;
        ensure_at_least_zero("Lbfgs", "tolerance_grad", self.tolerance_grad)?;
        ensure_at_least_zero("Lbfgs", "tolerance_change", self.tolerance_change)?;
        let iterations = self.max_iterations;
        ensure(iterations > 0, "Lbfgs", "max_iterations", "at least 1", iterations)?;
        ensure(self.history > 0, "Lbfgs", "history", "at least 1", self.history)
    }
}

impl Minimizer for Lbfgs {
    fn minimize(&self, objective: &mut dyn Objective, x: &mut [f64]) -> Result<Minimum> {
        self.check()?;
        let most = self.max_evaluations.unwrap_or(self.max_iterations + self.max_iterations / 4);
        let mut history = History::new(self.history);
        let mut here = begin(objective, x)?;
        let (mut iterations, mut evaluations) = (0, 1);
        let mut stop = (largest(&here.grad) <= self.tolerance_grad).then_some(Stop::Gradient);
        while stop.is_none() {
            iterations += 1;
            let direction = history.direction(&here.grad);
            here.slope = dot(&here.grad, &direction);
            if here.slope > -self.tolerance_change {
                stop = Some(Stop::Change);
                break;
            }
            let norm: f64 = here.grad.iter().map(|g| g.abs()).sum();
            let first = if iterations == 1 { self.lr * (1.0 / norm).min(1.0) } else { self.lr };
            let mut line = Line::new(objective, x, &direction);
            let next = strong_wolfe(&mut line, here.clone(), first, 1e-9)?;
            evaluations += line.evaluations;
            let step: Vec<f64> = direction.iter().map(|d| next.t * d).collect();
            x.iter_mut().zip(&step).for_each(|(x, step)| *x += step);
            let small = largest(&step) <= self.tolerance_change
                || (next.value - here.value).abs() < self.tolerance_change;
            stop = if largest(&next.grad) <= self.tolerance_grad {
                Some(Stop::Gradient)
            } else if iterations >= self.max_iterations {
                Some(Stop::Iterations)
            } else if evaluations >= most {
                Some(Stop::Evaluations)
            } else {
                small.then_some(Stop::Change)
            };
            history.push(step, &here.grad, &next.grad);
            here = next;
        }
        let grad_max = largest(&here.grad);
        let stop = stop.unwrap_or(Stop::Change);
        Ok(Minimum { value: here.value, grad_max, iterations, evaluations, stop })
    }
}

/// Value and gradient at the start.
pub(super) fn begin(objective: &mut dyn Objective, x: &[f64]) -> Result<Point> {
    let mut grad = vec![0.0; x.len()];
    let value = objective.value_and_grad(x, &mut grad)?;
    if !(value.is_finite() && grad.iter().all(|g| g.is_finite())) {
        let what = "objective or its gradient at the start".into();
        return Err(Error::NonFinite { what, step: 1 });
    }
    Ok(Point { t: 0.0, value, slope: 0.0, grad })
}

/// The last steps `s` and changes `y` of the gradient.
struct History {
    pairs: VecDeque<Pair>,
    limit: usize,
}

struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    sy: f64,
}

impl History {
    fn new(limit: usize) -> Self {
        Self { pairs: VecDeque::new(), limit }
    }

    fn push(&mut self, s: Vec<f64>, before: &[f64], after: &[f64]) {
        let y: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let sy = dot(&s, &y);
        // Without positive curvature the recursion would lead uphill.
        if sy > 1e-10 {
            if self.pairs.len() == self.limit {
                self.pairs.pop_front();
            }
            self.pairs.push_back(Pair { s, y, sy });
        }
    }

    /// `−H g`, by the two-loop recursion.
    fn direction(&self, grad: &[f64]) -> Vec<f64> {
        let mut d: Vec<f64> = grad.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for pair in self.pairs.iter().rev() {
            let share = dot(&pair.s, &d) / pair.sy;
            add(-share, &pair.y, &mut d);
            shares.push(share);
        }
        if let Some(last) = self.pairs.back() {
            let scale = last.sy / dot(&last.y, &last.y);
            d.iter_mut().for_each(|d| *d *= scale);
        }
        for (pair, share) in self.pairs.iter().zip(shares.into_iter().rev()) {
            add(share - dot(&pair.y, &d) / pair.sy, &pair.s, &mut d);
        }
        d
    }
}

/// `to += factor · x`
fn add(factor: f64, x: &[f64], to: &mut [f64]) {
    for (to, x) in to.iter_mut().zip(x) {
        *to += factor * x;
    }
}
