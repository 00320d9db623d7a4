//! Initializers: fans and scales.

use layerwise::initializers::{
    Gain, HeNormal, HeUniform, LeCunNormal, XavierNormal, XavierUniform,
};
use layerwise::{Fans, Scalar};

use super::check::{Check, Done};

/// The scales are `f64` whatever the model's element; in `f32` they are rounded, as a parameter would be.
pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let shape = check.config().sizes("weight_shape")?;
    let fans = Fans::of(&shape);
    let gain = check.config().number("relu_gain")?;
    check.same_values("relu_gain", &[gain], [Gain::Relu.value()]);
    for (name, scale) in [
        ("fan_in", fans.fan_in as f64),
        ("fan_out", fans.fan_out as f64),
        ("glorot_uniform_bound", XavierUniform::default().bound(&fans)),
        ("glorot_normal_std", XavierNormal::default().std(&fans)),
        ("he_uniform_bound", HeUniform::default().bound(&fans)),
        ("he_normal_std", HeNormal::default().std(&fans)),
        ("lecun_normal_std", LeCunNormal::default().std(&fans)),
    ] {
        check.same_elements(name, [F::lit(scale).widen()])?;
    }
    Ok(())
}
