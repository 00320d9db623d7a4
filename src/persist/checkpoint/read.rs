//! Going on from a checkpoint.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::path::Path;
use std::str::FromStr;

use super::parts::{PartReader, Resumable};
use super::{FORMAT, Position};
use crate::optimizers::{ModelOptimizer, OptimizerState, ParamState};
use crate::persist::WeightsFile;
use crate::persist::load::{fill, match_names, note};
use crate::persist::problem::FileProblems;
use crate::{EntryMut, Result, Scalar, Seed, Sequential, VisitorMut};

/// A checkpoint that was read; see [`super::Checkpoint`] for an example.
///
/// Model, optimizer and parts are put back one by one, each as a whole or not at all.
#[derive(Debug)]
pub struct SavedCheckpoint<'a> {
    file: WeightsFile<'a>,
    position: Position,
    steps: u64,
}

impl SavedCheckpoint<'static> {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// As for [`WeightsFile`], and [`crate::Error::Weights`] if it is no checkpoint, or one of a newer format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(WeightsFile::open(path)?)
    }
}

impl<'a> SavedCheckpoint<'a> {
    /// From the bytes of a file.
    ///
    /// # Errors
    /// As for [`SavedCheckpoint::open`].
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        Self::new(WeightsFile::from_bytes(bytes)?)
    }

    fn new(file: WeightsFile<'a>) -> Result<Self> {
        let mut problems = file.problems();
        match file.metadata(FORMAT.0) {
            Some(format) if format == FORMAT.1 => {}
            Some(format) => problems.add(None, || {
                format!(
                    "needs format {} of checkpoints, got {format}; use a newer version",
                    FORMAT.1
                )
            }),
            None => problems.add(None, || "is no checkpoint; load it as weights".into()),
        }
        problems.into_result()?;
        let position = Position {
            epoch: number(&file, "position.epoch")?.unwrap_or_default(),
            batch: number(&file, "position.batch")?.unwrap_or_default(),
        };
        let steps = number(&file, "optimizer.steps")?.unwrap_or_default();
        Ok(Self { file, position, steps })
    }

    /// Where in the data the run was.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Updates until then.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The text that [`super::Checkpoint::note`] left.
    pub fn note(&self, key: &str) -> Option<String> {
        self.file.metadata(&format!("note.{key}"))
    }

    /// The file itself, to load only its weights: `model.0.weight`.
    pub fn file(&self) -> &WeightsFile<'a> {
        &self.file
    }

    /// Puts model and optimizer back. They must have been made as before; only the model's seed need not be the same.
    ///
    /// # Errors
    /// [`crate::Error::Weights`] and [`crate::Error::OptimizerState`] with all that does not fit. Both are then as they were.
    pub fn restore<F: Scalar>(
        &self,
        model: &mut Sequential<F>,
        optimizer: &mut ModelOptimizer<F>,
    ) -> Result<()> {
        let mut problems = self.file.problems();
        let own = |name: &str| name.strip_prefix("model.").map(String::from);
        let (sources, mut loaded) = match_names(model, &self.file, own, &mut problems);
        loaded.left_over.retain(|name| name.starts_with("model."));
        note(&loaded, &mut problems);
        problems.into_result()?;
        let seed = Seed::from_number(need(&self.file, "seed")?);
        let passes = need(&self.file, "passes")?;
        let gathered = need(&self.file, "optimizer.gathered")?;
        let gradients = self.gradients(model)?;
        // The last that can fail, and changes nothing if it does.
        optimizer.set_state(model, self.optimizer_state(model)?)?;
        optimizer.set_gathered(gathered);
        fill(model, &self.file, &sources, &mut loaded);
        model.set_seed(seed);
        model.set_passes(passes);
        let mut gradients = gradients.into_iter();
        model.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            if let EntryMut::Param(param) = entry {
                param.zero_grad();
                if let Some(Some(gradient)) = gradients.next()
                    && let Some(place) = param.grad_slice()
                {
                    place.copy_from_slice(&gradient);
                }
            }
        }));
        Ok(())
    }

    /// The error that the file as a whole is not as needed.
    pub(crate) fn error(&self, message: String) -> crate::Error {
        let mut problems = self.file.problems();
        problems.add(None, || message);
        problems.into()
    }

    /// Whether a part has a value of this name.
    pub(crate) fn has(&self, part: &str, value: &str) -> bool {
        self.file.metadata(&format!("part.{part}.{value}")).is_some()
    }

    /// Puts the state of a part back.
    ///
    /// # Errors
    /// [`crate::Error::Weights`] if the checkpoint has no such part, or not all of it; what the part reports.
    pub fn restore_part<F: Scalar>(&self, name: &str, part: &mut dyn Resumable<F>) -> Result<()> {
        let prefix = format!("part.{name}.");
        let mut reader = PartReader { file: &self.file, prefix, element: PhantomData };
        part.load_state(&mut reader)
    }

    fn optimizer_state<F: Scalar>(
        &self,
        model: &Sequential<F>,
    ) -> Result<OptimizerState<'static, F>> {
        let names: Vec<String> = self
            .file
            .tensors()
            .filter(|tensor| tensor.name.starts_with("optimizer."))
            .map(|tensor| tensor.name)
            .collect();
        let mut params = Vec::new();
        for info in model.params() {
            let prefix = format!("optimizer.{}.", info.name);
            let Some(steps) = number(&self.file, &format!("{prefix}steps"))? else { continue };
            let mut arrays = Vec::new();
            for name in &names {
                if let Some(array) = name.strip_prefix(&prefix).filter(|array| !array.contains('.'))
                {
                    let values = self.file.value::<F>(name)?.into_raw_vec_and_offset().0;
                    arrays.push((array.to_string(), Cow::Owned(values)));
                }
            }
            params.push(ParamState { param: info.name, steps, arrays });
        }
        let lr = need(&self.file, "optimizer.lr")?;
        Ok(OptimizerState { lr, steps: self.steps, params })
    }

    /// For each parameter the gradient that was gathered, if any.
    fn gradients<F: Scalar>(&self, model: &Sequential<F>) -> Result<Vec<Option<Vec<F>>>> {
        let mut gradients = Vec::new();
        let mut problems = self.file.problems();
        for info in model.params() {
            let name = format!("gradient.{}", info.name);
            let gradient = match self.file.find(&name) {
                Some(_) => Some(self.file.value::<F>(&name)?),
                None => None,
            };
            let fits = |array: &ndarray::ArrayD<F>| array.shape() == info.shape.dims();
            if let Some(array) = gradient.as_ref().filter(|array| !fits(array)) {
                problems
                    .add(Some(&name), || format!("needs {}, got {:?}", info.shape, array.shape()));
            }
            gradients.push(gradient.map(|array| array.into_raw_vec_and_offset().0));
        }
        problems.into_result()?;
        Ok(gradients)
    }
}

/// A number in the metadata.
fn number<T: FromStr>(file: &WeightsFile<'_>, key: &str) -> Result<Option<T>> {
    let Some(text) = file.metadata(key) else { return Ok(None) };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(refuse(file, key, format!("needs a number, got \"{text}\""))),
    }
}

fn need<T: FromStr>(file: &WeightsFile<'_>, key: &str) -> Result<T> {
    number(file, key)?.ok_or_else(|| refuse(file, key, "is missing".into()))
}

fn refuse(file: &WeightsFile<'_>, key: &str, message: String) -> crate::Error {
    let mut problems: FileProblems = file.problems();
    problems.add(Some(key), || message);
    problems.into()
}
