//! How things are computed: plain functions over slices, strides and geometry structs.
//!
//! No parameter, layer or error type appears here: callers have checked everything. The rules of the
//! room: every fast kernel has a naive twin in its tests and is compared with it on odd sizes; working
//! memory comes in as an argument; chunk sizes are constants and reductions combine in index order, so
//! that any number of threads gives the same bits; `unsafe` appears only here, each block explained;
//! only [`parallel`] names rayon, only [`background`] starts a thread.
//!
//! Hidden from the docs, public for the benches, and not covered by semantic versioning.

pub mod adaptive_pool;
pub mod aligned;
pub mod background;
pub mod combine;
pub mod conv;
pub mod conv_transpose;
pub mod convert;
mod direct;
pub mod drop_connect;
pub mod eigen;
pub mod elementwise;
pub mod embedding;
mod finish;
pub mod fractional_pool;
pub mod functions;
pub mod gemm;
pub mod image;
pub mod loss;
#[cfg(feature = "mmap")]
pub mod map;
pub mod mask;
pub mod maxout;
pub mod micro;
pub mod noise;
pub mod norm;
pub mod pad;
pub mod parallel;
pub mod peak;
pub mod permute;
pub mod pool;
pub mod prelu;
pub mod recurrent;
mod recurrent_cells;
mod recurrent_steps;
pub mod reduce;
pub mod resample;
pub mod response_norm;
pub mod sample_norm;
pub mod simd;
pub mod softmax;
mod transpose;
pub mod update;
pub mod vector;
