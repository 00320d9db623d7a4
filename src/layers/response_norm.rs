//! Local response normalization.

use super::door;
use crate::kernels::response_norm::{self, Settings};
use crate::{Backward, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError};

/// Divides each element by what the same pixel of neighbouring channels sums up to.
///
/// `y_c = x_c / (k + alpha / size · Σ x_j²)^beta`, where `j` runs over `size` channels: from `c − size / 2` to
/// `c + (size − 1) / 2`, as far as they exist. Numbers and conventions are PyTorch's; the paper does not divide `alpha` by
/// `size`, which [`LocalResponseNorm::alexnet`] makes up for.
///
/// # Shape
/// input `[n, channels, ..]` → the same; at least one axis after the channels.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let norm = LocalResponseNorm::new(3).alpha(3.0).beta(1.0);
/// let model = Sequential::builder([2, 1, 1]).add(norm).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[2.0]], [[1.0]]]).insert_axis(Axis(0)))?;
/// // Both channels are in both windows: 1 + 3 / 3 · (4 + 1) = 6.
/// assert!((y[[0, 0, 0, 0]] - 2.0 / 6.0).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for a `size` of 0, a negative `alpha`, a `k` that is not positive or numbers that
/// are not finite, and with [`Error::Shape`] if a sample has fewer than two axes.
///
/// # References
/// Krizhevsky, Sutskever & Hinton 2012, section 3.3. Later networks use [`super::BatchNorm`] instead.
#[doc(alias = "LRN")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LocalResponseNorm {
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
}

impl LocalResponseNorm {
    /// Over `size` channels, at least 1, with PyTorch's numbers: `alpha` 1e-4, `beta` 0.75, `k` 1.
    pub fn new(size: usize) -> Self {
        Self { size, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }

    /// The paper's numbers: 5 channels, `k` 2, `beta` 0.75, and 1e-4 for each square.
    ///
    /// ```
    /// # use layerwise::prelude::*;
    /// assert_eq!(LocalResponseNorm::alexnet(), LocalResponseNorm::new(5).alpha(5e-4).k(2.0));
    /// ```
    pub fn alexnet() -> Self {
        Self { size: 5, alpha: 5e-4, beta: 0.75, k: 2.0 }
    }

    /// Factor of the mean of squares, at least 0; default 1e-4.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// The exponent; default 0.75, which is also the fastest.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// What the sum starts from, above 0; default 1.
    pub fn k(mut self, k: f64) -> Self {
        self.k = k;
        self
    }

    fn check(&self) -> Result<()> {
        let fail =
            |field, must_be, got| Err(Error::config("LocalResponseNorm", field, must_be, got));
        if self.size == 0 {
            return fail("size", "at least 1", 0.0);
        }
        if !(self.alpha >= 0.0 && self.alpha.is_finite()) {
            return fail("alpha", "finite and at least 0", self.alpha);
        }
        if !self.beta.is_finite() {
            return fail("beta", "finite", self.beta);
        }
        if !(self.k > 0.0 && self.k.is_finite()) {
            return fail("k", "finite and above 0", self.k);
        }
        Ok(())
    }
}

impl<F: Scalar> LayerSpec<F> for LocalResponseNorm {
    fn build(&self, input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.check()?;
        let [c, pixels @ ..] = input.dims() else {
            return Err(Error::shape("LocalResponseNorm", misfit(input)));
        };
        if pixels.is_empty() {
            return Err(Error::shape("LocalResponseNorm", misfit(input)));
        }
        // More channels than there are make no difference.
        let size = self.size.min(2 * c);
        let settings = Settings {
            c: *c,
            p: pixels.iter().product(),
            size,
            a: self.alpha / self.size as f64,
            beta: self.beta,
            k: self.k,
        };
        Ok(Box::new(LocalResponseNormLayer { input: input.clone(), settings }))
    }
}

fn misfit(input: &Shape) -> ShapeError {
    ShapeError::new("[channels, ..] with at least one more axis", input)
        .hint("it normalizes the channels of images")
}

/// What [`LocalResponseNorm`] becomes.
#[derive(Debug, Clone)]
pub struct LocalResponseNormLayer {
    input: Shape,
    settings: Settings,
}

impl<F: Scalar> Layer<F> for LocalResponseNormLayer {
    fn kind(&self) -> &'static str {
        "LocalResponseNorm"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "the shape it was built for")
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| response_norm::forward(&self.settings, &x, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let (x, dy) = (door::slice(&pass.input), door::slice(&pass.grad_output));
        let [scratch] = pass.scratch.take([self.settings.backward_scratch(x.len())]);
        door::fill(&mut grad_input, |dx| {
            response_norm::backward(&self.settings, &x, &dy, dx, scratch)
        });
        Ok(())
    }
}
