//! One-dimensional convolution.

use std::sync::Arc;

use super::conv2d::Conv2dLayer;
use super::window::{check_groups, conv_output_size};
use crate::initializers::{HeNormal, Zeros};
use crate::kernels::conv::{Geometry, Plan};
use crate::{
    Backward, Error, Forward, Init, Initializer, Layer, LayerSpec, Result, Scalar, Shape,
    ShapeError, Visitor, VisitorMut,
};

/// Slides learned kernels over a sequence: at each place, multiplies element by element and sums.
///
/// `y[f][i] = bias[f] + Σ weight[f][c][k] · x[c][i·stride − padding + k·dilation]`, with zeros outside the sequence.
/// Cross-correlation, as in PyTorch and Keras.
///
/// # Shape
/// input `[n, channels, length]` →
/// output `[n, filters, ⌊(length + 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1]`; `weight`
/// `[filters, channels / groups, kernel]`, `bias` `[filters]`. `channels` is inferred. For sequences `[steps, features]`,
/// as recurrent layers and Keras have them, put `Permute::new([1, 0])` before it.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let difference = Conv1d::new(1, 2).bias(false);
/// let mut model = Sequential::builder([1, 4]).add(difference).build()?;
/// model.set_value("0.weight", ndarray::arr3(&[[[-1.0, 1.0]]]).view().into_dyn())?;
/// let y = model.predict(&ndarray::arr3(&[[[1.0, 4.0, 9.0, 16.0]]]))?;
/// assert_eq!(y.as_slice().unwrap(), [3.0, 5.0, 7.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for a zero, or for groups that do not divide channels and filters, and with
/// [`Error::Shape`] if the input is no sequence or the kernel longer than the padded input.
///
/// Default weights are [`HeNormal`] (He et al. 2015), biases 0.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Conv1d {
    filters: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    groups: usize,
    bias: bool,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::weights"))]
    weight_init: Arc<dyn Initializer>,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::biases"))]
    bias_init: Arc<dyn Initializer>,
}

const KIND: &str = "Conv1d";

impl Conv1d {
    /// `filters` output channels, kernels of `kernel` elements.
    pub fn new(filters: usize, kernel: usize) -> Self {
        Self {
            filters,
            kernel,
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
            weight_init: Arc::new(HeNormal::default()),
            bias_init: Arc::new(Zeros),
        }
    }

    /// Steps between windows, at least 1; default 1.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Zeros on each side; default 0.
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    /// Distance between a kernel's elements, at least 1; default 1.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
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
        let sizes = [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)];
        if let Some((field, _)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Err(Error::config(KIND, field, "at least 1", 0));
        }
        check_groups(KIND, self.groups, channels, self.filters)
    }

    /// A sequence is an image of height 1.
    fn geometry(&self, input: &Shape) -> Result<Geometry, ShapeError> {
        let [channels, length] = sequence(input)?;
        let (kernel, stride, padding, dilation) =
            (self.kernel, self.stride, self.padding, self.dilation);
        let output = conv_output_size(length, kernel, stride, padding, dilation).map_err(|_| {
            let needs = format!(
                "a sequence at least as long as the kernel {kernel} with dilation {dilation} after padding {padding}"
            );
            ShapeError::new(needs, input).hint("use a smaller kernel or more padding")
        })?;
        Ok(Geometry {
            channels,
            filters: self.filters,
            groups: self.groups,
            input: [1, length],
            output: [1, output],
            kernel: [1, kernel],
            stride: [1, stride],
            padding: [0, padding],
            dilation: [1, dilation],
        })
    }
}

fn sequence(input: &Shape) -> Result<[usize; 2], ShapeError> {
    match input.dims() {
        &[channels, length] => Ok([channels, length]),
        _ => Err(ShapeError::new("[channels, length]", input)
            .hint("sequences have two axes; for images use Conv2d")),
    }
}

impl<F: Scalar> LayerSpec<F> for Conv1d {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let shape_error = |cause| Error::shape(KIND, cause);
        let [channels, _] = sequence(input).map_err(shape_error)?;
        self.check(channels)?;
        let geometry = self.geometry(input).map_err(shape_error)?;
        let output = Shape::from([self.filters, geometry.output[1]]);
        let shape = [self.filters, channels / self.groups, self.kernel];
        let bias = self.bias.then_some(&*self.bias_init);
        let (weight, bias) = init.weight_and_bias(&shape, &*self.weight_init, bias)?;
        let plan = Arc::new(Plan::new(geometry.clone()));
        let conv = Conv2dLayer { weight, bias, geometry, plan };
        Ok(Box::new(Conv1dLayer { conv, input: input.clone(), output }))
    }
}

/// What [`Conv1d`] becomes.
#[derive(Debug, Clone)]
pub struct Conv1dLayer<F: Scalar = f32> {
    /// Over images of height 1.
    conv: Conv2dLayer<F>,
    input: Shape,
    output: Shape,
}

impl<F: Scalar> Layer<F> for Conv1dLayer<F> {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn applies_lines(&self) -> bool {
        self.conv.applies_lines()
    }

    fn absorb_affine(&mut self, scale: &[F], shift: &[F]) -> bool {
        self.conv.absorb_affine(scale, shift)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "[channels, length]").map(|_| self.output.clone())
    }

    fn forward(&self, pass: Forward<'_, F>) -> Result<()> {
        self.conv.forward(pass)
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        self.conv.backward(pass)
    }

    fn visit(&self, visitor: &mut Visitor<'_, F>) {
        self.conv.visit(visitor);
    }

    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        self.conv.visit_mut(visitor);
    }
}
