//! Learning rates, as the driver reports them step by step.

use layerwise::ndarray::{ArrayD, IxDyn};
use layerwise::optimizers::{ModelOptimizer, Sgd};
use layerwise::schedules::{
    Anneal, Cosine, Cyclic, CyclicMode, ExponentialDecay, InverseTime, LinearWarmup, MultiStep,
    OneCycle, Polynomial, ReduceOnPlateau, SnapshotCycles, StepDecay, Threshold, WarmRestarts,
};
use layerwise::{Scalar, Schedule};

use super::cases::Config;
use super::check::{Check, Done};
use super::held::{model, set_grads};

/// The driver with the schedule of a kind, or `None` if the crate has no such kind. Schedules are factors on the
/// driver's rate, which is the case's largest.
pub(super) fn scheduled<F: Scalar>(
    kind: &str,
    config: Config<'_>,
    optimizer: ModelOptimizer<F>,
) -> Result<Option<ModelOptimizer<F>>, String> {
    let share = |key: &str| Ok::<_, String>(config.number(key)? / optimizer.lr());
    let steps = |key: &str| Ok::<_, String>(config.whole(key)? as u64);
    let warmup = || {
        Ok::<_, String>(
            LinearWarmup::new(steps("warmup_steps")?).start(config.number("start_factor")?),
        )
    };
    let schedule: Box<dyn Schedule> = match kind {
        "step" => {
            Box::new(StepDecay { every: steps("step_size")?, gamma: config.number("gamma")? })
        }
        "multi_step" => {
            let milestones = config.sizes("milestones")?.into_iter().map(|m| m as u64).collect();
            Box::new(MultiStep { milestones, gamma: config.number("gamma")? })
        }
        "exponential" => Box::new(ExponentialDecay { gamma: config.number("gamma")? }),
        "inverse_time" => Box::new(InverseTime { k: config.number("k")? }),
        "polynomial" => {
            Box::new(Polynomial { steps: steps("total_iters")?, power: config.number("power")? })
        }
        "cosine" => Box::new(Cosine::new(steps("T_max")?).min(share("eta_min")?)),
        "warm_restarts" => {
            let restarts = WarmRestarts::new(steps("T_0")?).mult(steps("T_mult")?);
            Box::new(restarts.min(share("eta_min")?))
        }
        "snapshot" => Box::new(SnapshotCycles::new(steps("T")?, steps("M")?)),
        "cyclic" => {
            let mode = match config.text("mode")? {
                "triangular" => CyclicMode::Triangular,
                "triangular2" => CyclicMode::Triangular2,
                "exp_range" => CyclicMode::ExpRange(config.number("gamma")?),
                other => return Err(format!("cyclic mode {other}")),
            };
            let cyclic = Cyclic::new(steps("step_size_up")?).down(steps("step_size_down")?);
            Box::new(cyclic.min(share("base_lr")?).mode(mode))
        }
        "linear_warmup" if config.number("end_factor")? == 1.0 => Box::new(warmup()?),
        "warmup_cosine" => {
            let rest = steps("total_steps")?.saturating_sub(steps("warmup_steps")?);
            Box::new(warmup()?.then(Cosine::new(rest).min(share("eta_min")?)))
        }
        _ => return Ok(None),
    };
    Ok(Some(optimizer.schedule(schedule)))
}

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let config = check.config();
    let kind = check.case.kind.trim_start_matches("schedule_");
    let start = config.number(if kind == "cyclic" { "max_lr" } else { "lr" })?;
    let steps = check.exact("lr")?.len();
    let optimizer = scheduled(kind, config, ModelOptimizer::new(Sgd::new(), start))?;
    check.same_elements("lr", rates::<F>(optimizer.ok_or("no such schedule")?, steps)?.0)?;
    if kind == "exponential" {
        // The course writes it as e^(−k t).
        let schedule = ExponentialDecay { gamma: (-config.number("k")?).exp() };
        let optimizer = ModelOptimizer::new(Sgd::new(), start).schedule(schedule);
        check.same_elements("lr", rates::<F>(optimizer, steps)?.0)?;
    }
    Ok(())
}

pub(super) fn check_one_cycle<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let config = check.config();
    let (div, final_div) = (config.number("div_factor")?, config.number("final_div_factor")?);
    let cycle = OneCycle::new(config.whole("total_steps")? as u64)
        .pct_start(config.number("pct_start")?)
        .div_factor(div)
        // PyTorch divides the first rate by it.
        .final_div_factor(div * final_div)
        .three_phase(config.flag("three_phase")?)
        .anneal(match config.text("anneal")? {
            "cos" => Anneal::Cosine,
            "linear" => Anneal::Linear,
            other => return Err(format!("anneal {other}").into()),
        });
    let momentum = cycle.momentum(config.number("base_momentum")?, config.number("max_momentum")?);
    let optimizer = ModelOptimizer::new(Sgd::new().momentum(0.95), config.number("max_lr")?);
    let optimizer = optimizer.schedule(cycle).momentum_schedule(momentum);
    let (rates, momenta) = rates::<F>(optimizer, check.exact("lr")?.len())?;
    check.same_elements("lr", rates)?;
    check.same_elements("momentum", momenta)
}

pub(super) fn check_plateau<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let config = check.config();
    let threshold = config.number("threshold")?;
    let mut plateau = ReduceOnPlateau::new()
        .factor(config.number("factor")?)
        .patience(config.whole("patience")? as u64)
        .cooldown(config.whole("cooldown")? as u64)
        .min_lr(config.number("min_lr")?)
        .eps(config.number("eps")?)
        .maximize(config.text("mode")? == "max")
        .threshold(match config.text("threshold_mode")? {
            "rel" => Threshold::Relative(threshold),
            "abs" => Threshold::Absolute(threshold),
            other => return Err(format!("threshold mode {other}").into()),
        });
    let mut lr = config.number("lr")?;
    let mut after = Vec::new();
    for &metric in check.exact("metric")? {
        lr = plateau.report(metric, lr)?;
        after.push(lr);
    }
    check.same_elements("lr_after", after)
}

/// The rate and the scheduled momentum in force during each of the first steps.
fn rates<F: Scalar>(
    mut optimizer: ModelOptimizer<F>,
    steps: usize,
) -> layerwise::Result<(Vec<f64>, Vec<f64>)> {
    let zero = ArrayD::zeros(IxDyn(&[1]));
    let mut model = model(zero.clone(), zero.clone())?;
    let (mut rates, mut momenta) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        set_grads(&mut model, &zero, &zero);
        let report = optimizer.step(&mut model)?;
        rates.push(report.lr);
        momenta.extend(report.momentum);
    }
    Ok((rates, momenta))
}
