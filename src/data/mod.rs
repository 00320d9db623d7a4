//! Reading data and handing it out in batches.

mod batches;
mod dataset;
mod idx;

pub use batches::{Batch, Batches};
pub use dataset::{Dataset, Targets};
pub use idx::{Idx, read_idx};
