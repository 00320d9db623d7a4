//! What a run has beside model and optimizer.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::persist::WeightsFile;
use crate::persist::problem::FileProblems;
use crate::schedules::ReduceOnPlateau;
use crate::{Result, Scalar};

/// Something whose state a checkpoint keeps: a [`ReduceOnPlateau`], an average, your own.
///
/// Settings are not state: a program makes the thing anew and then puts the state back.
///
/// # Examples
/// ```
/// use layerwise::persist::{Checkpoint, PartReader, PartWriter, Resumable, SavedCheckpoint};
/// use layerwise::prelude::*;
///
/// /// The losses so far.
/// #[derive(Debug, PartialEq)]
/// struct Losses(Vec<f32>);
///
/// impl Resumable for Losses {
///     fn save_state<'a>(&'a self, out: &mut PartWriter<'a>) {
///         out.array("losses", &[self.0.len()], &self.0[..]);
///     }
///     fn load_state(&mut self, saved: &mut PartReader<'_>) -> Result<()> {
///         self.0 = saved.array("losses")?.1;
///         Ok(())
///     }
/// }
///
/// let model = Sequential::builder([2]).add(Linear::new(1)).build()?;
/// let optimizer = ModelOptimizer::new(Sgd::new(), 0.1);
/// let bytes = Checkpoint::of(&model, &optimizer).part("losses", &Losses(vec![0.5, 0.25])).to_bytes()?;
///
/// let mut losses = Losses(Vec::new());
/// SavedCheckpoint::from_bytes(&bytes)?.restore_part("losses", &mut losses)?;
/// assert_eq!(losses, Losses(vec![0.5, 0.25]));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Resumable<F: Scalar = f32>: Debug {
    /// Writes the state.
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>);

    /// Puts a state back.
    ///
    /// # Errors
    /// What `saved` reports, and whatever does not fit. Nothing is changed then.
    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()>;
}

/// Takes the state of a [`Resumable`].
#[derive(Debug)]
pub struct PartWriter<'a, F: Scalar = f32> {
    pub(super) prefix: String,
    pub(super) values: Vec<(String, String)>,
    pub(super) arrays: Vec<Array<'a, F>>,
}

#[derive(Debug)]
pub(super) struct Array<'a, F: Scalar> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: Cow<'a, [F]>,
}

impl<'a, F: Scalar> PartWriter<'a, F> {
    /// What `write` writes, under names that begin with `name`.
    pub(crate) fn inside(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        let outside = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        write(self);
        self.prefix.truncate(outside);
    }

    /// A number or text. Floats keep every bit.
    pub fn value(&mut self, name: &str, value: impl Display) {
        self.values.push((format!("{}{name}", self.prefix), value.to_string()));
    }

    /// A number or text that may be missing.
    pub fn option(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(name, value);
        }
    }

    /// An array in row-major order.
    ///
    /// # Panics
    /// If there are not as many elements as the shape has.
    pub fn array(&mut self, name: &str, shape: &[usize], values: impl Into<Cow<'a, [F]>>) {
        let values = values.into();
        let needed: usize = shape.iter().product();
        assert_eq!(values.len(), needed, "{name}: as many elements as {shape:?} has");
        let (name, shape) = (format!("{}{name}", self.prefix), shape.into());
        self.arrays.push(Array { name, shape, values });
    }
}

/// Gives back what a [`PartWriter`] took.
#[derive(Debug)]
pub struct PartReader<'a, F: Scalar = f32> {
    pub(super) file: &'a WeightsFile<'a>,
    pub(super) prefix: String,
    pub(super) element: std::marker::PhantomData<F>,
}

impl<F: Scalar> PartReader<'_, F> {
    /// What was written inside of this name.
    pub(crate) fn inside(&self, name: &str) -> PartReader<'_, F> {
        let prefix = format!("{}{name}.", self.prefix);
        PartReader { file: self.file, prefix, element: self.element }
    }

    /// The error that a value is not as needed.
    pub(crate) fn error(&self, name: &str, message: String) -> crate::Error {
        let mut problems: FileProblems = self.file.problems();
        problems.add(Some(&format!("{}{name}", self.prefix)), || message);
        problems.into()
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// [`crate::Error::Weights`] if it is not there, or not a `T`.
    pub fn value<T: FromStr>(&self, name: &str) -> Result<T> {
        match self.option(name)? {
            Some(value) => Ok(value),
            None => self.refuse(name, || "is missing".into()),
        }
    }

    /// A value that may be missing.
    ///
    /// # Errors
    /// [`crate::Error::Weights`] if it is not a `T`.
    pub fn option<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.file.metadata(&format!("{}{name}", self.prefix)) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => self
                .refuse(name, || format!("needs {}, got \"{text}\"", std::any::type_name::<T>())),
        }
    }

    /// An array that must be there: its shape and its elements.
    ///
    /// # Errors
    /// [`crate::Error::Weights`] if it is not there, or not of floats.
    pub fn array(&self, name: &str) -> Result<(Vec<usize>, Vec<F>)> {
        let array = self.file.value::<F>(&format!("{}{name}", self.prefix))?;
        let shape = array.shape().to_vec();
        Ok((shape, array.into_raw_vec_and_offset().0))
    }

    /// The names of all arrays.
    pub fn arrays(&self) -> Vec<String> {
        let names = self.file.tensors().map(|tensor| tensor.name);
        names.filter_map(|name| name.strip_prefix(&self.prefix).map(String::from)).collect()
    }

    fn refuse<T>(&self, name: &str, message: impl FnOnce() -> String) -> Result<T> {
        Err(self.error(name, message()))
    }
}

impl<F: Scalar> Resumable<F> for ReduceOnPlateau {
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        let (best, bad, cooling) = self.state();
        out.option("best", best);
        out.value("bad", bad);
        out.value("cooling", cooling);
    }

    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()> {
        self.set_state(saved.option("best")?, saved.value("bad")?, saved.value("cooling")?);
        Ok(())
    }
}
