//! Predictions for several copies of the input.

use ndarray::{ArrayD, Ix4};

use super::{Combine, Predictor};
use crate::augment::Pipeline;
use crate::error::ensure;
use crate::workspace::{grown, view, view_mut};
use crate::{Error, IntoView, Result, Scalar, Sequential, Shape, ShapeError, View};

/// Averages a model's predictions for augmented copies of each sample (test-time augmentation).
///
/// Three ways to make the copies:
///
/// - [`TestTime::augmented`]: random changes by a pipeline, as in training. fastai's weighting: the plain image counts a quarter,
///   its four augmented copies the rest.
/// - [`TestTime::five_crop`]: the four corners and the centre of images larger than the model's input, with equal weights.
/// - [`TestTime::ten_crop`]: these and their mirror images.
///
/// Works for any [`Predictor`], an ensemble too. Random changes depend on the pipeline's seed, the copy and the sample's place in
/// the batch.
///
/// # Shape
/// input `[n, channels, height, width]` → the model's output; see [`Combine`] for what the numbers are.
///
/// # Examples
/// ```
/// use layerwise::augment::{Pipeline, RandomCrop};
/// use layerwise::ensembles::TestTime;
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 8, 8]).add(Flatten).add(Linear::new(3)).seed(1).build()?;
/// let shifts = Pipeline::new(Seed::new(1)).add(RandomCrop::new(2));
/// let tta = TestTime::augmented(&model, shifts, 4)?;
/// let data = Dataset::new(Array4::ones((2, 1, 8, 8)).into_dyn(), vec![0, 1])?;
/// assert!(accuracy(&tta, &data)? <= 1.0);
/// assert_eq!(tta.predict(&data.samples())?.shape(), [2, 3]);
///
/// // Larger images than the model was built for:
/// let crops = TestTime::ten_crop(&model)?;
/// assert_eq!(crops.predict(&Array4::ones((2, 1, 10, 12)))?.shape(), [2, 3]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Making one fails with [`Error::Setting`] for 0 copies or a weight outside 0 to 1. A prediction fails with [`Error::Input`]
/// for images smaller than the model's input, and as [`Pipeline::apply`].
///
/// # References
/// Krizhevsky et al. 2012 (ten crops); fastai's `tta`, whose `beta` is the plain image's weight. The course's recipe for
/// ResNet averages ten crops at five scales: one `TestTime` for each scale.
#[doc(alias = "TTA")]
#[derive(Debug)]
pub struct TestTime<'m, M, F: Scalar = f32> {
    model: &'m M,
    copies: Copies<F>,
    combine: Combine,
}

#[derive(Debug)]
enum Copies<F: Scalar> {
    Augmented { pipeline: Pipeline<F>, copies: u64, plain: f64 },
    Crops { size: [usize; 3], mirrored: bool },
}

impl<'m, F: Scalar, M: Predictor<F>> TestTime<'m, M, F> {
    fn new(model: &'m M, copies: Copies<F>) -> Self {
        let classes = model.output_shape().rank() == 1;
        let combine = if classes { Combine::Probabilities } else { Combine::Outputs };
        Self { model, copies, combine }
    }

    /// `copies`: how many augmented copies of each sample beside the plain one, at least 1; fastai's number is 4.
    ///
    /// # Errors
    /// See [`TestTime`].
    pub fn augmented(model: &'m M, pipeline: Pipeline<F>, copies: u64) -> Result<Self> {
        ensure(copies > 0, "TestTime", "copies", "at least 1", copies)?;
        Ok(Self::new(model, Copies::Augmented { pipeline, copies, plain: 0.25 }))
    }

    /// The plain sample's share of the result, from 0 to 1; default 0.25. `1 / (copies + 1)` makes it count like the others.
    ///
    /// # Errors
    /// See [`TestTime`]; also where there is no plain sample, for crops.
    pub fn plain_weight(mut self, weight: f64) -> Result<Self> {
        let valid = (0.0..=1.0).contains(&weight);
        ensure(valid, "TestTime", "plain_weight", "from 0 to 1", weight)?;
        let Copies::Augmented { plain, .. } = &mut self.copies else {
            let must_be = "left out for crops, which count alike";
            return Err(Error::setting("TestTime", "plain_weight", must_be, weight));
        };
        *plain = weight;
        Ok(self)
    }

    /// What is averaged.
    ///
    /// # Errors
    /// As [`super::Ensemble::combine`].
    pub fn combine(mut self, combine: Combine) -> Result<Self> {
        combine.check("TestTime", self.model.output_shape())?;
        self.combine = combine;
        Ok(self)
    }

    /// Predicts a batch; see [`Combine`] for what comes out.
    ///
    /// # Errors
    /// See [`TestTime`].
    pub fn predict<'a>(&self, x: impl IntoView<'a, F>) -> Result<ArrayD<F>> {
        let mut room = TestTimeRoom::default();
        Ok(self.predict_in(x.into_view(), &mut room)?.to_owned())
    }
}

impl<'m, F: Scalar> TestTime<'m, Sequential<F>, F> {
    /// The four corners and the centre.
    ///
    /// # Errors
    /// [`Error::Input`] if the model does not take images.
    pub fn five_crop(model: &'m Sequential<F>) -> Result<Self> {
        Self::crops(model, false)
    }

