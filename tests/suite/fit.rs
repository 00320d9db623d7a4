//! Whole runs: epochs, validation, callbacks, and what is left after a stop, an error or a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use layerwise::prelude::*;
use layerwise::training::{
    ActivationStatistics, BatchEnd, BestModel, CsvLog, EpochEnd, History, Monitor, NanGuard,
    Plateau, Run, UpdateRatio, Weights,
};

use crate::support::{labels, normal, small_convnet, state, text};

/// Images whose class shows in their brightness.
fn data(count: usize, seed: u64) -> Dataset {
    let classes = labels(count, 4, seed);
    let mut x = normal::<f32>(&[count, 2, 8, 8], seed + 1);
    for (mut image, &class) in x.outer_iter_mut().zip(&classes) {
        image.mapv_inplace(|pixel| 0.5 * pixel + class as f32);
    }
    Dataset::new(x, classes).expect("as many labels as samples")
}

fn trainer() -> Trainer<CrossEntropy> {
    let optimizer = ModelOptimizer::new(Adam::new(), 3e-3);
    Trainer::new(CrossEntropy::new(), optimizer).epochs(3).metric("accuracy", Accuracy::new())
}

/// History and final state of a run with every callback.
fn run() -> (History, Vec<(String, Vec<u64>)>) {
    let (train, valid) = (data(70, 1), data(30, 2));
    let mut model = small_convnet(1);
    let (mut stopping, mut ratio) = (EarlyStopping::new(2), UpdateRatio::every(3));
    let (mut best, mut statistics) =
        (BestModel::new().restore(false), ActivationStatistics::every(2));
    let mut batches = train.batches(16).expect("not 0").shuffled(Seed::new(3));
    let callbacks: &mut [&mut dyn Callback] =
        &mut [&mut stopping, &mut ratio, &mut best, &mut statistics];
    let mut valid = valid.batches(30).expect("not 0");
    let history = trainer().fit_with(&mut model, &mut batches, Some(&mut valid), callbacks);
    assert!(ratio.layers().iter().all(|layer| layer.mean > 1e-4 && layer.mean < 0.5));
    assert_eq!(ratio.layers().len(), 4);
    assert!(statistics.layers().iter().all(|layer| layer.std > 0.0));
    assert_eq!(best.best(), stopping.best());
    (history.expect("good data"), state(&model))
}

#[test]
fn the_same_seed_gives_the_same_history_and_bits_on_any_number_of_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(run)
    };
    let once = run();
    assert!(once == run(), "twice");
    for threads in 1..=3 {
        assert!(once == on(threads), "{threads} threads");
    }
    assert_eq!((once.0.epochs.len(), once.0.steps.len()), (3, 15));
    assert!(once.0.last().and_then(|last| last.metric("accuracy")).expect("it is there") > 0.3);
}

#[test]
fn fit_takes_the_steps_that_a_loop_by_hand_takes() {
    let train = data(40, 1);
    let (mut fitted, mut looped) = (small_convnet(1), small_convnet(1));
    let batches = || train.batches(16).expect("not 0").shuffled(Seed::new(3));
    let history = trainer().fit(&mut fitted, &mut batches(), None).expect("good data");
    let (mut by_hand, mut batches) = (trainer(), batches());
    let means: Vec<f64> =
        (0..3).map(|_| by_hand.epoch(&mut looped, &mut batches).expect("good data")).collect();
    assert_eq!(state(&fitted), state(&looped));
    let losses: Vec<f64> = history.epochs.iter().map(|epoch| epoch.loss).collect();
    assert_eq!(losses, means);
}

