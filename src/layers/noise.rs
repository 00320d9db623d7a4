//! Random numbers added to, or multiplied with, what passes by.

use super::door;
use super::dropout::check_drop;
use crate::kernels::noise;
use crate::{
    Backward, Error, Forward, Init, Layer, LayerSpec, Mode, Result, Scalar, Shape, ShapeError,
};

/// Adds a normally distributed number of mean 0 to each element in training; in eval mode it changes nothing.
///
/// The simplest of the course's "add some randomness in training, average it out at test time": the average of the noise
/// is 0.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([1000]).add(GaussianNoise::new(0.5)).build()?;
/// let zeros = Array2::zeros((1, 1000));
/// let noise = model.forward(&zeros)?;
/// assert!((noise.std(0.0) - 0.5).abs() < 0.05);
/// assert_eq!(model.predict(&zeros)?, zeros.into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless the standard deviation is finite and at least 0.
///
/// # References
/// As in Keras. [`crate::augment::GaussianNoise`] varies images instead, before they reach a model.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GaussianNoise {
    std: f64,
}

impl GaussianNoise {
    /// `std`: the noise's standard deviation, at least 0.
    pub fn new(std: f64) -> Self {
        Self { std }
    }
}

impl<F: Scalar> LayerSpec<F> for GaussianNoise {
    fn build(&self, _input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        if !self.std.is_finite() || self.std < 0.0 {
            let must_be = "a finite standard deviation of at least 0";
            return Err(Error::config("GaussianNoise", "std", must_be, self.std));
        }
        Ok(Box::new(GaussianNoiseLayer(*self)))
    }
}

/// What [`GaussianNoise`] becomes.
#[derive(Debug, Clone)]
pub struct GaussianNoiseLayer(GaussianNoise);

impl<F: Scalar> Layer<F> for GaussianNoiseLayer {
    fn kind(&self) -> &'static str {
        "GaussianNoise"
    }

    fn only_trains(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        if pass.mode == Mode::Eval || self.0.std == 0.0 {
            pass.output.assign(&pass.input);
            return Ok(());
        }
        let (x, std) = (door::slice(&pass.input), F::lit(self.0.std));
        door::fill(&mut pass.output, |y| noise::apply(pass.seed, &x, y, |x, z| x + std * z));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        if let Some(mut grad_input) = pass.grad_input {
            grad_input.assign(&pass.grad_output);
        }
        Ok(())
    }
}

/// Multiplies each element by a normally distributed number of mean 1 in training; in eval mode it changes nothing.
///
/// The standard deviation is `√(rate / (1 − rate))`, that of an inverted [`super::Dropout`]'s factors: noise of the same
/// strength without zeros.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([1000]).add(GaussianDropout::new(0.2)).build()?;
/// let factors = model.forward(&Array2::ones((1, 1000)))?;
/// assert!((factors.std(0.0) - 0.5).abs() < 0.05); // √(0.2 / 0.8)
/// assert!((factors.mean().unwrap() - 1.0).abs() < 0.1);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless `0 ≤ rate < 1`.
///
/// # References
/// Srivastava et al. 2014, section 10; Wang & Manning 2013. As in Keras.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GaussianDropout {
    rate: f64,
}

impl GaussianDropout {
    /// `rate`: the probability to drop of the dropout that it is as strong as, `0 ≤ rate < 1`.
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }
}

impl<F: Scalar> LayerSpec<F> for GaussianDropout {
    fn build(&self, _input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        check_drop("GaussianDropout", "rate", self.rate)?;
        Ok(Box::new(GaussianDropoutLayer { std: (self.rate / (1.0 - self.rate)).sqrt() }))
    }
}

/// What [`GaussianDropout`] becomes.
#[derive(Debug, Clone)]
pub struct GaussianDropoutLayer {
    std: f64,
}

impl GaussianDropoutLayer {
    fn varies(&self, mode: Mode) -> bool {
        mode == Mode::Train && self.std > 0.0
    }
}

impl<F: Scalar> Layer<F> for GaussianDropoutLayer {
    fn kind(&self) -> &'static str {
        "GaussianDropout"
    }

    fn only_trains(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        if !self.varies(pass.mode) {
            pass.output.assign(&pass.input);
            return Ok(());
        }
        let (x, std) = (door::slice(&pass.input), F::lit(self.std));
        let factor = move |z: F| F::one() + std * z;
        door::fill(&mut pass.output, |y| {
            if pass.remember {
                // Drawing them anew in the backward would cost more than to read them.
                let factors: &mut Vec<F> = pass.cache.get_or_default();
                factors.resize(x.len(), F::zero());
                noise::apply(pass.seed, &x, factors, move |_, z| factor(z));
                noise::multiply(factors, &x, y);
            } else {
                noise::apply(pass.seed, &x, y, move |x, z| x * factor(z));
            }
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        if !self.varies(pass.mode) {
            grad_input.assign(&pass.grad_output);
            return Ok(());
        }
        let (dy, factors) = (door::slice(&pass.grad_output), pass.cache.get::<Vec<F>>()?);
        door::fill(&mut grad_input, |dx| noise::multiply(factors, &dy, dx));
        Ok(())
    }
}
