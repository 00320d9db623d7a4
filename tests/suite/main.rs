//! One binary for all tests that look at the crate from outside.

mod concurrency;
mod conformance;
mod custom;
mod data;
mod determinism;
mod errors;
mod errors_optimizers;
mod freezing;
mod optimizers;
mod params;
mod reference;
mod schedules;
mod second_order;
mod statistics;
mod support;
mod training;
