//! The largest of several linear functions, and of several channels.

use super::door;
use super::window::Pair;
use super::{Conv2d, Linear};
use crate::kernels::maxout;
use crate::workspace::{grown, view, view_mut};
use crate::{
    Backward, Cache, Error, Forward, Init, Initializer, Layer, LayerSpec, Result, Scalar, Shape,
    ShapeError, Visitor, VisitorMut,
};

/// The largest of `pieces` linear functions for each output: `yᵢ = max_j (wᵢⱼ · x + bᵢⱼ)`.
///
/// Learns its own activation: any convex function can be approached by straight pieces. Neither saturates nor dies;
/// the price is `pieces` times the parameters, doubled for 2. The gradient goes to the largest piece, the first of equal
/// ones.
///
/// # Shape
/// input `[n, in]` → output `[n, out]`; `weight` `[out · pieces, in]`, whose row `i · pieces + j` is piece `j` of output
/// `i`, `bias` `[out · pieces]`. Rows are what initializers and [`crate::regularizers::MaxNorm`] look at.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // The larger of x and −x: two pieces make an absolute value.
/// let mut model = Sequential::builder([1]).add(Maxout::new(1, 2)).build()?;
/// model.set_value("0.weight", &ndarray::arr2(&[[1.0], [-1.0]]))?;
/// let y = model.predict(&ndarray::arr2(&[[3.0], [-5.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [3.0, 5.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] unless the input is `[features]`, and with [`Error::Config`] for 0 outputs or 0
/// pieces.
///
/// # References
/// Goodfellow et al. 2013. For convolutions [`MaxoutConv2d`]; without parameters of its own [`MaxoutChannels`].
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Maxout {
    out_features: usize,
    pieces: usize,
    linear: Linear,
}

impl Maxout {
    /// `out_features` outputs, each the largest of `pieces` linear functions; both at least 1. The course has 2 pieces.
    pub fn new(out_features: usize, pieces: usize) -> Self {
        let linear = Linear::new(out_features.saturating_mul(pieces));
        Self { out_features, pieces, linear }
    }

    /// Whether to add a bias; default true.
    pub fn bias(mut self, bias: bool) -> Self {
        self.linear = self.linear.bias(bias);
        self
    }

    /// What fills the weight; default [`crate::initializers::HeNormal`].
    pub fn weight_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.linear = self.linear.weight_init(initializer);
        self
    }

    /// What fills the bias; default [`crate::initializers::Zeros`].
    pub fn bias_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.linear = self.linear.bias_init(initializer);
        self
    }
}

impl<F: Scalar> LayerSpec<F> for Maxout {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        at_least_1("Maxout", "out_features", self.out_features)?;
        at_least_1("Maxout", "pieces", self.pieces)?;
        Ok(Box::new(MaxoutLayer::new("Maxout", &self.linear, self.pieces, input, init)?))
    }
}

/// The largest of `pieces` convolutions for each output channel.
///
/// # Shape
/// input `[n, channels, height, width]` → output `[n, filters, ..]`, sized as by [`Conv2d`]; `weight`
/// `[filters · pieces, channels, kernel height, kernel width]`, whose row `i · pieces + j` is piece `j` of output channel
/// `i`, `bias` `[filters · pieces]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3, 8, 8]).add(MaxoutConv2d::new(16, 3, 2).padding(1)).build()?;
/// assert_eq!(model.output_shape().dims(), [16, 8, 8]);
/// assert_eq!(model.param("0.weight").unwrap().shape(), [32, 3, 3, 3]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for 0 filters or 0 pieces, and as for [`Conv2d`].
///
/// # References
/// Goodfellow et al. 2013, section 4: maxout after a convolution, over groups of its channels.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MaxoutConv2d {
    filters: usize,
    pieces: usize,
    conv: Conv2d,
}

