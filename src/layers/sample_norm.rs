//! Layer, group and instance normalization: each sample by its own statistics.

use super::door;
use crate::initializers::{Constant, Zeros};
use crate::kernels::sample_norm::{self, Gradients, Sizes};
use crate::{
    Backward, Error, Fans, Forward, Init, Layer, LayerSpec, Param, Result, Role, Scalar, Shape,
    ShapeError, layer_params,
};

/// Normalizes each sample by its own mean and variance, then scales and shifts every element by learned numbers.
///
/// `y = weight ⊙ (x − mean) / √(var + eps) + bias`, with the biased variance. The same in train and eval mode and for
/// any batch, unlike [`super::BatchNorm`].
///
/// # Shape
/// input `[n, ..]` → the same. Mean and variance are taken over the last [`LayerNorm::last_axes`] axes, by default over
/// the whole sample; `weight` and `bias` have the shape of these axes (PyTorch's `normalized_shape`).
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(LayerNorm::new()).build()?;
/// let y = model.predict(&ndarray::arr2(&[[1.0, 1.0, 3.0, 3.0]]))?;
/// assert!((y[[0, 0]] + 1.0).abs() < 1e-5 && (y[[0, 3]] - 1.0).abs() < 1e-5);
///
/// // A sequence of 10 steps with 16 features: each step by itself.
/// let model = Sequential::builder([10, 16]).add(LayerNorm::new().last_axes(1)).build()?;
/// assert_eq!(model.param("0.weight").unwrap().shape(), [16]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for an `eps` that is not positive or a number of axes that a sample does not have.
///
/// # References
/// Ba, Kiros & Hinton 2016. Keras normalizes over the last axis unless told otherwise, with `eps` 1e-3.
#[doc(alias = "LayerNormalization")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LayerNorm {
    last_axes: Option<usize>,
    eps: f64,
    affine: bool,
}

/// Normalizes groups of channels of each sample, then scales and shifts each channel by learned numbers.
///
/// `y = weight · (x − mean) / √(var + eps) + bias`, with mean and biased variance over the pixels of
/// `channels / groups` channels. The same in train and eval mode and for any batch.
///
/// # Shape
/// input `[n, channels, ..]` → the same; `weight`, `bias` `[channels]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([32, 8, 8]).add(GroupNorm::new(8)).build()?;
/// assert_eq!(model.summary().parameters, 64);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for groups that do not divide the channels or an `eps` that is not positive,
/// and with [`Error::Shape`] if a group has one value only, which minus its mean is always 0.
///
/// # References
/// Wu & He 2018, who use 32 groups.
#[doc(alias = "GroupNormalization")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupNorm {
    groups: usize,
    eps: f64,
    affine: bool,
}

/// Normalizes each channel of each sample by its own mean and variance.
///
/// `y = (x − mean) / √(var + eps)`, with the biased variance over the channel's pixels. The same in train and eval mode.
/// It is [`GroupNorm`] with as many groups as channels, and learns nothing unless [`InstanceNorm::affine`] is set, as in
/// PyTorch.
///
/// # Shape
/// input `[n, channels, ..]` → the same; `weight`, `bias` `[channels]`, if asked for.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([1, 1, 2]).add(InstanceNorm::new()).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[10.0, 30.0]]]).insert_axis(Axis(0)))?;
/// assert!((y[[0, 0, 0, 1]] - 1.0).abs() < 1e-5);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for an `eps` that is not positive, and with [`Error::Shape`] if a channel has
/// one value only, which minus its mean is always 0.
///
/// # References
/// Ulyanov, Vedaldi & Lempitsky 2016.
#[doc(alias = "InstanceNorm2d")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InstanceNorm {
    eps: f64,
    affine: bool,
}

impl LayerNorm {
    /// Over the whole sample, with `eps` 1e-5, learned scale and shift.
    pub fn new() -> Self {
        Self { last_axes: None, eps: 1e-5, affine: true }
    }

    /// How many of a sample's last axes are normalized together, at least 1; default all. For sequences
    /// `[steps, features]` it is usually 1.
    pub fn last_axes(mut self, last_axes: usize) -> Self {
        self.last_axes = Some(last_axes);
        self
    }
}

impl GroupNorm {
    /// With `groups` groups of channels, `eps` 1e-5, learned scale and shift.
    pub fn new(groups: usize) -> Self {
        Self { groups, eps: 1e-5, affine: true }
    }
}

impl InstanceNorm {
    /// With `eps` 1e-5, without learned scale and shift.
    pub fn new() -> Self {
        Self { eps: 1e-5, affine: false }
    }
}

/// The settings that the three share.
macro_rules! settings {
    ($($spec:ident, $affine:literal;)*) => {$(
        impl $spec {
            /// Added to the variance, above 0; default 1e-5.
            pub fn eps(mut self, eps: f64) -> Self {
                self.eps = eps;
                self
            }

            #[doc = concat!("Whether to learn `weight` and `bias`; default ", $affine, ".")]
            pub fn affine(mut self, affine: bool) -> Self {
                self.affine = affine;
                self
            }
        }
    )*};
}
settings! { LayerNorm, "true"; GroupNorm, "true"; InstanceNorm, "false"; }

