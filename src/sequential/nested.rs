//! A model inside a model.

use super::{Sequential, pass, predict};
use crate::{
    Backward, Cache, Error, Forward, Init, Layer, LayerSpec, Mode, Result, Scalar, Shape,
    ShapeError, Visitor, VisitorMut, Workspace,
};

/// What a [`Sequential`] becomes inside another: a layer that runs its layers in the outer pass's mode
/// and seed. Made by [`Sequential::into_layer`], or by adding a model to a builder.
///
/// Its own type because a model's `forward` and a layer's are two things: one owns its workspace, the other
/// gets everything from the pass.
#[derive(Debug, Clone)]
pub struct NestedLayer<F: Scalar = f32>(Sequential<F>);

impl<F: Scalar> Sequential<F> {
    /// This model as a layer, to check its gradients or to call it by hand.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// use layerwise::SequentialBuilder;
    ///
    /// let model = SequentialBuilder::<f64>::new([4]).add(Linear::new(3)).add(Tanh).build()?;
    /// layerwise::gradcheck::check(&model.into_layer(), [4])?;
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn into_layer(self) -> NestedLayer<F> {
        NestedLayer(self)
    }
}

/// Adding a model to a builder nests a copy of it, learned values and all.
impl<F: Scalar> LayerSpec<F> for Sequential<F> {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let layer = self.clone().into_layer();
        layer.output_shape(input).map_err(|cause| Error::shape(layer.kind(), cause))?;
        Ok(Box::new(layer))
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        crate::persist::Record::list(self.records())
    }
}

impl<F: Scalar> Layer<F> for NestedLayer<F> {
    fn kind(&self) -> &'static str {
        "Sequential"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input
            .require(self.0.input.dims(), "the nested model's input")
            .map(|_| self.0.output_shape().clone())
    }

    /// The inner workspace lies in the outer cache.
    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let model = &self.0;
        let workspace = pass.cache.get_or_default::<Workspace<F>>();
        let batch = pass.input.shape()[0];
        if pass.remember || pass.mode == Mode::Train {
            pass::forward(
                &model.nodes,
                &model.input,
                workspace,
                pass.input,
                batch,
                pass.mode,
                pass.seed,
            )?;
            pass.output.assign(&pass::output(&model.nodes, &model.input, workspace, batch));
        } else {
            workspace.keeps = pass.kept.is_some();
            let output = predict::predict(
                &model.nodes,
                &model.input,
                workspace,
                pass.input,
                batch,
                pass.seed,
            )?;
            pass.output.assign(&output);
        }
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let workspace = pass.cache.get_mut::<Workspace<F>>()?;
        pass::backward(
            &mut self.0.nodes,
            &self.0.input,
            workspace,
            pass.grad_output,
            pass.grad_input,
        )
    }

    fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        pass::update_buffers(&mut self.0.nodes, cache.get::<Workspace<F>>()?)
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
        Some(crate::persist::Record::list(self.0.records()))
    }
}