#[test]
fn a_second_fit_goes_on_where_the_first_ended() {
    let train = data(40, 1);
    let run = |parts: &[u64]| {
        let mut model = small_convnet(1);
        let mut batches = train.batches(16).expect("not 0").shuffled(Seed::new(3));
        let mut trainer = trainer();
        let mut epochs = Vec::new();
        for &part in parts {
            trainer.set_epochs(part);
            let history = trainer.fit(&mut model, &mut batches, None).expect("good data");
            epochs.extend(history.epochs);
        }
        (epochs, state(&model))
    };
    assert!(run(&[4]) == run(&[1, 3]));
    assert_eq!(run(&[1, 1]).0[1].epoch, 2);
}

/// Notes every event.
#[derive(Default)]
struct Notes(Vec<&'static str>);

macro_rules! note {
    ($($event:ident),*) => {
        impl Callback for Notes {
            $(fn $event(&mut self, _run: &mut Run<'_>) -> Result<()> {
                self.0.push(stringify!($event));
                Ok(())
            })*
        }
    };
}
note!(
    fit_begin,
    epoch_begin,
    batch_begin,
    batch_end,
    validation_begin,
    validation_end,
    epoch_end,
    fit_end
);

#[test]
fn events_come_in_order() {
    let train = data(20, 1);
    let mut notes = Notes::default();
    let mut trainer = trainer().epochs(1);
    let (mut batches, mut valid) =
        (train.batches(10).expect("not 0"), train.batches(20).expect("not 0"));
    trainer
        .fit_with(&mut small_convnet(1), &mut batches, Some(&mut valid), &mut [&mut notes])
        .expect("good data");
    let wanted = [
        "fit_begin",
        "epoch_begin",
        "batch_begin",
        "batch_end",
        "batch_begin",
        "batch_end",
        "validation_begin",
        "validation_end",
        "epoch_end",
        "fit_end",
    ];
    assert_eq!(notes.0, wanted);
}

#[test]
fn early_stopping_puts_back_the_best_epoch() {
    let (train, valid) = (data(30, 1), data(200, 9));
    let mut model = small_convnet(1);
    let mut weights = Vec::new();
    let mut figures = Vec::new();
    let mut stopping = EarlyStopping::new(2);
    let mut each = EpochEnd(|run: &mut Run<'_>| {
        weights.push(Weights::of(run.model));
        figures.push(run.now.valid_loss.expect("there are validation data"));
        Ok(())
    });
    // Far too high a rate: some epoch is worse than the one before.
    let optimizer = ModelOptimizer::new(Adam::new(), 0.05);
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(60);
    let mut batches = train.batches(15).expect("not 0").shuffled(Seed::new(3));
    let mut valid = valid.batches(100).expect("not 0");
    let history = trainer
        .fit_with(&mut model, &mut batches, Some(&mut valid), &mut [&mut each, &mut stopping])
        .expect("good data");
    let best = (0..figures.len()).min_by(|&a, &b| figures[a].total_cmp(&figures[b])).expect("some");
    assert_eq!(figures.len(), best + 3, "{figures:?}");
    assert_eq!(stopping.best(), Some((figures[best], best as u64 + 1)));
    assert!(Weights::of(&model) == weights[best]);
    let reason = history.stopped.expect("stopped");
    assert_eq!(reason, "the validation loss has not improved for 2 epochs");
}