impl MaxoutConv2d {
    /// `filters` output channels, each the largest of `pieces` convolutions with kernels of `kernel`.
    pub fn new(filters: usize, kernel: impl Into<Pair>, pieces: usize) -> Self {
        let conv = Conv2d::new(filters.saturating_mul(pieces), kernel);
        Self { filters, pieces, conv }
    }

    /// Steps between windows, at least 1; default 1.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.conv = self.conv.stride(stride);
        self
    }

    /// Rows and columns of zeros on each side; default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.conv = self.conv.padding(padding);
        self
    }

    /// Whether to add a bias; default true.
    pub fn bias(mut self, bias: bool) -> Self {
        self.conv = self.conv.bias(bias);
        self
    }

    /// What fills the weight; default [`crate::initializers::HeNormal`].
    pub fn weight_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.conv = self.conv.weight_init(initializer);
        self
    }

    /// What fills the bias; default [`crate::initializers::Zeros`].
    pub fn bias_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.conv = self.conv.bias_init(initializer);
        self
    }
}

impl<F: Scalar> LayerSpec<F> for MaxoutConv2d {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        at_least_1("MaxoutConv2d", "filters", self.filters)?;
        at_least_1("MaxoutConv2d", "pieces", self.pieces)?;
        Ok(Box::new(MaxoutLayer::new("MaxoutConv2d", &self.conv, self.pieces, input, init)?))
    }
}

/// The largest of each `pieces` neighbouring channels: `y[c] = max_j x[c · pieces + j]`.
///
/// # Shape
/// input `[n, channels, ..]` → output `[n, channels / pieces, ..]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(MaxoutChannels::new(2)).build()?;
/// let y = model.predict(&ndarray::arr2(&[[1.0, 3.0, 7.0, 5.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [3.0, 7.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for 0 pieces, and with [`Error::Shape`] unless they divide the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MaxoutChannels {
    pieces: usize,
}

impl MaxoutChannels {
    /// Groups of `pieces` channels, at least 1.
    pub fn new(pieces: usize) -> Self {
        Self { pieces }
    }
}

impl<F: Scalar> LayerSpec<F> for MaxoutChannels {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        at_least_1("MaxoutChannels", "pieces", self.pieces)?;
        let groups = Groups::new(self.pieces, input)
            .map_err(|cause| Error::shape("MaxoutChannels", cause))?;
        Ok(Box::new(MaxoutChannelsLayer(groups)))
    }
}

fn at_least_1(kind: &'static str, field: &'static str, value: usize) -> Result<()> {
    if value > 0 { Ok(()) } else { Err(Error::config(kind, field, "at least 1", value)) }
}

/// Channels in groups, of which the largest is taken.
#[derive(Debug, Clone)]
struct Groups {
    pieces: usize,
    input: Shape,
    output: Shape,
}

impl Groups {
    fn new(pieces: usize, input: &Shape) -> Result<Self, ShapeError> {
        let mut output = input.dims().to_vec();
        match output.first_mut() {
            Some(channels) if *channels % pieces == 0 => *channels /= pieces,
            _ => {
                let needs = format!("[channels, ..] with channels a multiple of {pieces} pieces");
                let hint = "change the layer before it, or the number of pieces";
                return Err(ShapeError::new(needs, input).hint(hint));
            }
        }
        Ok(Self { pieces, input: input.clone(), output: output.into() })
    }

    /// Elements of a channel.
    fn plane(&self) -> usize {
        self.output.dims().iter().skip(1).product()
    }
}

/// Which piece won, for each output.
#[derive(Debug, Default)]
struct Winners(Vec<u32>);

impl Winners {
    /// Room for `len` of them.
    fn room(&mut self, len: usize) -> &mut [u32] {
        if self.0.len() < len {
            self.0.resize(len, 0);
        }
        &mut self.0
    }
}

/// What [`MaxoutChannels`] becomes.
#[derive(Debug, Clone)]
pub struct MaxoutChannelsLayer(Groups);

