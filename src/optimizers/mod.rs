//! Update rules, and the driver that applies them to a model.
//!
//! | rule | update |
//! |---|---|
//! | [`Sgd`] | gradient descent, momentum, Nesterov momentum |
//! | [`Adam`] | first and second moments, bias-corrected; AMSGrad |
//! | [`AdamW`] | Adam with decoupled decay |

mod adam;
mod clip;
mod groups;
mod model;
mod sgd;

pub use adam::{Adam, AdamW};
pub use clip::Clip;
pub use groups::GroupOptions;
pub use model::{ModelOptimizer, StepReport};
pub use sgd::Sgd;

use crate::{Error, Result};

/// `Ok` if `valid`, else the error that names rule and setting.
fn ensure(
    valid: bool,
    kind: &'static str,
    field: &'static str,
    must_be: &'static str,
    got: f64,
) -> Result<()> {
    if valid { Ok(()) } else { Err(Error::Setting { kind, field, must_be, got: got.to_string() }) }
}
