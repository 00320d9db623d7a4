//! Learning rates over time.

mod decay;

pub use decay::{Constant, ExponentialDecay, StepDecay};
