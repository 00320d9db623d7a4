//! Runs that are interrupted: they go on with the bits of one that never was.

use std::process::Child;
use std::time::Instant;

use layerwise::persist::{Checkpoint, CheckpointFolder, Position, SavedCheckpoint};
use layerwise::prelude::*;

use super::Folder;
use crate::support::{normal, state, text};

/// Everything a program makes anew, and a run's own randomness: dropout, running statistics, shuffled batches.
struct Run {
    model: Sequential,
    trainer: Trainer<CrossEntropy>,
    plateau: ReduceOnPlateau,
    position: Position,
}

const EPOCHS: u64 = 3;

fn data() -> Dataset<f32, Vec<usize>> {
    Dataset::new(normal(&[37, 2, 4, 4], 5), (0..37).map(|i| i % 3).collect()).expect("37 each")
}

fn batches(data: &Dataset<f32, Vec<usize>>) -> Batches<'_, f32, Vec<usize>> {
    data.batches(8).expect("not 0").shuffled(Seed::new(9))
}

impl Run {
    fn new(seed: u64, rule: &dyn Fn() -> ModelOptimizer) -> Self {
        let model = Sequential::builder([2, 4, 4])
            .add(Conv2d::new(4, 3).padding(1).bias(false))
            .add(BatchNorm::new())
            .add(Relu)
            .add(Flatten)
            .add(Dropout::new(0.3))
            .add(Block::new().add(Linear::new(8)).add(Tanh).add(Dropout::new(0.2)))
            .add(Linear::new(3));
        let model = model.seed(seed).build().expect("it fits");
        let plateau = ReduceOnPlateau::new().patience(0).factor(0.5);
        let trainer = Trainer::new(CrossEntropy::new(), rule());
        Self { model, trainer, plateau, position: Position::default() }
    }

    /// Until the end, or until `each` says to stop.
    fn go_on(&mut self, each: &mut dyn FnMut(&Self) -> bool) {
        let data = data();
        let mut batches = batches(&data);
        self.position.go_to(&mut batches).expect("in memory");
        while self.position.epoch < EPOCHS {
            let Some(batch) = batches.next_batch().expect("in memory") else {
                self.position = Position { epoch: self.position.epoch + 1, batch: 0 };
                continue;
            };
            let step =
                self.trainer.step(&mut self.model, batch.x, batch.target).expect("good data");
            self.position.batch += 1;
            if self.position.batch == 5 {
                // The loss of the last batch stands for one of validation.
                let optimizer = self.trainer.optimizer_mut();
                let lr = self
                    .plateau
                    .report(f64::from(step.loss), optimizer.lr())
                    .expect("good settings");
                optimizer.set_lr(lr);
            }
            if !each(self) {
                return;
            }
        }
    }

    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint::of(&self.model, self.trainer.optimizer())
            .at(self.position)
            .part("plateau", &self.plateau)
            .note("what", "a test")
    }

    fn restore(&mut self, saved: &SavedCheckpoint<'_>) -> Result<()> {
        saved.restore(&mut self.model, self.trainer.optimizer_mut())?;
        saved.restore_part::<f32>("plateau", &mut self.plateau)?;
        self.position = saved.position();
        Ok(())
    }

    /// Parameters, buffers, and what the rule keeps.
    fn state(&self) -> (Vec<(String, Vec<u64>)>, String) {
        let optimizer = self.trainer.optimizer().state(&self.model);
        (state(&self.model), format!("{optimizer:?} {:?} {}", self.plateau, self.model.passes()))
    }
}

#[test]
fn a_run_cut_at_any_batch_goes_on_with_the_same_bits() {
    type Rule = Box<dyn Fn() -> ModelOptimizer>;
    let rules: Vec<Rule> = vec![
        Box::new(|| ModelOptimizer::new(Adam::new().amsgrad(true), 0.01).schedule(Cosine::new(15))),
        Box::new(|| ModelOptimizer::new(Sgd::new().momentum(0.9), 0.05).accumulate(3)),
        Box::new(|| ModelOptimizer::new(NAdam::new(), 0.01).clip(Clip::Norm(0.5))),
        Box::new(|| ModelOptimizer::new(AdaDelta::new(), 1.0)),
        Box::new(|| ModelOptimizer::new(RmsProp::new().momentum(0.5).centered(true), 0.001)),
    ];
    for rule in &rules {
        let mut unbroken = Run::new(1, rule);
        unbroken.go_on(&mut |_| true);
        for cut in 1..=14 {
            let mut before = Run::new(1, rule);
            let mut steps = 0;
            before.go_on(&mut |_| {
                steps += 1;
                steps < cut
            });
            let bytes = before.checkpoint().to_bytes().expect("saved");
            // Made with another seed: the checkpoint brings its own.
            let mut after = Run::new(77, rule);
            let saved = SavedCheckpoint::from_bytes(&bytes).expect("a good file");
            assert_eq!(saved.note("what").as_deref(), Some("a test"));
            assert_eq!(saved.steps(), before.trainer.optimizer().steps());
            after.restore(&saved).expect("it fits");
            assert_eq!(after.state(), before.state());
            after.go_on(&mut |_| true);
            assert!(after.state() == unbroken.state(), "cut after {cut} steps");
        }
    }
}

