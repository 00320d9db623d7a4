//! The preprocessors that shift and scale.

use super::{Moments, Per, Preprocessor, Scaling};
use crate::{Error, Result, Scalar, Shape};

/// Subtracts the mean image: every pixel's mean over the samples.
///
/// # Shape
/// samples `[n, ..]` of any shape.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{MeanImage, Preprocessor, Transform};
///
/// let images = ndarray::Array4::from_shape_fn((2, 1, 1, 2), |(n, _, _, x)| (n * 4 + x) as f32);
/// let y = MeanImage.fit(&images)?.apply(&images)?;
/// assert_eq!(y.as_slice().unwrap(), [-2.0, -2.0, 2.0, 2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Fitting fails with [`Error::Preprocessing`] for no sample, or values that are not finite.
///
/// # References
/// Krizhevsky et al. 2012 (AlexNet).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MeanImage;

/// Subtracts each channel's mean over all pixels and samples.
///
/// # Shape
/// samples `[n, channels, ..]`.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{ChannelMean, Preprocessor};
///
/// let images = ndarray::Array4::from_shape_fn((2, 2, 3, 3), |(_, c, _, x)| (10 * c + x) as f32);
/// assert_eq!(ChannelMean.fit(&images)?.shift(), [1.0, 11.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`MeanImage`].
///
/// # References
/// Simonyan & Zisserman 2015 (VGG).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChannelMean;

/// Subtracts each channel's mean and divides by its standard deviation, over all pixels and samples.
///
/// The deviation is the population's; a constant channel is divided by 1.
///
/// # Shape
/// samples `[n, channels, ..]`.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{ChannelStandardize, Preprocessor};
///
/// let images = ndarray::Array4::from_shape_fn((1, 2, 1, 2), |(_, c, _, x)| (10 * c + 2 * x) as f32);
/// let scaling = ChannelStandardize.fit(&images)?;
/// assert_eq!((scaling.shift(), scaling.scale()), (&[1.0, 11.0][..], &[1.0, 1.0][..]));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`MeanImage`].
///
/// # References
/// As `torchvision.transforms.Normalize`, with the figures learned.
#[doc(alias = "Normalize")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChannelStandardize;

/// Subtracts each feature's mean and divides by its standard deviation.
///
/// The deviation is the population's; a constant feature is divided by 1.
///
/// # Shape
/// samples `[n, ..]` of any shape; every element is a feature.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{FeatureStandardize, Preprocessor, Transform};
///
/// let x = ndarray::arr2(&[[1.0f32, 7.0], [3.0, 7.0]]);
/// let scaling = FeatureStandardize.fit(&x)?;
/// assert_eq!(scaling.apply(&x)?.as_slice().unwrap(), [-1.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`MeanImage`].
///
/// # References
/// As scikit-learn's `StandardScaler`.
#[doc(alias = "StandardScaler")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FeatureStandardize;

/// Moves each feature's range to `low` … `high`.
///
/// A constant feature becomes `low`. Values outside the range that was fitted to go outside the new one.
///
/// # Shape
/// samples `[n, ..]` of any shape; every element is a feature.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{MinMax, Preprocessor, Transform};
///
/// let scaling = MinMax::new(-1.0, 1.0).fit(&ndarray::arr2(&[[0.0f32], [10.0]]))?;
/// let y = scaling.apply(&ndarray::arr2(&[[5.0], [20.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 3.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`MeanImage`], and [`Error::Setting`] unless `low < high`.
///
/// # References
/// As scikit-learn's `MinMaxScaler`.
#[doc(alias = "MinMaxScaler")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MinMax {
    low: f64,
    high: f64,
}

impl MinMax {
    /// `low`, `high`: what the least and the largest value become; `low < high`.
    pub fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }
}

/// `Preprocessor` of what is made from moments: how they are grouped, and shift and scale that follow.
macro_rules! scaler {
    ($name:ident, $per:expr, |$self:ident, $moments:ident| $figures:expr) => {
        impl Preprocessor for $name {
            type Statistics = Moments;
            type Fitted<F: Scalar> = Scaling<F>;

            fn statistics(&self, sample: &Shape) -> Result<Moments> {
                self.check()?;
                Moments::new(sample, $per)
            }

            fn fitted<F: Scalar>(&$self, $moments: &Moments) -> Result<Scaling<F>> {
                $moments.check()?;
                let (shift, scale) = $figures;
                Scaling::new($moments.shape(), $per, &shift, &scale)
            }
        }
    };
}
scaler!(MeanImage, Per::Element, |self, moments| centered(moments));
scaler!(ChannelMean, Per::Channel, |self, moments| centered(moments));
scaler!(ChannelStandardize, Per::Channel, |self, moments| standardized(moments));
scaler!(FeatureStandardize, Per::Element, |self, moments| standardized(moments));
scaler!(MinMax, Per::Element, |self, moments| self.figures(moments));

/// A setting that may be out of range; most have none.
trait Check {
    fn check(&self) -> Result<()> {
        Ok(())
    }
}
impl Check for MeanImage {}
impl Check for ChannelMean {}
impl Check for ChannelStandardize {}
impl Check for FeatureStandardize {}
impl Check for MinMax {
    fn check(&self) -> Result<()> {
        if self.low < self.high && (self.high - self.low).is_finite() {
            return Ok(());
        }
        let got = format!("{} and {}", self.low, self.high);
        Err(Error::Setting { kind: "MinMax", field: "range", must_be: "low < high", got })
    }
}

fn centered(moments: &Moments) -> (Vec<f64>, Vec<f64>) {
    (moments.mean().to_vec(), vec![1.0; moments.mean().len()])
}

fn standardized(moments: &Moments) -> (Vec<f64>, Vec<f64>) {
    (moments.mean().to_vec(), moments.std_or_one())
}

impl MinMax {
    fn figures(&self, moments: &Moments) -> (Vec<f64>, Vec<f64>) {
        let figures = moments.min().iter().zip(moments.max()).map(|(&min, &max)| {
            let width = if max > min { max - min } else { 1.0 };
            let scale = width / (self.high - self.low);
            // What becomes 0: `(min − shift) / scale = low`.
            (min - self.low * scale, scale)
        });
        figures.unzip()
    }
}
