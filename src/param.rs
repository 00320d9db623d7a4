//! Learned arrays and saved arrays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{ArrayD, Dimension, IxDyn};

use crate::{Constraint, Regularizer, Result, Scalar, Shape, ShapeError, View, ViewMut};

/// Identity of a parameter within this process. A clone of a model keeps it, so an optimizer's state
/// follows the clone; it is never written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParamId(u64);

impl ParamId {
    fn next() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        Self(COUNTER.fetch_add(1, Ordering::Relaxed))
    }
}

/// Names one value of one parameter: a number from a process-wide counter, renewed whenever the value may have
/// changed. Two parameters with the same stamp hold the same value; a clone keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    fn next() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        Self(COUNTER.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a parameter is for. Selectors use it: decay weights, leave biases alone.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(Linear::new(2)).build()?;
/// let roles: Vec<Role> = model.params().map(|p| p.role).collect();
/// assert_eq!(roles, [Role::Weight, Role::Bias]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Multiplies the input.
    Weight,
    /// Is added to the output.
    Bias,
    /// Multiplies a normalised value (`gamma`; called `weight` in files).
    Scale,
    /// Is added to a normalised value (`beta`; called `bias` in files).
    Shift,
    /// Multiplies what is below 0 ([`crate::layers::PRelu`]). It decays only in a group with a weight decay of its own
    /// ([`crate::optimizers::GroupOptions::weight_decay`]).
    Slope,
}

/// A set of parameters that share a learning rate, a decay or a rule; see
/// [`crate::Sequential::assign_group`] and [`crate::optimizers::ModelOptimizer::group`].
///
/// ```
/// use layerwise::Group;
///
/// assert_eq!(Group::default(), Group::DEFAULT);
/// assert_ne!(Group::new(1), Group::DEFAULT);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Group(u16);

impl Group {
    /// Where every parameter starts.
    pub const DEFAULT: Group = Group(0);

    /// Group number `index`; number 0 is [`Group::DEFAULT`].
    pub const fn new(index: u16) -> Self {
        Self(index)
    }
}

/// A learned array with its gradient.
///
/// ```
/// use layerwise::{Param, Role};
/// use ndarray::arr1;
///
/// let mut scale = Param::new(arr1(&[1.0f32, 2.0]).into_dyn(), Role::Scale);
/// assert_eq!(scale.shape(), [2]);
/// assert!(scale.grad().is_none()); // made when first written
/// scale.grad_mut().unwrap().fill(0.5);
/// assert_eq!(scale.grad().unwrap()[0], 0.5);
/// ```
#[derive(Debug, Clone)]
pub struct Param<F: Scalar = f32> {
    id: ParamId,
    /// Renewed by every method that lends or changes `value`.
    stamp: Stamp,
    /// Contiguous and row-major, always.
    value: ArrayD<F>,
    /// Made at the first backward: a model that only predicts holds none. What it holds while `written` is false
    /// means nothing: whoever writes first clears it or overwrites it.
    grad: Option<ArrayD<F>>,
    written: bool,
    role: Role,
    trainable: bool,
    group: Group,
    regularizer: Option<Arc<dyn Regularizer<F>>>,
    constraint: Option<Arc<dyn Constraint<F>>>,
}

impl<F: Scalar> Param<F> {
    /// A trainable parameter in the default group, without regularizer or constraint.
    pub fn new(value: ArrayD<F>, role: Role) -> Self {
        // Contiguous: kernels and optimizers work on slices.
        let value = if value.is_standard_layout() {
            value
        } else {
            value.as_standard_layout().into_owned()
        };
        Self {
            id: ParamId::next(),
            stamp: Stamp::next(),
            value,
            grad: None,
            written: false,
            role,
            trainable: true,
            group: Group::DEFAULT,
            regularizer: None,
            constraint: None,
        }
    }

    /// Identity within this process.
    pub fn id(&self) -> ParamId {
        self.id
    }

    /// Which value it holds.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The value to be changed.
    fn value_mut(&mut self) -> &mut ArrayD<F> {
        self.stamp = Stamp::next();
        &mut self.value
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.value.len()
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The value.
    pub fn value(&self) -> View<'_, F> {
        self.value.view()
    }