/// Averages and early stopping have a state of their own.
#[test]
fn averages_and_early_stopping_come_back_with_a_checkpoint() {
    use layerwise::training::{Average, EarlyStopping, StoppingState, Weights};

    let mut run = Run::new(1, &adam);
    let (mut average, mut stopping) = (Average::<f32>::ema(0.9), EarlyStopping::<f32>::new(3));
    let mut steps = 0;
    run.go_on(&mut |run| {
        average.update(&run.model).expect("the same model");
        steps += 1;
        steps < 5
    });
    let weights = Some(Weights::of(&run.model));
    stopping.set_state(StoppingState { best: Some((0.25, 3)), waited: 2, weights });
    let checkpoint = run.checkpoint().part("average", &average).part("stopping", &stopping);
    let bytes = checkpoint.to_bytes().expect("saved");

    let saved = SavedCheckpoint::from_bytes(&bytes).expect("a good file");
    let (mut again, mut waiting) = (Average::<f32>::ema(0.9), EarlyStopping::<f32>::new(3));
    saved.restore_part("average", &mut again).expect("there");
    saved.restore_part("stopping", &mut waiting).expect("there");
    assert_eq!(waiting.state(), stopping.state());
    // Both go on alike.
    for average in [&mut average, &mut again] {
        average.update(&run.model).expect("the same model");
    }
    let mut models = [run.model.clone(), run.model.clone()];
    average.swap(&mut models[0]).expect("averaged");
    again.swap(&mut models[1]).expect("averaged");
    assert_eq!(state(&models[0]), state(&models[1]));
    assert_ne!(state(&models[0]), state(&run.model));
}

fn adam() -> ModelOptimizer {
    ModelOptimizer::new(Adam::new(), 0.01)
}

#[test]
fn a_checkpoint_that_does_not_fit_says_all_and_changes_nothing() {
    let mut run = Run::new(1, &adam);
    let mut steps = 0;
    run.go_on(&mut |_| {
        steps += 1;
        steps < 4
    });
    let bytes = run.checkpoint().to_bytes().expect("saved");
    let saved = SavedCheckpoint::from_bytes(&bytes).expect("a good file");

    let mut other = Sequential::builder([5]).add(Linear::new(2)).build().expect("it fits");
    let before = state(&other);
    let error = text(saved.restore(&mut other, &mut adam()));
    assert!(
        error.starts_with(
            "bytes: 10 problems\n  0.weight: needs [2, 5], got [4, 2, 3, 3]\n  0.bias: needed"
        ),
        "{error}"
    );
    assert!(error.ends_with("model.6.weight: is not in the model"), "{error}");
    assert_eq!(state(&other), before);

    let mut sgd = ModelOptimizer::new(Sgd::new().momentum(0.5), 0.01);
    let mut model = Run::new(3, &adam).model;
    let before = state(&model);
    let error = text(saved.restore(&mut model, &mut sgd));
    assert!(
        error.contains("0.weight needs [momentum_buffer] of its rule, got [exp_avg, exp_avg_sq]"),
        "{error}"
    );
    assert_eq!((state(&model), sgd.steps()), (before, 0));

    let error = text(saved.restore_part::<f32>("average", &mut ReduceOnPlateau::new()));
    assert_eq!(error, "bytes: part.average.bad: is missing");
    let weights = run.model.to_bytes().expect("saved");
    assert_eq!(
        text(SavedCheckpoint::from_bytes(&weights)),
        "bytes: is no checkpoint; load it as weights"
    );
    // A file of a format that is still to come.
    let mut newer = bytes.clone();
    let key = br#""layerwise.checkpoint":"1""#;
    let at = newer.windows(key.len()).position(|window| window == key).expect("there");
    newer[at + key.len() - 2] = b'2';
    assert_eq!(
        text(SavedCheckpoint::from_bytes(&newer)),
        "bytes: needs format 1 of checkpoints, got 2; use a newer version"
    );
}