#[test]
fn a_stop_an_error_or_a_panic_leaves_model_and_optimizer_usable() {
    let train = data(40, 1);
    let batches = || train.batches(10).expect("not 0").shuffled(Seed::new(3));
    // What two steps alone give.
    let mut wanted = small_convnet(1);
    trainer().steps(2).fit(&mut wanted, &mut batches(), None).expect("good data");
    let at_two = |what: fn(&mut Run<'_>) -> Result<()>| {
        BatchEnd(
            move |run: &mut Run<'_>| {
                if run.step().is_some_and(|step| step.step == 2) { what(run) } else { Ok(()) }
            },
        )
    };
    let mut stop = at_two(|run| {
        run.stop("enough");
        Ok(())
    });
    let mut fail = at_two(|_| Err(Error::Data("no more".into())));
    let mut panic = at_two(|_| panic!("in a callback"));
    let callbacks: [&mut dyn Callback; 3] = [&mut stop, &mut fail, &mut panic];
    let mut ends = Vec::new();
    for callback in callbacks {
        let (mut model, mut trainer) = (small_convnet(1), trainer());
        let result = catch_unwind(AssertUnwindSafe(|| {
            trainer.fit_with(&mut model, &mut batches(), None, &mut [callback])
        }));
        assert_eq!(state(&model), state(&wanted));
        assert_eq!(trainer.optimizer().steps(), 2);
        trainer.fit(&mut model, &mut batches(), None).expect("it goes on");
        ends.push(match result {
            Ok(Ok(history)) => history.stopped.unwrap_or_default(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "panic".into(),
        });
    }
    assert_eq!(ends, ["enough", "data set: no more", "panic"]);
}

#[test]
fn a_batch_of_nan_is_an_error_or_skipped_or_the_end() {
    let mut train = data(40, 1);
    train.samples_mut()[[25, 0, 0, 0]] = f32::NAN;
    // Without batch norm, which would report a NaN of its own.
    let model = || {
        Sequential::builder([2, 8, 8]).add(Flatten).add(Linear::new(4)).build().expect("it fits")
    };
    let fit = |callbacks: &mut [&mut dyn Callback]| {
        let (mut model, mut batches) = (model(), train.batches(10).expect("not 0"));
        let history = trainer().epochs(1).fit_with(&mut model, &mut batches, None, callbacks);
        assert!(
            Weights::of(&model).iter().all(|(_, _, values)| values.iter().all(|x| x.is_finite()))
        );
        history
    };
    let wanted =
        "loss is not finite at step 3; lower the learning rate, clip gradients, or check the data";
    assert_eq!(text(fit(&mut [])), wanted);
    assert_eq!(text(fit(&mut [&mut NanGuard::skip(0)])), wanted);
    let skipped = fit(&mut [&mut NanGuard::skip(1)]).expect("skipped");
    assert_eq!((skipped.steps.len(), skipped.skipped, skipped.stopped), (3, 1, None));
    let stopped = fit(&mut [&mut NanGuard::stop()]).expect("stopped");
    assert_eq!((stopped.steps.len(), stopped.stopped.as_deref()), (2, Some(wanted)));
}

#[test]
fn the_log_and_the_history_write_the_same_rows() {
    let train = data(20, 1);
    let mut log = CsvLog::new(Vec::new());
    let mut seconds = 0.0;
    let mut trainer = trainer().metric("a,b", Accuracy::new()).clock(move || {
        seconds += 0.5;
        seconds
    });
    let (mut batches, mut valid) =
        (train.batches(10).expect("not 0"), train.batches(20).expect("not 0"));
    let history = trainer
        .fit_with(&mut small_convnet(1), &mut batches, Some(&mut valid), &mut [&mut log])
        .expect("good data");
    let mut csv = Vec::new();
    history.write_epochs_csv(&mut csv).expect("memory");
    let logged = log.into_inner();
    assert_eq!(logged, csv);
    let text = String::from_utf8(csv).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "epoch,batches,samples,loss,valid_loss,accuracy,\"a,b\",lr,seconds");
    assert!(
        lines.len() == 4 && lines[1].starts_with("1,2,20,") && lines[1].ends_with(",0.003,1.5")
    );
    let mut steps = Vec::new();
    history.write_steps_csv(&mut steps).expect("memory");
    assert_eq!(String::from_utf8(steps).expect("text").lines().count(), 7);
}

