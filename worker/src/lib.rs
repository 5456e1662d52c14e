//! The worker: pulls jobs from a coordinator, runs them, delivers the results.
//!
//! Two halves that meet in [`job`]: the agent (`agent`, `client`, `heartbeat`,
//! `executor`, `spool`, `cache`, `device` and their helpers) knows leases, the
//! network and time; everything below `job` (`gpt2`, `ops`, `task`, `train`,
//! `behaviour`, `mechanism`) knows none of them and is handed a [`job::RunContext`].

pub mod agent;
pub mod attempt;
pub mod behaviour;
pub mod blobs;
pub mod cache;
pub mod cli;
pub mod client;
pub mod config;
pub mod cpu;
pub mod deliver;
pub mod device;
pub mod executor;
pub mod gpt2;
pub mod heartbeat;
pub mod host;
pub mod hub;
pub mod job;
pub mod mechanism;
pub mod memory;
pub mod ops;
pub mod roles;
pub mod sample;
pub mod spool;
pub mod task;
pub mod train;
pub mod uploads;

/// The program's version and the commit it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SEEDBED_COMMIT"), ")");
