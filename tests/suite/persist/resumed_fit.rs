//! `Trainer::fit` with checkpoints: cut anywhere, a run started again ends with the bits of one that never stopped.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use layerwise::ensembles::Snapshots;
use layerwise::persist::{Checkpoint, CheckpointFolder, SavedCheckpoint};
use layerwise::prelude::*;
use layerwise::training::{
    Average, BatchEnd, BestModel, Checkpoints, EarlyStopping, EpochEnd, History, Monitor, NanGuard,
    Plateau, Run,
};

use super::Folder;
use crate::support::{normal, state, text};

/// A program: what it makes anew each time it is started.
struct Program {
    optimizer: fn() -> ModelOptimizer,
    /// Whether a sample is not a number.
    nan: bool,
    patience: u64,
    steps: Option<u64>,
}

const EPOCHS: u64 = 4;

const PLAIN: Program = Program {
    optimizer: || ModelOptimizer::new(Adam::new(), 0.02).schedule(Cosine::new(20)),
    nan: false,
    patience: 9,
    steps: None,
};

fn data(nan: bool) -> Dataset<f32, Vec<usize>> {
    let mut x = normal(&[37, 2, 4, 4], 5);
    if nan {
        x[[11, 1, 2, 3]] = f32::NAN;
    }
    Dataset::new(x, (0..37).map(|i| i % 3).collect()).expect("37 each")
}