#[test]
fn a_folder_keeps_the_last_and_the_best() {
    let folder = Folder::new("keeps");
    let path = folder.join("run");
    let checkpoints = CheckpointFolder::open(&path).expect("made").keep_last(2).minimize(true);
    assert_eq!(checkpoints.latest().expect("readable"), None);
    let mut run = Run::new(1, &adam);
    let mut losses = [0.5, 0.25, f64::NAN, 0.75, 0.25, 1.0, 2.0].into_iter();
    run.go_on(&mut |run| {
        let Some(loss) = losses.next() else { return false };
        checkpoints.save_scored(&run.checkpoint(), loss).expect("saved");
        true
    });
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&path)
            .expect("there")
            .map(|e| e.expect("there").file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(),
        [
            "step-000000000005-score-0.25.safetensors",
            "step-000000000006-score-1.safetensors",
            "step-000000000007-score-2.safetensors"
        ]
    );
    assert_eq!(
        checkpoints.best().expect("readable"),
        Some(path.join("step-000000000005-score-0.25.safetensors"))
    );
    // What a killed process leaves is swept up; what is not its own stays.
    std::fs::write(path.join(".step-000000000008.safetensors.1-0.layerwise-tmp"), "half")
        .expect("written");
    std::fs::write(path.join("notes.txt"), "mine").expect("written");
    CheckpointFolder::open(&path).expect("there");
    assert_eq!(names().len(), 4);
    assert_eq!(
        text(checkpoints.keep_last(0).save(&run.checkpoint())),
        "CheckpointFolder: keep_last must be at least 1, got 0"
    );
}

/// A run in a process of its own, for the test below, which ends it.
#[test]
fn trains_where_it_is_told_to() {
    let Some(path) = std::env::var_os("LAYERWISE_TEST_TRAIN") else { return };
    let checkpoints = CheckpointFolder::open(&path).expect("a folder");
    let mut run = Run::new(1, &adam);
    if let Some(path) = checkpoints.latest().expect("readable") {
        run.restore(&SavedCheckpoint::open(path).expect("a whole file")).expect("it fits");
    }
    run.go_on(&mut |run| {
        checkpoints.save(&run.checkpoint()).expect("saved");
        true
    });
    let done = std::path::Path::new(&path).join("done");
    run.model.save(done).expect("saved");
}

fn start_run(folder: &Folder) -> Child {
    std::process::Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "persist::checkpoints::trains_where_it_is_told_to",
            "--test-threads",
            "1",
        ])
        .env("LAYERWISE_TEST_TRAIN", &folder.0)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a process")
}

#[test]
fn killed_at_fifty_moments_every_restart_goes_on_to_the_same_bits() {
    let mut unbroken = Run::new(1, &adam);
    unbroken.go_on(&mut |_| true);
    let want = state(&unbroken.model);
    // One that is left alone, to know how long it takes here.
    let folder = Folder::new("alone");
    let start = Instant::now();
    assert!(start_run(&folder).wait().expect("a child").success());
    let usual = start.elapsed();
    let mut rng = Seed::new(1).rng();
    let (mut killed, mut finished, mut resumed) = (0, 0, 0);
    while killed < 50 {
        let folder = Folder::new("killed");
        let done = folder.join("done");
        while !done.exists() {
            resumed += u32::from(
                CheckpointFolder::open(&folder.0)
                    .expect("there")
                    .latest()
                    .expect("readable")
                    .is_some(),
            );
            let mut child = start_run(&folder);
            std::thread::sleep(usual.mul_f64(rng.uniform()));
            match child.try_wait().expect("a child") {
                Some(status) => assert!(status.success(), "a restart failed"),
                None if killed < 50 => {
                    // SIGKILL, on Unix.
                    child.kill().expect("a child");
                    killed += u32::from(child.wait().expect("a child").code().is_none());
                }
                None => assert!(child.wait().expect("a child").success(), "a restart failed"),
            }
        }
        let mut model = Run::new(2, &adam).model;
        model.load(&done).expect("a whole file");
        assert!(state(&model) == want, "after {killed} kills");
        finished += 1;
    }
    assert!(finished > 0 && resumed > 10, "{finished} runs, {resumed} resumed");
}
