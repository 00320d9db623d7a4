//! The trait of limits on parameters.

use std::fmt::Debug;

use crate::{Result, Scalar};

/// A set of values that a parameter must stay in: after every update, what left it is brought back. Set it with
/// [`crate::Sequential::set_constraint`].
///
/// Unlike a [`crate::Regularizer`] it adds nothing to the loss and acts only where the limit is reached.
///
/// ```
/// use layerwise::prelude::*;
///
/// /// No weight below 0.
/// #[derive(Debug)]
/// struct NonNegative;
///
/// impl<F: Scalar> Constraint<F> for NonNegative {
///     fn project(&self, value: &mut [F], _shape: &[usize]) {
///         value.iter_mut().for_each(|w| *w = w.max(F::zero()));
///     }
/// }
///
/// let mut model = Sequential::builder([1]).add(Linear::new(1).weight_init(Constant(0.5))).build()?;
/// assert_eq!(model.set_constraint(NonNegative, ParamInfo::is_weight), 1);
/// model.forward(&Array2::ones((1, 1)))?;
/// model.backward(&Array2::ones((1, 1)))?;
/// ModelOptimizer::new(Sgd::new(), 2.0).step(&mut model)?; // 0.5 − 2 · 1
/// assert_eq!(model.value("0.weight").unwrap().sum(), 0.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Constraint<F: Scalar = f32>: Debug + Send + Sync {
    /// Refuses settings out of range, before an optimizer's step changes anything.
    ///
    /// # Errors
    /// [`crate::Error::Setting`]; none unless overridden.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Brings `value`, row-major in `shape`, back into the set, changing it as little as can be.
    fn project(&self, value: &mut [F], shape: &[usize]);
}
