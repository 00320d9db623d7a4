//! Element-wise functions. Each is a [`crate::LayerSpec`]: `.add(Relu)`.

mod relu;
mod sigmoid;

pub use relu::{LeakyRelu, Relu};
pub use sigmoid::{Sigmoid, Tanh};
