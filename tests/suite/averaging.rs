//! Averages of the parameters, by hand and as callbacks, and running statistics anew.

use layerwise::prelude::*;
use layerwise::training::{Average, BatchEnd, EpochEnd, Run, Weights, reestimate_statistics};

use crate::support::{labels, normal, small_convnet, state, text};

fn data(count: usize) -> Dataset {
    Dataset::new(normal(&[count, 2, 8, 8], 1), labels(count, 4, 2)).expect("as many labels")
}

fn trainer(epochs: u64) -> Trainer<CrossEntropy> {
    Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 1e-2)).epochs(epochs)
}

/// Fits with one callback; returns the model.
fn fit(epochs: u64, valid: bool, callbacks: &mut [&mut dyn Callback]) -> Sequential {
    let train = data(40);
    let mut model = small_convnet(1);
    let mut batches = train.batches(10).expect("not 0").shuffled(Seed::new(3));
    let mut validation = train.batches(40).expect("not 0");
    trainer(epochs)
        .fit_with(&mut model, &mut batches, valid.then_some(&mut validation as _), callbacks)
        .expect("good data");
    model
}

/// The element-wise mean of what was learned; buffers from the last.
fn mean(all: &[Weights]) -> Vec<(String, Vec<f64>)> {
    let mut result = Vec::new();
    for (i, (name, _, last)) in all[all.len() - 1].iter().enumerate() {
        let mut total = vec![0.0; last.len()];
        for weights in all {
            let values = weights.iter().nth(i).expect("the same arrays").2;
            total.iter_mut().zip(values).for_each(|(t, &v)| *t += f64::from(v));
        }
        let learned = !name.contains("running");
        let values = total.iter().zip(last).map(|(&total, &last)| {
            if learned { total / all.len() as f64 } else { f64::from(last) }
        });
        result.push((name.to_string(), values.collect()));
    }
    result
}

fn assert_close(model: &Sequential, wanted: &[(String, Vec<f64>)]) {
    for ((name, _, got), (_, want)) in Weights::of(model).iter().zip(wanted) {
        for (got, want) in got.iter().zip(want) {
            // A dozen f32 updates of numbers below 2.
            assert!((f64::from(*got) - want).abs() < 5e-6, "{name}: {got} {want}");
        }
    }
}

#[test]
fn as_a_callback_polyak_averages_every_step_and_swa_every_epoch() {
    for epochs_only in [false, true] {
        let mut seen = Vec::new();
        let mut look = |run: &mut Run<'_>| {
            if !epochs_only || run.now.epoch >= 2 {
                seen.push(Weights::of(run.model));
            }
            Ok(())
        };
        let mut average = if epochs_only { Average::swa(2) } else { Average::polyak() };
        let mut model = if epochs_only {
            fit(3, true, &mut [&mut EpochEnd(&mut look), &mut average])
        } else {
            fit(3, true, &mut [&mut BatchEnd(&mut look), &mut average])
        };
        assert_eq!(average.count(), if epochs_only { 2 } else { 12 });
        assert_close(&model, &mean(&seen));
        assert!(average.is_swapped());
        average.swap(&mut model).expect("the same model");
        assert!(&Weights::of(&model) == seen.last().expect("some"));
    }
}

#[test]
fn training_goes_on_as_if_there_were_no_average() {
    let mut without = fit(3, true, &mut []);
    let mut average = Average::ema(0.9).keep(false);
    assert_eq!(state(&fit(3, true, &mut [&mut average])), state(&without));
    // Kept in the model, it comes out before the next run.
    let mut average = Average::ema(0.9);
    let mut with = fit(3, true, &mut [&mut average]);
    assert_ne!(state(&with), state(&without));
    let (train, callbacks): (_, &mut [&mut dyn Callback]) = (data(40), &mut [&mut average]);
    let batches = || train.batches(10).expect("not 0");
    trainer(1).fit(&mut without, &mut batches(), None).expect("good data");
    trainer(1).fit_with(&mut with, &mut batches(), None, callbacks).expect("good data");
    average.swap(&mut with).expect("the same model");
    assert_eq!(state(&with), state(&without));
}

#[test]
fn validation_sees_the_average() {
    let mut losses = Vec::new();
    let mut note = EpochEnd(|run: &mut Run<'_>| {
        losses.push(run.now.valid_loss.expect("there are validation data"));
        Ok(())
    });
    let mut average = Average::polyak();
    let model = fit(1, true, &mut [&mut average, &mut note]);
    let train = data(40);
    let wanted = trainer(1)
        .evaluate(&model, &mut train.batches(40).expect("not 0"))
        .expect("good data")
        .loss;
    assert_eq!(losses, [wanted]);
}

