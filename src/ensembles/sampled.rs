//! Predictions with the noise of training.

use ndarray::ArrayD;

use super::{Combine, Predictor};
use crate::error::ensure;
use crate::workspace::{grown, view};
use crate::{IntoView, Result, Scalar, Sequential, Shape, Statistics, View, Workspace};

/// Averages predictions that a model makes with the noise it was trained with: dropout that drops, pooling regions drawn
/// anew, noise that is added. Monte Carlo dropout.
///
/// The course's pattern is "training: add some randomness; test: average out randomness". Layers do it in one pass by an
/// approximation, such as dropout's scaling; many noisy passes do it as it is meant. Batch norm uses its running statistics, as
/// always when predicting. The `i`-th pass draws from a stream of its own, so a prediction can be repeated.
///
/// # Examples
/// ```
/// use layerwise::ensembles::Sampled;
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([100])
///     .add(Dropout::new(0.5))
///     .add(Linear::new(1).weight_init(Constant(0.01)))
///     .build()?;
/// let x = Array2::ones((1, 100));
/// let (one, many) = (Sampled::new(&model, 1)?, Sampled::new(&model, 1000)?);
/// assert!(one.predict(&x)?[[0, 0]] != 1.0);
/// // One pass has a standard deviation of 0.1.
/// assert!((many.predict(&x)?[[0, 0]] - 1.0).abs() < 4.0 * 0.1 / 1000f32.sqrt());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Making one fails with [`crate::Error::Setting`] for 0 passes.
///
/// # References
/// Gal & Ghahramani 2016; for pooling Graham 2014, who averages a dozen passes.
#[doc(alias = "MC dropout")]
#[derive(Debug, Clone)]
pub struct Sampled<F: Scalar = f32> {
    /// A copy whose running statistics stand still.
    model: Sequential<F>,
    passes: u64,
    combine: Combine,
}

impl<F: Scalar> Sampled<F> {
    /// A copy of `model`, whose predictions are means over `passes` passes, at least 1: of outputs if it has one, else, for
    /// `[classes]`, of probabilities.
    ///
    /// # Errors
    /// See [`Sampled`].
    pub fn new(model: &Sequential<F>, passes: u64) -> Result<Self> {
        ensure(passes > 0, "Sampled", "passes", "at least 1", passes)?;
        let mut model = model.clone();
        model.set_statistics(Statistics::Fixed, |_| true);
        let output = model.output_shape();
        let classes = output.rank() == 1 && output.numel() > 1;
        let combine = if classes { Combine::Probabilities } else { Combine::Outputs };
        Ok(Self { model, passes, combine })
    }

    /// What is averaged.
    ///
    /// # Errors
    /// As [`super::Ensemble::combine`].
    pub fn combine(mut self, combine: Combine) -> Result<Self> {
        combine.check("Sampled", self.model.output_shape())?;
        self.combine = combine;
        Ok(self)
    }

    /// Predicts a batch; see [`Combine`] for what comes out.
    ///
    /// # Errors
    /// What the model reports.
    pub fn predict<'a>(&self, x: impl IntoView<'a, F>) -> Result<ArrayD<F>> {
        let mut room = SampledRoom::default();
        Ok(self.predict_in(x.into_view(), &mut room)?.to_owned())
    }
}

/// Memory of a [`Sampled`]'s predictions.
#[derive(Debug)]
pub struct SampledRoom<F: Scalar = f32> {
    workspace: Workspace<F>,
    part: Vec<F>,
    mean: Vec<F>,
}

impl<F: Scalar> Default for SampledRoom<F> {
    fn default() -> Self {
        Self { workspace: Workspace::new(), part: Vec::new(), mean: Vec::new() }
    }
}

impl<F: Scalar> Predictor<F> for Sampled<F> {
    type Room = SampledRoom<F>;

    fn output_shape(&self) -> &Shape {
        self.model.output_shape()
    }

    fn predict_in<'r>(&self, x: View<'_, F>, room: &'r mut SampledRoom<F>) -> Result<View<'r, F>> {
        let SampledRoom { workspace, part, mean } = room;
        let (shape, share) = (self.model.output_shape(), F::lit(1.0 / self.passes as f64));
        let batch = x.shape().first().copied().unwrap_or(0);
        let mean = grown(mean, batch, shape.numel())?;
        mean.fill(F::zero());
        for pass in 0..self.passes {
            let outputs = self.model.sample_with(x.view(), pass, workspace)?;
            part.clear();
            part.extend(outputs.iter());
            self.combine.contribute(shape.numel(), part);
            mean.iter_mut().zip(&*part).for_each(|(mean, &part)| *mean += share * part);
        }
        self.combine.finish(mean);
        Ok(view(batch, shape, mean))
    }
}
