//! Leaky ReLU with a learned slope.

use super::door;
use crate::initializers::Constant;
use crate::kernels::prelu;
use crate::{
    Backward, Error, Fans, Forward, Init, Layer, LayerSpec, Param, Result, Role, Scalar, Shape,
    ShapeError, layer_params,
};

/// `y = x`, or `α · x` where `x ≤ 0`, with a learned slope `α`: one for each channel, or one for all.
///
/// For slopes below 1 that is `max(α x, x)`.
///
/// The derivative by `α` is `Σ x · dy` over the elements with `x ≤ 0`; at 0 the derivative by `x` is `α`, as in PyTorch.
///
/// # Shape
/// input `[n, channels, ..]` → the same; `weight` `[channels]`, or `[1]` if [`PRelu::shared`]. For `[n, features]` each
/// feature is a channel.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(PRelu::new()).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-4.0, 4.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [-1.0, 4.0]);
/// assert_eq!(model.param("0.weight").unwrap().shape(), [2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless the initial slope is finite, and with [`Error::Shape`] if a sample has no
/// axis that could count channels.
///
/// # References
/// He et al. 2015. As there, the slope has no weight decay, which would pull it to ReLU: its role is [`Role::Slope`].
/// PyTorch's default is one slope for all and decays it; Keras has one for each element, from 0.
#[doc(alias = "PReLU")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PRelu {
    shared: bool,
    start: f64,
}

impl PRelu {
    /// One slope for each channel.
    pub fn new() -> Self {
        Self { shared: false, start: 0.25 }
    }

    /// One slope for all elements.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([3, 8, 8]).add(PRelu::shared()).build()?;
    /// assert_eq!(model.summary().parameters, 1);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn shared() -> Self {
        Self { shared: true, ..Self::new() }
    }

    /// The slope that training starts from, finite; default 0.25.
    pub fn start(mut self, slope: f64) -> Self {
        self.start = slope;
        self
    }
}

impl Default for PRelu {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Scalar> LayerSpec<F> for PRelu {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        if !self.start.is_finite() {
            return Err(Error::config("PRelu", "start", "finite", self.start));
        }
        let channels = if self.shared { 1 } else { channels(input)? };
        let fans = Fans { shape: &[channels], fan_in: 1, fan_out: 1 };
        let weight = init.param("weight", Role::Slope, fans, &Constant(self.start))?;
        Ok(Box::new(PReluLayer { weight, shared: self.shared, shape: input.clone() }))
    }
}

fn channels(input: &Shape) -> Result<usize> {
    input.dims().first().copied().ok_or_else(|| {
        let cause = ShapeError::new("[channels, ..]", input).hint("use PRelu::shared");
        Error::shape("PRelu", cause)
    })
}

/// What [`PRelu`] becomes.
#[derive(Debug, Clone)]
pub struct PReluLayer<F: Scalar = f32> {
    weight: Param<F>,
    shared: bool,
    shape: Shape,
}

impl<F: Scalar> PReluLayer<F> {
    /// Elements side by side that have one slope.
    fn plane(&self) -> usize {
        // One slope for all: any length will do, and this one cuts the work well.
        if self.shared { 4096 } else { self.shape.numel() / self.weight.numel() }
    }
}

impl<F: Scalar> Layer<F> for PReluLayer<F> {
    fn kind(&self) -> &'static str {
        "PRelu"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.shape.dims(), "the shape it was built for")
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| {
            prelu::forward(self.plane(), self.weight.as_slice(), &x, y)
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let (x, dy) = (door::slice(&pass.input), door::slice(&pass.grad_output));
        let (plane, channels) = (self.plane(), self.weight.numel());
        if let Some(dslopes) = self.weight.grad_slice() {
            let [scratch] = pass.scratch.take([prelu::scratch_len(channels, plane, x.len())]);
            prelu::backward_slopes(plane, &x, &dy, dslopes, scratch);
        }
        if let Some(mut grad_input) = pass.grad_input {
            door::fill(&mut grad_input, |dx| {
                prelu::backward(plane, self.weight.as_slice(), &x, &dy, dx);
            });
        }
        Ok(())
    }

    layer_params!(F; weight);
}
