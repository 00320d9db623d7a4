//! A list of specs that is a spec.

use super::NestedLayer;
use super::builder::{Item, build};
use crate::{Init, Layer, LayerSpec, Result, Scalar, Shape};

/// Several layers as one: a spec that becomes a nested [`super::Sequential`], whose input shape is
/// inferred.
///
/// ```
/// use layerwise::prelude::*;
///
/// fn conv_bn_relu(filters: usize) -> Block {
///     Block::new().add(Conv2d::new(filters, 3).padding(1).bias(false)).add(BatchNorm::new()).add(Relu)
/// }
///
/// let model = Sequential::builder([3, 32, 32])
///     .add(conv_bn_relu(16))
///     .add(conv_bn_relu(32))
///     .build()?;
/// assert_eq!(model.output_shape().dims(), [32, 32, 32]);
/// assert!(model.param("1.0.weight").is_some());
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Block<F: Scalar = f32>(Vec<Item<F>>);

impl<F: Scalar> Block<F> {
    /// A block without layers.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// The layers of this block, for inputs of this shape.
    pub(super) fn nested(&self, input: &Shape, init: &Init) -> Result<NestedLayer<F>> {
        Ok(build(input.clone(), self.0.iter(), init.seed(), init)?.into_layer())
    }

    /// Adds a layer, named after its position in the block.
    #[allow(clippy::should_implement_trait)]
    pub fn add(mut self, spec: impl LayerSpec<F> + 'static) -> Self {
        self.0.push(Item::spec(None, spec));
        self
    }

    /// Adds a layer under a name of its own.
    pub fn add_named(mut self, name: &str, spec: impl LayerSpec<F> + 'static) -> Self {
        self.0.push(Item::spec(Some(name), spec));
        self
    }

    pub(super) fn into_items(self) -> Vec<Item<F>> {
        self.0
    }

    /// Adds a layer that is already built.
    pub fn add_layer(mut self, layer: impl Layer<F> + 'static) -> Self {
        self.0.push(Item::layer(layer));
        self
    }
}

impl<F: Scalar> Default for Block<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Scalar> LayerSpec<F> for Block<F> {
    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        crate::persist::Record::list(self.0.iter().map(Item::named_record).collect())
    }

    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        Ok(Box::new(self.nested(input, init)?))
    }
}
