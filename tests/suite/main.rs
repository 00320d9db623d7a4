//! One binary for all tests that look at the crate from outside.

mod augment;
mod averaging;
mod concurrency;
mod conformance;
mod custom;
mod data;
mod determinism;
mod ensembles;
mod errors;
mod errors_optimizers;
mod errors_special;
mod fit;
mod freezing;
mod functions;
mod kept;
mod loading;
mod losses;
mod lr_find;
mod metrics;
mod optimizer_state;
mod optimizers;
mod params;
mod persist;
mod preprocessing;
mod readers;
mod reference;
mod schedules;
mod search;
mod second_order;
#[cfg(feature = "serde")]
mod serialized;
mod special_layers;
mod statistics;
mod support;
mod training;
mod transfer;