impl Default for LayerNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for InstanceNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Scalar> LayerSpec<F> for LayerNorm {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let dims = input.dims();
        let last_axes = self.last_axes.unwrap_or(dims.len());
        let first = dims.len().checked_sub(last_axes).filter(|_| last_axes > 0);
        let Some(first) = first else {
            let got = format!("{last_axes} for {input}");
            let must_be = "at least 1 and at most the axes of a sample";
            return Err(Error::config("LayerNorm", "last_axes", must_be, got));
        };
        let normalized = &dims[first..];
        // Every row of a sample has the same parameters: a row counts as a sample of its own.
        let sizes = Sizes { groups: 1, len: normalized.iter().product(), run: 1 };
        let settings = Settings { kind: "LayerNorm", eps: self.eps, affine: self.affine };
        settings.build(input, init, normalized, sizes)
    }
}

impl<F: Scalar> LayerSpec<F> for GroupNorm {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let [channels, pixels @ ..] = input.dims() else {
            let cause = ShapeError::new("[channels, ..]", input);
            return Err(Error::shape("GroupNorm", cause));
        };
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            let got = format!("{} with {channels} channels", self.groups);
            return Err(Error::config("GroupNorm", "groups", "a divisor of the channels", got));
        }
        let run = pixels.iter().product();
        let sizes = Sizes { groups: self.groups, len: channels / self.groups * run, run };
        let settings = Settings { kind: "GroupNorm", eps: self.eps, affine: self.affine };
        settings.refuse_single(input, sizes, "use fewer groups")?;
        settings.build(input, init, &[*channels], sizes)
    }
}

impl<F: Scalar> LayerSpec<F> for InstanceNorm {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let [channels, pixels @ ..] = input.dims() else {
            let cause = ShapeError::new("[channels, ..]", input);
            return Err(Error::shape("InstanceNorm", cause));
        };
        let run = pixels.iter().product();
        let sizes = Sizes { groups: *channels, len: run, run };
        let settings = Settings { kind: "InstanceNorm", eps: self.eps, affine: self.affine };
        settings.refuse_single(input, sizes, "use LayerNorm or GroupNorm")?;
        settings.build(input, init, &[*channels], sizes)
    }
}

/// What the specs have in common.
struct Settings {
    kind: &'static str,
    eps: f64,
    affine: bool,
}

impl Settings {
    fn refuse_single(&self, input: &Shape, sizes: Sizes, cure: &'static str) -> Result<()> {
        if sizes.len > 1 {
            return Ok(());
        }
        let cause = ShapeError::new("at least 2 values to take a variance of", input).hint(cure);
        Err(Error::shape(self.kind, cause))
    }

    fn build<F: Scalar>(
        &self,
        input: &Shape,
        init: &Init,
        params: &[usize],
        sizes: Sizes,
    ) -> Result<Box<dyn Layer<F>>> {
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return Err(Error::config(self.kind, "eps", "above 0", self.eps));
        }
        let fan = params.iter().product();
        let fans = Fans { shape: params, fan_in: fan, fan_out: fan };
        let scale = || init.param("weight", Role::Scale, fans, &Constant(1.0));
        let shift = || init.param("bias", Role::Shift, fans, &Zeros);
        Ok(Box::new(SampleNormLayer {
            kind: self.kind,
            weight: self.affine.then(scale).transpose()?,
            bias: self.affine.then(shift).transpose()?,
            input: input.clone(),
            sizes,
            eps: F::lit(self.eps),
        }))
    }
}

/// What [`LayerNorm`], [`GroupNorm`] and [`InstanceNorm`] become.
#[derive(Debug, Clone)]
pub struct SampleNormLayer<F: Scalar = f32> {
    kind: &'static str,
    weight: Option<Param<F>>,
    bias: Option<Param<F>>,
    input: Shape,
    sizes: Sizes,
    eps: F,
}

/// Mean and `1 / √(var + eps)` of each row in turn.
#[derive(Debug, Default)]
struct Statistics<F>(Vec<F>);

impl<F: Scalar> Layer<F> for SampleNormLayer<F> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "the shape it was built for")
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let len = 2 * self.sizes.rows(x.len());
        let stats = if pass.remember {
            let Statistics(stats) = pass.cache.get_or_default();
            stats.resize(len, F::zero());
            stats
        } else {
            let [stats] = pass.scratch.take([len]);
            stats
        };
        let affine = self.weight.as_ref().zip(self.bias.as_ref());
        let affine = affine.map(|(weight, bias)| (weight.as_slice(), bias.as_slice()));
        door::fill(&mut pass.output, |y| {
            sample_norm::forward(self.sizes, self.eps, &x, affine, stats, y)
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let (x, dy) = (door::slice(&pass.input), door::slice(&pass.grad_output));
        let Statistics(stats) = pass.cache.get::<Statistics<F>>()?;
        let params = self.weight.as_ref().map_or(0, Param::numel);
        let [copy, scratch] = pass.scratch.take([params, self.sizes.backward_scratch(x.len())]);
        // A copy, so that value and gradient are not borrowed at once.
        let weight = self.weight.as_ref().map(|weight| {
            copy.copy_from_slice(weight.as_slice());
            &*copy
        });
        let scale = self.weight.as_mut().and_then(Param::grad_slice);
        let shift = self.bias.as_mut().and_then(Param::grad_slice);
        let run = |input: Option<&mut [F]>| {
            let gradients = Gradients { scale, shift, input };
            sample_norm::backward(self.sizes, &x, &dy, weight, stats, scratch, gradients);
        };
        match pass.grad_input {
            Some(mut grad_input) => door::fill(&mut grad_input, |dx| run(Some(dx))),
            None => run(None),
        }
        Ok(())
    }

    layer_params!(F; weight, bias);
}
