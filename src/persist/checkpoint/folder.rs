//! A folder of checkpoints.

use std::path::{Path, PathBuf};

use super::write::Checkpoint;
use crate::error::ensure;
use crate::persist::atomic::TEMPORARY;
use crate::{Error, Result, Scalar};

/// A folder that keeps the last checkpoints of one run, and the best.
///
/// Files are called `step-{step}.safetensors`, with the score in the name if there is one. A file has its name only when all
/// of it is on the disk, so whatever ends the process, [`CheckpointFolder::latest`] is whole.
///
/// # Examples
/// ```
/// use layerwise::persist::{Checkpoint, CheckpointFolder, SavedCheckpoint};
/// use layerwise::prelude::*;
///
/// let path = std::env::temp_dir().join(format!("layerwise-folder-{}", std::process::id()));
/// let folder = CheckpointFolder::open(&path)?.keep_last(2);
/// let mut model = Sequential::builder([3]).add(Linear::new(1)).build()?;
/// let mut trainer = Trainer::new(Mse::new(), ModelOptimizer::new(Adam::new(), 0.01));
/// if let Some(path) = folder.latest()? {
///     SavedCheckpoint::open(path)?.restore(&mut model, trainer.optimizer_mut())?;
/// }
/// for accuracy in [0.5, 0.9, 0.8, 0.7] {
///     trainer.step(&mut model, &Array2::ones((4, 3)), &Array2::zeros((4, 1)).into_dyn())?;
///     folder.save_scored(&Checkpoint::of(&model, trainer.optimizer()), accuracy)?;
/// }
/// let name = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
/// assert_eq!(name(folder.best()?.unwrap()), "step-000000000002-score-0.9.safetensors");
/// assert_eq!(name(folder.latest()?.unwrap()), "step-000000000004-score-0.7.safetensors");
/// assert_eq!(std::fs::read_dir(&path).unwrap().count(), 3); // the best and the last two
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    path: PathBuf,
    keep_last: usize,
    minimize: bool,
}

/// A file in the folder, as its name says.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    step: u64,
    score: Option<f64>,
    path: PathBuf,
}

impl CheckpointFolder {
    /// Makes the folder if there is none, and removes what a killed process left unfinished in it: one process at a time
    /// may use it.
    ///
    /// # Errors
    /// [`Error::File`] if that is not possible.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        std::fs::create_dir_all(&path).map_err(|source| fail("make", &path, source))?;
        let folder = Self { path, keep_last: 3, minimize: false };
        for name in folder.names()? {
            if name.starts_with(".step-") && name.ends_with(TEMPORARY) {
                folder.remove(&folder.path.join(name))?;
            }
        }
        Ok(folder)
    }

    /// How many of the last are kept, at least 1; default 3. The best is kept besides.
    pub fn keep_last(mut self, count: usize) -> Self {
        self.keep_last = count;
        self
    }

    /// Whether the smallest score is the best, as for a loss; default false.
    pub fn minimize(mut self, minimize: bool) -> Self {
        self.minimize = minimize;
        self
    }

    /// Writes a checkpoint and removes those that are no longer kept. Returns its path.
    ///
    /// # Errors
    /// As for [`Checkpoint::save`]; [`Error::Setting`] if none is to be kept.
    pub fn save<F: Scalar>(&self, checkpoint: &Checkpoint<'_, F>) -> Result<PathBuf> {
        self.save_as(checkpoint, None)
    }

    /// Like [`CheckpointFolder::save`], with a score by which the best is kept. NaN is never the best.
    ///
    /// # Errors
    /// As there.
    pub fn save_scored<F: Scalar>(
        &self,
        checkpoint: &Checkpoint<'_, F>,
        score: f64,
    ) -> Result<PathBuf> {
        self.save_as(checkpoint, Some(score))
    }

    fn save_as<F: Scalar>(
        &self,
        checkpoint: &Checkpoint<'_, F>,
        score: Option<f64>,
    ) -> Result<PathBuf> {
        ensure(self.keep_last > 0, "CheckpointFolder", "keep_last", "at least 1", self.keep_last)?;
        let step = checkpoint.steps();
        let score = score.map(|score| format!("-score-{score}")).unwrap_or_default();
        let path = self.path.join(format!("step-{step:012}{score}.safetensors"));
        checkpoint.save(&path)?;
        self.prune(step, &path)?;
        Ok(path)
    }

    /// The one with the most steps, if there is any.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be read.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        Ok(self.list()?.pop().map(|named| named.path))
    }

    /// The one with the best score, the latest of several; `None` if none has a score.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be read.
    pub fn best(&self) -> Result<Option<PathBuf>> {
        Ok(self.best_of(&self.list()?).map(|named| named.path.clone()))
    }

    /// By step.
    fn list(&self) -> Result<Vec<Named>> {
        let mut list: Vec<Named> =
            self.names()?.iter().filter_map(|name| Named::parse(name, &self.path)).collect();
        list.sort_by(|a, b| (a.step, &a.path).cmp(&(b.step, &b.path)));
        Ok(list)
    }

    fn best_of<'l>(&self, list: &'l [Named]) -> Option<&'l Named> {
        let sign = if self.minimize { -1.0 } else { 1.0 };
        let scored = list.iter().filter_map(|named| {
            let score = named.score.filter(|score| !score.is_nan())?;
            Some((sign * score, named))
        });
        // `max_by` takes the last of equal ones.
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, named)| named)
    }

    /// `step` and `path`: the newest. One of the same step without a score is an earlier moment of it.
    fn prune(&self, step: u64, path: &Path) -> Result<()> {
        let mut list = self.list()?;
        let earlier =
            |named: &Named| named.step == step && named.score.is_none() && named.path != path;
        for named in list.extract_if(.., |named| earlier(named)) {
            self.remove(&named.path)?;
        }
        let best = self.best_of(&list).cloned();
        let old = list.len().saturating_sub(self.keep_last);
        for named in list.iter().take(old).filter(|&named| Some(named) != best.as_ref()) {
            self.remove(&named.path)?;
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        let read = || -> std::io::Result<Vec<String>> {
            let entries = std::fs::read_dir(&self.path)?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        read().map_err(|source| fail("read", &self.path, source))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path).map_err(|source| fail("remove", path, source))
    }
}

impl Named {
    fn parse(name: &str, folder: &Path) -> Option<Self> {
        let rest = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
        let (step, score) = match rest.split_once("-score-") {
            Some((step, score)) => (step, Some(score.parse().ok()?)),
            None => (rest, None),
        };
        Some(Self { step: step.parse().ok()?, score, path: folder.join(name) })
    }
}

fn fail(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.into(), source }
}
