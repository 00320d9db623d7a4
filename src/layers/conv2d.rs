//! Two-dimensional convolution.

use std::sync::Arc;

use super::door;
use super::window::{Pair, at_least_1, check_groups, conv_output_size, kernel_too_large};
use crate::initializers::{HeNormal, Zeros};
use crate::kernels::conv::{self, Finish, Geometry, Plan, Source};
use crate::{
    Backward, Error, Forward, Init, Initializer, Layer, LayerSpec, Param, Result, Scalar, Shape,
    ShapeError, layer_params,
};

/// Slides learned kernels over an image: at each place, multiplies element by element and sums.
///
/// `y[f][i][j] = bias[f] + Σ weight[f][c][h][w] · x[c][i·stride − padding + h·dilation][…]`, with zeros
/// outside the image. Cross-correlation, as in PyTorch and Keras: the kernel is not flipped.
///
/// # Shape
/// input `[n, channels, height, width]` →
/// output `[n, filters, ⌊(height + 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1, …]`;
/// `weight` `[filters, channels / groups, kernel height, kernel width]`, `bias` `[filters]`. `channels`
/// is inferred; sizes floor as in PyTorch (see [`super::conv_output_size_exact`] for the course's rule).
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3, 32, 32])
///     .add(Conv2d::new(16, 3).padding(1))
///     .add(Conv2d::new(8, (3, 5)).stride(2).bias(false))
///     .build()?;
/// assert_eq!(model.output_shape().dims(), [8, 15, 14]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for a zero, or for groups that do not divide channels and
/// filters, and with [`Error::Shape`] if the input is no image or the kernel larger than the padded input.
///
/// Default weights are [`HeNormal`] (He et al. 2015), biases 0.
///
/// 3×3 kernels with stride 1 between 16 or more channels run as Winograd's F(4×4, 3×3) (Lavin & Gray 2016), with
/// a quarter of the multiplications; see [`Conv2d::winograd`].
#[doc(alias = "Convolution")]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Conv2d {
    filters: usize,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: usize,
    bias: bool,
    winograd: bool,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::weights"))]
    weight_init: Arc<dyn Initializer>,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::biases"))]
    bias_init: Arc<dyn Initializer>,
}

const KIND: &str = "Conv2d";

impl Conv2d {
    /// `filters` output channels, kernels of `kernel`: a size, or `(height, width)`.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            filters,
            kernel: kernel.into(),
            stride: 1.into(),
            padding: 0.into(),
            dilation: 1.into(),
            groups: 1,
            bias: true,
            winograd: true,
            weight_init: Arc::new(HeNormal::default()),
            bias_init: Arc::new(Zeros),
        }
    }

    /// Steps between windows, at least 1; default 1. Larger strides subsample.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Rows and columns of zeros on each side; default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Distance between a kernel's elements, at least 1; default 1.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Parts into which channels and filters are divided, each convolved by itself; default 1. As many
    /// as channels is a depthwise convolution, which has a kernel of its own.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Whether to add a bias; default true. Batch norm after it makes it superfluous.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether Winograd's algorithm may be used where it is faster; default true. It rounds differently: in
    /// `f32` the error stays below 1e-5 of the largest output, about twice that of the definition's sums.
    /// Whether it is used depends on how many tiles of 4×4 pixels a batch has, so a single small image may differ from
    /// the same image in a batch in the last digits.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let input = Array4::from_shape_fn((2, 16, 16, 16), |(_, c, h, w)| (c + 3 * h + 7 * w) as f32 % 5.0);
    /// let model = |winograd| {
    ///     let conv = Conv2d::new(16, 3).padding(1).winograd(winograd);
    ///     Sequential::builder([16, 16, 16]).add(conv).build()
    /// };
    /// let (fast, plain) = (model(true)?.predict(&input)?, model(false)?.predict(&input)?);
    /// let largest = plain.iter().fold(0.0, |most: f32, y| most.max(y.abs()));
    /// assert!((fast - plain).iter().all(|error| error.abs() < 1e-5 * largest));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn winograd(mut self, winograd: bool) -> Self {
        self.winograd = winograd;
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
        check_groups(KIND, self.groups, channels, self.filters)
    }

    fn geometry(&self, input: &Shape) -> Result<Geometry, ShapeError> {
        let [channels, height, width] = input.image()?;
        let mut output = [0; 2];
        for (axis, size) in [height, width].into_iter().enumerate() {
            let (kernel, stride) = (self.kernel.0[axis], self.stride.0[axis]);
            let (padding, dilation) = (self.padding.0[axis], self.dilation.0[axis]);
            output[axis] = conv_output_size(size, kernel, stride, padding, dilation)
                .map_err(|_| kernel_too_large(self.kernel, self.padding, self.dilation, input))?;
        }
        Ok(Geometry {
            channels,
            filters: self.filters,
            groups: self.groups,
            input: [height, width],
            output,
            kernel: self.kernel.0,
            stride: self.stride.0,
            padding: self.padding.0,
            dilation: self.dilation.0,
        })
    }
}

