//! One binary for all tests that look at the crate from outside.

mod concurrency;
mod conformance;
mod custom;
mod data;
mod determinism;
mod errors;
mod freezing;
mod functions;
mod losses;
mod params;
mod reference;
mod statistics;
mod support;
mod training;
