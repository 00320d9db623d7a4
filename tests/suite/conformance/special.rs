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

fn cube<F: Scalar>() -> Lambda<F> {
    Lambda::elementwise(|x: F| x * x * x, |x| F::lit(3.0) * x * x)
}

/// The last axis summed up.
fn sums<F: Scalar>() -> Lambda<F> {
    Lambda::new(
        |x: View<'_, F>, mut y: ViewMut<'_, F>| y.assign(&x.sum_axis(Axis(x.ndim() - 1))),
        |x, _, dy, mut dx| dx.assign(&dy.insert_axis(Axis(x.ndim() - 1))),
    )
    .output_shape(|input| {
        let (_, rest) =
            input.dims().split_last().ok_or_else(|| ShapeError::new("an axis", input))?;
        Ok(rest.into())
    })
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
        line(made!(cube), [2, 5]),
        line(made!(sums), [3, 4]),
    ]
}
