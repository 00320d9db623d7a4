//! Newton's method.

use super::cholesky::{factor, solve};
use super::ensure_at_least_zero;
use super::lbfgs::begin;
use super::line_search::{Line, dot, largest, strong_wolfe};
use crate::error::ensure;
use crate::{Minimizer, Minimum, Objective, Result, Stop};

/// Steps to the minimum of the second-order approximation: `x ← x − t · (H + λ I)⁻¹ g`.
///
/// A quadratic is solved in one step, without any learning rate. But the Hessian `H` has `n²` numbers for `n` variables
/// and solving with it takes `O(n³)` time: bad for deep learning, as the course says, and why more than
/// [`Newton::max_variables`] are refused. [`super::Lbfgs`] is for those.
///
/// The Hessian is put together from [`Objective::hessian_vector`]: `n` products, each two evaluations of the gradient unless
/// the objective has its own. Where `H + λ I` is not positive definite, `λ` is raised until it is, so that the step leads
/// downhill; `t` is 1 unless the line search of [`super::Lbfgs`] finds that too far.
///
/// Defaults: `λ` 0, at most 50 iterations, `tolerance_grad` 1e-7, `tolerance_change` 1e-9, at most 1000 variables.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // (a − b)² + 100 (b − 2)²
/// let mut valley = |x: &[f64], grad: &mut [f64]| {
///     let (u, v) = (x[0] - x[1], x[1] - 2.0);
///     grad.copy_from_slice(&[2.0 * u, 200.0 * v - 2.0 * u]);
///     Ok(u * u + 100.0 * v * v)
/// };
/// let mut x = [-7.0, 30.0];
/// let minimum = Newton::new().minimize(&mut valley, &mut x)?;
/// assert_eq!(minimum.iterations, 1);
/// assert!((x[0] - 2.0).abs() < 1e-8 && (x[1] - 2.0).abs() < 1e-8);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] for more variables than allowed, for no iteration, and for a negative `λ` or tolerance.
///
/// # References
/// Nocedal & Wright 2006, sections 3.4 and 6.2. The start of a raised `λ` is 1e-10 of the largest curvature, and it
/// grows tenfold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Newton {
    damping: f64,
    max_iterations: usize,
    tolerance_grad: f64,
    tolerance_change: f64,
    max_variables: usize,
}

impl Default for Newton {
    fn default() -> Self {
        Self::new()
    }
}

impl Newton {
    /// Without damping.
    pub fn new() -> Self {
        Self {
            damping: 0.0,
            max_iterations: 50,
            tolerance_grad: 1e-7,
            tolerance_change: 1e-9,
            max_variables: 1000,
        }
    }

    /// `λ`, added to the Hessian's diagonal, at least 0; default 0. Large, it makes the step short and like
    /// gradient descent's.
    pub fn damping(mut self, damping: f64) -> Self {
        self.damping = damping;
        self
    }

    /// Most steps, at least 1; default 50.
    pub fn max_iterations(mut self, max_iterations: usize) -> Self {
        self.max_iterations = max_iterations;
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

    /// Most variables; default 1000. 10,000 would take 800 MB, and minutes for each step.
    pub fn max_variables(mut self, max_variables: usize) -> Self {
        self.max_variables = max_variables;
        self
    }

    fn check(&self, variables: usize) -> Result<()> {
        ensure_at_least_zero("Newton", "damping", self.damping)?;
        ensure_at_least_zero("Newton", "tolerance_grad", self.tolerance_grad)?;
        ensure_at_least_zero("Newton", "tolerance_change", self.tolerance_change)?;
        let iterations = self.max_iterations;
        ensure(iterations > 0, "Newton", "max_iterations", "at least 1", iterations)?;
        if variables > self.max_variables {
            return Err(crate::Error::TooManyVariables {
                limit: self.max_variables,
                got: variables,
            });
        }
        Ok(())
    }

    /// `−(H + λ I)⁻¹ g`
    fn direction(
        &self,
        objective: &mut dyn Objective,
        x: &[f64],
        grad: &[f64],
    ) -> Result<Vec<f64>> {
        let hessian = hessian(objective, x)?;
        let n = x.len();
        let curvature = (0..n).fold(0.0f64, |most, i| most.max(hessian[i * n + i].abs()));
        let least = if curvature > 0.0 { 1e-10 * curvature } else { 1.0 };
        let mut damping = self.damping;
        loop {
            let mut factors = hessian.clone();
            (0..n).for_each(|i| factors[i * n + i] += damping);
            if factor(&mut factors, n) {
                let mut direction: Vec<f64> = grad.iter().map(|g| -g).collect();
                solve(&factors, &mut direction);
                return Ok(direction);
            }
            if !damping.is_finite() {
                // The Hessian is not finite: downhill is all that is known.
                return Ok(grad.iter().map(|g| -g).collect());
            }
            damping = (10.0 * damping).max(least);
        }
    }
}

impl Minimizer for Newton {
    fn minimize(&self, objective: &mut dyn Objective, x: &mut [f64]) -> Result<Minimum> {
        self.check(x.len())?;
        let mut here = begin(objective, x)?;
        let (mut iterations, mut evaluations) = (0, 1);
        let stop = loop {
            if largest(&here.grad) <= self.tolerance_grad {
                break Stop::Gradient;
            }
            if iterations == self.max_iterations {
                break Stop::Iterations;
            }
            iterations += 1;
            let direction = self.direction(objective, x, &here.grad)?;
            here.slope = dot(&here.grad, &direction);
            let mut line = Line::new(objective, x, &direction);
            let next = strong_wolfe(&mut line, here.clone(), 1.0, 1e-9)?;
            evaluations += line.evaluations;
            x.iter_mut().zip(&direction).for_each(|(x, d)| *x += next.t * d);
            let moved = next.t * largest(&direction);
            let change = (next.value - here.value).abs();
            here = next;
            let flat = largest(&here.grad) <= self.tolerance_grad;
            if !flat && (moved <= self.tolerance_change || change < self.tolerance_change) {
                break Stop::Change;
            }
        };
        let grad_max = largest(&here.grad);
        Ok(Minimum { value: here.value, grad_max, iterations, evaluations, stop })
    }
}

/// The Hessian at `x`, row by row, made symmetric.
fn hessian(objective: &mut dyn Objective, x: &[f64]) -> Result<Vec<f64>> {
    let n = x.len();
    let mut hessian = vec![0.0; n * n];
    let mut unit = vec![0.0; n];
    for (i, row) in hessian.chunks_exact_mut(n).enumerate() {
        unit[i] = 1.0;
        objective.hessian_vector(x, &unit, row)?;
        unit[i] = 0.0;
    }
    for i in 0..n {
        for j in 0..i {
            let mean = 0.5 * (hessian[i * n + j] + hessian[j * n + i]);
            (hessian[i * n + j], hessian[j * n + i]) = (mean, mean);
        }
    }
    Ok(hessian)
}
