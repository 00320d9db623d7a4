//! Averages of parameters over a run, update by update.

use layerwise::ndarray::{ArrayD, Axis};
use layerwise::training::Average;
use layerwise::{Scalar, View};

use super::check::{Check, Done};
use super::held::model;

pub(super) fn check_polyak<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    compare(check, Average::polyak(), "average")
}

pub(super) fn check_ema<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let decay = check.config().number("decay")?;
    compare(check, Average::ema(decay), "average")?;
    compare(check, Average::ema(decay).bias_correction(true), "average_zero_start_corrected")
}

/// Runs the parameters of the case through the average, and compares it after each update.
fn compare<F: Scalar>(check: &mut Check<'_, F>, mut average: Average<F>, wanted: &str) -> Done {
    let params = check.tensor("params")?;
    let first: View<'_, F> = params.index_axis(Axis(0), 0);
    let mut model = model(first.to_owned(), ArrayD::zeros(vec![1]))?;
    let mut averages = Vec::new();
    for step in params.outer_iter() {
        model.set_value("0.w", step)?;
        average.update(&model)?;
        average.swap(&mut model)?;
        averages.extend(model.value("0.w").ok_or("no 0.w")?.iter().map(|x| x.widen()));
        average.swap(&mut model)?;
    }
    check.same_elements(wanted, averages)
}
