//! Two-dimensional transposed convolution.

use std::sync::Arc;

use super::door;
use super::window::{Pair, at_least_1, check_groups};
use crate::initializers::{HeNormal, Zeros};
use crate::kernels::conv::{Geometry, Plan};
use crate::kernels::conv_transpose;
use crate::{
    Backward, Error, Fans, Forward, Init, Initializer, Layer, LayerSpec, Param, Result, Role,
    Scalar, Shape, ShapeError, layer_params,
};

/// Writes learned kernels, scaled by each pixel, into a larger image: the gradient of [`super::Conv2d`] by its input,
/// as a layer.
///
/// `y[f][i·stride − padding + h·dilation][…] += weight[c][f][h][w] · x[c][i][…]`, summed over all that lands on the same
/// pixel, plus `bias[f]`. Also called a deconvolution, which it is not: it undoes a convolution's change of size, not of
/// values.
///
/// # Shape
/// input `[n, channels, height, width]` → output
/// `[n, filters, (height − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1, …]`;
/// `weight` `[channels, filters / groups, kernel height, kernel width]`, `bias` `[filters]`. `channels` is inferred.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // Twice the size, as at the end of a generator.
/// let model = Sequential::builder([16, 14, 14]).add(ConvTranspose2d::new(1, 4).stride(2).padding(1)).build()?;
/// assert_eq!(model.output_shape().dims(), [1, 28, 28]);
///
/// let paint = ConvTranspose2d::new(1, (1, 2)).bias(false).weight_init(Constant(1.0));
/// let model = Sequential::builder([1, 1, 2]).add(paint).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[3.0, 5.0]]]).insert_axis(Axis(0)))?;
/// assert_eq!(y.as_slice().unwrap(), [3.0, 8.0, 5.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for a zero, for groups that do not divide channels and filters, or for an
/// `output_padding` that is neither below the stride nor below the dilation, and with [`Error::Shape`] if the input is no
/// image or the output would have no pixels.
///
/// Default weights are [`HeNormal`] (He et al. 2015), biases 0. An output pixel sums up, on average,
/// `channels / groups · kernel height · kernel width / (stride height · stride width)` inputs, which is what
/// initializers get as `fan_in`; PyTorch counts `filters / groups · kernel height · kernel width`.
///
/// # References
/// Zeiler et al. 2010; Dumoulin & Visin 2016 draw the arithmetic.
#[doc(alias = "Deconvolution")]
#[doc(alias = "Conv2DTranspose")]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConvTranspose2d {
    filters: usize,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: usize,
    bias: bool,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::weights"))]
    weight_init: Arc<dyn Initializer>,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::biases"))]
    bias_init: Arc<dyn Initializer>,
}

const KIND: &str = "ConvTranspose2d";

impl ConvTranspose2d {
    /// `filters` output channels, kernels of `kernel`: a size, or `(height, width)`.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            filters,
            kernel: kernel.into(),
            stride: 1.into(),
            padding: 0.into(),
            output_padding: 0.into(),
            dilation: 1.into(),
            groups: 1,
            bias: true,
            weight_init: Arc::new(HeNormal::default()),
            bias_init: Arc::new(Zeros),
        }
    }

    /// Distance of what neighbouring pixels write, at least 1; default 1. The output is about that much larger.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Rows and columns taken away on each side; default 0. The padding of the convolution that this one is the
    /// gradient of.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Rows and columns added at the bottom and on the right, below the stride or the dilation; default 0. With a
    /// stride several sizes have the same convolution; this says which one is meant.
    pub fn output_padding(mut self, output_padding: impl Into<Pair>) -> Self {
        self.output_padding = output_padding.into();
        self
    }

    /// Distance between a kernel's elements, at least 1; default 1.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Parts into which channels and filters are divided, each convolved by itself; default 1.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Whether to add a bias; default true.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What fills the weight; default [`HeNormal`].
    pub fn weight_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.weight_init = Arc::new(initializer);
        self
    }

    /// What fills the bias; default [`Zeros`].
    pub fn bias_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.bias_init = Arc::new(initializer);
        self
    }

    fn check(&self, channels: usize) -> Result<()> {
        at_least_1(KIND, "kernel", self.kernel)?;
        at_least_1(KIND, "stride", self.stride)?;
        at_least_1(KIND, "dilation", self.dilation)?;
        check_groups(KIND, self.groups, channels, self.filters)?;
        // More than that would be rows that nothing writes to.
        let fits = |axis: usize| {
            self.output_padding.0[axis] < self.stride.0[axis].max(self.dilation.0[axis])
        };
        if !(fits(0) && fits(1)) {
            let must_be = "below the stride or below the dilation";
            return Err(Error::config(KIND, "output_padding", must_be, self.output_padding));
        }
        Ok(())
    }

    /// `(size − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1`, if that is at least 1 and not huge.
    fn output(&self, axis: usize, size: usize) -> Option<usize> {
        /// More than any image; products stay small.
        const MOST: usize = 1 << 30;
        let taken = self.padding.0[axis].checked_mul(2)?;
        let reach = self.dilation.0[axis].checked_mul(self.kernel.0[axis] - 1)?;
        (size - 1)
            .checked_mul(self.stride.0[axis])?
            .checked_add(reach)?
            .checked_add(self.output_padding.0[axis])?
            .checked_add(1)?
            .checked_sub(taken)
            .filter(|size| (1..=MOST).contains(size))
    }

    /// The convolution that this is the gradient of: from our output to our input.
    fn geometry(&self, input: &Shape) -> Result<Geometry, ShapeError> {
        let [channels, height, width] = input.image()?;
        let (Some(oh), Some(ow)) = (self.output(0, height), self.output(1, width)) else {
            let needs = format!(
                "an image that gives from 1 to 2^30 rows and columns with kernel {}, stride {}, padding {}",
                self.kernel, self.stride, self.padding
            );
            return Err(ShapeError::new(needs, input).hint("use less padding"));
        };
        Ok(Geometry {
            channels: self.filters,
            filters: channels,
            groups: self.groups,
            input: [oh, ow],
            output: [height, width],
            kernel: self.kernel.0,
            stride: self.stride.0,
            padding: self.padding.0,
            dilation: self.dilation.0,
        })
    }
}

