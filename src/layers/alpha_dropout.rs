//! Dropout for self-normalizing networks.

use super::door;
use super::dropout::check_drop;
use crate::kernels::mask;
use crate::{Backward, Forward, Init, Layer, LayerSpec, Mode, Result, Scalar, Shape, ShapeError};

/// Dropout that keeps mean 0 and variance 1, to go with [`crate::activations::Selu`].
///
/// In training each element becomes `α′ = −1.7581`, SELU's limit far below 0, with probability `p`; then all are mapped
/// by `a x + b` with `a = ((1 − p)(1 + p α′²))^−½` and `b = −a p α′`, so that mean 0 and variance 1 stay. In eval mode it
/// changes nothing.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([4]).add(AlphaDropout::new(0.5)).build()?;
/// let y = model.forward(&Array2::zeros((1, 4)))?;
/// // a = (½ · (1 + ½ · 3.0909))^−½ = 0.8865; kept zeros become b = 0.7792, dropped ones a α′ + b = −0.7792.
/// assert!(y.iter().all(|y| (y.abs() - 0.7792f32).abs() < 1e-4));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`crate::Error::Config`] unless `0 ≤ p < 1`.
///
/// # References
/// Klambauer et al. 2017. As in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AlphaDropout {
    p: f64,
}

/// `−λ α` of SELU.
const LIMIT: f64 = -1.758_099_340_847_376_6;

impl AlphaDropout {
    /// `p`: probability to drop an element, `0 ≤ p < 1`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }
}

impl<F: Scalar> LayerSpec<F> for AlphaDropout {
    fn build(&self, _input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        check_drop("AlphaDropout", "p", self.p)?;
        let factor = ((1.0 - self.p) * (1.0 + self.p * LIMIT * LIMIT)).sqrt().recip();
        Ok(Box::new(AlphaDropoutLayer { p: self.p, factor, shift: -factor * self.p * LIMIT }))
    }
}

/// What [`AlphaDropout`] becomes.
#[derive(Debug, Clone)]
pub struct AlphaDropoutLayer {
    p: f64,
    factor: f64,
    shift: f64,
}

impl AlphaDropoutLayer {
    fn drops(&self, mode: Mode) -> bool {
        mode == Mode::Train && self.p > 0.0
    }
}

impl<F: Scalar> Layer<F> for AlphaDropoutLayer {
    fn kind(&self) -> &'static str {
        "AlphaDropout"
    }

    fn only_trains(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        if !self.drops(pass.mode) {
            pass.output.assign(&pass.input);
            return Ok(());
        }
        let (factor, shift) = (F::lit(self.factor), F::lit(self.shift));
        let dropped = F::lit(self.factor * LIMIT + self.shift);
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| {
            mask::elements(pass.seed, 1.0 - self.p, dropped, &x, y, |x| factor * x + shift);
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        if !self.drops(pass.mode) {
            grad_input.assign(&pass.grad_output);
            return Ok(());
        }
        let factor = F::lit(self.factor);
        let dy = door::slice(&pass.grad_output);
        door::fill(&mut grad_input, |dx| {
            mask::elements(pass.seed, 1.0 - self.p, F::zero(), &dy, dx, |dy| factor * dy);
        });
        Ok(())
    }
}
