//! Whole networks: the losses of every step, the first gradients, and what training ends with.

use std::error::Error;

use layerwise::losses::{CrossEntropy, Mse};
use layerwise::ndarray::{ArrayD, Axis, Slice};
use layerwise::optimizers::{Clip, GroupOptions, ModelOptimizer};
use layerwise::regularizers::L2;
use layerwise::{
    Decay, Entry, Group, Loss, Role, Scalar, Sequential, SequentialBuilder, View, ViewMut, Visitor,
};

use super::cases::Config;
use super::check::{Check, Done};
use super::losses::reduction;
use super::optimizers::{kind_of_decay, optimizer};
use super::schedules::scheduled;
use super::specs::spec;

/// A loss with the targets of all samples.
enum Objective<F: Scalar> {
    Classes(CrossEntropy, Vec<usize>),
    Values(Mse, ArrayD<F>),
}

impl<F: Scalar> Objective<F> {
    fn value_and_grad(
        &self,
        samples: std::ops::Range<usize>,
        prediction: View<'_, F>,
        grad: ViewMut<'_, F>,
    ) -> layerwise::Result<F> {
        match self {
            Self::Classes(loss, target) => loss.value_and_grad(prediction, &target[samples], grad),
            Self::Values(loss, target) => {
                let target = target.slice_axis(Axis(0), Slice::from(samples)).to_owned();
                loss.value_and_grad(prediction, &target, grad)
            }
        }
    }
}

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let model = build(check)?;
    let objective = objective(check)?;
    let driver = driver(check)?;
    if check.lacks_anything() {
        return Ok(());
    }
    let parts = (model, objective, driver);
    let (Some(mut model), Some(objective), Some(mut driver)) = parts else {
        return Err("a part is neither there nor lacking".into());
    };
    for name in names(&model) {
        let value = check.tensor(&format!("init/{name}"))?;
        model.set_value(&name, value.view())?;
    }
    penalize(check, &mut model)?;
    driver = decay_slopes(check.config().section("optimizer")?, &mut model, driver)?;
    train(check, &mut model, &objective, &mut driver)?;
    for name in names(&model) {
        let value = model.value(&name).ok_or("a parameter is gone")?;
        check.same(&format!("final/{name}"), &value)?;
    }
    let output = model.predict(check.tensor("x")?.view())?;
    check.same("final_output", &output)
}

/// The network, or `None` with the lacking kinds noted.
pub(super) fn build<F: Scalar>(
    check: &mut Check<'_, F>,
) -> Result<Option<Sequential<F>>, Box<dyn Error>> {
    let mut builder = SequentialBuilder::<F>::new(&check.tensor("x")?.shape()[1..]);
    for layer in check.config().list("layers")? {
        let kind = layer.text("kind")?;
        match spec::<F>(kind, layer)? {
            Some(spec) => builder = builder.add(spec),
            None => check.lack(kind.into()),
        }
    }
    Ok(if check.lacks_anything() { None } else { Some(builder.build()?) })
}

fn objective<F: Scalar>(check: &mut Check<'_, F>) -> Result<Option<Objective<F>>, Box<dyn Error>> {
    let config = check.config().section("loss")?;
    let reduction = reduction(config)?;
    Ok(match config.text("kind")? {
        "cross_entropy" => {
            let loss = CrossEntropy::new().reduction(reduction);
            Some(Objective::Classes(loss, check.classes("target")?))
        }
        "mse" => Some(Objective::Values(Mse::new().reduction(reduction), check.tensor("target")?)),
        other => {
            check.lack(other.into());
            None
        }
    })
}

fn driver<F: Scalar>(
    check: &mut Check<'_, F>,
) -> Result<Option<ModelOptimizer<F>>, Box<dyn Error>> {
    let config = check.config();
    let settings = config.section("optimizer")?;
    let kind = settings.text("kind")?;
    let Some(mut driver) = optimizer::<F>(kind, settings)? else {
        check.lack(format!("optimizer_{kind}"));
        return Ok(None);
    };
    if config.get("clip_norm").is_some() {
        driver = driver.clip(Clip::Norm(config.number("clip_norm")?));
    }
    let Some(schedule) = config.get("schedule") else { return Ok(Some(driver)) };
    let kind = schedule.text("kind")?;
    if schedule.text("stepped")? != "after every batch" {
        return Err(format!("a schedule stepped {}", schedule.text("stepped")?).into());
    }
    let driver = scheduled(kind, schedule, driver)?;
    if driver.is_none() {
        check.lack(format!("schedule_{kind}"));
    }
    Ok(driver)
}

