//! One number everywhere.

use crate::{Fans, Initializer, Rng};

/// Fills with zeros: for biases. Zero weights leave all units of a layer alike.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(Linear::new(1).weight_init(Zeros)).build()?;
/// assert_eq!(model.value("0.weight").unwrap().sum(), 0.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zeros;

impl Initializer for Zeros {
    fn fill(&self, out: &mut [f64], _fans: &Fans<'_>, _rng: &mut Rng) {
        out.fill(0.0);
    }
}

/// Fills with ones: for scales.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(Linear::new(1).weight_init(Ones)).build()?;
/// assert_eq!(model.predict(&ndarray::arr2(&[[3.0, 4.0]]))?[[0, 0]], 7.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ones;

impl Initializer for Ones {
    fn fill(&self, out: &mut [f64], _fans: &Fans<'_>, _rng: &mut Rng) {
        out.fill(1.0);
    }
}

/// Fills with one number.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([2]).add(Linear::new(1).bias_init(Constant(0.1))).build()?;
/// assert_eq!(model.value("0.bias").unwrap().sum(), 0.1);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant(pub f64);

impl Initializer for Constant {
    fn fill(&self, out: &mut [f64], _fans: &Fans<'_>, _rng: &mut Rng) {
        out.fill(self.0);
    }
}
