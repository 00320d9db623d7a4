//! Neural networks that train and run on the CPU, embedded in your program.
//!
//! The methods of Stanford's CS231n course as real, gradient-checked parts: layers, activations,
//! initializers, regularizers, losses and optimizers that you compose into a [`Sequential`]. No console
//! output, no global state, no panics on bad input, and the same bits for the same seed on any number of
//! threads.
//!
//! ```
//! use layerwise::prelude::*;
//!
//! // Which of two numbers is larger?
//! let mut rng = Seed::new(7).rng();
//! let x = Array2::from_shape_simple_fn((200, 2), || rng.uniform() as f32);
//! let larger: Vec<usize> = x.outer_iter().map(|row| usize::from(row[1] > row[0])).collect();
//! let data = Dataset::new(x.into_dyn(), larger)?;
//!
//! let mut model = Sequential::builder([2])
//!     .add(Linear::new(16))
//!     .add(Relu)
//!     .add(Linear::new(2))
//!     .seed(7)
//!     .build()?;
//! let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
//! let mut batches = data.batches(20)?.shuffled(Seed::new(7));
//! for _ in 0..30 {
//!     trainer.epoch(&mut model, &mut batches)?;
//! }
//!
//! let logits = model.predict(&ndarray::arr2(&[[0.2, 0.9]]))?;
//! assert!(logits[[0, 1]] > logits[[0, 0]]);
//! # Ok::<(), layerwise::Error>(())
//! ```
//!
//! # Where things are
//!
//! | to | see |
//! |---|---|
//! | compose a model | [`Sequential`], [`layers`], [`activations`], [`initializers`] |
//! | train it | [`training`], [`losses`], [`optimizers`], [`schedules`], [`regularizers`] |
//! | read, divide and batch data | [`data`] |
//! | center, scale and whiten it | [`preprocessing`] |
//! | vary it while training | [`augment`] |
//! | measure how good a model is | [`metrics`] |
//! | save it and load it, exchange weights with PyTorch | [`persist`] |
//! | predict with several models, or several times | [`ensembles`] |
//! | search for hyperparameters | [`search`] |
//! | write a part of your own | [`Layer`], [`Activation`], [`Optimizer`], [`Initializer`], [`Regularizer`], [`Constraint`], [`Loss`], [`Schedule`], [`Metric`], [`data::Source`], [`augment::Augmentation`] |
//! | prove it right | [`gradcheck`] |
//! | read the guide | [`guide`] |
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `rayon` | yes | parallel kernels, in whichever rayon pool the caller runs them; results do not change |
//! | `csv` | no | tables of numbers and classes: `data::Csv` |
//! | `digits` | no | 1,797 handwritten digits for tests and first steps, 43 kB in the binary: `data::digits` |
//! | `json` | no | searches that go on after an interruption, histories as JSON: `search::Search::results`, `training::History::write_json` |
//! | `image` | no | folders of PNG and JPEG files: `data::ImageFolder` |
//! | `mmap` | no | IDX and CIFAR files larger than memory: `data::Map` |
//! | `plot` | no | pictures of training and search as SVG: `plot` |
//! | `progress` | no | a progress bar on the standard error: `training::Progress` |
//! | `tracing` | no | runs as events of the tracing crate: `training::Events` |
//! | `npz` | no | NumPy's archives: `data::read_npz`; single `.npy` files need no feature |
//! | `serde` | no | layers and weights in one file: `Sequential::open`; schedules, fitted preprocessing and an optimizer's state as serde's data |
//! | `onnx` | no | models for other programs: `Sequential::save_onnx` |
//!
//! # Arrays
//!
//! Arrays are [`ndarray`]'s, which is re-exported: `layerwise::ndarray`. Images are `[n, channels, height, width]`;
//! weights have PyTorch's names and layouts. A model takes `&array` or `array.view()`, of any number of
//! axes ([`IntoView`]), and gives dynamic views ([`View`]).

pub use ndarray;

mod activation;
mod cache;
mod constraint;
mod error;
mod initializer;
mod kept;
mod layer;
mod loss;
mod metric;
mod objective;
mod optimizer;
mod param;
mod predictor;
mod regularizer;
mod scalar;
mod schedule;
mod seed;
mod shape;
mod visit;
mod workspace;

pub mod activations;
pub mod augment;
pub mod data;
pub mod ensembles;
pub mod gradcheck;
pub mod initializers;
#[doc(hidden)]
pub mod kernels;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod optimizers;
pub mod persist;
#[cfg(feature = "plot")]
pub mod plot;
pub mod prelude;
pub mod preprocessing;
pub mod regularizers;
pub mod schedules;
pub mod search;
pub mod sequential;
pub mod training;

pub use activation::Activation;
pub use cache::{Cache, Scratch};
pub use constraint::Constraint;
pub use error::{Error, Place, Result, TargetError};
pub use initializer::{Fans, Init, Initializer};
pub use kept::Kept;
pub use layer::{AsAny, Backward, BoxClone, Forward, Layer, LayerSpec, Mode};
pub use loss::Loss;
pub use metric::Metric;
pub use objective::{Minimizer, Minimum, Objective, Stop};
pub use optimizer::{Decay, Optimizer, StepInfo};
pub use param::{Buffer, Group, Param, ParamId, Role, Statistics};
pub use predictor::Predictor;
pub use regularizer::Regularizer;
pub use scalar::Scalar;
pub use schedule::Schedule;
pub use seed::{Rng, Seed};
pub use sequential::{
    Block, LayerOutput, NestedLayer, Parallel, ParallelLayer, Residual, ResidualLayer, Sequential,
    SequentialBuilder, StochasticDepth, StochasticDepthLayer, Summary, SummaryRow,
};
pub use shape::{Shape, ShapeError};
pub use visit::{Entry, EntryMut, Field, ParamInfo, ParamName, Visitor, VisitorMut};
pub use workspace::{IntoView, Workspace};

/// A batch to be read: the first axis counts samples.
pub type View<'a, F = f32> = ndarray::ArrayViewD<'a, F>;

/// A batch to be written.
pub type ViewMut<'a, F = f32> = ndarray::ArrayViewMutD<'a, F>;

/// The guide: the book's chapters, each of whose examples is compiled and run.
pub mod guide {
    #![doc = include_str!("../docs/extending.md")]

    /// From files to batches.
    #[cfg(feature = "digits")]
    pub mod data {
        #![doc = include_str!("../docs/data.md")]
    }

    /// Saving, loading, exchanging weights.
    pub mod saving {
        #![doc = include_str!("../docs/saving.md")]
    }

    /// What keeps a network from learning its training set by heart.
    pub mod regularization {
        #![doc = include_str!("../docs/regularization.md")]
    }

    /// Runs, rates, averages, ensembles, pretrained models.
    pub mod training {
        #![doc = include_str!("../docs/training.md")]
    }

    /// Searching for hyperparameters.
    pub mod search {
        #![doc = include_str!("../docs/search.md")]
    }

    /// What goes wrong on the way downhill, and what helps.
    #[cfg(feature = "digits")]
    pub mod optimization {
        #![doc = include_str!("../docs/optimization.md")]
    }

    /// Why a network with batch normalization minds rates and initial weights less.
    #[cfg(feature = "digits")]
    pub mod batch_normalization {
        #![doc = include_str!("../docs/batch_normalization.md")]
    }

    /// Why the numbers that a network starts from decide whether it learns.
    pub mod initialization {
        #![doc = include_str!("../docs/initialization.md")]
    }
}

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
