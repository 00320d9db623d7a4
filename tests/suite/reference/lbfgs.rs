//! L-BFGS against PyTorch's and scipy's: the minimum, and what it cost.

use layerwise::optimizers::Lbfgs;
use layerwise::{Minimizer, Minimum, Objective, Scalar};

use super::check::{Check, Done};

/// `Σ 100 (x[i+1] − x[i]²)² + (1 − x[i])²`
fn rosenbrock(x: &[f64], grad: &mut [f64]) -> layerwise::Result<f64> {
    let mut value = 0.0;
    grad.fill(0.0);
    for i in 0..x.len() - 1 {
        let (bend, rest) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        value += 100.0 * bend * bend + rest * rest;
        grad[i] -= 400.0 * bend * x[i] + 2.0 * rest;
        grad[i + 1] += 200.0 * bend;
    }
    Ok(value)
}

pub(super) fn check_rosenbrock<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    minimize(check, &mut rosenbrock)
}

/// `½ |A x − b|²`
pub(super) fn check_least_squares<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (a, b) = (check.exact("A")?, check.exact("b")?);
    minimize(check, &mut |x: &[f64], grad: &mut [f64]| {
        let mut value = 0.0;
        grad.fill(0.0);
        for (row, b) in a.outer_iter().zip(b) {
            let rest = row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>() - b;
            value += 0.5 * rest * rest;
            grad.iter_mut().zip(row).for_each(|(grad, a)| *grad += rest * a);
        }
        Ok(value)
    })
}

/// These methods compute in `f64` whatever the model's element.
fn minimize<F: Scalar>(check: &mut Check<'_, F>, objective: &mut dyn Objective) -> Done {
    let config = check.config();
    let mut x: Vec<f64> = check.exact("x0")?.iter().copied().collect();
    let mut grad = vec![0.0; x.len()];
    let value = objective.value_and_grad(&x, &mut grad)?;
    check.same_elements("f0", [value])?;
    check.same_elements("g0", grad)?;
    let lbfgs = Lbfgs::new()
        .history(config.whole("history")?)
        .max_iterations(config.whole("max_iterations")?)
        .max_evaluations(2000)
        .tolerance_grad(config.number("tolerance_grad")?)
        .tolerance_change(1e-14);
    let Minimum { value, evaluations, .. } = lbfgs.minimize(objective, &mut x)?;
    let mut number = |name: &str| check.exact(name).map(|tensor| tensor.sum());
    let excess = value - number("minimum")?;
    let best = number("torch_evaluations")?.min(number("scipy_evaluations")?);
    if excess.is_nan() || excess.abs() > 1e-8 {
        return Err(format!("ended {excess:e} above the minimum").into());
    }
    if evaluations as f64 > 1.25 * best {
        return Err(format!("{evaluations} evaluations, the better of the others {best}").into());
    }
    let distance = x.iter().zip(check.exact("minimizer")?).map(|(x, best)| (x - best).abs());
    if let Some(far) = distance.into_iter().find(|&far| far.is_nan() || far > 1e-4) {
        return Err(format!("ended {far:e} from the minimizer").into());
    }
    for name in ["x", "f", "iterations"] {
        check.set_aside(&format!("torch_{name}"));
        check.set_aside(&format!("scipy_{name}"));
    }
    Ok(())
}
