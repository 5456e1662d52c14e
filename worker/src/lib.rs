//! The worker: pulls jobs from a coordinator, runs them, delivers the results.
//!
//! Two halves that meet in [`job`]: the agent (`agent`, `client`, `heartbeat`,
//! `executor`, `spool`, `cache`, `device`) knows leases, the network and time;
//! everything below `job` (`gpt2`, `ops`, `task`, `train`, `behaviour`) knows
//! none of them and is handed a [`job::RunContext`].

pub mod behaviour;
pub mod gpt2;
pub mod job;
pub mod ops;
pub mod task;
pub mod train;