#[test]
fn what_cannot_be_trained_is_an_error_before_anything_is_done() {
    let train = data(20, 1);
    let mut model = small_convnet(1);
    let before = state(&model);
    let batches = || train.batches(10).expect("not 0");
    let other = Dataset::new(normal::<f32>(&[4, 2, 8, 9], 0), vec![0; 4]).expect("4 each");
    let mut valid = other.batches(4).expect("not 0");
    assert_eq!(
        text(trainer().fit(&mut model, &mut batches(), Some(&mut valid))),
        "input: needs [batch, 2, 8, 8], got [4, 2, 8, 9]; validation data must have the shape of the training data"
    );
    assert_eq!(
        text(trainer().epochs(0).fit(&mut model, &mut batches(), None)),
        "Trainer: epochs must be at least 1, got 0"
    );
    assert_eq!(
        text(trainer().steps(0).fit(&mut model, &mut batches(), None)),
        "Trainer: steps must be at least 1, got 0"
    );
    let figure =
        "a figure that the run computes; give fit validation data, and the trainer the metric";
    let mut with = |callback: &mut dyn Callback| {
        text(trainer().fit_with(&mut model, &mut batches(), None, &mut [callback]))
    };
    assert_eq!(
        with(&mut EarlyStopping::new(1)),
        format!("EarlyStopping: monitor must be {figure}, got the validation loss")
    );
    assert_eq!(
        with(&mut BestModel::new().monitor(Monitor::metric("recall"))),
        format!("BestModel: monitor must be {figure}, got recall")
    );
    assert_eq!(
        with(&mut Plateau::new(ReduceOnPlateau::new())),
        format!("Plateau: monitor must be {figure}, got the validation loss")
    );
    assert_eq!(
        with(&mut EarlyStopping::new(0)),
        "EarlyStopping: patience must be at least 1, got 0"
    );
    assert_eq!(
        with(&mut EarlyStopping::new(1).min_delta(-1.0)),
        "EarlyStopping: min_delta must be at least 0, got -1"
    );
    assert_eq!(with(&mut UpdateRatio::every(0)), "UpdateRatio: every must be at least 1, got 0");
    assert_eq!(
        with(&mut ActivationStatistics::every(0)),
        "ActivationStatistics: every must be at least 1, got 0"
    );
    assert_eq!(state(&model), before);
}

/// A loader without a batch.
struct Nothing(Vec<usize>);

impl layerwise::data::Loader for Nothing {
    type Targets = Vec<usize>;
    fn next_batch(&mut self) -> Result<Option<layerwise::data::Batch<'_, f32, Vec<usize>>>> {
        Ok(None)
    }
    fn restart(&mut self) {}
    fn set_epoch(&mut self, _epoch: u64) {}
    fn epoch(&self) -> u64 {
        0
    }
    fn count(&self) -> usize {
        self.0.len()
    }
    fn samples(&self) -> usize {
        0
    }
}

#[test]
fn data_without_a_batch_are_an_error() {
    let train = data(20, 1);
    let mut model = small_convnet(1);
    assert_eq!(
        text(trainer().fit(&mut model, &mut Nothing(vec![]), None)),
        "data set: an epoch needs at least one batch, got none; make batches smaller"
    );
    let mut batches = train.batches(10).expect("not 0");
    assert_eq!(
        text(trainer().fit(&mut model, &mut batches, Some(&mut Nothing(vec![])))),
        "data set: validation needs at least one batch, got none"
    );
}

#[test]
fn weights_fit_only_a_model_of_the_same_names_and_shapes() {
    let build =
        |outputs| Sequential::builder([3]).add(Linear::new(outputs)).build().expect("it fits");
    let weights = Weights::of(&build(2));
    assert_eq!(text(weights.restore(&mut build(4))), "0.weight: needs [4, 3], got [2, 3]");
    let mut longer =
        Sequential::builder([3]).add(Linear::new(2)).add(Linear::new(2)).build().expect("it fits");
    assert_eq!(
        text(weights.restore(&mut longer)),
        "no parameter or buffer is called 1.weight; there are 0.weight, 0.bias"
    );
    assert_eq!(
        text(Weights::of(&longer).restore(&mut build(2))),
        "no parameter or buffer is called 1.weight; there are 0.weight, 0.bias"
    );
}