impl<F: Scalar> LayerSpec<F> for ConvTranspose2d {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let shape_error = |cause| Error::shape(KIND, cause);
        let [channels, ..] = input.image().map_err(shape_error)?;
        self.check(channels)?;
        let geometry = self.geometry(input).map_err(shape_error)?;
        let [kh, kw] = self.kernel.0;
        let shape = [channels, self.filters / self.groups, kh, kw];
        let strides = self.stride.0[0].saturating_mul(self.stride.0[1]);
        let inputs = (channels / self.groups).saturating_mul(kh).saturating_mul(kw);
        let fans = Fans {
            shape: &shape,
            fan_in: (inputs / strides).max(1),
            fan_out: shape[1].saturating_mul(kh).saturating_mul(kw),
        };
        let weight = init.param("weight", Role::Weight, fans, &*self.weight_init)?;
        let filters = [self.filters];
        let fans = Fans { shape: &filters, ..fans };
        let bias = || init.param("bias", Role::Bias, fans, &*self.bias_init);
        let bias = self.bias.then(bias).transpose()?;
        Ok(Box::new(ConvTranspose2dLayer { weight, bias, plan: Arc::new(Plan::new(geometry)) }))
    }
}

/// What [`ConvTranspose2d`] becomes.
#[derive(Debug, Clone)]
pub struct ConvTranspose2dLayer<F: Scalar = f32> {
    weight: Param<F>,
    bias: Option<Param<F>>,
    /// Of the convolution from the output to the input.
    plan: Arc<Plan>,
}

impl<F: Scalar> Layer<F> for ConvTranspose2dLayer<F> {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn absorb_affine(&mut self, scale: &[F], shift: &[F]) -> bool {
        let &[inputs, of_group, kh, kw] = self.weight.shape() else { return false };
        let outputs = self.plan.geometry.channels;
        if scale.len() != outputs || shift.len() != outputs || of_group == 0 {
            return false;
        }
        // A row of each input for each output of its group.
        let inputs_of_group = inputs / (outputs / of_group);
        let rows = self.weight.as_slice_mut().chunks_mut((kh * kw).max(1));
        for (row, weights) in rows.enumerate() {
            let (input, output) = (row / of_group, row % of_group);
            let scale = scale[input / inputs_of_group * of_group + output];
            weights.iter_mut().for_each(|weight| *weight *= scale);
        }
        door::shift(&mut self.bias, scale, shift);
        true
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let Geometry { channels, filters, input: [oh, ow], output: [h, w], .. } =
            self.plan.geometry;
        input
            .require(&[filters, h, w], "[channels, height, width]")
            .map(|_| [channels, oh, ow].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let n = pass.input.shape()[0];
        let [scratch] = pass.scratch.take([conv_transpose::forward_scratch::<F>(&self.plan, n)]);
        let bias = self.bias.as_ref().map(Param::as_slice);
        door::fill(&mut pass.output, |y| {
            conv_transpose::forward(&self.plan, &x, self.weight.as_slice(), bias, y, scratch);
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let (x, dy) = (door::slice(&pass.input), door::slice(&pass.grad_output));
        let n = pass.input.shape()[0];
        let (dw, db) = (self.weight.grad_slice(), self.bias.as_mut().and_then(Param::grad_slice));
        let len = conv_transpose::backward_weight_scratch::<F>(&self.plan, n);
        let [scratch] = pass.scratch.take([len]);
        conv_transpose::backward_weight(&self.plan, &x, &dy, dw, db, scratch);
        if let Some(mut grad_input) = pass.grad_input {
            let len = conv_transpose::backward_input_scratch::<F>(&self.plan, n);
            let [scratch] = pass.scratch.take([len]);
            door::fill(&mut grad_input, |dx| {
                conv_transpose::backward_input(
                    &self.plan,
                    self.weight.as_slice(),
                    &dy,
                    dx,
                    scratch,
                );
            });
        }
        Ok(())
    }

    layer_params!(F; weight, bias);
}
