//! Learning rates, as the driver reports them step by step.

use layerwise::Scalar;
use layerwise::ndarray::{ArrayD, IxDyn};
use layerwise::optimizers::{ModelOptimizer, Sgd};
use layerwise::schedules::{ExponentialDecay, StepDecay};

use super::cases::Config;
use super::check::{Check, Done};
use super::held::{model, set_grads};

/// The driver with the schedule of a kind, or `None` if the crate has no such kind.
pub(super) fn scheduled<F: Scalar>(
    kind: &str,
    config: Config<'_>,
    optimizer: ModelOptimizer<F>,
) -> Result<Option<ModelOptimizer<F>>, String> {
    Ok(Some(match kind {
        "step" => {
            let (every, gamma) = (config.whole("step_size")? as u64, config.number("gamma")?);
            optimizer.schedule(StepDecay { every, gamma })
        }
        "exponential" => optimizer.schedule(ExponentialDecay { gamma: config.number("gamma")? }),
        _ => return Ok(None),
    }))
}

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let config = check.config();
    let kind = check.case.kind.trim_start_matches("schedule_");
    let start = config.number("lr")?;
    let steps = check.exact("lr")?.len();
    let optimizer = scheduled(kind, config, ModelOptimizer::new(Sgd::new(), start))?;
    check.same_elements("lr", rates::<F>(optimizer.ok_or("no such schedule")?, steps)?)?;
    if config.get("k").is_some() {
        // The course writes the exponential schedule as e^(−k t).
        let schedule = ExponentialDecay { gamma: (-config.number("k")?).exp() };
        let optimizer = ModelOptimizer::new(Sgd::new(), start).schedule(schedule);
        check.same_elements("lr", rates::<F>(optimizer, steps)?)?;
    }
    Ok(())
}

/// The rate in force during each of the first steps.
fn rates<F: Scalar>(mut optimizer: ModelOptimizer<F>, steps: usize) -> layerwise::Result<Vec<f64>> {
    let zero = ArrayD::zeros(IxDyn(&[1]));
    let mut model = model(zero.clone(), zero.clone())?;
    (0..steps)
        .map(|_| {
            set_grads(&mut model, &zero, &zero);
            Ok(optimizer.step(&mut model)?.lr)
        })
        .collect()
}
