//! Centering, scaling and whitening: what is learned from the training data and applied to any.
//!
//! | preprocessor | what it does | gives |
//! |---|---|---|
//! | [`MeanImage`] | subtracts the mean image (AlexNet) | [`Scaling`] |
//! | [`ChannelMean`] | subtracts each channel's mean (VGG) | [`Scaling`] |
//! | [`ChannelStandardize`] | each channel to mean 0 and standard deviation 1 | [`Scaling`] |
//! | [`FeatureStandardize`] | each feature to mean 0 and standard deviation 1 | [`Scaling`] |
//! | [`MinMax`] | each feature to a range | [`Scaling`] |
//! | [`Pca`] | rotates to the principal components, the largest first; reduces, whitens | [`Projection`] |
//! | [`Zca`] | whitens and stays as near to the data as can be | [`Projection`] |
//! | [`OneHot`] | class indices to rows of 0 and 1 | arrays |
//!
//! Statistics come from the training split only; validation and test data are transformed with them, never
//! fitted to. A fitted transform is also a layer without parameters: as the first layer of a
//! [`crate::Sequential`] it is saved with the model, and nobody forgets it at inference. With the feature `serde` it is
//! data of its own, in JSON or any other format; what cannot be a fitted transform is refused when it is read.
//!
//! ```
//! use layerwise::preprocessing::{FeatureStandardize, Preprocessor, Transform};
//! use layerwise::prelude::*;
//!
//! let train = ndarray::arr2(&[[1.0f64, 10.0], [3.0, 30.0]]);
//! let scaling = FeatureStandardize.fit(&train)?;
//! assert_eq!(scaling.apply(&train)?, ndarray::arr2(&[[-1.0, -1.0], [1.0, 1.0]]).into_dyn());
//!
//! let model = layerwise::SequentialBuilder::<f64>::new([2]).add(scaling).add(Linear::new(3)).build()?;
//! assert_eq!(model.predict(&train)?.shape(), [2, 3]); // takes the data as they are
//! # Ok::<(), layerwise::Error>(())
//! ```

mod covariance;
mod moments;
mod one_hot;
mod projection;
#[cfg(feature = "serde")]
mod saved;
mod scalers;
mod scaling;
mod whitening;

pub use covariance::Covariance;
pub use moments::{Moments, Per};
pub use one_hot::OneHot;
pub use projection::Projection;
#[cfg(feature = "serde")]
pub(crate) use projection::SavedProjection;
pub use scalers::{ChannelMean, ChannelStandardize, FeatureStandardize, MeanImage, MinMax};
#[cfg(feature = "serde")]
pub(crate) use scaling::SavedScaling;
pub use scaling::Scaling;
pub use whitening::{Pca, Zca};

use std::fmt::Debug;

use ndarray::ArrayD;

use crate::data::{Dataset, Loader, Targets};
use crate::layers::door;
use crate::{Error, IntoView, Result, Scalar, Scratch, Shape, ShapeError, View};

/// Learns a transform from training data: all at once, or batch by batch in one pass, which gives the same.
///
/// Statistics are gathered in `f64`, by Welford's method, which is exact where sums of squares lose their
/// digits.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{ChannelStandardize, Preprocessor};
/// use layerwise::prelude::*;
///
/// let images = Array4::from_shape_fn((10, 3, 4, 4), |(n, c, y, x)| (n * c + y * x) as f32);
/// let data = Dataset::new(images.clone().into_dyn(), vec![0usize; 10])?;
/// let (at_once, streamed) =
///     (ChannelStandardize.fit(&images)?, ChannelStandardize.fit_batches(&mut data.batches(3)?)?);
/// assert_eq!(at_once.shift(), streamed.shift());
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Preprocessor: Debug {
    /// What is gathered.
    type Statistics: Statistics;
    /// What comes of it.
    type Fitted<F: Scalar>;

    /// Empty statistics of samples of this shape.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting out of range; [`Error::Preprocessing`] for samples that it cannot take.
    fn statistics(&self, sample: &Shape) -> Result<Self::Statistics>;

    /// The transform that follows from the statistics.
    ///
    /// # Errors
    /// [`Error::Preprocessing`] for too few samples, or if one was not finite.
    fn fitted<F: Scalar>(&self, statistics: &Self::Statistics) -> Result<Self::Fitted<F>>;

    /// Fits to samples `[n, ..sample shape]`.
    ///
    /// # Errors
    /// As [`Preprocessor::statistics`] and [`Preprocessor::fitted`].
    fn fit<'a, F: Scalar>(&self, x: impl IntoView<'a, F>) -> Result<Self::Fitted<F>>
    where
        Self: Sized,
    {
        let x = x.into_view();
        let sample = Shape::from(x.shape().get(1..).unwrap_or_default());
        let mut statistics = self.statistics(&sample)?;
        statistics.update(&door::slice(&x));
        self.fitted(&statistics)
    }

    /// Fits to one epoch of batches: for data that do not fit memory.
    ///
    /// # Errors
    /// As [`Preprocessor::fit`], and what reading reports.
    fn fit_batches<F: Scalar, B: Loader<F>>(&self, batches: &mut B) -> Result<Self::Fitted<F>>
    where
        Self: Sized,
    {
        batches.restart();
        let mut statistics = None;
        while let Some(batch) = batches.next_batch()? {
            let statistics = match &mut statistics {
                Some(statistics) => statistics,
                None => {
                    let sample = Shape::from(batch.x.shape().get(1..).unwrap_or_default());
                    statistics.insert(self.statistics(&sample)?)
                }
            };
            statistics.update(&door::slice(&batch.x));
        }
        match statistics {
            Some(statistics) => self.fitted(&statistics),
            None => Err(Error::Data("needs at least one batch to fit to, got none".into())),
        }
    }
}

