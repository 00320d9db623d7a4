//! Update rules over many steps, and the limits on gradients.

use layerwise::Decay;
use layerwise::Scalar;
use layerwise::ndarray::{ArrayD, Axis, stack};
use layerwise::optimizers::{
    AdaDelta, AdaGrad, Adam, AdamW, Adamax, Clip, ModelOptimizer, NAdam, RAdam, RmsProp, Sgd,
};

use super::cases::Config;
use super::check::{Check, Done};
use super::held::{model, set_grads};

/// The driver for a kind of optimizer, or `None` if the crate has no such kind.
pub(super) fn optimizer<F: Scalar>(
    kind: &str,
    config: Config<'_>,
) -> Result<Option<ModelOptimizer<F>>, String> {
    let (lr, decay) = (config.number("lr")?, config.number("weight_decay")?);
    Ok(Some(match kind {
        "sgd" => {
            let rule = Sgd::new()
                .momentum(config.number("momentum")?)
                .dampening(config.number("dampening")?)
                .nesterov(config.flag("nesterov")?);
            ModelOptimizer::new(rule, lr).weight_decay(Decay::L2(decay))
        }
        "adagrad" => {
            let rule = AdaGrad::new()
                .lr_decay(config.number("lr_decay")?)
                .initial(config.number("initial_accumulator_value")?)
                .eps(config.number("eps")?);
            ModelOptimizer::new(rule, lr).weight_decay(Decay::L2(decay))
        }
        "adadelta" => {
            let rule = AdaDelta::new().rho(config.number("rho")?).eps(config.number("eps")?);
            ModelOptimizer::new(rule, lr).weight_decay(Decay::L2(decay))
        }
        "rmsprop" => {
            let rule = RmsProp::new()
                .alpha(config.number("alpha")?)
                .momentum(config.number("momentum")?)
                .centered(config.flag("centered")?)
                .eps(config.number("eps")?);
            ModelOptimizer::new(rule, lr).weight_decay(Decay::L2(decay))
        }
        "nadam" => {
            let [beta1, beta2] = betas(config)?;
            let rule = NAdam::new()
                .betas(beta1, beta2)
                .eps(config.number("eps")?)
                .momentum_decay(config.number("momentum_decay")?);
            ModelOptimizer::new(rule, lr).weight_decay(kind_of_decay(config)?(decay))
        }
        "radam" => {
            let [beta1, beta2] = betas(config)?;
            let rule = RAdam::new().betas(beta1, beta2).eps(config.number("eps")?);
            ModelOptimizer::new(rule, lr).weight_decay(kind_of_decay(config)?(decay))
        }
        "adamax" => {
            let [beta1, beta2] = betas(config)?;
            let rule = Adamax::new().betas(beta1, beta2).eps(config.number("eps")?);
            ModelOptimizer::new(rule, lr).weight_decay(Decay::L2(decay))
        }
        "adam" => ModelOptimizer::new(adam(config)?, lr).weight_decay(Decay::L2(decay)),
        "adamw" => ModelOptimizer::new(AdamW::new().adam(adam(config)?).weight_decay(decay), lr),
        _ => return Ok(None),
    }))
}

fn betas(config: Config<'_>) -> Result<[f64; 2], String> {
    <[f64; 2]>::try_from(config.numbers("betas")?).map_err(|betas| format!("betas {betas:?}"))
}

pub(super) fn kind_of_decay(config: Config<'_>) -> Result<fn(f64) -> Decay, String> {
    Ok(if config.flag("decoupled_weight_decay")? { Decay::Decoupled } else { Decay::L2 })
}

fn adam(config: Config<'_>) -> Result<Adam, String> {
    let [beta1, beta2] = betas(config)?;
    let adam = Adam::new().betas(beta1, beta2).eps(config.number("eps")?);
    Ok(adam.amsgrad(config.flag("amsgrad")?))
}

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check.tighten(1e-5);
    let config = check.config();
    let kind = check.case.kind.trim_start_matches("optimizer_");
    let mut optimizer = optimizer::<F>(kind, config)?.ok_or("no such optimizer")?;
    if config.get("clip_norm").is_some() {
        optimizer = optimizer.clip(Clip::Norm(config.number("clip_norm")?));
    }
    if config.get("clip_value").is_some() {
        optimizer = optimizer.clip(Clip::Value(config.number("clip_value")?));
    }
    let mut model = model(check.tensor("w_init")?, check.tensor("b_init")?)?;
    let (w_grads, b_grads) = (check.tensor("w_grads")?, check.tensor("b_grads")?);
    let (mut w_steps, mut b_steps, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..config.whole("steps")? {
        let at = |grads: &ArrayD<F>| grads.index_axis(Axis(0), step).to_owned();
        set_grads(&mut model, &at(&w_grads), &at(&b_grads));
        norms.push(optimizer.step(&mut model)?.grad_norm);
        w_steps.push(model.value("0.w").ok_or("w is gone")?);
        b_steps.push(model.value("0.b").ok_or("b is gone")?);
    }
    for (name, steps) in [("w_steps", &w_steps), ("b_steps", &b_steps)] {
        let views: Vec<_> = steps.iter().map(|step| step.view()).collect();
        check.same(name, &stack(Axis(0), &views)?)?;
    }
    if check.has("grad_norms") {
        check.same_elements("grad_norms", norms)?;
    }
    Ok(())
}

/// Plain descent from zero at rate 1 ends at minus the clipped gradient.
fn clipped<F: Scalar>(
    clip: Clip,
    w: &ArrayD<F>,
    b: &ArrayD<F>,
) -> layerwise::Result<([ArrayD<F>; 2], f64)> {
    let mut model = model(ArrayD::zeros(w.raw_dim()), ArrayD::zeros(b.raw_dim()))?;
    set_grads(&mut model, w, b);
    let report = ModelOptimizer::new(Sgd::new(), 1.0).clip(clip).step(&mut model)?;
    let moved = ["0.w", "0.b"].map(|name| -model.value(name).unwrap_or_default());
    Ok((moved, report.grad_norm))
}

pub(super) fn check_clip_by_norm<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check.tighten(1e-5);
    if check.config().number("norm")? != 2.0 {
        return Err("only the L2 norm is in the crate".into());
    }
    let (g0, g1) = (check.tensor("g0")?, check.tensor("g1")?);
    let ([after0, after1], norm) =
        clipped(Clip::Norm(check.config().number("max_norm")?), &g0, &g1)?;
    check.same_elements("norm", [norm])?;
    // Ours is PyTorch's formula, with 1e-6 beside the norm; the one without differs by that.
    check.same("g0_after_torch", &after0)?;
    check.same("g1_after_torch", &after1)?;
    check.set_aside("g0_after");
    check.set_aside("g1_after");
    Ok(())
}

pub(super) fn check_clip_by_value<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    check.tighten(1e-5);
    let g = check.tensor("g")?;
    let clip = Clip::Value(check.config().number("clip_value")?);
    let ([after, again], _) = clipped(clip, &g, &g)?;
    check.same("g_after", &after)?;
    check.same("g_after", &again)
}