/// PyTorch decays a PReLU's slopes like all else; here they need a group with a decay of its own.
fn decay_slopes<F: Scalar>(
    optimizer: Config<'_>,
    model: &mut Sequential<F>,
    driver: ModelOptimizer<F>,
) -> Result<ModelOptimizer<F>, Box<dyn Error>> {
    let slopes = Group::new(1);
    if model.assign_group(slopes, |param| param.role == Role::Slope) == 0 {
        return Ok(driver);
    }
    let decay = match optimizer.text("kind")? {
        "adamw" => Decay::Decoupled,
        "nadam" | "radam" => kind_of_decay(optimizer)?,
        _ => Decay::L2,
    };
    let decay = decay(optimizer.number("weight_decay")?);
    Ok(driver.group(slopes, GroupOptions::new().weight_decay(decay)))
}

/// `½ λ Σ w²` on the weights that the case names.
fn penalize<F: Scalar>(check: &Check<'_, F>, model: &mut Sequential<F>) -> Done {
    let Some(l2) = check.config().get("l2") else { return Ok(()) };
    let names = l2.texts("applies_to")?;
    let penalty = L2(l2.number("lambda")?);
    let count = model.set_regularizer(penalty, |param| names.contains(&param.name.as_str()));
    if count == names.len() { Ok(()) } else { Err(format!("{count} of {names:?}").into()) }
}

/// Batches in order, a smaller last one kept.
fn train<F: Scalar>(
    check: &mut Check<'_, F>,
    model: &mut Sequential<F>,
    objective: &Objective<F>,
    driver: &mut ModelOptimizer<F>,
) -> Done {
    let x = check.tensor("x")?;
    let (samples, schedule) = (x.len_of(Axis(0)), Plan::new(check.config())?);
    let (mut data_loss, mut total_loss) = (Vec::new(), Vec::new());
    for _ in 0..schedule.epochs {
        for start in (0..samples).step_by(schedule.batch) {
            let range = start..samples.min(start + schedule.batch);
            let output = model.forward(x.slice_axis(Axis(0), Slice::from(range.clone())))?;
            let mut grad = ArrayD::zeros(output.raw_dim());
            let loss = objective.value_and_grad(range, output, grad.view_mut())?;
            model.backward(grad.view())?;
            let penalty = model.regularize();
            if data_loss.is_empty() {
                same_first_grad(check, model)?;
            }
            driver.step(model)?;
            data_loss.push(loss.widen());
            total_loss.push((loss + penalty).widen());
        }
    }
    check.same_elements("data_loss", data_loss)?;
    check.same_elements("total_loss", total_loss)
}

/// How the case goes through its samples.
struct Plan {
    epochs: usize,
    batch: usize,
}

impl Plan {
    fn new(config: Config<'_>) -> Result<Self, String> {
        if config.flag("shuffle")? {
            return Err("a case that shuffles".into());
        }
        Ok(Self { epochs: config.whole("epochs")?, batch: config.whole("batch_size")? })
    }
}

fn same_first_grad<F: Scalar>(check: &mut Check<'_, F>, model: &Sequential<F>) -> Done {
    for info in model.params() {
        let param = model.param(&info.name).ok_or("a parameter is gone")?;
        let grad = param.grad().ok_or_else(|| format!("{} got no gradient", info.name))?;
        check.same(&format!("first_grad/{}", info.name), &grad.to_owned())?;
    }
    Ok(())
}

/// Parameters and buffers.
fn names<F: Scalar>(model: &Sequential<F>) -> Vec<String> {
    let mut names = Vec::new();
    model.visit(&mut Visitor::new(&mut |name, _: Entry<'_, F>| names.push(name.to_string())));
    names
}
