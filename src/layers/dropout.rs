//! Dropout.

use super::door;
use crate::kernels::elementwise;
use crate::{
    Backward, Error, Forward, Init, Layer, LayerSpec, Mode, Result, Scalar, Shape, ShapeError,
};

/// Sets each element to zero with probability `p` during training and multiplies the others by
/// `1 / (1 − p)`; in eval mode it changes nothing.
///
/// This is *inverted* dropout: the scaling at training time makes scaling at test time unnecessary. The
/// mask is drawn from the pass's seed and drawn again in the backward, not stored.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([1000]).add(Dropout::new(0.25)).build()?;
/// let ones = Array2::ones((1, 1000)).into_dyn();
/// let y = model.forward(ones.view())?;
/// let kept = y.iter().filter(|&&y| y > 0.0).count();
/// assert!((700..800).contains(&kept));
/// assert_eq!(model.predict(ones.view())?, ones);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless `0 ≤ p < 1`.
///
/// # References
/// Srivastava et al. 2014; inverted as in the CS231n notes, where `p` is the probability to *keep*:
/// that is [`Dropout::keep`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// `p`: probability to *drop* an element, `0 ≤ p < 1`, as in PyTorch and Keras.
    pub fn new(p: f64) -> Self {
        Self { p }
    }

    /// `p`: probability to *keep* an element, `0 < p ≤ 1`, as in the course notes.
    ///
    /// ```
    /// # use layerwise::prelude::*;
    /// assert_eq!(Dropout::keep(0.75), Dropout::new(0.25));
    /// ```
    pub fn keep(p: f64) -> Self {
        Self { p: 1.0 - p }
    }
}

impl<F: Scalar> LayerSpec<F> for Dropout {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(Error::config("Dropout", "p", "a probability to drop, 0 ≤ p < 1", self.p));
        }
        let _ = input;
        Ok(Box::new(DropoutLayer { p: self.p }))
    }
}

/// What [`Dropout`] becomes.
#[derive(Debug, Clone)]
pub struct DropoutLayer {
    p: f64,
}

impl DropoutLayer {
    fn drops(&self, mode: Mode) -> bool {
        mode == Mode::Train && self.p > 0.0
    }
}

impl<F: Scalar> Layer<F> for DropoutLayer {
    fn kind(&self) -> &'static str {
        "Dropout"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        if !self.drops(pass.mode) {
            pass.output.assign(&pass.input);
            return Ok(());
        }
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| elementwise::dropout(pass.seed, 1.0 - self.p, &x, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        if !self.drops(pass.mode) {
            grad_input.assign(&pass.grad_output);
            return Ok(());
        }
        let dy = door::slice(&pass.grad_output);
        door::fill(&mut grad_input, |dx| elementwise::dropout(pass.seed, 1.0 - self.p, &dy, dx));
        Ok(())
    }
}
