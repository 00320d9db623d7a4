//! A body beside a shortcut.

use super::Block;
use super::branch::Skip;
use crate::{
    Backward, Cache, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError, Visitor,
    VisitorMut,
};

/// Adds a shortcut around a block: `y = body(x) + x`, or `body(x) + projection(x)`.
///
/// The body learns what to change, and the gradient has a way past it: networks of a hundred layers train. In He's first
/// form a ReLU follows: `.add(Residual::new(…)).add(Relu)`.
///
/// # Shape
/// input `[n, ..]` → output of the body, which must have the input's shape, or the projection's output's. Parameters are
/// called `body.…` and `projection.…`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// fn conv(filters: usize, stride: usize) -> Block {
///     Block::new().add(Conv2d::new(filters, 3).stride(stride).padding(1).bias(false)).add(BatchNorm::new())
/// }
///
/// let body = || conv(8, 1).add(Relu).add(Conv2d::new(8, 3).padding(1));
/// let shrinking = conv(16, 2).add(Relu).add(Conv2d::new(16, 3).padding(1));
/// let projection = Block::new().add(Conv2d::new(16, 1).stride(2));
/// let model = Sequential::builder([8, 6, 6])
///     .add(Residual::new(body()))
///     .add(Relu)
///     .add(Residual::new(shrinking).projection(projection))
///     .build()?;
/// assert_eq!(model.output_shape().dims(), [16, 3, 3]);
/// assert!(model.param("2.projection.0.weight").is_some());
///
/// // A body of zeros is the identity.
/// let nothing = Block::new().add(Linear::new(2).weight_init(Zeros));
/// let model = Sequential::builder([2]).add(Residual::new(nothing)).build()?;
/// assert_eq!(model.predict(&ndarray::arr2(&[[3.0, -1.0]]))?.as_slice().unwrap(), [3.0, -1.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`crate::Error::Shape`] if body and shortcut differ in shape, and with what their layers report.
///
/// # References
/// He et al. 2016. With random depth: [`super::StochasticDepth`]. More than two branches: [`super::Parallel`].
#[derive(Debug)]
pub struct Residual<F: Scalar = f32> {
    pub(super) body: Block<F>,
    pub(super) projection: Option<Block<F>>,
}

impl<F: Scalar> Residual<F> {
    /// `body` beside the identity.
    pub fn new(body: Block<F>) -> Self {
        Self { body, projection: None }
    }

    /// What stands in the shortcut's place, where the body changes the shape: a 1×1 convolution with the body's stride, say.
    pub fn projection(mut self, projection: Block<F>) -> Self {
        self.projection = Some(projection);
        self
    }
}

impl<F: Scalar> LayerSpec<F> for Residual<F> {
    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let projection = self.projection.as_ref().map(LayerSpec::record);
        crate::persist::Record::with_inner(
            "Residual",
            &(),
            [("body", Some(self.body.record())), ("projection", projection)],
        )
    }

    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let skip = Skip::new("Residual", &self.body, self.projection.as_ref(), input, init)?;
        Ok(Box::new(ResidualLayer(skip)))
    }
}

/// What [`Residual`] becomes.
#[derive(Debug, Clone)]
pub struct ResidualLayer<F: Scalar = f32>(Skip<F>);

impl<F: Scalar> Layer<F> for ResidualLayer<F> {
    fn kind(&self) -> &'static str {
        "Residual"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.0.output_shape(input)
    }

    fn forward(&self, pass: Forward<'_, F>) -> Result<()> {
        self.0.forward(pass, |factors| factors.push(F::one()))
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        self.0.backward(pass)
    }

    fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        self.0.update_buffers(cache)
    }

    fn visit(&self, visitor: &mut Visitor<'_, F>) {
        self.0.visit(visitor);
    }

    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        self.0.visit_mut(visitor);
    }

    fn is_container(&self) -> bool {
        true
    }

    fn prepare_inference(&mut self) -> Result<()> {
        self.0.prepare_inference()
    }

    #[cfg(feature = "serde")]
    fn inner_record(&self) -> Option<crate::persist::Record> {
        Some(crate::persist::Record::with_inner("Residual", &(), self.0.records()))
    }
}
