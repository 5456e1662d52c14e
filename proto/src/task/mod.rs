//! What networks learn: tasks, their trials and their splits, before any token.
//!
//! `registry` says what a task must give; each task is a file, and `setup` makes it
//! from a spec. A trial is the
//! numbers and words that fill the slots of a `wording`. `pairs`, `space` and
//! `splits` keep training and evaluation apart; `plan` counts what a spec asks for
//! against what there is.
//!
//! It stands here, and not with the worker that trains on it, so that the
//! coordinator refuses a task that cannot be had before anything runs, from the
//! same code. Everything is a pure function of the spec.

pub mod anti;
pub mod ctxdm;
pub mod definition;
pub mod delaydm;
pub mod dmc;
pub mod dms;
pub mod error;
pub mod generator;
pub mod gonogo;
pub mod multidm;
pub mod pairs;
pub mod pdm;
pub mod permute;
pub mod plan;
pub mod registry;
pub mod setup;
pub mod space;
pub mod splits;
pub mod taskswitch;
#[cfg(test)]
mod tests;
pub mod wording;

pub use error::TaskError;
pub use registry::{Counterfactual, Definition, TaskKind, Trial, definition};
