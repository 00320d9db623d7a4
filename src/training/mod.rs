//! The loop around forward, loss, backward and step. A convenience: everything works from your own loop.

mod trainer;

pub use trainer::{Evaluation, Step, Trainer};