#[cfg(feature = "json")]
#[test]
fn a_history_in_json_has_every_number() {
    let history = run().0;
    let mut json = Vec::new();
    history.write_json(&mut json).expect("memory");
    let read: serde_json::Value = serde_json::from_slice(&json).expect("valid JSON");
    for (row, wanted) in history.steps.iter().enumerate() {
        assert_eq!(read["steps"][row]["loss"].as_f64(), Some(wanted.loss));
        assert_eq!(read["steps"][row]["grad_norm"].as_f64(), Some(wanted.grad_norm));
        assert_eq!(read["steps"][row]["step"].as_u64(), Some(wanted.step));
    }
    for (row, wanted) in history.epochs.iter().enumerate() {
        assert_eq!(read["epochs"][row]["valid_loss"].as_f64(), wanted.valid_loss);
        assert_eq!(read["epochs"][row]["metrics"]["accuracy"].as_f64(), wanted.metric("accuracy"));
    }
    assert_eq!(read["steps"].as_array().map(Vec::len), Some(15));
}

#[cfg(feature = "tracing")]
#[test]
fn a_run_is_a_sequence_of_tracing_events() {
    use std::sync::{Arc, Mutex};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber, subscriber};

    /// Notes the level of every event.
    #[derive(Clone, Default)]
    struct Levels(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Levels {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            if event.metadata().target() == "layerwise::training" {
                self.0.lock().expect("not poisoned").push(*event.metadata().level());
            }
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    let mut train = data(40, 1);
    let levels = Levels::default();
    let fit = |train: &Dataset| {
        let mut model = Sequential::builder([2, 8, 8])
            .add(Flatten)
            .add(Linear::new(4))
            .build()
            .expect("it fits");
        let mut batches = train.batches(20).expect("not 0");
        let events: &mut [&mut dyn Callback] = &mut [&mut layerwise::training::Events];
        let mut trainer = trainer().epochs(1);
        subscriber::with_default(levels.clone(), || {
            trainer.fit_with(&mut model, &mut batches, None, events).is_ok()
        })
    };
    assert!(fit(&train));
    train.samples_mut()[[0, 0, 0, 0]] = f32::NAN;
    assert!(!fit(&train));
    let seen = levels.0.lock().expect("not poisoned");
    use Level as L;
    assert_eq!(*seen, [L::DEBUG, L::DEBUG, L::INFO, L::INFO, L::WARN, L::INFO]);
}

#[cfg(feature = "plot")]
#[test]
fn what_cannot_be_drawn_is_an_error_and_odd_numbers_are_left_out() {
    use layerwise::plot;
    use layerwise::search::{Search, Space};
    use layerwise::training::LrCurve;

    let nothing = "data set: there is nothing to draw";
    assert_eq!(text(plot::history(&History::default())), nothing);
    assert_eq!(text(plot::lr_curve(&LrCurve::new(vec![], vec![], 9))), nothing);
    let nan = LrCurve::new(vec![1e-3, 1e-2, f64::NAN], vec![f64::NAN, 2.0, 1.0], 9);
    assert!(plot::lr_curve(&nan).expect("one point").starts_with("<svg"));
    let search = Search::new(Space::new().integer("a<b & c", 1, 1000), Seed::new(1));
    assert_eq!(text(plot::trials(&search.random(3, 1, |_| Ok(f64::NAN)).expect("good"))), nothing);
    let svg = plot::trials(&search.random(3, 1, |_| Ok(1.0)).expect("good")).expect("three points");
    assert!(svg.contains("a&lt;b &amp; c") && svg.matches("<circle").count() == 3);
    let svg = plot::history(&run().0).expect("a history");
    assert!(["validation", "accuracy", "learning rate"].iter().all(|text| svg.contains(text)));
}
