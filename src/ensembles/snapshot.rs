//! Several models out of one run.

use std::path::PathBuf;

use super::Ensemble;
use crate::error::ensure;
use crate::persist::{PartReader, PartWriter, Resumable};
use crate::training::{Callback, Run, Weights};
use crate::{Error, Result, Scalar, Sequential};

/// Keeps the weights at the end of each cycle of the learning rate: an ensemble for the price of one run.
///
/// A rate that falls to nothing and jumps up again ([`crate::schedules::SnapshotCycles`], [`crate::schedules::WarmRestarts`])
/// takes the model to one minimum after the other. As a callback of [`crate::training::Trainer::fit_with`] this copies parameters
/// and running statistics after every `cycle`-th update of the optimizer, and when a run ends after more than half a
/// cycle. From a loop of your own call [`Snapshots::take`].
///
/// # Examples
/// ```
/// use layerwise::ensembles::Snapshots;
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::ones((8, 4)).into_dyn(), vec![0, 1, 2, 0, 1, 2, 0, 1])?;
/// let mut model = Sequential::builder([4]).add(Linear::new(3)).seed(1).build()?;
/// let (steps, cycles) = (12, 3);
/// let optimizer = ModelOptimizer::new(Sgd::new(), 0.5).schedule(SnapshotCycles::new(steps, cycles));
/// let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).steps(steps);
/// let mut snapshots = Snapshots::every(steps / cycles);
/// trainer.fit_with(&mut model, &mut data.batches(4)?, None, &mut [&mut snapshots])?;
/// let ensemble = snapshots.ensemble(&model, 2)?; // of the last two
/// assert_eq!((snapshots.len(), ensemble.members().len()), (3, 2));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The run fails with [`Error::Setting`] for a cycle of 0 steps, and as [`Snapshots::take`].
///
/// # References
/// Huang et al. 2017, "Snapshot Ensembles: Train 1, Get M for Free".
#[derive(Debug, Clone)]
pub struct Snapshots<F: Scalar = f32> {
    cycle: u64,
    most: usize,
    folder: Option<PathBuf>,
    kept: Vec<Kept<F>>,
    taken: u64,
    taken_at: u64,
}

/// Where a snapshot is.
#[derive(Debug, Clone)]
enum Kept<F: Scalar> {
    Memory(Weights<F>),
    File(PathBuf),
}

impl<F: Scalar> Snapshots<F> {
    /// `cycle`: updates in a cycle, at least 1; for [`crate::schedules::SnapshotCycles`] `⌈steps / cycles⌉`.
    pub fn every(cycle: u64) -> Self {
        let (most, kept) = (usize::MAX, Vec::new());
        Self { cycle, most, folder: None, kept, taken: 0, taken_at: 0 }
    }

    /// Keeps snapshots as files in this folder, which must exist, and not in memory: `snapshot_0.safetensors` and so on, as
    /// [`Sequential::save`] writes them. One that [`Snapshots::keep`] gives up is removed.
    ///
    /// ```
    /// use layerwise::ensembles::Snapshots;
    /// use layerwise::prelude::*;
    ///
    /// let folder = std::env::temp_dir().join(format!("layerwise-snapshots-{}", std::process::id()));
    /// std::fs::create_dir_all(&folder).unwrap();
    /// let model = Sequential::builder([4]).add(Linear::new(3)).build()?;
    /// let mut snapshots = Snapshots::every(100).folder(&folder);
    /// snapshots.take(&model)?;
    /// assert!(folder.join("snapshot_0.safetensors").exists());
    /// assert_eq!(snapshots.ensemble(&model, 1)?.members().len(), 1);
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Keeps the last `most` only, at least 1; default all.
    pub fn keep(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Snapshots kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What was kept in memory, oldest first.
    pub fn weights(&self) -> impl Iterator<Item = &Weights<F>> {
        self.kept.iter().filter_map(|kept| match kept {
            Kept::Memory(weights) => Some(weights),
            Kept::File(_) => None,
        })
    }

    /// Takes a snapshot now.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written, or an old one cannot be removed.
    pub fn take(&mut self, model: &Sequential<F>) -> Result<()> {
        let kept = match &self.folder {
            None => Kept::Memory(Weights::of(model)),
            Some(folder) => {
                let path = folder.join(format!("snapshot_{}.safetensors", self.taken));
                model.save(&path)?;
                Kept::File(path)
            }
        };
        self.taken += 1;
        self.kept.push(kept);
        let extra = self.kept.len().saturating_sub(self.most.max(1));
        for old in self.kept.drain(..extra) {
            if let Kept::File(path) = old {
                std::fs::remove_file(&path).map_err(|source| Error::File {
                    action: "remove",
                    path,
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// The ensemble of the last `last` snapshots, copies of `model` with their weights.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there are so many, at least one; as [`Weights::restore`] or [`Sequential::load`] for another
    /// model.
    pub fn ensemble(&self, model: &Sequential<F>, last: usize) -> Result<Ensemble<F>> {
        let valid = (1..=self.len()).contains(&last);
        let must_be = "from 1 to the number of snapshots";
        ensure(valid, "Snapshots", "last", must_be, format_args!("{last} of {}", self.len()))?;
        let members = self.kept[self.len() - last..].iter().map(|kept| {
            let mut member = model.clone();
            match kept {
                Kept::Memory(weights) => weights.restore(&mut member)?,
                Kept::File(path) => member.load(path).map(|_| ())?,
            }
            Ok(member)
        });
        Ensemble::new(members.collect::<Result<Vec<_>>>()?)
    }
}

impl<F: Scalar> Callback<F> for Snapshots<F> {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        ensure(self.cycle > 0, "Snapshots", "cycle", "at least 1", self.cycle)?;
        self.taken_at = run.optimizer.steps();
        Ok(())
    }

    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        let steps = run.optimizer.steps();
        // Where gradients are gathered, several batches end at one step.
        if steps.is_multiple_of(self.cycle) && steps > self.taken_at {
            self.taken_at = steps;
            self.take(run.model)?;
        }
        Ok(())
    }

    fn fit_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        // The last of ⌈steps / cycles⌉ is cut short unless it divides.
        if !run.has_failed() && 2 * (run.optimizer.steps() - self.taken_at) > self.cycle {
            self.taken_at = run.optimizer.steps();
            self.take(run.model)?;
        }
        Ok(())
    }

    fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable<F>)> {
        Some(("Snapshots", self))
    }
}

/// All snapshots, or the names of their files.
impl<F: Scalar> Resumable<F> for Snapshots<F> {
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        out.value("taken", self.taken);
        out.value("taken_at", self.taken_at);
        out.value("kept", self.kept.len());
        for (i, kept) in self.kept.iter().enumerate() {
            out.inside(&i.to_string(), |out| match kept {
                Kept::Memory(weights) => weights.save_state(out),
                Kept::File(path) => out.value("file", path.display()),
            });
        }
    }

    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()> {
        let read = |i: usize| {
            let saved = saved.inside(&i.to_string());
            Ok(match saved.option::<PathBuf>("file")? {
                Some(path) => Kept::File(path),
                None => Kept::Memory(Weights::load_state(&saved)?),
            })
        };
        let kept = (0..saved.value("kept")?).map(read).collect::<Result<Vec<_>>>()?;
        (self.taken, self.taken_at, self.kept) =
            (saved.value("taken")?, saved.value("taken_at")?, kept);
        Ok(())
    }
}
