//! The coordinator: expands sweeps into jobs, leases them to workers, records
//! their results once, and answers with paired comparisons.
//!
//! It never links the tensor library.

pub mod results;
pub mod sweep;
