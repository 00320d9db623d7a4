//! A function of the user's as a layer.

use std::fmt;
use std::sync::Arc;

use crate::{
    Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError, View,
    ViewMut,
};

/// A function without parameters or memory, with its derivative, as a layer.
///
/// For what is too small for a type of its own; [`crate::Activation`] and [`Layer`] are the traits for more. Whether the
/// derivative is right, [`crate::gradcheck`] tells.
///
/// # Shape
/// input `[n, ..]` → the same, unless [`Lambda::output_shape`] says otherwise.
///
/// # Examples
/// Element by element:
/// ```
/// use layerwise::prelude::*;
///
/// let square = Lambda::elementwise(|x: f64| x * x, |x| 2.0 * x);
/// layerwise::gradcheck::check_spec(&square, [5])?;
/// let model = SequentialBuilder::<f64>::new([2]).add(square).build()?;
/// let y = model.predict(&ndarray::arr2(&[[3.0, -4.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [9.0, 16.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
/// A whole batch, with a shape of its own: the mean of each sample.
/// ```
/// use layerwise::prelude::*;
///
/// let mean = Lambda::new(
///     |x: View<f32>, mut y: ViewMut<f32>| y.index_axis_mut(Axis(1), 0).assign(&x.mean_axis(Axis(1)).unwrap()),
///     |x, _y, dy, mut dx| dx.assign(&(&dy / x.shape()[1] as f32)),
/// )
/// .output_shape(|input| input.features().map(|_| [1].into()))
/// .kind("Mean");
/// layerwise::gradcheck::check_spec(&mean, [4])?;
/// let model = Sequential::builder([4]).add(mean).build()?;
/// assert_eq!(model.predict(&ndarray::arr2(&[[1.0, 2.0, 3.0, 6.0]]))?[[0, 0]], 3.0);
/// assert_eq!(model.summary().rows[0].kind, "Mean");
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// In a saved model (feature `serde`) stands the name alone, no file can hold a function: give it one with [`Lambda::kind`], and
/// open the file with a registry that has the function
#[cfg_attr(feature = "serde", doc = "([`crate::persist::Registry::add_lambda`]).")]
#[cfg_attr(not(feature = "serde"), doc = "(`persist::Registry::add_lambda`).")]
///
/// # Errors
/// Building fails with [`Error::Shape`] if [`Lambda::output_shape`] says so.
#[derive(Clone)]
pub struct Lambda<F: Scalar = f32> {
    kind: &'static str,
    forward: Arc<Function<F>>,
    backward: Arc<Derivative<F>>,
    output_shape: Arc<ShapeRule>,
}

/// The kind of a function that was given no name.
const UNNAMED: &str = "Lambda";

/// `(x, y)`: writes `y`.
type Function<F> = dyn Fn(View<'_, F>, ViewMut<'_, F>) + Send + Sync;
/// `(x, y, dy, dx)`: writes `dx`.
type Derivative<F> = dyn Fn(View<'_, F>, View<'_, F>, View<'_, F>, ViewMut<'_, F>) + Send + Sync;
type ShapeRule = dyn Fn(&Shape) -> Result<Shape, ShapeError> + Send + Sync;

impl<F: Scalar> Lambda<F> {
    /// A function of a whole batch. `forward(x, y)` writes every element of `y` from `x`; `backward(x, y, dy, dx)` writes
    /// every element of `dx`, the gradient by `x`, from the gradient `dy` by `y`. The batch is the first axis of each.
    pub fn new(
        forward: impl Fn(View<'_, F>, ViewMut<'_, F>) + Send + Sync + 'static,
        backward: impl Fn(View<'_, F>, View<'_, F>, View<'_, F>, ViewMut<'_, F>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind: UNNAMED,
            forward: Arc::new(forward),
            backward: Arc::new(backward),
            output_shape: Arc::new(|input| Ok(input.clone())),
        }
    }

    /// A function of each element, and its derivative.
    pub fn elementwise(
        function: impl Fn(F) -> F + Send + Sync + 'static,
        derivative: impl Fn(F) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::new(
            move |x, mut y| y.zip_mut_with(&x, |y, &x| *y = function(x)),
            move |x, _, dy, mut dx| {
                dx.zip_mut_with(&x, |dx, &x| *dx = derivative(x));
                dx *= &dy;
            },
        )
    }

    /// Shape of one output sample for one input sample; default the same. Return [`ShapeError::new`] for an input that the
    /// function cannot take.
    pub fn output_shape(
        mut self,
        rule: impl Fn(&Shape) -> Result<Shape, ShapeError> + Send + Sync + 'static,
    ) -> Self {
        self.output_shape = Arc::new(rule);
        self
    }

    /// Name of the kind, for summaries, errors and files; default `Lambda`.
    pub fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }
}

#[cfg(feature = "serde")]
impl<F: Scalar> Lambda<F> {
    /// What [`Lambda::kind`] said.
    pub(crate) fn name(&self) -> &'static str {
        self.kind
    }
}

impl<F: Scalar> fmt::Debug for Lambda<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

impl<F: Scalar> LayerSpec<F> for Lambda<F> {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        (self.output_shape)(input).map_err(|cause| Error::shape(self.kind, cause))?;
        Ok(Box::new(LambdaLayer(self.clone())))
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        if self.kind == UNNAMED {
            return crate::persist::Record::refused(
                "it is a Lambda without a name; name it with Lambda::kind, and open the file with a Registry that has it (add_lambda)"
                    .into(),
            );
        }
        crate::persist::Record::of("Lambda", &serde_json::json!({ "name": self.kind }))
    }
}

/// What [`Lambda`] becomes.
#[derive(Debug, Clone)]
pub struct LambdaLayer<F: Scalar = f32>(Lambda<F>);

impl<F: Scalar> Layer<F> for LambdaLayer<F> {
    fn kind(&self) -> &'static str {
        self.0.kind
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        (self.0.output_shape)(input)
    }

    fn forward(&self, pass: Forward<'_, F>) -> Result<()> {
        (self.0.forward)(pass.input, pass.output);
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        if let Some(grad_input) = pass.grad_input {
            (self.0.backward)(pass.input, pass.output, pass.grad_output, grad_input);
        }
        Ok(())
    }
}
