//! Searching for hyperparameters.
//!
//! | to | see |
//! |---|---|
//! | say what to search through | [`Space`] |
//! | draw points at random | [`Search::random`] |
//! | try every combination | [`Search::grid`] |
//! | narrow the ranges down, stage by stage | [`Search::coarse_to_fine`] |
//! | spend much on few, little on many | [`Search::halving`] |
//! | end a hopeless trial | [`Trial::report`] |
//! | go on after an interruption (feature `json`) | `Search::results` |
//!
//! The course: random search "is better than grid search; grid search makes one parameter sensitive to others". Where only some of
//! the parameters matter, a grid tries few values of each, and tries them again and again; random points never repeat one
//! (Bergstra & Bengio 2012).
//!
//! Trials run in parallel and each has a seed of its own: any number of workers gives the same results.

mod coarse_to_fine;
mod halving;
#[cfg(feature = "json")]
mod log;
mod results;
mod run;
mod space;
mod trial;

pub use coarse_to_fine::CoarseToFine;
pub use halving::Halving;
pub use results::{Results, Status, TrialRecord};
pub use run::Search;
pub use space::{Point, Space, Value};
pub use trial::Trial;
