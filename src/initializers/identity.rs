//! Weights that pass their input on.

use super::Gain;
use crate::{Fans, Initializer, Rng};

/// Passes the input on: output `i` begins as `gain` times input `i`. Ones on the diagonal of a matrix; for a
/// convolution, in the middle of the kernel. Zeros elsewhere.
///
/// With an odd kernel, stride 1 and half the kernel as padding, a convolution begins as the identity. Outputs beyond the
/// number of inputs begin at zero.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let layer = Conv2d::new(1, 3).padding(1).weight_init(Identity::default());
/// let model = Sequential::builder([1, 4, 4]).add(layer).build()?;
/// let x = Array4::from_shape_fn((1, 1, 4, 4), |(_, _, i, j)| (4 * i + j) as f32);
/// assert_eq!(model.predict(&x)?, x.into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Le, Jaitly & Hinton 2015 for recurrent networks; PyTorch's `eye_` and `dirac_`.
#[doc(alias = "Dirac")]
#[doc(alias = "Eye")]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Identity {
    gain: Gain,
}

impl Identity {
    /// The factor; default [`Gain::Linear`], which is 1.
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }
}

impl Initializer for Identity {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, _rng: &mut Rng) {
        out.fill(0.0);
        let (outputs, rest) = match fans.shape {
            [outputs, rest @ ..] => (*outputs, rest),
            [] => (1, &[][..]),
        };
        let (inputs, kernel) = match rest {
            [inputs, kernel @ ..] => (*inputs, kernel),
            [] => (1, &[][..]),
        };
        let middle = kernel.iter().fold(0, |index, &len| index * len + len / 2);
        let (row, taps): (usize, usize) = (rest.iter().product(), kernel.iter().product());
        for i in 0..outputs.min(inputs) {
            out[i * row + i * taps + middle] = self.gain.value();
        }
    }
}
