//! Dropout.

use super::door;
use crate::kernels::mask;
use crate::{
    Backward, Error, Forward, Init, Layer, LayerSpec, Mode, Result, Scalar, Seed, Shape,
    ShapeError, View, ViewMut,
};

/// Sets each element to zero with probability `p` during training and multiplies the others by
/// `1 / (1 − p)`; in eval mode it changes nothing.
///
/// This is *inverted* dropout: the scaling at training time makes scaling at test time unnecessary.
/// [`Dropout::vanilla`] scales at test time instead, [`Dropout::spatial`] drops whole channels. The mask is drawn from the
/// pass's seed and drawn again in the backward, not stored.
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
/// Building fails with [`Error::Config`] unless `0 ≤ p < 1`, and with [`Error::Shape`] if it is spatial and a sample has no
/// axis that could count channels.
///
/// # References
/// Srivastava et al. 2014; inverted as in the CS231n notes, where `p` is the probability to *keep*:
/// that is [`Dropout::keep`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dropout {
    p: f64,
    spatial: bool,
    vanilla: bool,
}

impl Dropout {
    /// `p`: probability to *drop* an element, `0 ≤ p < 1`, as in PyTorch and Keras.
    pub fn new(p: f64) -> Self {
        Self { p, spatial: false, vanilla: false }
    }

    /// The same as [`Dropout::new`], for code that says which probability it means.
    ///
    /// ```
    /// # use layerwise::prelude::*;
    /// assert_eq!(Dropout::drop(0.25), Dropout::keep(0.75));
    /// ```
    pub fn drop(p: f64) -> Self {
        Self::new(p)
    }

    /// `p`: probability to *keep* an element, `0 < p ≤ 1`, as in the course notes.
    ///
    /// ```
    /// # use layerwise::prelude::*;
    /// assert_eq!(Dropout::keep(0.75), Dropout::new(0.25));
    /// ```
    pub fn keep(p: f64) -> Self {
        Self::new(1.0 - p)
    }

    /// Whether to drop whole channels, which in images are full of elements that say nearly the same; default false.
    /// PyTorch's `Dropout1d` to `Dropout3d` (Tompson et al. 2015). For `[n, features]` it makes no difference.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([64, 2, 2]).add(Dropout::new(0.5).spatial(true)).build()?;
    /// let y = model.forward(&Array4::ones((1, 64, 2, 2)))?;
    /// for channel in y.index_axis(Axis(0), 0).outer_iter() {
    ///     assert!(channel.iter().all(|&y| y == 0.0) || channel.iter().all(|&y| y == 2.0));
    /// }
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn spatial(mut self, spatial: bool) -> Self {
        self.spatial = spatial;
        self
    }

    /// Whether to leave kept elements as they are in training and to multiply by the probability to keep in eval mode, the
    /// course's first form; default false.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([8]).add(Dropout::keep(0.75).vanilla(true)).build()?;
    /// assert!(model.forward(&Array2::ones((1, 8)))?.iter().all(|&y| y == 0.0 || y == 1.0));
    /// assert!(model.predict(&Array2::ones((1, 8)))?.iter().all(|&y| y == 0.75));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn vanilla(mut self, vanilla: bool) -> Self {
        self.vanilla = vanilla;
        self
    }
}

/// An error unless `p` is a probability to drop.
pub(super) fn check_drop(kind: &'static str, field: &'static str, p: f64) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::config(kind, field, "a probability to drop, 0 ≤ p < 1", p))
}

impl<F: Scalar> LayerSpec<F> for Dropout {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        check_drop("Dropout", "p", self.p)?;
        let plane = match input.dims().split_first() {
            _ if !self.spatial => 1,
            Some((_channels, plane)) => plane.iter().product(),
            None => {
                let cause = ShapeError::new("[channels, ..]", input);
                let cause = cause.hint("use a dropout that is not spatial");
                return Err(Error::shape("Dropout", cause));
            }
        };
        let keep = 1.0 - self.p;
        let (train, eval) = if self.vanilla { (1.0, keep) } else { (1.0 / keep, 1.0) };
        Ok(Box::new(DropoutLayer { keep, plane, train, eval }))
    }
}

/// What [`Dropout`] becomes.
#[derive(Debug, Clone)]
pub struct DropoutLayer {
    keep: f64,
    /// Elements that are dropped together.
    plane: usize,
    /// Factor on what is kept, in each mode.
    train: f64,
    eval: f64,
}

impl DropoutLayer {
    /// Forward and backward: both are the same factor on the same elements.
    fn apply<F: Scalar>(&self, mode: Mode, seed: Seed, x: &View<'_, F>, y: &mut ViewMut<'_, F>) {
        let drops = mode == Mode::Train && self.keep < 1.0;
        let factor = F::lit(if mode == Mode::Train { self.train } else { self.eval });
        if !drops && factor == F::one() {
            return y.assign(x);
        }
        let x = door::slice(x);
        door::fill(y, |y| match (drops, self.plane) {
            (false, _) => mask::multiply(factor, &x, y),
            (true, 1) => mask::elements(seed, self.keep, F::zero(), &x, y, |x| factor * x),
            (true, plane) => mask::planes(seed, self.keep, factor, plane, &x, y),
        });
    }
}

impl<F: Scalar> Layer<F> for DropoutLayer {
    fn kind(&self) -> &'static str {
        "Dropout"
    }

    fn only_trains(&self) -> bool {
        self.eval == 1.0
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        self.apply(pass.mode, pass.seed, &pass.input, &mut pass.output);
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        if let Some(mut grad_input) = pass.grad_input {
            self.apply(pass.mode, pass.seed, &pass.grad_output, &mut grad_input);
        }
        Ok(())
    }
}