/// Figures gathered from samples, in one pass over any number of pieces.
pub trait Statistics: Debug {
    /// Takes in whole samples, one after another in row-major order.
    fn update<F: Scalar>(&mut self, samples: &[F]);
}

/// A fitted transform: applies to any samples of its shape, and back.
pub trait Transform<F: Scalar = f32>: Debug {
    /// Shape of a sample before.
    fn input_shape(&self) -> &Shape;

    /// Shape of a sample after.
    fn output_shape(&self) -> &Shape;

    /// Writes the transformed samples to `y`; lengths fit the shapes.
    fn apply_into(&self, x: &[F], y: &mut [F], scratch: &mut Scratch<F>);

    /// Writes the original samples to `x`, as far as they can be known.
    fn inverse_into(&self, y: &[F], x: &mut [F], scratch: &mut Scratch<F>);

    /// The transformed samples.
    ///
    /// # Errors
    /// [`Error::Preprocessing`] if the samples have another shape.
    fn apply<'a>(&self, x: impl IntoView<'a, F>) -> Result<ArrayD<F>>
    where
        Self: Sized,
    {
        run(x.into_view(), self.input_shape(), self.output_shape(), |x, y, scratch| {
            self.apply_into(x, y, scratch);
        })
    }

    /// The samples that `apply` made `y` from, up to rounding; for a projection to fewer components the
    /// nearest that can be made from these.
    ///
    /// # Errors
    /// [`Error::Preprocessing`] if the samples have another shape.
    fn inverse<'a>(&self, y: impl IntoView<'a, F>) -> Result<ArrayD<F>>
    where
        Self: Sized,
    {
        run(y.into_view(), self.output_shape(), self.input_shape(), |y, x, scratch| {
            self.inverse_into(y, x, scratch);
        })
    }
}

fn run<F: Scalar>(
    from: View<'_, F>,
    input: &Shape,
    output: &Shape,
    work: impl FnOnce(&[F], &mut [F], &mut Scratch<F>),
) -> Result<ArrayD<F>> {
    let Some((&batch, sample)) = from.shape().split_first() else {
        return Err(misfit(input, from.shape()));
    };
    if sample != input.dims() {
        return Err(misfit(input, from.shape()));
    }
    let mut to = ArrayD::zeros([&[batch], output.dims()].concat());
    door::fill(&mut to.view_mut(), |to| work(&door::slice(&from), to, &mut Scratch::default()));
    Ok(to)
}

fn misfit(needs: &Shape, got: &[usize]) -> Error {
    let cause = ShapeError::new(needs.with_batch(), got).hint("it was fitted to this shape");
    Error::Preprocessing(cause.to_string())
}

impl<F: Scalar, T: Targets> Dataset<F, T> {
    /// The same data set with transformed samples.
    ///
    /// ```
    /// use layerwise::preprocessing::{MinMax, Preprocessor};
    /// use layerwise::prelude::*;
    ///
    /// let train = Dataset::new(ndarray::arr2(&[[0.0f32], [10.0]]).into_dyn(), vec![0, 1])?;
    /// let test = Dataset::new(ndarray::arr2(&[[5.0f32]]).into_dyn(), vec![0])?;
    /// let scaling = MinMax::new(0.0, 1.0).fit(train.samples())?;
    /// assert_eq!(test.transformed(&scaling)?.sample(0), Some(&[0.5][..]));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Preprocessing`] if the samples have another shape than the transform was fitted to.
    pub fn transformed(self, transform: &impl Transform<F>) -> Result<Self> {
        let samples = transform.apply(self.samples())?;
        Dataset::new(samples, self.into_targets())
    }
}
