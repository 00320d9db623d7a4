//! Fitted transforms as data: what serde writes, and what must hold when it is read.

use serde::{Deserialize, Serialize};

use super::Per;
use crate::{Error, Result, Scalar, Shape};

/// [`super::Scaling`] as plain lists.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scaling<F> {
    shape: Vec<usize>,
    shift: Vec<F>,
    scale: Vec<F>,
}

impl<F: Scalar> From<super::Scaling<F>> for Scaling<F> {
    fn from(fitted: super::Scaling<F>) -> Self {
        Self {
            shape: super::Transform::<F>::input_shape(&fitted).dims().to_vec(),
            shift: fitted.shift().to_vec(),
            scale: fitted.scale().to_vec(),
        }
    }
}

impl<F: Scalar> TryFrom<Scaling<F>> for super::Scaling<F> {
    type Error = Error;

    fn try_from(saved: Scaling<F>) -> Result<Self> {
        let shape = Shape::from(saved.shape);
        let per = if saved.shift.len() == shape.numel() { Per::Element } else { Per::Channel };
        let wide = |values: &[F]| values.iter().map(|value| value.widen()).collect::<Vec<f64>>();
        Self::new(shape, per, &wide(&saved.shift), &wide(&saved.scale))
    }
}

/// [`super::Projection`] as plain lists.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Projection<F> {
    input: Vec<usize>,
    output: Vec<usize>,
    mean: Vec<F>,
    weight: Vec<F>,
    inverse: Vec<F>,
    eigenvalues: Vec<F>,
}

impl<F: Scalar> From<super::Projection<F>> for Projection<F> {
    fn from(fitted: super::Projection<F>) -> Self {
        use super::Transform;
        Self {
            input: fitted.input_shape().dims().to_vec(),
            output: fitted.output_shape().dims().to_vec(),
            mean: fitted.mean().to_vec(),
            weight: fitted.weight().iter().copied().collect(),
            inverse: fitted.inverse_weight().to_vec(),
            eigenvalues: fitted.eigenvalues().to_vec(),
        }
    }
}

impl<F: Scalar> TryFrom<Projection<F>> for super::Projection<F> {
    type Error = Error;

    fn try_from(saved: Projection<F>) -> Result<Self> {
        let (input, output) = (Shape::from(saved.input), Shape::from(saved.output));
        let (features, components) = (input.numel(), output.numel());
        // The weights are as long as `features · components`, so neither product is larger than what was read.
        let weights = features.saturating_mul(components);
        let parts = [
            ("mean", saved.mean, features),
            ("weight", saved.weight, weights),
            ("inverse", saved.inverse, weights),
            ("eigenvalues", saved.eigenvalues, features),
        ];
        if features == 0 || components == 0 {
            let text = format!("a projection needs elements, got {input} to {output}");
            return Err(Error::Preprocessing(text));
        }
        for (name, values, needs) in &parts {
            if values.len() != *needs {
                let got = values.len();
                let text =
                    format!("{name} of {input} to {output} needs {needs} numbers, got {got}");
                return Err(Error::Preprocessing(text));
            }
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let text = format!("{name} must be finite, got {} at {at}", values[at]);
                return Err(Error::Preprocessing(text));
            }
        }
        let [mean, weight, inverse, eigenvalues] = parts
            .map(|(_, values, _)| values.iter().map(|value| value.widen()).collect::<Vec<_>>());
        Ok(Self::new(&input, output, &mean, &weight, &inverse, &eigenvalues))
    }
}
