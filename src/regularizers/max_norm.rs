//! A limit on the length of a unit's weights.

use crate::kernels::parallel::{self, Cost, Write};
use crate::kernels::{elementwise, reduce};
use crate::{Constraint, Error, Result, Scalar};

/// Limits the Euclidean length of each row of a weight, that is of the weights into one output unit or of one filter:
/// after an update, a row longer than `max` is scaled down to length `max`. Usually 2 to 4, together with dropout and
/// a large learning rate.
///
/// `max` is above 0. A bias has one element in each row: leave it out, as [`crate::ParamInfo::is_weight`] does.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut weight = [3.0f64, 4.0, 0.3, 0.4];
/// MaxNorm(1.0).project(&mut weight, &[2, 2]);
/// assert_eq!(weight, [0.6000000000000001, 0.8, 0.3, 0.4]);
///
/// let mut model = Sequential::builder([4]).add(Linear::new(8)).add(Relu).add(Linear::new(2)).build()?;
/// assert_eq!(model.set_constraint(MaxNorm(3.0), ParamInfo::is_weight), 2);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// The optimizer's step fails with [`Error::Setting`] unless `max` is above 0.
///
/// # References
/// Srebro & Shraibman 2005; Srivastava et al. 2014, section 5.1. PyTorch's `renorm` divides by the length plus 10⁻⁷;
/// Keras's `MaxNorm` is this with `axis` counted for its transposed weights.
#[doc(alias = "max_norm")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxNorm(pub f64);

impl<F: Scalar> Constraint<F> for MaxNorm {
    fn check(&self) -> Result<()> {
        // Written so that NaN is refused too.
        if self.0 > 0.0 {
            return Ok(());
        }
        let got = self.0.to_string();
        Err(Error::Setting { kind: "MaxNorm", field: "max", must_be: "above 0", got })
    }

    fn project(&self, value: &mut [F], shape: &[usize]) {
        let row = value.len() / shape.first().copied().unwrap_or(1).max(1);
        let cost = Cost::elements(2 * value.len());
        parallel::chunks(Write(value, row), cost, |_, row| {
            let length = reduce::sum_squares(row).sqrt();
            if length > self.0 {
                elementwise::scale(F::lit(self.0 / length), row);
            }
        });
    }
}