#[test]
fn statistics_are_the_mean_over_the_batches() {
    let train = data(40);
    let mut model = small_convnet(1);
    let before = (model.passes(), model.mode());
    let mut batches = train.batches(10).expect("not 0").shuffled(Seed::new(3));
    assert_eq!(reestimate_statistics(&mut model, &mut batches).expect("good data"), 4);
    assert_eq!((model.passes(), model.mode(), batches.epoch()), (before.0, before.1, 0));
    // By hand: what batch norm sees is the first convolution's output.
    let mut conv = Sequential::builder([2, 8, 8])
        .add(Conv2d::new(6, 3).padding(1).bias(false))
        .build()
        .expect("it fits");
    conv.set_value("0.weight", &model.value("0.weight").expect("it exists")).expect("it fits");
    let (mut means, mut vars) = (vec![0.0; 6], vec![0.0; 6]);
    while let Some(batch) = batches.next_batch().expect("in memory") {
        let y = conv.predict(batch.x).expect("it fits");
        for (channel, values) in y.axis_iter(Axis(1)).enumerate() {
            let values = values.mapv(f64::from);
            means[channel] += values.mean().expect("some") / 4.0;
            vars[channel] += values.var(1.0) / 4.0;
        }
    }
    for (name, wanted) in [("1.running_mean", means), ("1.running_var", vars)] {
        for (got, want) in model.value(name).expect("it exists").iter().zip(wanted) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "{name}: {got} {want}");
        }
    }
    // Training goes on with the layer's own momentum.
    let mean = |model: &Sequential| model.value("1.running_mean").expect("it exists")[0];
    let old = mean(&model);
    model.forward(&Array4::zeros((2, 2, 8, 8))).expect("it fits");
    assert!((mean(&model) / old - 0.9).abs() < 1e-6);
}

#[test]
fn statistics_that_stand_still_are_left_alone() {
    let train = data(40);
    let mut batches = train.batches(10).expect("not 0");
    let mut model = small_convnet(1);
    model.freeze(|p| p.matches("1.*"));
    let before = state(&model);
    assert_eq!(reestimate_statistics(&mut model, &mut batches).expect("good data"), 0);
    model.unfreeze(|_| true);
    model.set_statistics(Statistics::Fixed, |_| true);
    assert_eq!(reestimate_statistics(&mut model, &mut batches).expect("good data"), 0);
    assert_eq!(state(&model), before);
}

#[test]
fn a_failed_estimate_leaves_the_model_as_it_was() {
    let mut train = data(40);
    train.samples_mut()[[35, 0, 0, 0]] = f32::INFINITY;
    let mut model = small_convnet(1);
    let before = state(&model);
    let result = reestimate_statistics(&mut model, &mut train.batches(10).expect("not 0"));
    assert!(text(result).contains("not finite"));
    assert_eq!(state(&model), before);
    model.forward(&Array4::ones((2, 2, 8, 8))).expect("it fits");
    assert_ne!(state(&model), before, "statistics follow again");
}

#[test]
fn what_cannot_be_averaged_is_an_error() {
    let mut model = small_convnet::<f32>(1);
    let mut average = Average::polyak();
    assert_eq!(
        text(average.swap(&mut model)),
        "Average: updates must be at least 1 before swap, got 0"
    );
    average.update(&model).expect("the first");
    average.swap(&mut model).expect("the same model");
    assert_eq!(
        text(average.update(&model)),
        "Average: model must be the trained one when it is updated; call swap first, got the average"
    );
    let other = Sequential::builder([2]).add(Linear::new(1)).build().expect("it fits");
    average.swap(&mut model).expect("the same model");
    assert_eq!(text(average.update(&other)), "0.weight: needs [1, 2], got [6, 2, 3, 3]");
    assert_eq!(average.count(), 1);
    for (mut wrong, cause) in [
        (Average::ema(1.0), "Average: decay must be at least 0 and below 1, got 1"),
        (Average::ema(f64::NAN), "Average: decay must be at least 0 and below 1, got NaN"),
        (Average::polyak().every_steps(0), "Average: every must be at least 1, got 0"),
    ] {
        assert_eq!(text(wrong.update(&model)), cause);
    }
}

#[test]
fn what_a_workspace_keeps_of_old_weights_is_not_used_for_new_ones() {
    let mut model = Sequential::builder([64])
        .add(Linear::new(64))
        .add(Linear::new(10))
        .seed(1)
        .build()
        .expect("it fits");
    let other = Sequential::builder([64])
        .add(Linear::new(64))
        .add(Linear::new(10))
        .seed(2)
        .build()
        .expect("it fits");
    let (x, mut workspace) = (normal::<f32>(&[32, 64], 1), Workspace::new());
    let mut average = Average::polyak();
    average.update(&other).expect("the first");
    let before = Weights::of(&model);
    for _ in 0..2 {
        average.swap(&mut model).expect("the same shapes");
        let kept = model.predict_with(&x, &mut workspace).expect("it fits").to_owned();
        assert_eq!(kept, model.predict(&x).expect("it fits"));
    }
    Weights::of(&other).restore(&mut model).expect("the same shapes");
    let kept = model.predict_with(&x, &mut workspace).expect("it fits").to_owned();
    assert_eq!(kept, other.predict(&x).expect("it fits"));
    before.restore(&mut model).expect("the same shapes");
    let kept = model.predict_with(&x, &mut workspace).expect("it fits").to_owned();
    assert_eq!(kept, model.predict(&x).expect("it fits"));
}