    /// The four corners and the centre, and their mirror images.
    ///
    /// # Errors
    /// [`Error::Input`] if the model does not take images.
    pub fn ten_crop(model: &'m Sequential<F>) -> Result<Self> {
        Self::crops(model, true)
    }

    fn crops(model: &'m Sequential<F>, mirrored: bool) -> Result<Self> {
        let size = model.input_shape().image().map_err(Error::Input)?;
        Ok(Self::new(model, Copies::Crops { size, mirrored }))
    }
}

/// Memory of a [`TestTime`]'s predictions.
#[derive(Debug)]
pub struct TestTimeRoom<R, F: Scalar = f32> {
    inner: R,
    copy: Vec<F>,
    part: Vec<F>,
    mean: Vec<F>,
}

impl<R: Default, F: Scalar> Default for TestTimeRoom<R, F> {
    fn default() -> Self {
        Self { inner: R::default(), copy: Vec::new(), part: Vec::new(), mean: Vec::new() }
    }
}

impl<F: Scalar, M: Predictor<F>> Predictor<F> for TestTime<'_, M, F> {
    type Room = TestTimeRoom<M::Room, F>;

    fn output_shape(&self) -> &Shape {
        self.model.output_shape()
    }

    fn predict_in<'r>(&self, x: View<'_, F>, room: &'r mut Self::Room) -> Result<View<'r, F>> {
        let batch = x.shape().first().copied().unwrap_or(0);
        grown(&mut room.mean, batch, self.output_shape().numel())?.fill(F::zero());
        match &self.copies {
            Copies::Augmented { pipeline, copies, plain } => {
                let weight = (1.0 - plain) / *copies as f64;
                let (shape, samples) = (shape_of(&x), (0..batch).collect::<Vec<_>>());
                for copy in 0..*copies {
                    copy_of(&x, &mut room.copy);
                    let mut changed = view_mut(batch, &shape, &mut room.copy);
                    pipeline.apply(&mut changed, &samples, copy)?;
                    self.add_copy(batch, &shape, weight, room)?;
                }
                if *plain > 0.0 {
                    copy_of(&x, &mut room.copy);
                    self.add_copy(batch, &shape, *plain, room)?;
                }
            }
            Copies::Crops { size, mirrored } => {
                let shape = Shape::from(*size);
                let sides: &[bool] = if *mirrored { &[false, true] } else { &[false] };
                let weight = 1.0 / (5 * sides.len()) as f64;
                for (place, &mirror) in
                    (0..5).flat_map(|place| sides.iter().map(move |m| (place, m)))
                {
                    crop(&x, *size, place, mirror, &mut room.copy)?;
                    self.add_copy(batch, &shape, weight, room)?;
                }
            }
        }
        let mean = &mut room.mean[..batch * self.output_shape().numel()];
        self.combine.finish(mean);
        Ok(view(batch, self.output_shape(), mean))
    }
}

impl<F: Scalar, M: Predictor<F>> TestTime<'_, M, F> {
    /// Adds the prediction for `room.copy` to the mean.
    fn add_copy(
        &self,
        batch: usize,
        shape: &Shape,
        weight: f64,
        room: &mut TestTimeRoom<M::Room, F>,
    ) -> Result<()> {
        let x = view(batch, shape, &room.copy[..batch * shape.numel()]);
        let outputs = self.model.predict_in(x, &mut room.inner)?;
        room.part.clear();
        room.part.extend(outputs.iter());
        self.combine.contribute(self.output_shape().numel(), &mut room.part);
        let weight = F::lit(weight);
        room.mean.iter_mut().zip(&room.part).for_each(|(mean, &part)| *mean += weight * part);
        Ok(())
    }
}

fn shape_of<F: Scalar>(x: &View<'_, F>) -> Shape {
    Shape::from(x.shape().get(1..).unwrap_or_default())
}

fn copy_of<F: Scalar>(x: &View<'_, F>, to: &mut Vec<F>) {
    to.clear();
    to.extend(x.iter());
}

/// Copies one of five places of every image, mirrored or not.
fn crop<F: Scalar>(
    x: &View<'_, F>,
    [channels, height, width]: [usize; 3],
    place: usize,
    mirror: bool,
    to: &mut Vec<F>,
) -> Result<()> {
    let misfit = || {
        let needs = format!("[batch, {channels}, at least {height}, at least {width}]");
        Error::Input(ShapeError::new(needs, x.shape()).hint("crops are cut from larger images"))
    };
    let x = x.view().into_dimensionality::<Ix4>().map_err(|_| misfit())?;
    let (_, c, h, w) = x.dim();
    if c != channels || h < height || w < width {
        return Err(misfit());
    }
    let (bottom, right) = (h - height, w - width);
    let (top, left) =
        [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom / 2, right / 2)][place.min(4)];
    to.clear();
    for image in x.outer_iter() {
        for plane in image.outer_iter() {
            for y in top..top + height {
                let row = (left..left + width).map(|x| plane[[y, x]]);
                if mirror { to.extend(row.rev()) } else { to.extend(row) }
            }
        }
    }
    Ok(())
}
