//! The loss over a whole data set as a function of a model's parameters.

use ndarray::ArrayViewMut;

use crate::data::{Dataset, Targets};
use crate::error::ensure;
use crate::kernels::aligned::Aligned;
use crate::workspace::grown;
use crate::{
    Entry, EntryMut, Error, Loss, Minimizer, Minimum, Mode, Objective, Param, ParamName, Result,
    Scalar, Sequential, Visitor, VisitorMut,
};

/// The loss of a model over a data set, penalties included, as a function of its trainable parameters: an
/// [`Objective`] for [`crate::optimizers::Lbfgs`] and [`crate::optimizers::Newton`].
///
/// The parameters are one vector, in the order of [`Sequential::params`]. The samples are read where they lie. The model
/// runs in eval mode whatever its own is, so that the function is one: nothing is dropped, batch norm uses its running
/// statistics, and they stand still.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // Least squares: y = 2 x − 1.
/// let x = ndarray::arr2(&[[0.0], [1.0], [4.0]]).into_dyn();
/// let data = Dataset::new(x, ndarray::arr2(&[[-1.0], [1.0], [7.0]]).into_dyn())?;
/// let mut model = SequentialBuilder::<f64>::new([1]).add(Linear::new(1)).build()?;
/// let minimum = ModelObjective::new(&mut model, Mse::new(), &data).minimize(&Newton::new())?;
/// assert_eq!(minimum.iterations, 1);
/// assert!((model.value("0.weight").unwrap().sum() - 2.0).abs() < 1e-8);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct ModelObjective<'a, L, F: Scalar, T> {
    model: &'a mut Sequential<F>,
    loss: L,
    data: &'a Dataset<F, T>,
    batch_size: usize,
    grad: Aligned<F>,
}

impl<'a, F, L, T> ModelObjective<'a, L, F, T>
where
    F: Scalar,
    L: Loss<F>,
    T: Targets<Target = L::Target>,
{
    /// The loss over all of `data` in one batch.
    pub fn new(model: &'a mut Sequential<F>, loss: L, data: &'a Dataset<F, T>) -> Self {
        Self { model, loss, data, batch_size: data.len(), grad: Aligned::default() }
    }

    /// Takes the data in batches of this size, at least 1, to save memory: for losses that are a mean over
    /// samples, whose batches count by their samples.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// The trainable parameters as they are.
    pub fn point(&self) -> Vec<f64> {
        let mut point = Vec::new();
        self.model.visit(&mut Visitor::new(&mut |_, entry| {
            if let Entry::Param(param) = entry
                && param.trainable()
            {
                point.extend(param.as_slice().iter().map(|value| value.widen()));
            }
        }));
        point
    }

    /// Sets the trainable parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there is one number for each.
    pub fn set_point(&mut self, point: &[f64]) -> Result<()> {
        let mut variables = 0;
        self.each_trainable(|_, param| variables += param.numel());
        let valid = point.len() == variables;
        let must_be = "one number for each element of the trainable parameters";
        ensure(
            valid,
            "ModelObjective",
            "point",
            must_be,
            format_args!("{} for {variables}", point.len()),
        )?;
        let mut rest = point;
        self.each_trainable(|_, param| {
            let (values, others) = rest.split_at(param.numel());
            param.fill_from(values);
            rest = others;
        });
        Ok(())
    }

    /// Moves the model's parameters to a minimum near them.
    ///
    /// # Errors
    /// What the method reports, and what [`Objective::value_and_grad`] does; the parameters are then as they were.
    pub fn minimize(&mut self, method: &impl Minimizer) -> Result<Minimum> {
        let start = self.point();
        let mut x = start.clone();
        let result = method.minimize(self, &mut x);
        self.set_point(if result.is_ok() { &x } else { &start })?;
        result
    }

    fn each_trainable(&mut self, mut each: impl FnMut(&ParamName<'_>, &mut Param<F>)) {
        self.model.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
            if let EntryMut::Param(param) = entry
                && param.trainable()
            {
                each(name, param);
            }
        }));
    }

    /// Adds to the model's gradients; returns the loss and the penalties.
    fn accumulate(&mut self) -> Result<f64> {
        let (all, mut total, mut from) = (self.data.len(), 0.0, 0);
        while from < all {
            let to = all.min(from + self.batch_size);
            let share = (to - from) as f64 / all as f64;
            let batch = self.data.rows(from..to);
            let samples = self.model.forward_only(batch.x)?;
            let prediction = self.model.last_output(samples);
            let grad = grown(&mut self.grad, 1, prediction.len())?;
            let mut grad = ArrayViewMut::from_shape(prediction.raw_dim(), grad)
                .expect("the buffer was cut for the prediction");
            let loss = self.loss.value_and_grad(prediction, &batch.target, grad.view_mut())?;
            if share < 1.0 {
                grad *= F::lit(share);
            }
            self.model.backward(&grad)?;
            total += share * loss.widen();
            from = to;
        }
        Ok(total + self.model.regularize().widen())
    }

    fn read_grad(&mut self, grad: &mut [f64]) -> Result<()> {
        let (mut at, mut missing) = (0, None);
        self.each_trainable(|name, param| {
            let to = &mut grad[at..at + param.numel()];
            at += param.numel();
            match param.grad() {
                Some(from) => to.iter_mut().zip(from).for_each(|(to, from)| *to = from.widen()),
                None => missing = Some(Error::MissingGradient { name: name.to_string() }),
            }
        });
        missing.map_or(Ok(()), Err)
    }
}

impl<F, L, T> Objective for ModelObjective<'_, L, F, T>
where
    F: Scalar,
    L: Loss<F>,
    T: Targets<Target = L::Target>,
{
    /// Leaves the model at `x`, its gradients cleared.
    fn value_and_grad(&mut self, x: &[f64], grad: &mut [f64]) -> Result<f64> {
        ensure(self.batch_size > 0, "ModelObjective", "batch_size", "at least 1", self.batch_size)?;
        self.set_point(x)?;
        self.model.zero_grad();
        let mode = self.model.mode();
        self.model.eval();
        let value = self.accumulate();
        if mode == Mode::Train {
            self.model.train();
        }
        let value = value.and_then(|value| self.read_grad(grad).map(|()| value));
        self.model.zero_grad();
        value
    }

    /// That of the model's element.
    fn epsilon(&self) -> f64 {
        F::epsilon().widen()
    }
}