    /// The value in row-major order.
    pub fn as_slice(&self) -> &[F] {
        self.value.as_slice().expect("Param keeps row-major order")
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes differ; the parameter keeps its value.
    ///
    /// ```
    /// use layerwise::{Param, Role};
    /// use ndarray::arr1;
    ///
    /// let mut bias = Param::new(arr1(&[0.0f32; 3]).into_dyn(), Role::Bias);
    /// assert!(bias.set_value(arr1(&[1.0, 2.0]).view().into_dyn()).is_err());
    /// bias.set_value(arr1(&[1.0, 2.0, 3.0]).view().into_dyn())?;
    /// assert_eq!(bias.as_slice(), [1.0, 2.0, 3.0]);
    /// # Ok::<(), layerwise::ShapeError>(())
    /// ```
    pub fn set_value(&mut self, value: View<'_, F>) -> Result<(), ShapeError> {
        assign(self.value_mut(), value)
    }

    /// Takes these elements, as many as it has, in row-major order.
    pub(crate) fn replace(&mut self, values: Vec<F>) {
        replace(self.value_mut(), values);
    }

    /// The value in row-major order, to be replaced.
    pub(crate) fn as_slice_mut(&mut self) -> &mut [F] {
        self.value_mut().as_slice_mut().expect("Param keeps row-major order")
    }

    /// Replaces the elements by these, as many, in row-major order.
    pub(crate) fn fill_from(&mut self, values: &[f64]) {
        for (to, &from) in self.value_mut().iter_mut().zip(values) {
            *to = F::lit(from);
        }
    }

    /// The gradient gathered since the last update, if any was written.
    pub fn grad(&self) -> Option<View<'_, F>> {
        self.grad.as_ref().filter(|_| self.written).map(|grad| grad.view())
    }

    /// The gradient to add to, or `None` if this parameter is frozen. Marks the gradient as written.
    pub fn grad_mut(&mut self) -> Option<ViewMut<'_, F>> {
        let dim = self.value.raw_dim();
        let (grad, fresh) = self.grad_place()?;
        if fresh {
            grad.fill(F::zero());
        }
        ViewMut::from_shape(dim, grad).ok()
    }

    /// The gradient to add to as a slice, as kernels want it.
    pub(crate) fn grad_slice(&mut self) -> Option<&mut [F]> {
        let (grad, fresh) = self.grad_place()?;
        if fresh {
            grad.fill(F::zero());
        }
        Some(grad)
    }

    /// The gradient as a slice, or `None` if this parameter is frozen, and whether nothing was written yet: then every
    /// element is to be overwritten, which saves a pass over memory. Else it is to be added to. Marks it as written.
    pub(crate) fn grad_place(&mut self) -> Option<(&mut [F], bool)> {
        if !self.trainable {
            return None;
        }
        let fresh = !std::mem::replace(&mut self.written, true);
        let dim = self.value.raw_dim();
        let grad = self.grad.get_or_insert_with(|| ArrayD::zeros(dim)).as_slice_mut()?;
        Some((grad, fresh))
    }

    /// Forgets the gradient gathered so far.
    ///
    /// ```
    /// # use layerwise::{Param, Role};
    /// let mut bias = Param::new(ndarray::arr1(&[0.0f32]).into_dyn(), Role::Bias);
    /// bias.grad_mut().unwrap().fill(2.0);
    /// bias.zero_grad();
    /// assert!(bias.grad().is_none());
    /// ```
    pub fn zero_grad(&mut self) {
        self.written = false;
    }

    /// Value and gradient for an update in one pass; the gradient counts as forgotten.
    pub(crate) fn take_grad(&mut self) -> Option<(&mut [F], &mut [F])> {
        if !std::mem::take(&mut self.written) {
            return None;
        }
        self.stamp = Stamp::next();
        Some((self.value.as_slice_mut()?, self.grad.as_mut()?.as_slice_mut()?))
    }

    /// Whether an optimizer may change it.
    pub fn trainable(&self) -> bool {
        self.trainable
    }

    /// Freezes or unfreezes it. A frozen parameter drops its gradient and its memory.
    pub fn set_trainable(&mut self, trainable: bool) {
        self.trainable = trainable;
        if !trainable {
            self.grad = None;
            self.written = false;
        }
    }

    /// The group it belongs to.
    pub fn group(&self) -> Group {
        self.group
    }

    /// Moves it to another group.
    pub fn set_group(&mut self, group: Group) {
        self.group = group;
    }

    /// The penalty on it, if any.
    pub fn regularizer(&self) -> Option<&dyn Regularizer<F>> {
        self.regularizer.as_deref()
    }

    /// Sets or removes the penalty on it.
    pub fn set_regularizer(&mut self, regularizer: Option<Arc<dyn Regularizer<F>>>) {
        self.regularizer = regularizer;
    }

    /// The limit on it, if any.
    pub fn constraint(&self) -> Option<&dyn Constraint<F>> {
        self.constraint.as_deref()
    }

    /// Sets or removes the limit on it.
    pub fn set_constraint(&mut self, constraint: Option<Arc<dyn Constraint<F>>>) {
        self.constraint = constraint;
    }

    /// Brings the value back inside the limit.
    pub(crate) fn constrain(&mut self) {
        let Some(constraint) = self.constraint.clone() else { return };
        let dim = self.value.raw_dim();
        if let Some(value) = self.value_mut().as_slice_mut() {
            constraint.project(value, dim.slice());
        }
    }

    /// Adds the penalty's derivative to the gradient and returns the penalty.
    pub(crate) fn regularize(&mut self) -> F {
        let Some(regularizer) = self.regularizer.clone().filter(|_| self.trainable) else {
            return F::zero();
        };
        let penalty = regularizer.penalty(self.as_slice());
        self.grad_mut();
        if let (Some(value), Some(grad)) =
            (self.value.as_slice(), self.grad.as_mut().and_then(|grad| grad.as_slice_mut()))
        {
            regularizer.accumulate(value, grad);
        }
        penalty
    }
}

