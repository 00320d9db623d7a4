//! Rectifiers.

use crate::kernels::elementwise;
use crate::{Activation, Scalar};

/// Passes what is positive: `y = max(0, x)`.
///
/// Does not saturate, costs next to nothing and converges fast; it is not zero-centred, and a unit that
/// is negative for every sample gets no gradient any more (a "dead ReLU"). Derivative 0 at 0, as in
/// PyTorch; NaN stays NaN.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3]).add(Relu).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-1.0, 0.0, 2.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [0.0, 0.0, 2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Nair & Hinton 2010; Krizhevsky, Sutskever & Hinton 2012.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relu;

impl Activation for Relu {
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        elementwise::relu(x, y);
    }

    fn backward<F: Scalar>(&self, _x: &[F], y: &[F], dy: &[F], dx: &mut [F]) {
        elementwise::relu_backward(y, dy, dx);
    }
}

/// Passes what is positive and a little of what is not: `y = x` for `x > 0`, else `slope · x`.
///
/// All of [`Relu`]'s advantages, and units never die. Derivative `slope` at 0, as in PyTorch.
///
/// # Shape
/// input `[n, ..]` → the same.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(LeakyRelu::new(0.25)).build()?;
/// let y = model.predict(&ndarray::arr2(&[[-4.0, 2.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [-1.0, 2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Maas, Hannun & Ng 2013. Default slope 0.01 as in the paper and PyTorch; Keras has 0.3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakyRelu {
    slope: f64,
}

impl LeakyRelu {
    /// With this slope for negative inputs, usually in `0 ≤ slope < 1`.
    pub fn new(slope: f64) -> Self {
        Self { slope }
    }
}

impl Default for LeakyRelu {
    fn default() -> Self {
        Self::new(0.01)
    }
}

impl Activation for LeakyRelu {
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        elementwise::leaky_relu(F::lit(self.slope), x, y);
    }

    fn backward<F: Scalar>(&self, x: &[F], _y: &[F], dy: &[F], dx: &mut [F]) {
        elementwise::leaky_relu_backward(F::lit(self.slope), x, dy, dx);
    }
}