impl<F: Scalar> LayerSpec<F> for Conv2d {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let shape_error = |cause| Error::shape(KIND, cause);
        let [channels, ..] = input.image().map_err(shape_error)?;
        self.check(channels)?;
        let geometry = self.geometry(input).map_err(shape_error)?;
        let shape = [self.filters, channels / self.groups, self.kernel.0[0], self.kernel.0[1]];
        let bias = self.bias.then_some(&*self.bias_init);
        let (weight, bias) = init.weight_and_bias(&shape, &*self.weight_init, bias)?;
        let make = if self.winograd { Plan::new } else { Plan::exact };
        let plan = Arc::new(make(geometry.clone().flattened()));
        Ok(Box::new(Conv2dLayer { weight, bias, geometry, plan }))
    }
}

/// What [`Conv2d`] becomes.
#[derive(Debug, Clone)]
pub struct Conv2dLayer<F: Scalar = f32> {
    pub(super) weight: Param<F>,
    pub(super) bias: Option<Param<F>>,
    pub(super) geometry: Geometry,
    pub(super) plan: Arc<Plan>,
}

impl<F: Scalar> Layer<F> for Conv2dLayer<F> {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let Geometry { channels, filters, input: [h, w], output: [oh, ow], .. } = self.geometry;
        input.image()?;
        input
            .require(&[channels, h, w], "[channels, height, width]")
            .map(|_| [filters, oh, ow].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let n = x.len() / self.geometry.image();
        let (plan, weight) = (&*self.plan, self.weight.as_slice());
        let bias = self.bias.as_ref().map(Param::as_slice);
        let finish = Finish { bias, lines: pass.lines, relu: pass.relu };
        if let Some(kept) = pass.kept.filter(|_| plan.packs(n)) {
            let (form, len) = (plan.packed_form::<F>(), plan.packed_len::<F>());
            let packed =
                kept.get(&self.weight, form, len, |packed| conv::pack(plan, weight, packed));
            let [scratch] = pass.scratch.take([plan.packed_scratch::<F>(n)]);
            door::fill(&mut pass.output, |y| {
                conv::forward_packed(plan, &x, packed, finish, y, scratch);
            });
            return Ok(());
        }
        let [scratch] = pass.scratch.take([plan.forward_scratch::<F>(n)]);
        door::fill(&mut pass.output, |y| {
            conv::forward(plan, &x, weight, finish, y, scratch);
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let (x, y) = (door::slice(&pass.input), door::slice(&pass.output));
        let dy = door::slice(&pass.grad_output);
        let n = x.len() / self.geometry.image();
        let (dw, db) = (self.weight.grad_slice(), self.bias.as_mut().and_then(Param::grad_slice));
        let dy = Source { data: &dy, positive: pass.relu.then_some(&y[..]) };
        if dw.is_some() || db.is_some() {
            let len = self.plan.backward_weight_scratch::<F>(n, pass.relu);
            let [scratch] = pass.scratch.take([len]);
            conv::backward_weight(&self.plan, &x, dy, dw, db, scratch);
        }
        if let Some(mut grad_input) = pass.grad_input {
            let [scratch] =
                pass.scratch.take([self.plan.backward_input_scratch::<F>(n, pass.relu)]);
            door::fill(&mut grad_input, |dx| {
                conv::backward_input(&self.plan, self.weight.as_slice(), dy, dx, scratch);
            });
        }
        Ok(())
    }

    fn applies_relu(&self) -> bool {
        true
    }

    fn applies_lines(&self) -> bool {
        self.plan.normalizes()
    }

    fn absorb_affine(&mut self, scale: &[F], shift: &[F]) -> bool {
        door::absorb(&mut self.weight, &mut self.bias, scale, shift)
    }

    layer_params!(F; weight, bias);
}
