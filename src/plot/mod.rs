//! Pictures of training and search, as SVG text to be written to a file or put into a page. Feature `plot`.
//!
//! | to | see |
//! |---|---|
//! | see losses and metrics of a run | [`history`] |
//! | see what `lr_find` found | [`lr_curve`] |
//! | see which hyperparameters matter | [`trials`] |

mod chart;

use chart::{Axis, Mark, Panel, Series, draw};

use crate::search::{Results, Value};
use crate::training::{EpochRecord, History, LrCurve};
use crate::{Error, Result};

/// Losses of a run against its steps, the metrics against its epochs, and the learning rate.
///
/// # Errors
/// [`Error::Data`] if there is nothing to draw; so for all pictures.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::ones((6, 3)).into_dyn(), vec![0, 1, 0, 1, 0, 1])?;
/// let mut model = Sequential::builder([3]).add(Linear::new(2)).build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1)).epochs(2);
/// let history = trainer.fit(&mut model, &mut data.batches(2)?, None)?;
/// let svg = layerwise::plot::history(&history)?;
/// assert!(svg.starts_with("<svg") && svg.contains("loss of an epoch"));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn history(history: &History) -> Result<String> {
    let steps = &history.steps;
    let step_points = |figure: fn(&crate::training::StepRecord) -> f64| {
        (1..).map(f64::from).zip(steps.iter().map(figure)).collect::<Vec<_>>()
    };
    // Where each epoch ends.
    let ends = history.epochs.iter().scan(0, |end, epoch| {
        *end += epoch.batches;
        Some(*end as f64)
    });
    let ends: Vec<f64> = ends.collect();
    let epoch_points = |figure: &dyn Fn(&EpochRecord) -> Option<f64>| {
        let values = history.epochs.iter().map(|epoch| figure(epoch).unwrap_or(f64::NAN));
        ends.iter().copied().zip(values).collect::<Vec<_>>()
    };
    let mut losses = Panel {
        title: "loss".into(),
        x: Axis::new("step"),
        y: Axis::new("loss"),
        series: vec![
            line("a batch", step_points(|step| step.loss), 5, 1),
            line("loss of an epoch", epoch_points(&|epoch| Some(epoch.loss)), 0, 2),
        ],
    };
    let valid = epoch_points(&|epoch| epoch.valid_loss);
    if history.epochs.iter().any(|epoch| epoch.valid_loss.is_some()) {
        losses.series.push(line("validation", valid, 1, 2));
    }
    let rates = Panel {
        title: "learning rate".into(),
        x: Axis::new("step"),
        y: Axis::new("rate"),
        series: vec![Series { name: None, ..line("", step_points(|step| step.lr), 0, 2) }],
    };
    let names = history.epochs.first().map_or(Vec::new(), |epoch| epoch.metrics.clone());
    let metrics = names.iter().enumerate().map(|(i, (name, _))| {
        let points = history
            .epochs
            .iter()
            .map(|epoch| (epoch.epoch as f64, epoch.metric(name).unwrap_or(f64::NAN)));
        line(name, points.collect(), i, 2)
    });
    let metrics = Panel {
        title: "metrics".into(),
        x: Axis::new("epoch"),
        y: Axis::default(),
        series: metrics.collect(),
    };
    pictures(vec![losses, metrics, rates], 3)
}

