//! The trait of functions to minimise, and of methods that do.

use std::fmt::Debug;

use crate::Result;

/// A function of one vector with its gradient: what [`crate::optimizers::Lbfgs`] and [`crate::optimizers::Newton`]
/// minimise. Every closure of this form is one; [`crate::training::ModelObjective`] is the loss of a model over a data set.
///
/// In `f64` whatever the element of the model: these methods compare values that differ in late digits.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // (a − 3)² + 2 (b + 1)²
/// let mut bowl = |x: &[f64], grad: &mut [f64]| {
///     let (a, b) = (x[0] - 3.0, x[1] + 1.0);
///     grad.copy_from_slice(&[2.0 * a, 4.0 * b]);
///     Ok(a * a + 2.0 * b * b)
/// };
/// let mut x = [0.0, 0.0];
/// let minimum = Lbfgs::new().minimize(&mut bowl, &mut x)?;
/// assert!((x[0] - 3.0).abs() < 1e-4 && (x[1] + 1.0).abs() < 1e-4 && minimum.value < 1e-8);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Objective {
    /// The value at `x`; writes the gradient, which has the same length. Where the function is not defined,
    /// the value may be infinite or NaN: a search then turns back.
    ///
    /// # Errors
    /// What makes it impossible to go on.
    fn value_and_grad(&mut self, x: &[f64], grad: &mut [f64]) -> Result<f64>;

    /// Relative rounding error of the gradient, from which differences take their step; default that of `f64`.
    fn epsilon(&self) -> f64 {
        f64::EPSILON
    }

    /// Writes the Hessian's product with `v`: by default the central difference of the gradient along `v`,
    /// exact to about two thirds of the gradient's digits.
    ///
    /// # Errors
    /// As for [`Objective::value_and_grad`].
    fn hessian_vector(&mut self, x: &[f64], v: &[f64], out: &mut [f64]) -> Result<()> {
        let largest = |x: &[f64]| x.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let length = largest(v);
        if length == 0.0 {
            out.fill(0.0);
            return Ok(());
        }
        // Truncation h² and rounding ε/h balance at ∛ε.
        let h = self.epsilon().cbrt() * largest(x).max(1.0) / length;
        let moved = |h: f64| x.iter().zip(v).map(|(x, v)| x + h * v).collect::<Vec<_>>();
        let mut below = vec![0.0; x.len()];
        self.value_and_grad(&moved(h), out)?;
        self.value_and_grad(&moved(-h), &mut below)?;
        for (out, below) in out.iter_mut().zip(below) {
            *out = (*out - below) / (2.0 * h);
        }
        Ok(())
    }
}

impl<T: FnMut(&[f64], &mut [f64]) -> Result<f64>> Objective for T {
    fn value_and_grad(&mut self, x: &[f64], grad: &mut [f64]) -> Result<f64> {
        self(x, grad)
    }
}

/// A method that minimises an [`Objective`]: [`crate::optimizers::Lbfgs`], [`crate::optimizers::Newton`], yours.
pub trait Minimizer: Debug {
    /// Moves `x` to a minimum near it, as far as the method's limits allow.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a setting out of range, [`crate::Error::NonFinite`] if the objective is not finite
    /// at the start, and what the objective reports. `x` is then where the search had come to.
    fn minimize(&self, objective: &mut dyn Objective, x: &mut [f64]) -> Result<Minimum>;
}

/// Where a search ended.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Minimum {
    /// The objective's value.
    pub value: f64,
    /// Largest element of the gradient.
    pub grad_max: f64,
    /// Directions tried.
    pub iterations: usize,
    /// Evaluations of value and gradient, without those for Hessians.
    pub evaluations: usize,
    /// Why it ended.
    pub stop: Stop,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// No element of the gradient was above the tolerance: a minimum.
    Gradient,
    /// Value or variables changed by less than the tolerance.
    Change,
    /// As many iterations as allowed.
    Iterations,
    /// As many evaluations as allowed.
    Evaluations,
}