impl<F: Scalar> Layer<F> for MaxoutChannelsLayer {
    fn kind(&self) -> &'static str {
        "MaxoutChannels"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input
            .require(self.0.input.dims(), "the shape it was built for")
            .map(|_| self.0.output.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let len = pass.output.len();
        let winners = pass.remember.then(|| pass.cache.get_or_default::<Winners>().room(len));
        door::fill(&mut pass.output, |y| {
            maxout::forward(self.0.pieces, self.0.plane(), &x, y, winners);
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Winners(winners) = pass.cache.get()?;
        let dy = door::slice(&pass.grad_output);
        if let Some(mut grad_input) = pass.grad_input {
            door::fill(&mut grad_input, |dx| {
                maxout::backward(self.0.pieces, self.0.plane(), winners, &dy, dx);
            });
        }
        Ok(())
    }
}

/// What [`Maxout`] and [`MaxoutConv2d`] become: a linear layer of all pieces, and the largest of each group.
#[derive(Debug, Clone)]
pub struct MaxoutLayer<F: Scalar = f32> {
    kind: &'static str,
    linear: Box<dyn Layer<F>>,
    groups: Groups,
}

/// What a maxout layer remembers: which piece won, and what its linear layer remembers; `pieces` is working memory for
/// the values or gradients of all pieces.
#[derive(Debug, Default)]
struct Memory<F> {
    winners: Winners,
    inner: Cache,
    pieces: Vec<F>,
}

impl<F: Scalar> MaxoutLayer<F> {
    fn new(
        kind: &'static str,
        linear: &dyn LayerSpec<F>,
        pieces: usize,
        input: &Shape,
        init: &mut Init,
    ) -> Result<Self> {
        let linear = linear.build(input, init).map_err(|error| error.of_kind(kind))?;
        let fits = |cause| Error::shape(kind, cause);
        let all = linear.output_shape(input).map_err(fits)?;
        let groups = Groups::new(pieces, &all).map_err(fits)?;
        Ok(Self { kind, linear, groups })
    }
}

impl<F: Scalar> Layer<F> for MaxoutLayer<F> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.linear.output_shape(input).map(|_| self.groups.output.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let Groups { pieces, input: all, .. } = &self.groups;
        let Memory { winners, inner, pieces: memory } = pass.cache.get_or_default::<Memory<F>>();
        let batch = pass.input.shape()[0];
        let values = grown(memory, batch, all.numel())?;
        self.linear.forward(Forward {
            input: pass.input,
            output: view_mut(batch, all, values),
            cache: inner,
            scratch: pass.scratch,
            mode: pass.mode,
            seed: pass.seed,
            kept: pass.kept,
            remember: pass.remember,
            lines: None,
            relu: false,
        })?;
        let len = pass.output.len();
        let winners = pass.remember.then(|| winners.room(len));
        door::fill(&mut pass.output, |y| {
            maxout::forward(*pieces, self.groups.plane(), values, y, winners);
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Groups { pieces, input: all, .. } = &self.groups;
        let Memory { winners, inner, pieces: memory } = pass.cache.get_mut::<Memory<F>>()?;
        let batch = pass.input.shape()[0];
        let gradients = grown(memory, batch, all.numel())?;
        let dy = door::slice(&pass.grad_output);
        maxout::backward(*pieces, self.groups.plane(), &winners.0, &dy, gradients);
        let grad_output = view(batch, all, gradients);
        self.linear.backward(Backward {
            input: pass.input,
            // A linear layer's gradient does not ask for its output, which is gone.
            output: grad_output.clone(),
            grad_output,
            grad_input: pass.grad_input,
            cache: inner,
            scratch: pass.scratch,
            mode: pass.mode,
            seed: pass.seed,
            relu: false,
        })
    }

    fn visit(&self, visitor: &mut Visitor<'_, F>) {
        self.linear.visit(visitor);
    }

    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        self.linear.visit_mut(visitor);
    }
}
