//! The coordinator: expands sweeps into jobs, leases them to workers, records
//! their results once, and answers with paired comparisons.
//!
//! It never links the tensor library.

pub mod aggregate;
pub mod artifacts;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod growth;
pub mod inspection;
pub mod lease;
pub mod lifecycle;
pub mod local_workers;
pub mod report;
pub mod results;
pub mod rpc;
pub mod serve;
pub mod service;
pub mod settle;
pub mod state_dir;
pub mod store;
pub mod submission;
pub mod sweep;
pub mod tls;
