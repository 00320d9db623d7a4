//! A model that only predicts.

use super::{Node, Sequential, builder};
use crate::{Result, Scalar, Shape};

impl<F: Scalar> Sequential<F> {
    /// The model in the form in which it predicts fastest: batch norm becomes part of the [`Linear`](crate::layers::Linear),
    /// [`Conv2d`](crate::layers::Conv2d), [`Conv1d`](crate::layers::Conv1d) or
    /// [`ConvTranspose2d`](crate::layers::ConvTranspose2d) before it, layers that only act in training are left out, and activations are
    /// fused with the layer before them where that can apply them ([`crate::Layer::applies_relu`]). Inside nested models too.
    ///
    /// Outputs are those of [`Sequential::predict`], but for rounding: within 1e-5 of the largest in `f32`. Layers keep their
    /// names. The result is in eval mode. Training it on trains another network, without the batch norm.
    ///
    /// # Errors
    /// None for the crate's layers: what was built once can be put together again.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([3, 8, 8])
    ///     .add(Conv2d::new(4, 3).bias(false))
    ///     .add(BatchNorm::new())
    ///     .add(Relu)
    ///     .add(Dropout::new(0.5))
    ///     .add(Flatten)
    ///     .add(Linear::new(2))
    ///     .build()?;
    /// let x = Array4::from_shape_fn((2, 3, 8, 8), |(n, c, h, w)| ((7 * n + 5 * c + 3 * h + w) % 11) as f32);
    /// let before = model.predict(&x)?;
    /// let model = model.into_inference()?;
    /// let kinds: Vec<&str> = model.summary().rows.iter().map(|row| row.kind).collect();
    /// assert_eq!(kinds, ["Conv2d", "Relu", "Flatten", "Linear"]);
    /// let after = model.predict(&x)?;
    /// assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-4));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn into_inference(mut self) -> Result<Self> {
        self.prepare_inference()?;
        self.eval();
        Ok(self)
    }

    pub(super) fn prepare_inference(&mut self) -> Result<()> {
        let mut kept: Vec<Node<F>> = Vec::new();
        for mut node in std::mem::take(&mut self.nodes) {
            node.layer.prepare_inference()?;
            if node.layer.only_trains() {
                continue;
            }
            if let (Some((scale, shift)), Some(below)) = (node.layer.eval_affine(), kept.last_mut())
                && below.layer.absorb_affine(&scale, &shift)
            {
                below.has_bias();
                continue;
            }
            kept.push(node);
        }
        let mut shape: Shape = self.input.clone();
        for node in kept {
            shape = builder::place(&mut self.nodes, &shape, node.name, node.layer, node.record)?;
        }
        // Its buffers were for other nodes.
        self.workspace = crate::Workspace::new();
        Ok(())
    }
}