/// Puts elements in the place of others without a copy.
fn replace<F: Scalar>(array: &mut ArrayD<F>, values: Vec<F>) {
    *array = ArrayD::from_shape_vec(array.raw_dim(), values).expect("as many elements as before");
}

fn assign<F: Scalar>(into: &mut ArrayD<F>, value: View<'_, F>) -> Result<(), ShapeError> {
    if into.shape() != value.shape() {
        return Err(ShapeError::new(Shape::from(into.shape()).to_string(), value.shape()));
    }
    into.assign(&value);
    Ok(())
}

/// An array that is saved with a model but not learned: running mean, running variance.
///
/// ```
/// let mean = layerwise::Buffer::<f32>::filled(&[3], 0.0);
/// assert_eq!(mean.value().shape(), [3]);
/// ```
#[derive(Debug, Clone)]
pub struct Buffer<F: Scalar = f32> {
    value: ArrayD<F>,
    statistics: Statistics,
    /// Batches in the mean, under [`Statistics::Average`].
    averaged: u64,
}

/// What running statistics do, and with them their layer; see [`crate::Sequential::set_statistics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Statistics {
    /// They follow the batches in train mode, unless the layer has parameters and all of them are frozen.
    #[default]
    Auto,
    /// They stand still: the layer runs in eval mode.
    Fixed,
    /// They follow the batches in train mode, also while the layer's parameters are frozen. PyTorch's way.
    Follow,
    /// They become the plain mean over all batches in train mode since this was set, each counting the same. PyTorch's
    /// `momentum=None`; see [`crate::training::reestimate_statistics`].
    Average,
}

impl<F: Scalar> Buffer<F> {
    /// A buffer with one value everywhere.
    pub fn filled(shape: &[usize], value: F) -> Self {
        let value = ArrayD::from_elem(IxDyn(shape), value);
        Self { value, statistics: Statistics::Auto, averaged: 0 }
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }

    /// What it does while its layer trains.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Changes what it does while its layer trains.
    pub fn set_statistics(&mut self, statistics: Statistics) {
        (self.statistics, self.averaged) = (statistics, 0);
    }

    /// Follows a batch's statistic: `value ← (1 − weight) · value + weight · batch`, or the mean over batches under
    /// [`Statistics::Average`]. For a layer's [`crate::Layer::update_buffers`].
    ///
    /// ```
    /// use layerwise::{Buffer, Statistics};
    ///
    /// let mut mean = Buffer::<f32>::filled(&[1], 0.0);
    /// mean.follow(0.25, [8.0]);
    /// assert_eq!(mean.as_slice(), [2.0]);
    /// mean.set_statistics(Statistics::Average);
    /// mean.follow(0.25, [8.0]);
    /// mean.follow(0.25, [4.0]);
    /// assert_eq!(mean.as_slice(), [6.0]);
    /// ```
    pub fn follow(&mut self, weight: F, batch: impl IntoIterator<Item = F>) {
        let weight = if self.statistics == Statistics::Average {
            self.averaged += 1;
            F::one() / F::lit(self.averaged as f64)
        } else {
            weight
        };
        let keep = F::one() - weight;
        for (value, batch) in self.as_slice_mut().iter_mut().zip(batch) {
            *value = keep * *value + weight * batch;
        }
    }

    /// The value.
    pub fn value(&self) -> View<'_, F> {
        self.value.view()
    }

    /// The value in row-major order.
    pub fn as_slice(&self) -> &[F] {
        self.value.as_slice().expect("Buffer keeps row-major order")
    }

    /// Takes these elements, as many as it has, in row-major order.
    pub(crate) fn replace(&mut self, values: Vec<F>) {
        replace(&mut self.value, values);
    }

    /// The value in row-major order, to be changed.
    pub fn as_slice_mut(&mut self) -> &mut [F] {
        self.value.as_slice_mut().expect("Buffer keeps row-major order")
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes differ; the buffer keeps its value.
    pub fn set_value(&mut self, value: View<'_, F>) -> Result<(), ShapeError> {
        assign(&mut self.value, value)
    }
}
