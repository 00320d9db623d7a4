//! Several predictions instead of one: of several models, or of one model several times.
//!
//! | to | see |
//! |---|---|
//! | average models that were trained independently | [`Ensemble`] |
//! | get several models out of one run | [`Snapshots`] |
//! | average predictions for augmented copies of the input | [`TestTime`] |
//! | average predictions with the noise of training: MC dropout | [`Sampled`] |
//!
//! All are [`Predictor`]s, like a model: metrics and evaluation take any of them. What is averaged is in [`Combine`].

mod combine;
mod ensemble;
mod sampled;
mod snapshot;
mod test_time;

pub use combine::Combine;
pub use ensemble::{Ensemble, EnsembleRoom};
pub use sampled::{Sampled, SampledRoom};
pub use snapshot::Snapshots;
pub use test_time::{TestTime, TestTimeRoom};

use crate::Predictor;
