//! Two-dimensional convolution as a matrix product whose right factor is never stored: the register kernels
//! read it from the image.
//!
//! Letters: `n` images of `channels × h × w` give `filters × oh × ow`; `k` runs over
//! `channels / groups × kh × kw`, in the order of the weight. A *block* is some rows of one image, or
//! some whole small images; it is copied once into a buffer with its zero border, so the inner loops
//! know no borders. Cross-correlation, as everywhere in deep learning.

mod backward_input;
mod backward_weight;
mod correlate;
mod depthwise;
mod depthwise_rows;
mod depthwise_three;
mod depthwise_three_back;
mod fill;
mod finish;
mod forward;
mod plan;
mod scatter;
#[cfg(test)]
mod tests;
mod vectors;
mod winograd;

pub use backward_input::backward_input;
pub use backward_weight::backward_weight;
pub use fill::Source;
pub use finish::Finish;
pub use forward::{forward, forward_packed, pack};
pub use plan::{Geometry, Plan};