fn model(seed: u64) -> Sequential {
    let model = Sequential::builder([2, 4, 4])
        .add(Conv2d::new(4, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Flatten)
        .add(Dropout::new(0.3))
        .add(Linear::new(3));
    model.seed(seed).build().expect("it fits")
}

/// All that a run leaves, to the bit.
#[derive(Debug, PartialEq)]
struct Left {
    model: Vec<(String, Vec<u64>)>,
    optimizer: String,
    callbacks: String,
    history: History,
}

impl Program {
    /// Starts the program; `fails` may end it after a batch, or after an epoch, before what follows that.
    fn start(
        &self,
        seed: u64,
        mut checkpoints: Checkpoints,
        fails: &mut dyn FnMut(&Run<'_>, bool) -> bool,
    ) -> Result<Left> {
        let mut model = model(seed);
        let (train, valid) = (data(self.nan), data(false));
        let mut batches = train.batches(8).expect("not 0").shuffled(Seed::new(9));
        let mut valid = valid.batches(16).expect("not 0").shuffled(Seed::new(3));
        let mut trainer = Trainer::new(CrossEntropy::new(), (self.optimizer)())
            .metric("accuracy", Accuracy::new());
        trainer = match self.steps {
            Some(steps) => trainer.steps(steps),
            None => trainer.epochs(EPOCHS),
        };
        let mut stopping = EarlyStopping::new(self.patience);
        let mut average = Average::ema(0.8);
        let mut plateau = Plateau::new(ReduceOnPlateau::new().patience(0).factor(0.5));
        let mut best = BestModel::new().monitor(Monitor::metric("accuracy")).restore(false);
        let mut snapshots = Snapshots::every(4).keep(2);
        let mut guard = NanGuard::skip(1);
        let fails = std::cell::RefCell::new(fails);
        let cut = |run: &mut Run<'_>, epoch: bool| {
            let fails = (*fails.borrow_mut())(run, epoch);
            if fails { Err(Error::Data("cut".into())) } else { Ok(()) }
        };
        let mut batch = BatchEnd(|run: &mut Run<'_>| cut(run, false));
        let mut epoch = EpochEnd(|run: &mut Run<'_>| cut(run, true));
        // The checkpoints in the middle: those behind them are part of them all the same.
        let callbacks: &mut [&mut dyn Callback] = &mut [
            &mut stopping,
            &mut average,
            &mut checkpoints,
            &mut plateau,
            &mut best,
            &mut snapshots,
            &mut guard,
            &mut batch,
            &mut epoch,
        ];
        let mut history =
            trainer.fit_with(&mut model, &mut batches, Some(&mut valid), callbacks)?;
        // Steps are those since the last start.
        history.steps.clear();
        let weights: Vec<_> = snapshots.weights().collect();
        Ok(Left {
            model: state(&model),
            optimizer: format!("{:?} {}", trainer.optimizer().state(&model), model.passes()),
            callbacks: format!(
                "{:?} {average:?} {plateau:?} {:?} {:?} {weights:?}",
                stopping.state(),
                best.best(),
                best.weights()
            ),
            history,
        })
    }

    fn unbroken(&self) -> Left {
        let folder = unique("unbroken");
        // Checkpoints that never come.
        let checkpoints = every(&folder.0).every_epochs(u64::MAX);
        self.start(1, checkpoints, &mut |_, _| false).expect("good data")
    }

    /// Cuts the program where `fails` says, if that comes, and starts it again; returns what is left and whether it was cut.
    fn cut(
        &self,
        checkpoints: impl Fn(&Path) -> Checkpoints,
        fails: &mut dyn FnMut(&Run<'_>, bool) -> bool,
    ) -> (Left, bool) {
        let folder = unique("cut");
        let first = self.start(1, checkpoints(&folder.0), fails);
        if let Ok(left) = first {
            return (left, false);
        }
        assert_eq!(text(first), "data set: cut");
        // With another seed, if there is a checkpoint to bring the right one.
        let seed = if folder.names().is_empty() { 1 } else { 77 };
        let again = self.start(seed, checkpoints(&folder.0), &mut |_, _| false);
        (again.expect("it goes on"), true)
    }
}

/// A folder that no other test has: they run side by side.
fn unique(name: &str) -> Folder {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    Folder::new(&format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

fn every(folder: &Path) -> Checkpoints {
    Checkpoints::new(&CheckpointFolder::open(folder).expect("made").keep_last(1))
}

fn programs() -> Vec<(&'static str, Program)> {
    let gathered = || ModelOptimizer::new(Sgd::new().momentum(0.9), 0.05).accumulate(3);
    let plain = |name, nan, patience, steps| (name, Program { nan, patience, steps, ..PLAIN });
    vec![
        plain("plain", false, 9, None),
        // One batch of each epoch is given up.
        plain("not a number", true, 9, None),
        plain("stopped early", false, 1, None),
        plain("so many batches", false, 9, Some(13)),
        ("gathered", Program { optimizer: gathered, ..PLAIN }),
    ]
}

#[test]
fn a_fit_cut_after_any_batch_ends_with_the_same_bits() {
    for (name, program) in programs() {
        let want = program.unbroken();
        for interval in [1, 3] {
            let mut last = 0;
            for cut in 1.. {
                let mut batches = 0;
                let (left, was_cut) =
                    program.cut(|folder| every(folder).every_batches(interval), &mut |_, epoch| {
                        batches += u64::from(!epoch);
                        !epoch && batches == cut
                    });
                assert!(left == want, "{name}, {interval}, cut at {cut}: {left:?}\n{want:?}");
                if !was_cut {
                    break;
                }
                last = cut;
            }
            // The last cut was at the last batch.
            assert!(last >= 9, "{name}: {last}");
        }
    }
}

#[test]
fn a_fit_cut_after_any_epoch_ends_with_the_same_bits() {
    for (name, program) in programs() {
        let want = program.unbroken();
        for by_batch in [false, true] {
            for cut in 1..=EPOCHS {
                let mut epochs = 0;
                let (left, _) = program.cut(
                    |folder| if by_batch { every(folder).every_batches(1) } else { every(folder) },
                    &mut |_, epoch| {
                        epochs += u64::from(epoch);
                        epoch && epochs == cut
                    },
                );
                assert!(left == want, "{name}, cut after epoch {cut}: {left:?}\n{want:?}");
            }
        }
    }
}

/// Every start ends after three batches more; a run that is over ends at once, with its figures.
#[test]
fn a_fit_cut_again_and_again_gets_to_its_end() {
    let folder = Folder::new("again");
    let want = PLAIN.unbroken();
    for starts in 1.. {
        let mut batches = 0;
        let checkpoints = every(&folder.0).every_batches(1).every_epochs(1);
        let left = PLAIN.start(starts, checkpoints, &mut |_, epoch| {
            batches += u64::from(!epoch);
            batches == 4
        });
        let Ok(left) = left else { continue };
        assert!(left == want && starts > 5, "{left:?}\n{want:?}");
        let over = PLAIN.start(99, every(&folder.0), &mut |_, _| panic!("nothing is trained"));
        let over = over.expect("it is over");
        assert_eq!((over.model, over.history), (want.model, want.history));
        break;
    }
}

#[test]
fn the_best_epoch_is_kept_beside_the_last() {
    let folder = Folder::new("best-epoch");
    let checkpoints = every(&folder.0).every_batches(2).monitor(Monitor::valid_loss());
    let left = PLAIN.start(1, checkpoints, &mut |_, _| false).expect("good data");
    let best = left.history.epochs.iter().map(|epoch| epoch.valid_loss.expect("validated"));
    let best = best.fold(f64::INFINITY, f64::min);
    let names = folder.names();
    assert!(names.iter().any(|name| name.contains(&format!("-score-{best}."))), "{names:?}");
    assert!(names.len() <= 2, "{names:?}");
    // It is a checkpoint like any other, to be restored by hand too.
    let path = CheckpointFolder::open(&folder.0).expect("there").minimize(true).best();
    let saved = SavedCheckpoint::open(path.expect("readable").expect("one")).expect("whole");
    saved.restore(&mut model(3), &mut (PLAIN.optimizer)()).expect("it fits");
}

#[test]
fn what_does_not_go_on_from_a_checkpoint_says_why_and_changes_nothing() {
    let folder = Folder::new("misfit");
    PLAIN.start(1, every(&folder.0), &mut |_, _| false).expect("good data");
    let path = CheckpointFolder::open(&folder.0).expect("there").latest().expect("readable");
    let path = path.expect("one").display().to_string();
    let mut again = model(5);
    let before = state(&again);
    let mut fit = |data: &Dataset<f32, Vec<usize>>, valid: bool, with: &mut [&mut dyn Callback]| {
        let mut trainer = Trainer::new(CrossEntropy::new(), (PLAIN.optimizer)()).epochs(EPOCHS);
        let mut batches = data.batches(8).expect("not 0");
        let mut checkpoints = every(&folder.0);
        let mut callbacks: Vec<&mut dyn Callback> = vec![&mut checkpoints];
        callbacks.extend(with.iter_mut().map(|callback| &mut **callback as &mut dyn Callback));
        let mut samples = data.batches(8).expect("not 0");
        let valid: Option<&mut dyn Loader<f32, Targets = _>> =
            if valid { Some(&mut samples) } else { None };
        let error = text(trainer.fit_with(&mut again, &mut batches, valid, &mut callbacks));
        assert_eq!(state(&again), before);
        error.strip_prefix(&format!("{path}: ")).unwrap_or(&error).to_string()
    };
    let other = Dataset::new(normal(&[20, 2, 4, 4], 5), vec![0; 20]).expect("20 each");
    assert_eq!(
        fit(&other, true, &mut []),
        "needs training data of 37 samples in 5 batches, as before, got 20 in 3"
    );
    assert_eq!(
        fit(&data(false), false, &mut []),
        "needs some validation data, as before, got none"
    );
    assert_eq!(
        fit(&data(false), true, &mut [&mut EarlyStopping::<f32>::new(2)]),
        "needs the callbacks with a state that there were before, \
         0.EarlyStopping, 1.Average, 3.Plateau, 4.BestModel, 5.Snapshots, 6.NanGuard, got 1.EarlyStopping"
    );
    // One that was made by hand, and one that was cut.
    let optimizer = (PLAIN.optimizer)();
    Checkpoint::of(&model(1), &optimizer).save(&path).expect("saved");
    assert_eq!(
        fit(&data(false), true, &mut []),
        "was not made by Trainer::fit; restore model and optimizer from it, or make an empty folder for this run"
    );
    let bytes = std::fs::read(&path).expect("there");
    std::fs::write(&path, &bytes[..bytes.len() - 5]).expect("written");
    let error = fit(&data(false), true, &mut []);
    assert!(error.contains("needs bytes within"), "{error}");
    let mut trainer = Trainer::new(CrossEntropy::new(), (PLAIN.optimizer)());
    let fresh = Folder::new("misfit-fresh");
    let mut zero = every(&fresh.0).every_batches(0);
    let data = data(false);
    let mut batches = data.batches(8).expect("not 0");
    assert_eq!(
        text(trainer.fit_with(&mut again, &mut batches, None, &mut [&mut zero])),
        "Checkpoints: every_batches must be at least 1, got 0"
    );
}
