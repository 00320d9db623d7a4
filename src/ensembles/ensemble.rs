//! Models that predict together.

use ndarray::ArrayD;

use super::{Combine, Predictor};
use crate::kernels::parallel::{self, Cost, Write};
use crate::workspace::{grown, view};
use crate::{Error, IntoView, Result, Scalar, Sequential, Shape, ShapeError, View, Workspace};

/// Models whose predictions are averaged: usually better than each of them, the more so the less alike they are.
///
/// The course: "train independent models, at test time average their results". They may differ in everything but the shapes
/// of input and output. Members are evaluated in parallel, in the rayon pool that the caller is in; the result does not
/// depend on the number of threads.
///
/// # Shape
/// input and output of the members; see [`Combine`] for what the numbers are.
///
/// # Examples
/// ```
/// use layerwise::ensembles::{Combine, Ensemble};
/// use layerwise::prelude::*;
///
/// let model = |seed| Sequential::builder([4]).add(Linear::new(3)).seed(seed).build();
/// let ensemble = Ensemble::new([model(1)?, model(2)?, model(3)?])?;
/// let x = Array2::ones((2, 4));
/// let p = ensemble.probabilities(&x)?;
/// assert!((p.sum() - 2.0).abs() < 1e-5);
///
/// let data = Dataset::new(x.into_dyn(), vec![0, 2])?;
/// assert_eq!(accuracy(&ensemble, &data)?, 0.5); // it predicts the same for both
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Making one fails with [`Error::Setting`] without a model, and with [`Error::Shape`] for models of different shapes.
#[derive(Debug, Clone)]
pub struct Ensemble<F: Scalar = f32> {
    members: Vec<Sequential<F>>,
    combine: Combine,
    parameters: usize,
}

impl<F: Scalar> Ensemble<F> {
    /// An ensemble of these models, at least one, averaging probabilities where they put out `[classes]`, and outputs
    /// elsewhere.
    ///
    /// # Errors
    /// See [`Ensemble`].
    pub fn new(members: impl IntoIterator<Item = Sequential<F>>) -> Result<Self> {
        let members: Vec<_> = members.into_iter().collect();
        let Some(first) = members.first() else {
            return Err(Error::setting("Ensemble", "members", "at least one model", "none"));
        };
        for (i, member) in members.iter().enumerate() {
            let shapes = [
                (first.input_shape(), member.input_shape(), "all members need one input shape"),
                (first.output_shape(), member.output_shape(), "all members need one output shape"),
            ];
            for (wanted, got, hint) in shapes {
                if wanted != got {
                    let cause = ShapeError::new(wanted.to_string(), got.clone()).hint(hint);
                    return Err(Error::shape("Ensemble", cause).inside(i, &i.to_string()));
                }
            }
        }
        let classes = first.output_shape().rank() == 1;
        let combine = if classes { Combine::Probabilities } else { Combine::Outputs };
        let parameters = members.iter().map(|member| member.summary().parameters).sum();
        Ok(Self { members, combine, parameters })
    }

    /// What is averaged.
    ///
    /// # Errors
    /// [`Error::Setting`] for probabilities or votes of models whose output is not `[classes]`.
    pub fn combine(mut self, combine: Combine) -> Result<Self> {
        combine.check("Ensemble", self.output())?;
        self.combine = combine;
        Ok(self)
    }

    /// The models.
    pub fn members(&self) -> &[Sequential<F>] {
        &self.members
    }

    /// Predicts a batch; see [`Combine`] for what comes out.
    ///
    /// # Errors
    /// What a model reports.
    pub fn predict<'a>(&self, x: impl IntoView<'a, F>) -> Result<ArrayD<F>> {
        let mut room = EnsembleRoom::default();
        Ok(self.predict_in(x.into_view(), &mut room)?.to_owned())
    }

    /// Predicts a batch as probabilities of classes: the softmax of averaged outputs, or shares of votes.
    ///
    /// # Errors
    /// What a model reports; [`Error::Setting`] unless the output is `[classes]`.
    pub fn probabilities<'a>(&self, x: impl IntoView<'a, F>) -> Result<ArrayD<F>> {
        Combine::Probabilities.check("Ensemble", self.output())?;
        let mut outputs = self.predict(x)?;
        if let Some(outputs) = outputs.as_slice_mut() {
            self.combine.probabilities(self.output().numel(), outputs);
        }
        Ok(outputs)
    }

    fn output(&self) -> &Shape {
        self.members[0].output_shape()
    }
}

/// Memory of an [`Ensemble`]'s predictions.
#[derive(Debug)]
pub struct EnsembleRoom<F: Scalar = f32> {
    members: Vec<Place<F>>,
    mean: Vec<F>,
}

impl<F: Scalar> Default for EnsembleRoom<F> {
    fn default() -> Self {
        Self { members: Vec::new(), mean: Vec::new() }
    }
}

/// One member's.
#[derive(Debug)]
struct Place<F: Scalar> {
    workspace: Workspace<F>,
    outputs: Vec<F>,
    result: Result<()>,
}

impl<F: Scalar> Place<F> {
    fn predict(&mut self, model: &Sequential<F>, x: View<'_, F>, combine: Combine) -> Result<()> {
        let outputs = model.predict_with(x, &mut self.workspace)?;
        self.outputs.clear();
        self.outputs.extend(outputs.iter());
        combine.contribute(model.output_shape().numel(), &mut self.outputs);
        Ok(())
    }
}

impl<F: Scalar> Predictor<F> for Ensemble<F> {
    type Room = EnsembleRoom<F>;

    fn output_shape(&self) -> &Shape {
        self.output()
    }

    fn predict_in<'r>(&self, x: View<'_, F>, room: &'r mut EnsembleRoom<F>) -> Result<View<'r, F>> {
        let batch = x.shape().first().copied().unwrap_or(0);
        let EnsembleRoom { members: places, mean } = room;
        places.resize_with(self.members.len(), || Place {
            workspace: Workspace::new(),
            outputs: Vec::new(),
            result: Ok(()),
        });
        let cost = Cost::mul_adds(self.parameters.saturating_mul(batch));
        parallel::chunks(Write(places, 1), cost, |i, places| {
            for place in places {
                place.result = place.predict(&self.members[i], x.view(), self.combine);
            }
        });
        let mean = grown(mean, batch, self.output().numel())?;
        mean.fill(F::zero());
        let share = F::one() / F::lit(self.members.len() as f64);
        // In the members' order: the same bits on any number of threads.
        for place in places.iter_mut() {
            std::mem::replace(&mut place.result, Ok(()))?;
            mean.iter_mut().zip(&place.outputs).for_each(|(mean, &x)| *mean += share * x);
        }
        self.combine.finish(mean);
        Ok(view(batch, self.output(), mean))
    }
}
