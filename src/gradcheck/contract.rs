//! What a layer has to do besides having the right derivative.

use ndarray::{ArrayD, Axis, Slice};

use super::Mismatch;
use super::probe::{Gradients, Layout, Probe};
use crate::{Cache, Result, Scalar};

/// Everything but the derivatives themselves.
pub(super) fn check<F: Scalar>(probe: &mut Probe<F>, gradients: &Gradients) -> Result<()> {
    written(probe, gradients)?;
    repeatable(probe)?;
    small_batch_after_large(probe)?;
    accumulates(probe, gradients)?;
    without_input(probe, gradients)?;
    other_layout(probe, gradients)?;
    frozen(probe)
}

fn fail<F: Scalar>(probe: &Probe<F>, what: &str, problem: impl Into<String>) -> Result<()> {
    Err(Mismatch::Contract { what: what.into(), mode: probe.mode(), problem: problem.into() }
        .into_error())
}

fn equal<F: Scalar>(a: &ArrayD<F>, b: &ArrayD<F>) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// Equal but for the rounding of another order of summing.
fn close<F: Scalar>(a: &[f64], b: &[f64], factor: f64) -> bool {
    let largest = a.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    let tolerance = 1e3 * F::epsilon().widen() * largest.max(1e-30);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a * factor - b).abs() <= tolerance)
}

fn written<F: Scalar>(probe: &mut Probe<F>, gradients: &Gradients) -> Result<()> {
    let y = probe.forward(&probe.x, &mut Cache::default(), Layout::RowMajor)?;
    if let Some(at) = y.iter().position(|y| y.is_nan()) {
        return fail(
            probe,
            "output",
            format!("element {at} is NaN: not written, or computed from scratch memory"),
        );
    }
    for (what, gradient) in gradients {
        if what != "input" && gradient.is_empty() {
            return fail(
                probe,
                what,
                "no gradient was written; call grad_mut even where it stays zero",
            );
        }
        if let Some(at) = gradient.iter().position(|x| x.is_nan()) {
            let what = if what == "input" { "input gradient" } else { what };
            return fail(
                probe,
                what,
                format!("element {at} is NaN: not written, or computed from scratch memory"),
            );
        }
    }
    Ok(())
}

fn repeatable<F: Scalar>(probe: &mut Probe<F>) -> Result<()> {
    let first = probe.forward(&probe.x, &mut Cache::default(), Layout::RowMajor)?;
    let second = probe.forward(&probe.x, &mut Cache::default(), Layout::RowMajor)?;
    if equal(&first, &second) {
        Ok(())
    } else {
        fail(probe, "output", "two passes with one seed differ")
    }
}

fn small_batch_after_large<F: Scalar>(probe: &mut Probe<F>) -> Result<()> {
    let rows = probe.x.shape()[0];
    if rows < 2 {
        return Ok(());
    }
    let small = probe.x.slice_axis(Axis(0), Slice::from(..rows - 1)).to_owned();
    let mut used = Cache::default();
    probe.forward(&probe.x, &mut used, Layout::RowMajor)?;
    let (after, alone) = match probe.forward(&small, &mut used, Layout::RowMajor) {
        Ok(after) => (after, probe.forward(&small, &mut Cache::default(), Layout::RowMajor)?),
        // A layer may need a larger batch.
        Err(crate::Error::BatchTooSmall { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    if equal(&after, &alone) {
        return Ok(());
    }
    fail(probe, "output", "a smaller batch after a larger one differs from the smaller batch alone")
}

fn accumulates<F: Scalar>(probe: &mut Probe<F>, gradients: &Gradients) -> Result<()> {
    probe.zero_grad();
    probe.backward(true, Layout::RowMajor)?;
    probe.backward(true, Layout::RowMajor)?;
    for ((what, once), (_, twice)) in gradients.iter().skip(1).zip(probe.param_gradients()) {
        if !close::<F>(once, &twice, 2.0) {
            return fail(
                probe,
                what,
                "two backward passes do not give twice the gradient; add to grad_mut, do not assign",
            );
        }
    }
    Ok(())
}

fn without_input<F: Scalar>(probe: &mut Probe<F>, gradients: &Gradients) -> Result<()> {
    probe.zero_grad();
    probe.backward(false, Layout::RowMajor)?;
    for ((what, with), (_, without)) in gradients.iter().skip(1).zip(probe.param_gradients()) {
        if !close::<F>(with, &without, 1.0) {
            return fail(probe, what, "the gradient differs when nobody asks for the input's");
        }
    }
    Ok(())
}

fn other_layout<F: Scalar>(probe: &mut Probe<F>, gradients: &Gradients) -> Result<()> {
    let standard = probe.forward(&probe.x, &mut Cache::default(), Layout::RowMajor)?;
    let reversed = probe.forward(&probe.x, &mut Cache::default(), Layout::Reversed)?;
    let values = |array: &ArrayD<F>| array.iter().map(|x| x.widen()).collect::<Vec<_>>();
    if !close::<F>(&values(&standard), &values(&reversed), 1.0) {
        return fail(probe, "output", "differs for an input in column-major layout");
    }
    probe.zero_grad();
    let grad_input = values(&probe.backward(true, Layout::Reversed)?);
    let all = std::iter::once(("input".to_string(), grad_input)).chain(probe.param_gradients());
    for ((what, standard), (_, reversed)) in gradients.iter().zip(all.collect::<Vec<_>>()) {
        if !close::<F>(standard, &reversed, 1.0) {
            return fail(probe, what, "the gradient differs for arrays in column-major layout");
        }
    }
    Ok(())
}

fn frozen<F: Scalar>(probe: &mut Probe<F>) -> Result<()> {
    probe.each_param(|_, param| param.set_trainable(false));
    probe.backward(true, Layout::RowMajor)?;
    let written = probe.param_gradients().into_iter().find(|(_, gradient)| !gradient.is_empty());
    probe.each_param(|_, param| param.set_trainable(true));
    match written {
        Some((what, _)) => fail(probe, &what, "a frozen parameter got a gradient"),
        None => Ok(()),
    }
}