/// The smoothed loss against the rate, with fastai's four suggestions.
///
/// # Errors
/// See [`history`].
///
/// ```
/// use layerwise::training::LrCurve;
///
/// let lrs: Vec<f64> = (0..100).map(|i| 1e-7 * 10f64.powf(i as f64 * 0.08)).collect();
/// let losses = lrs.iter().map(|lr| (lr.log10() + 1.0).powi(2)).collect();
/// let svg = layerwise::plot::lr_curve(&LrCurve::new(lrs, losses, 100))?;
/// assert!(svg.contains("valley"));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn lr_curve(curve: &LrCurve) -> Result<String> {
    let points: Vec<_> = curve.lrs.iter().copied().zip(curve.losses.iter().copied()).collect();
    let mut series = vec![Series { name: None, ..line("", points.clone(), 0, 2) }];
    let suggestions = [
        ("valley", curve.valley()),
        ("minimum / 10", curve.minimum()),
        ("steep", curve.steep()),
        ("slide", curve.slide()),
    ];
    for (i, (name, lr)) in suggestions.into_iter().enumerate() {
        let Some(lr) = lr else { continue };
        // The first point at that rate or above.
        let Some(&(_, loss)) = points.iter().find(|(tried, _)| *tried >= lr * (1.0 - 1e-9)) else {
            continue;
        };
        let name = Some(format!("{name}: {lr:.1e}"));
        series.push(Series {
            name,
            points: vec![(lr, loss)],
            color: i + 1,
            mark: Mark::Dots { radius: 6 },
        });
    }
    let title = "which learning rate?".into();
    pictures(vec![Panel { title, x: Axis::log("rate"), y: Axis::new("loss, smoothed"), series }], 1)
}

/// The results of a search against each hyperparameter: one picture for each, trials with larger budgets in
/// other colors.
///
/// # Errors
/// See [`history`].
///
/// ```
/// use layerwise::Seed;
/// use layerwise::search::{Search, Space};
///
/// let space = Space::new().log_uniform("lr", 1e-4, 1.0).choice("rule", &["sgd", "adam"]);
/// let results = Search::new(space, Seed::new(1)).random(20, 1, |trial| {
///     Ok((trial.point().number("lr")?.log10() + 2.0).powi(2))
/// })?;
/// let svg = layerwise::plot::trials(&results)?;
/// assert!(svg.contains("lr") && svg.contains("adam"));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn trials(results: &Results) -> Result<String> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in results.trials.iter().flat_map(|trial| trial.point.iter()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    pictures(names.into_iter().map(|name| parameter(results, name)).collect(), 3)
}

/// One hyperparameter's picture.
fn parameter(results: &Results, name: &str) -> Panel {
    let values = || results.trials.iter().filter_map(|trial| trial.point.get(name));
    let mut options: Vec<String> = Vec::new();
    for value in values() {
        if let Value::Choice(option) = value
            && !options.contains(option)
        {
            options.push(option.clone());
        }
    }
    let place = |value: &Value| match value {
        Value::Number(x) => *x,
        Value::Integer(x) => *x as f64,
        Value::Choice(option) => {
            options.iter().position(|known| known == option).map_or(f64::NAN, |at| at as f64)
        }
    };
    // Orders of magnitude, where the values span more than two.
    let (low, high) = values()
        .map(place)
        .fold((f64::INFINITY, 0.0f64), |(low, high), x| (low.min(x), high.max(x)));
    let log = options.is_empty() && low > 0.0 && high > 100.0 * low;
    let mut budgets: Vec<u64> = results.trials.iter().map(|trial| trial.budget).collect();
    budgets.sort_unstable();
    budgets.dedup();
    let series = budgets.iter().enumerate().map(|(color, &budget)| {
        let points = results.trials.iter().filter(|trial| trial.budget == budget);
        let points =
            points.filter_map(|trial| Some((place(trial.point.get(name)?), trial.value()?)));
        let label = (budgets.len() > 1).then(|| format!("budget {budget}"));
        Series { name: label, points: points.collect(), color, mark: Mark::Dots { radius: 4 } }
    });
    let series = series.collect();
    let x = Axis { label: name.into(), log, names: options };
    Panel { title: name.into(), x, y: Axis::new("result"), series }
}

fn line(name: &str, points: Vec<(f64, f64)>, color: usize, width: u32) -> Series {
    Series { name: Some(name.into()), points, color, mark: Mark::Line { width } }
}

fn pictures(mut panels: Vec<Panel>, columns: usize) -> Result<String> {
    panels.retain(|panel| !panel.is_empty());
    if panels.is_empty() {
        return Err(Error::Data("there is nothing to draw".into()));
    }
    draw(&panels, columns)
}
