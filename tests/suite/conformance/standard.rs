//! The layers that most libraries have, one line each.

use layerwise::ndarray::Zip;

use super::*;

/// Makes ids of numbers, so that an embedding can stand in the table. A step function: its derivative is 0.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Ids(usize);

impl<F: Scalar> Layer<F> for Ids {
    fn kind(&self) -> &'static str {
        "Ids"
    }

    fn output_shape(&self, input: &Shape) -> layerwise::Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> layerwise::Result<()> {
        Zip::from(&mut pass.output).and(&pass.input).for_each(|id, &x| {
            // Wide steps: few of the check's differences cross one.
            *id = F::lit((x.widen() * 2.5).floor().rem_euclid(self.0 as f64));
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> layerwise::Result<()> {
        if let Some(mut grad_input) = pass.grad_input {
            grad_input.fill(F::zero());
        }
        Ok(())
    }
}

impl<F: Scalar> LayerSpec<F> for Ids {
    fn build(&self, _input: &Shape, _init: &mut Init) -> layerwise::Result<Box<dyn Layer<F>>> {
        Ok(Box::new(self.clone()))
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> layerwise::persist::Record {
        layerwise::persist::Record::of("Ids", self)
    }
}

/// An embedding behind what gives it ids.
struct OfIds(Embedding);

impl Spec for OfIds {
    fn name(&self) -> String {
        format!("{:?}", self.0)
    }
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32> {
        builder.add(Block::new().add(Ids(5)).add(self.0.clone()))
    }
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64> {
        builder.add(Block::new().add(Ids(5)).add(self.0.clone()))
    }
}

pub(super) fn registered() -> Vec<(Box<dyn Spec>, Shape)> {
    vec![
        line(Conv1d::new(4, 3).padding(1), [3, 11]),
        line(Conv1d::new(6, 5).stride(2).groups(2), [4, 20]),
        line(Conv1d::new(2, 2).stride(3).padding(4).dilation(2).groups(2).bias(false), [2, 9]),
        line(Conv1d::new(20, 1), [3, 70]),
        line(Conv2d::new(5, 3).groups(5).padding(1), [5, 9, 35]),
        line(Conv2d::new(6, (3, 2)).groups(3).stride((2, 3)).dilation(2), [3, 9, 8]),
        line(ConvTranspose2d::new(3, 2).stride(2), [4, 3, 4]),
        line(ConvTranspose2d::new(5, 3).stride(2).padding(1).output_padding(1), [3, 4, 5]),
        line(ConvTranspose2d::new(4, 3).padding(1).bias(false), [3, 6, 6]),
        line(ConvTranspose2d::new(4, 3).stride((2, 1)).groups(2), [6, 4, 4]),
        line(ConvTranspose2d::new(4, 3).stride(2).padding(1).groups(4), [4, 5, 4]),
        line(ConvTranspose2d::new(2, (3, 2)).dilation((2, 3)).output_padding((1, 2)), [2, 4, 3]),
        line(ConvTranspose2d::new(18, 3).padding(1), [17, 9, 8]),
        line(OfIds(Embedding::new(5, 3)), [4]),
        // No id is 6: the gradient that a padding row does not get would differ from the difference quotient.
        line(OfIds(Embedding::new(7, 70).padding(6)), [2, 3]),
        line(Rnn::new(4), [5, 3]),
        line(Rnn::new(3).relu().sequences(true), [4, 2]),
        line(Lstm::new(4), [5, 3]),
        line(Lstm::new(3).sequences(true).bias(false), [1, 4]),
        line(Lstm::new(33).sequences(true), [3, 20]),
        line(Gru::new(4), [5, 3]),
        line(Gru::new(3).sequences(true).bias(false), [4, 2]),
        line(Gru::new(20).recurrent_init(Orthogonal::default()), [3, 17]),
        line(LayerNorm::new(), [7]),
        line(LayerNorm::new(), [3, 4, 5]),
        line(LayerNorm::new().last_axes(1).eps(1e-3), [4, 6]),
        line(LayerNorm::new().last_axes(2).affine(false), [2, 3, 3]),
        line(GroupNorm::new(2), [6]),
        line(GroupNorm::new(3), [6, 4, 5]),
        line(GroupNorm::new(1).affine(false), [4, 3, 3]),
        line(GroupNorm::new(2), [4, 40]),
        line(InstanceNorm::new(), [3, 5, 4]),
        line(InstanceNorm::new().affine(true), [2, 70]),
        line(LocalResponseNorm::new(5), [7, 4, 5]),
        line(LocalResponseNorm::new(4).alpha(0.5).beta(0.6), [6, 9]),
        line(LocalResponseNorm::alexnet().alpha(2.0), [3, 20, 20]),
        line(AdaptiveAvgPool2d::new(3), [2, 7, 8]),
        line(AdaptiveAvgPool2d::new((5, 6)), [2, 3, 4]),
        line(AdaptiveAvgPool2d::new(1), [3, 6, 6]),
        line(AdaptiveMaxPool2d::new(3), [2, 7, 8]),
        line(AdaptiveMaxPool2d::new((5, 2)), [2, 3, 4]),
        line(GlobalMaxPool, [3, 9, 9]),
        line(GlobalMaxPool, [2, 1, 1]),
        line(Upsample::new(2), [2, 3, 4]),
        line(Upsample::to((5, 7)), [2, 3, 4]),
        line(Upsample::to((3, 2)), [2, 5, 7]),
        line(Upsample::new((2, 3)).bilinear(), [2, 3, 4]),
        line(Upsample::to((4, 3)).bilinear(), [2, 6, 7]),
        line(Upsample::to((7, 5)).bilinear().align_corners(true), [2, 3, 4]),
        line(Upsample::to(1).bilinear().align_corners(true), [1, 3, 4]),
        line(ZeroPad::new((1, 2)), [2, 3, 4]),
        line(ZeroPad::sides(0, 3, 1, 0), [2, 3, 4]),
        line(Reshape::new([4, 3]), [2, 6]),
        line(Reshape::new([12]), [2, 2, 3]),
        line(Permute::new([1, 0]), [17, 19]),
        line(Permute::new([2, 0, 1]), [3, 4, 5]),
        line(Permute::new([0, 2, 1]), [3, 4, 5]),
        line(Permute::new([0, 1]), [3, 4]),
    ]
}
