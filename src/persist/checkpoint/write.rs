//! Writing a checkpoint.

use std::path::Path;

use super::parts::{PartWriter, Resumable};
use super::{FORMAT, Position};
use crate::optimizers::ModelOptimizer;
use crate::persist::Storage;
use crate::persist::atomic::write_atomically;
use crate::persist::save::{Contents, Tensor, show};
use crate::{Entry, Result, Scalar, Sequential, Visitor};

/// A moment of a run, about to be saved: parameters and buffers, what the optimizer remembers, gradients gathered
/// but not used, the model's seed and passes, the position in the data, and what else [`Checkpoint::part`] names.
///
/// A run that goes on from it gives the same bits as one that was never interrupted, whatever batch it was cut at.
/// Not part of it is what the program says anew: layers, rule, schedules (functions of the step), penalties, groups, which
/// parameters are frozen.
///
/// It is a safetensors file: parameters as `model.{name}`, the rule's arrays as `optimizer.{name}.{array}`.
///
/// # Examples
/// ```
/// use layerwise::persist::{Checkpoint, Position, SavedCheckpoint};
/// use layerwise::prelude::*;
///
/// fn step(model: &mut Sequential, trainer: &mut Trainer<Mse>) -> Result<f32> {
///     Ok(trainer.step(model, &Array2::ones((4, 3)), &Array2::zeros((4, 1)).into_dyn())?.loss)
/// }
/// let make = || -> Result<_> {
///     let model = Sequential::builder([3]).add(Dropout::new(0.5)).add(Linear::new(1)).seed(1).build()?;
///     Ok((model, Trainer::new(Mse::new(), ModelOptimizer::new(Adam::new(), 0.01))))
/// };
/// let (mut model, mut trainer) = make()?;
/// step(&mut model, &mut trainer)?;
/// let position = Position { epoch: 0, batch: 1 };
/// let bytes = Checkpoint::of(&model, trainer.optimizer()).at(position).to_bytes()?;
///
/// let (mut again, mut its_trainer) = make()?;
/// let saved = SavedCheckpoint::from_bytes(&bytes)?;
/// saved.restore(&mut again, its_trainer.optimizer_mut())?;
/// assert_eq!(saved.position(), position);
/// assert_eq!(step(&mut again, &mut its_trainer)?, step(&mut model, &mut trainer)?);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint<'a, F: Scalar = f32> {
    model: &'a Sequential<F>,
    optimizer: &'a ModelOptimizer<F>,
    parts: PartWriter<'a, F>,
}

impl<'a, F: Scalar> Checkpoint<'a, F> {
    /// Of a model and its optimizer, between two steps.
    pub fn of(model: &'a Sequential<F>, optimizer: &'a ModelOptimizer<F>) -> Self {
        let parts = PartWriter { prefix: String::new(), values: Vec::new(), arrays: Vec::new() };
        let mut checkpoint = Self { model, optimizer, parts };
        let values = &mut checkpoint.parts;
        values.value("seed", model.seed().number());
        values.value("passes", model.passes());
        values.value("optimizer.gathered", optimizer.gathered());
        checkpoint.optimizer_state();
        checkpoint
    }

    fn optimizer_state(&mut self) {
        let state = self.optimizer.state(self.model);
        let parts = &mut self.parts;
        parts.value("optimizer.lr", state.lr);
        parts.value("optimizer.steps", state.steps);
        for param in state.params {
            parts.value(&format!("optimizer.{}.steps", param.param), param.steps);
            for (array, values) in param.arrays {
                let (name, len) = (format!("optimizer.{}.{array}", param.param), values.len());
                parts.array(&name, &[len], values);
            }
        }
    }

    /// Where in the data the run is.
    pub fn at(mut self, position: Position) -> Self {
        self.parts.value("position.epoch", position.epoch);
        self.parts.value("position.batch", position.batch);
        self
    }

    /// Something else with a state, under a name of its own.
    pub fn part(mut self, name: &str, part: &'a dyn Resumable<F>) -> Self {
        self.parts.prefix = format!("part.{name}.");
        part.save_state(&mut self.parts);
        self.parts.prefix.clear();
        self
    }

    /// A text of the program's own, such as a setting to compare when the run goes on.
    pub fn note(mut self, key: &str, text: impl Into<String>) -> Self {
        self.parts.value(&format!("note.{key}"), text.into());
        self
    }

    /// Updates so far.
    pub(super) fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Writes it: to a temporary file beside `path`, which takes its place when all is on the disk.
    ///
    /// # Errors
    /// [`crate::Error::File`] if it cannot be written; [`crate::Error::Weights`] if two parts have the same name. What was at
    /// `path` is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.contents(|contents| {
            let header = contents.header(Some(path))?;
            write_atomically(path, |out| contents.write(&header, out))
        })
    }

    /// The bytes that [`Checkpoint::save`] would write.
    ///
    /// # Errors
    /// [`crate::Error::Weights`], as there.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.contents(|contents| contents.to_bytes())
    }

    fn contents<R>(&self, write: impl FnOnce(Contents<'_, F>) -> R) -> R {
        let mut metadata = self.parts.values.clone();
        metadata.push((FORMAT.0.into(), FORMAT.1.into()));
        let storage = Storage::exact::<F>();
        write(Contents { storage, metadata, each: &|each| self.show(each) })
    }

    fn show(&self, each: &mut dyn FnMut(Tensor<'_, F>)) {
        show(self.model, "model.", each);
        self.model.visit(&mut Visitor::new(&mut |name, entry| {
            if let Entry::Param(param) = entry
                && let Some(grad) = param.grad()
                && let Some(values) = grad.as_slice()
            {
                let (name, shape) = (&*format!("gradient.{name}"), param.shape());
                each(Tensor { name, shape, is_weight: false, values });
            }
        }));
        for array in &self.parts.arrays {
            let (name, shape, values) = (&*array.name, &*array.shape, &*array.values);
            each(Tensor { name, shape, is_weight: false, values });
        }
    }
}
