//! The coordinator: expands sweeps into jobs, leases them to workers, records
//! their results once, and answers with paired comparisons.
//!
//! It never links the tensor library.

pub mod aggregate;
pub mod artifacts;
pub mod clock;
pub mod lease;
pub mod lifecycle;
pub mod report;
pub mod results;
pub mod store;
pub mod sweep;
