//! What layers put out in the last forward.

use super::Sequential;
use crate::workspace::view;
use crate::{Scalar, View};

/// What one layer put out in a model's last forward; see [`Sequential::each_output`].
#[derive(Debug)]
#[non_exhaustive]
pub struct LayerOutput<'a, F: Scalar = f32> {
    /// The layer's name.
    pub name: &'a str,
    /// Its kind, such as `Relu`.
    pub kind: &'static str,
    /// Whether it is `max(0, ·)`.
    pub is_relu: bool,
    /// `[batch, ..output shape]`
    pub values: View<'a, F>,
}

impl<F: Scalar> Sequential<F> {
    /// Shows what each layer put out in the last [`Sequential::forward`], from the bottom up; nothing before the first. For
    /// a look at activations while training.
    ///
    /// Left out are layers that only reshape, and those whose output a [`Relu`](crate::activations::Relu) above replaced in
    /// place: the ReLU is shown instead. A nested model is one layer.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([2]).add(Linear::new(3)).add(Tanh).build()?;
    /// model.forward(&Array2::ones((4, 2)))?;
    /// let mut seen = Vec::new();
    /// model.each_output(|layer| seen.push((layer.kind, layer.values.shape().to_vec())));
    /// assert_eq!(seen, [("Linear", vec![4, 3]), ("Tanh", vec![4, 3])]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn each_output(&self, mut each: impl FnMut(LayerOutput<'_, F>)) {
        let Some((batch, _)) = self.workspace.finished else { return };
        for node in &self.nodes {
            if node.relu || node.layer.only_reshapes() {
                continue;
            }
            let values = &self.workspace.slots[node.slot][..batch * node.output.numel()];
            each(LayerOutput {
                name: &node.name,
                kind: node.layer.kind(),
                is_relu: node.layer.is_relu(),
                values: view(batch, &node.output, values),
            });
        }
    }
}
