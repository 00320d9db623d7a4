//! Maxout, learned slopes, random layers, functions of the user's.

use layerwise::prelude::*;
use layerwise::{LayerSpec, SequentialBuilder};

use super::{Spec, line};

/// Specs with an element type of their own, made for each.
struct Made<S32, S64> {
    name: &'static str,
    single: fn() -> S32,
    double: fn() -> S64,
}

impl<S32, S64> Spec for Made<S32, S64>
where
    S32: LayerSpec<f32> + 'static,
    S64: LayerSpec<f64> + 'static,
{
    fn name(&self) -> String {
        self.name.into()
    }
    fn add_f32(&self, builder: SequentialBuilder<f32>) -> SequentialBuilder<f32> {
        builder.add((self.single)())
    }
    fn add_f64(&self, builder: SequentialBuilder<f64>) -> SequentialBuilder<f64> {
        builder.add((self.double)())
    }
}

/// `made!(function)`: a generic function that makes a spec, for both elements.
macro_rules! made {
    ($make:ident) => {
        Made { name: stringify!($make), single: $make::<f32>, double: $make::<f64> }
    };
}

pub(super) fn cube<F: Scalar>() -> Lambda<F> {
    Lambda::elementwise(|x: F| x * x * x, |x| F::lit(3.0) * x * x).kind("Cube")
}

/// The last axis summed up.
pub(super) fn sums<F: Scalar>() -> Lambda<F> {
    Lambda::new(
        |x: View<'_, F>, mut y: ViewMut<'_, F>| y.assign(&x.sum_axis(Axis(x.ndim() - 1))),
        |x, _, dy, mut dx| dx.assign(&dy.insert_axis(Axis(x.ndim() - 1))),
    )
    .output_shape(|input| {
        let (_, rest) =
            input.dims().split_last().ok_or_else(|| ShapeError::new("an axis", input))?;
        Ok(rest.into())
    })
    .kind("Sums")
}

/// A body with all that a container has to look after: statistics, masks, freezing.
fn body<F: Scalar>() -> Block<F> {
    Block::new()
        .add(Conv2d::new(2, 3).padding(1))
        .add(BatchNorm::new())
        .add(Tanh)
        .add(Dropout::new(0.2))
        .add(Conv2d::new(3, 3).padding(1))
}

fn projection<F: Scalar>() -> Block<F> {
    Block::new().add(Conv2d::new(3, 1)).add(BatchNorm::new())
}

fn residual<F: Scalar>() -> Residual<F> {
    Residual::new(body())
}

fn residual_with_projection<F: Scalar>() -> Residual<F> {
    Residual::new(body()).projection(projection())
}

fn depth<F: Scalar>() -> StochasticDepth<F> {
    StochasticDepth::new(body())
}

fn depth_inverted<F: Scalar>() -> StochasticDepth<F> {
    StochasticDepth::new(body()).projection(projection()).survival(0.6).inverted(true)
}

fn depth_dropped<F: Scalar>() -> StochasticDepth<F> {
    StochasticDepth::new(body()).projection(projection()).survival(1e-9)
}

fn depth_without_shortcut_layers<F: Scalar>() -> StochasticDepth<F> {
    StochasticDepth::new(body()).survival(1e-9)
}

fn depth_per_row<F: Scalar>() -> StochasticDepth<F> {
    StochasticDepth::new(body()).per_row(true)
}

fn depth_per_row_inverted<F: Scalar>() -> StochasticDepth<F> {
    StochasticDepth::new(body()).projection(projection()).per_row(true).inverted(true)
}

/// Two blocks, one in the other.
fn nested_depth<F: Scalar>() -> StochasticDepth<F> {
    let inner = StochasticDepth::new(Block::new().add(Linear::new(4)).add(Tanh)).per_row(true);
    StochasticDepth::new(Block::new().add(inner).add(Linear::new(4))).survival(0.9)
}

fn concat<F: Scalar>() -> Parallel<F> {
    Parallel::concat().branch(body()).branch(Block::new()).branch(projection())
}

fn concat_features<F: Scalar>() -> Parallel<F> {
    let wide = Block::new().add(Linear::new(5)).add(Tanh);
    Parallel::concat().branch(Block::new().add(Linear::new(1))).branch(wide)
}

