//! A copy of what a model has learned.

use crate::persist::{PartReader, PartWriter};
use crate::{
    Entry, EntryMut, Error, Result, Scalar, Sequential, Shape, ShapeError, Visitor, VisitorMut,
};

/// A copy of a model's parameters and buffers, without the model: to go back to, to keep the best, to average.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::Weights;
///
/// let mut model = Sequential::builder([2]).add(Linear::new(1)).build()?;
/// let before = Weights::of(&model);
/// model.set_value("0.weight", &ndarray::arr2(&[[7.0, 7.0]]))?;
/// before.restore(&mut model)?;
/// assert_eq!(Weights::of(&model), before);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Weights<F: Scalar = f32> {
    pub(super) arrays: Vec<Saved<F>>,
}

/// One parameter or buffer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved<F> {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) learned: bool,
    pub(super) values: Vec<F>,
}

impl<F: Scalar> Weights<F> {
    /// Copies those of a model.
    pub fn of(model: &Sequential<F>) -> Self {
        let mut arrays = Vec::new();
        model.visit(&mut Visitor::new(&mut |name, entry| {
            let (shape, learned, values) = parts(&entry);
            let (shape, values) = (shape.into(), values.to_vec());
            arrays.push(Saved { name: name.to_string(), shape, learned, values });
        }));
        Self { arrays }
    }

    /// Names, shapes and row-major values, in the model's order.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// use layerwise::training::Weights;
    ///
    /// let model = Sequential::builder([2]).add(Linear::new(1)).build()?;
    /// let weights = Weights::of(&model);
    /// let names: Vec<&str> = weights.iter().map(|(name, _, _)| name).collect();
    /// assert_eq!(names, ["0.weight", "0.bias"]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Shape, &[F])> {
        self.arrays.iter().map(|array| (array.name.as_str(), &array.shape, &array.values[..]))
    }

    /// The values of the parameter or buffer of this name, to be changed.
    pub fn values_mut(&mut self, name: &str) -> Option<&mut [F]> {
        self.arrays.iter_mut().find(|array| array.name == name).map(|array| &mut array.values[..])
    }

    /// Copies a model's anew, in the memory that is there.
    ///
    /// # Errors
    /// As for [`Weights::restore`].
    pub fn update(&mut self, model: &Sequential<F>) -> Result<()> {
        self.check(model)?;
        self.each(model, |saved, values| saved.values.copy_from_slice(values));
        Ok(())
    }

    /// Puts them into a model of the same parameters and buffers.
    ///
    /// # Errors
    /// [`Error::UnknownName`] or [`Error::Value`] for a model of other names or shapes; it is then as it was.
    pub fn restore(&self, model: &mut Sequential<F>) -> Result<()> {
        self.check(model)?;
        let mut arrays = self.arrays.iter();
        each_mut(model, |values| {
            if let Some(saved) = arrays.next() {
                values.copy_from_slice(&saved.values);
            }
        });
        Ok(())
    }

    /// Writes them into a checkpoint, in their order.
    pub(crate) fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        out.value("arrays", self.arrays.len());
        for (i, array) in self.arrays.iter().enumerate() {
            out.value(&format!("array.{i}"), &array.name);
            out.value(&format!("array.{i}.learned"), array.learned);
            out.array(&array.name, array.shape.dims(), &array.values[..]);
        }
    }

    /// Reads them from a checkpoint.
    pub(crate) fn load_state(saved: &PartReader<'_, F>) -> Result<Self> {
        let mut arrays = Vec::new();
        for i in 0..saved.value::<usize>("arrays")? {
            let name: String = saved.value(&format!("array.{i}"))?;
            let learned = saved.value(&format!("array.{i}.learned"))?;
            let (shape, values) = saved.array(&name)?;
            arrays.push(Saved { name, shape: shape.into(), learned, values });
        }
        Ok(Self { arrays })
    }

    /// Exchanges them with a model's.
    pub(super) fn swap(&mut self, model: &mut Sequential<F>) -> Result<()> {
        self.check(model)?;
        let mut arrays = self.arrays.iter_mut();
        each_mut(model, |values| {
            if let Some(saved) = arrays.next() {
                values.swap_with_slice(&mut saved.values);
            }
        });
        Ok(())
    }

    /// Calls `each` with every saved array and the model's; to be called after [`Weights::check`].
    pub(super) fn each(
        &mut self,
        model: &Sequential<F>,
        mut each: impl FnMut(&mut Saved<F>, &[F]),
    ) {
        let mut arrays = self.arrays.iter_mut();
        model.visit(&mut Visitor::new(&mut |_, entry| {
            if let Some(saved) = arrays.next() {
                each(saved, parts(&entry).2);
            }
        }));
    }

    /// Whether the model has the same names and shapes, in this order.
    pub(super) fn check(&self, model: &Sequential<F>) -> Result<()> {
        let (mut at, mut same) = (0, true);
        model.visit(&mut Visitor::new(&mut |name, entry| {
            let shape = parts(&entry).0;
            same &= (self.arrays.get(at))
                .is_some_and(|saved| name.is(&saved.name) && saved.shape.dims() == shape);
            at += 1;
        }));
        if same && at == self.arrays.len() { Ok(()) } else { Err(self.difference(model)) }
    }

    /// The first difference from a model, with its names.
    fn difference(&self, model: &Sequential<F>) -> Error {
        let theirs = Self::of(model).arrays;
        for i in 0..self.arrays.len().max(theirs.len()) {
            let (name, known) = match (self.arrays.get(i), theirs.get(i)) {
                (Some(a), Some(b)) if a.name == b.name => {
                    if a.shape == b.shape {
                        continue;
                    }
                    let cause = ShapeError::new(b.shape.to_string(), a.shape.clone());
                    return Error::Value { name: a.name.clone(), cause };
                }
                (Some(a), _) => (a.name.clone(), &theirs),
                (None, Some(b)) => (b.name.clone(), &self.arrays),
                (None, None) => break,
            };
            let known: Vec<&str> = known.iter().map(|array| array.name.as_str()).collect();
            return Error::UnknownName { name, known: known.join(", ") };
        }
        Error::Data("two models differ in nothing".into())
    }
}

/// Shape, whether it is learned, and values.
fn parts<'e, F: Scalar>(entry: &'e Entry<'_, F>) -> (&'e [usize], bool, &'e [F]) {
    match entry {
        Entry::Param(param) => (param.shape(), true, param.as_slice()),
        Entry::Buffer(buffer) => (buffer.shape(), false, buffer.as_slice()),
    }
}

fn each_mut<F: Scalar>(model: &mut Sequential<F>, mut each: impl FnMut(&mut [F])) {
    model.visit_mut(&mut VisitorMut::new(&mut |_, entry| match entry {
        EntryMut::Param(param) => each(param.as_slice_mut()),
        EntryMut::Buffer(buffer) => each(buffer.as_slice_mut()),
    }));
}
