//! Learning rates over time.
//!
//! | schedule | factor on the base rate in step `t` |
//! |---|---|
//! | [`Constant`] | 1 |
//! | [`StepDecay`] | `γ^⌊t / every⌋` |
//! | [`MultiStep`] | `γ` for each milestone reached |
//! | [`ExponentialDecay`] | `γᵗ`, the course's `e^(−kt)` |
//! | [`InverseTime`] | `1 / (1 + k t)` |
//! | [`Polynomial`] | `(1 − t / T)^power` |
//! | [`LinearWarmup`] | a line up to 1 |
//! | [`Cosine`] | half a cosine down |
//! | [`WarmRestarts`] | SGDR: cosines, each longer than the last |
//! | [`SnapshotCycles`] | cosines of one length, for snapshot ensembles |
//! | [`Cyclic`] | triangles |
//! | [`OneCycle`] | up and far down, with its momentum half |
//!
//! They compose: [`crate::Schedule::then`], [`crate::Schedule::until`], [`crate::Schedule::scaled`]. A schedule is a
//! pure function of the step, so there is nothing to save of a run; with the feature `serde` each is data, composed ones
//! too, as is [`ReduceOnPlateau`]: the one that listens to a metric, and has a state.
//!
//! Factors instead of rates: the base rate is given to the optimizer, and `min` or `start` are shares of it.

mod combine;
mod cosine;
mod cyclic;
mod decay;
mod one_cycle;
mod plateau;
mod warmup;

pub use combine::{Scaled, Then, Until};
pub use cosine::{Cosine, SnapshotCycles, WarmRestarts};
pub use cyclic::{Cyclic, CyclicMode};
pub use decay::{Constant, ExponentialDecay, InverseTime, MultiStep, Polynomial, StepDecay};
pub use one_cycle::{Anneal, OneCycle, OneCycleMomentum};
pub use plateau::{ReduceOnPlateau, Threshold};
pub use warmup::LinearWarmup;

use crate::Result;
use crate::error::ensure;

fn ensure_steps(kind: &'static str, field: &'static str, steps: u64) -> Result<()> {
    ensure(steps > 0, kind, field, "at least 1", steps)
}

/// A share of the base rate.
fn ensure_share(kind: &'static str, field: &'static str, share: f64) -> Result<()> {
    ensure((0.0..=1.0).contains(&share), kind, field, "from 0 to 1", share)
}

/// A factor that is applied again and again.
fn ensure_gamma(kind: &'static str, gamma: f64) -> Result<()> {
    ensure(gamma > 0.0 && gamma.is_finite(), kind, "gamma", "above 0", gamma)
}

/// `done / all`, at most 1, also for nothing to do.
fn progress(done: f64, all: f64) -> f64 {
    if done < all { done / all } else { 1.0 }
}

/// Half a cosine from `from` to `to`.
fn half_cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}
