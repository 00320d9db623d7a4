//! Softmax and its logarithm, as layers.

use super::door;
use crate::kernels::softmax::{self, Axes, Form};
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Makes probabilities of scores: `yᵢ = e^xᵢ / Σⱼ e^xⱼ`, over one axis.
///
/// Never overflows. To train a classifier leave it out: [`crate::losses::CrossEntropy`] takes scores and loses no
/// digits. `NaN`, `+∞` or nothing but `−∞` along the axis gives NaN along it, as in PyTorch.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(Softmax::new()).build()?;
/// let y = model.predict(&ndarray::arr2(&[[1000.0, 1000.0], [0.0, 1000.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.5, 0.5, 0.0, 1.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] if a sample has no such axis.
///
/// # References
/// Bridle 1990. PyTorch counts the batch as axis 0; [`Softmax::axis`] does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Softmax {
    axis: Option<usize>,
}

/// The logarithm of [`Softmax`], over one axis: `yᵢ = xᵢ − log Σⱼ e^xⱼ`.
///
/// Keeps the digits of small probabilities; what [`crate::losses::Nll`] and [`crate::losses::KlDivergence`] take.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(LogSoftmax::new()).build()?;
/// let y = model.predict(&ndarray::arr2(&[[0.0, 0.0], [0.0, 1000.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [-std::f32::consts::LN_2, -std::f32::consts::LN_2, -1000.0, 0.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] if a sample has no such axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LogSoftmax {
    axis: Option<usize>,
}

/// The part that both specs share.
macro_rules! spec {
    ($spec:ident, $form:expr) => {
        impl $spec {
            /// Over the last axis.
            pub fn new() -> Self {
                Self::default()
            }

            /// Over this axis of a sample, counted from 0 without the batch: for images 0 is the channels. Default: the
            /// last.
            pub fn axis(mut self, axis: usize) -> Self {
                self.axis = Some(axis);
                self
            }
        }

        impl<F: Scalar> LayerSpec<F> for $spec {
            fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
                Ok(Box::new(SoftmaxLayer::new(stringify!($spec), $form, self.axis, input)?))
            }
        }
    };
}
spec!(Softmax, Form::Plain);
spec!(LogSoftmax, Form::Log);

/// What [`Softmax`] and [`LogSoftmax`] become.
#[derive(Debug, Clone)]
pub struct SoftmaxLayer {
    kind: &'static str,
    form: Form,
    axes: Axes,
    shape: Shape,
}

impl SoftmaxLayer {
    fn new(kind: &'static str, form: Form, axis: Option<usize>, input: &Shape) -> Result<Self> {
        let dims = input.dims();
        let axis = axis.unwrap_or(dims.len().saturating_sub(1));
        let Some((&len, behind)) = dims.get(axis..).and_then(<[usize]>::split_first) else {
            let got = format!("{axis} for {input}");
            return Err(Error::config(kind, "axis", "an axis of the sample, counted from 0", got));
        };
        let axes = Axes { len, inner: behind.iter().product() };
        Ok(Self { kind, form, axes, shape: input.clone() })
    }
}

impl<F: Scalar> Layer<F> for SoftmaxLayer {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.shape.dims(), "the shape it was built for")
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| softmax::forward(self.form, self.axes, &x, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let (y, dy) = (door::slice(&pass.output), door::slice(&pass.grad_output));
        door::fill(&mut grad_input, |dx| softmax::backward(self.form, self.axes, &y, &dy, dx));
        Ok(())
    }
}
