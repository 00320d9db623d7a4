//! Checkpoints of a run, and going on from them.

use super::{Callback, Monitor, Run};
use crate::error::ensure;
use crate::persist::{CheckpointFolder, SavedCheckpoint};
use crate::{Result, Scalar};

/// Writes a checkpoint after every so many batches or epochs, and goes on from the last one when the program is started again.
///
/// The same program, started again after whatever ended it, goes on where the last checkpoint was made and ends with the same
/// bits as if it had never stopped: parameters, running statistics, optimizer, gathered gradients, randomness, the place in the
/// data, and the state of all other callbacks ([`Callback::resumable`]: early stopping, averages, the rate on a plateau, …), in
/// whatever order they are given. The [`super::History`] has all epochs, and the steps since. A folder without checkpoints
/// begins a run; one whose run is over ends it at once.
///
/// How many are kept is the folder's setting; with a [`Monitor`] the best epoch's is kept besides
/// ([`CheckpointFolder::best`]).
///
/// What callbacks have only watched begins anew: [`super::UpdateRatio`], [`super::ActivationStatistics`]. A
/// [`super::CsvLog`] goes on without a second header: open its file to append.
///
/// # Examples
/// ```
/// use layerwise::persist::CheckpointFolder;
/// use layerwise::prelude::*;
/// use layerwise::training::{Checkpoints, EarlyStopping};
///
/// # let path = std::env::temp_dir().join(format!("layerwise-checkpoints-{}", std::process::id()));
/// let data = Dataset::new(Array2::<f32>::ones((40, 3)).into_dyn(), vec![1usize; 40])?;
/// let train = |steps| -> Result<Array2<f32>> {
///     let mut model = Sequential::builder([3]).add(Dropout::new(0.2)).add(Linear::new(2)).seed(1).build()?;
///     let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01)).steps(steps);
///     let mut batches = data.batches(8)?.shuffled(Seed::new(1));
///     let mut stopping = EarlyStopping::new(5);
///     let mut checkpoints = Checkpoints::new(&CheckpointFolder::open(&path)?.keep_last(2)).every_batches(1);
///     let valid: &mut dyn Loader<f32, Targets = _> = &mut data.batches(40)?;
///     trainer.fit_with(&mut model, &mut batches, Some(valid), &mut [&mut stopping, &mut checkpoints])?;
///     Ok(model.value("1.weight").unwrap().into_dimensionality().unwrap())
/// };
/// train(7)?; // 5 batches of the first epoch and 2 of the second
/// let resumed = train(10)?;
/// std::fs::remove_dir_all(&path).unwrap();
/// assert_eq!(resumed, train(10)?);
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The run fails with [`crate::Error::Setting`] for an interval of 0 or a figure that the run does not compute; with
/// [`crate::Error::File`] if a checkpoint cannot be read or written; with [`crate::Error::Weights`] or
/// [`crate::Error::OptimizerState`] if the last checkpoint is damaged, or of another model, optimizer, data set or list of callbacks:
/// model and optimizer are then as they were.
#[doc(alias = "ModelCheckpoint")]
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: CheckpointFolder,
    batches: Option<u64>,
    epochs: Option<u64>,
    monitor: Option<Monitor>,
}

impl Checkpoints {
    /// In this folder, after every epoch unless told otherwise.
    pub fn new(folder: &CheckpointFolder) -> Self {
        Self { folder: folder.clone(), batches: None, epochs: None, monitor: None }
    }

    /// After every so many batches, at least 1, also in the middle of a group of batches whose gradients are gathered.
    pub fn every_batches(mut self, batches: u64) -> Self {
        self.batches = Some(batches);
        self
    }

    /// After every so many epochs, at least 1; default 1, or never with [`Checkpoints::every_batches`].
    pub fn every_epochs(mut self, epochs: u64) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// The figure by which the best epoch's checkpoint is kept; default none. Without [`Checkpoints::every_epochs`] that is
    /// looked at after every epoch.
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.folder = self.folder.minimize(!monitor.maximizes());
        self.monitor = Some(monitor);
        self
    }

    /// Epochs between two checkpoints at an epoch's end, if there are any.
    fn every(&self) -> Option<u64> {
        let default = (self.batches.is_none() || self.monitor.is_some()).then_some(1);
        self.epochs.or(default)
    }
}

impl<F: Scalar> Callback<F> for Checkpoints {
    fn resume(&mut self) -> Result<Option<SavedCheckpoint<'static>>> {
        self.folder.latest()?.map(SavedCheckpoint::open).transpose()
    }

    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        for (field, every) in [("every_batches", self.batches), ("every_epochs", self.epochs)] {
            ensure(every != Some(0), "Checkpoints", field, "at least 1", 0)?;
        }
        self.monitor.as_ref().map_or(Ok(()), |monitor| monitor.check("Checkpoints", run))
    }

    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if self.batches.is_some_and(|every| run.batches().is_multiple_of(every)) {
            run.save_checkpoint(&self.folder, None);
        }
        Ok(())
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let epochs = run.history.epochs.len() as u64 + 1;
        if self.every().is_some_and(|every| epochs.is_multiple_of(every)) {
            let score = self.monitor.as_ref().map(|monitor| monitor.read(run.now));
            run.save_checkpoint(&self.folder, score);
        }
        Ok(())
    }
}
