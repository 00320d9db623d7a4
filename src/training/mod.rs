//! The loop around forward, loss, backward and step. A convenience: everything works from your own loop.

mod objective;
mod trainer;

pub use objective::ModelObjective;
pub use trainer::{Evaluation, Step, Trainer};