fn sum<F: Scalar>() -> Parallel<F> {
    Parallel::sum().branch(Block::new()).branch(body()).branch(Block::new())
}

pub(super) fn registered() -> Vec<(Box<dyn Spec>, Shape)> {
    // Biases far apart: few inputs are near a change of the largest piece, where no difference is right.
    let apart = Normal::new(0.0, 2.0);
    vec![
        line(Maxout::new(5, 2).bias_init(apart), [7]),
        line(Maxout::new(1, 1).bias(false), [3]),
        line(Maxout::new(33, 5).weight_init(LeCunNormal::default()).bias_init(apart), [18]),
        line(MaxoutConv2d::new(3, 3, 2).padding(1).bias_init(apart), [2, 5, 6]),
        line(MaxoutConv2d::new(2, (1, 3), 3).stride(2).bias(false), [3, 6, 7]),
        line(MaxoutConv2d::new(9, 3, 2).padding(1).bias_init(apart), [17, 9, 8]),
        line(MaxoutChannels::new(3), [6]),
        line(MaxoutChannels::new(2), [4, 3, 5]),
        line(MaxoutChannels::new(1), [3, 2]),
        line(PRelu::new(), [6]),
        line(PRelu::new().start(-0.5), [3, 4, 5]),
        line(PRelu::shared(), [2, 3, 4]),
        line(PRelu::shared().start(1.5), [8]),
        line(Dropout::drop(0.4).spatial(true), [5, 3, 2]),
        line(Dropout::keep(0.7).spatial(true), [6]),
        line(Dropout::new(0.3).vanilla(true), [11]),
        line(Dropout::new(0.3).vanilla(true).spatial(true), [4, 3]),
        line(AlphaDropout::new(0.3), [3, 4]),
        line(AlphaDropout::new(0.0), [5]),
        line(GaussianNoise::new(0.5), [17]),
        line(GaussianNoise::new(0.0), [3]),
        line(GaussianDropout::new(0.4), [3, 4, 5]),
        line(GaussianDropout::new(0.0), [3]),
        line(made!(residual), [3, 4, 5]),
        line(made!(residual_with_projection), [2, 4, 3]),
        line(made!(depth), [3, 4, 5]),
        line(made!(depth_inverted), [2, 4, 3]),
        line(made!(depth_dropped), [2, 4, 3]),
        line(made!(depth_without_shortcut_layers), [3, 2, 2]),
        line(made!(depth_per_row), [3, 4, 3]),
        line(made!(depth_per_row_inverted), [2, 3, 3]),
        line(made!(nested_depth), [4]),
        line(made!(concat), [3, 4, 3]),
        line(made!(concat_features), [4]),
        line(made!(sum), [3, 3, 4]),
        line(DropConnect::new(5), [7]),
        line(DropConnect::new(3).drop(0.0).bias(false), [4]),
        line(DropConnect::new(33).keep(0.7).activation(Tanh).bias_init(apart), [40]),
        line(DropConnect::new(5).shared_mask(true).activation(Tanh), [7]),
        line(DropConnect::new(20).shared_mask(true).drop(0.3).bias(false), [35]),
        line(DropConnect::new(4).activation(Tanh).samples(3).bias_init(apart), [6]),
        line(DropConnect::new(9).shared_mask(true).samples(2).activation(Gelu).bias(false), [5]),
        line(FractionalMaxPool2d::new(1.5), [2, 7, 9]),
        line(FractionalMaxPool2d::new(2f64.sqrt()).overlapping(true), [3, 8, 5]),
        line(FractionalMaxPool2d::new(1.25).pseudo_random(true), [1, 10, 11]),
        line(FractionalMaxPool2d::new(1.9).pseudo_random(true).overlapping(true), [2, 9, 3]),
        line(FractionalMaxPool2d::to_size((3, 5)).sample_in_eval(true), [2, 5, 5]),
        line(FractionalMaxPool2d::to_size(1), [2, 1, 2]),
        line(made!(cube), [2, 5]),
        line(made!(sums), [3, 4]),
    ]
}
