//! The contract between coordinator, worker and client.
//!
//! `v1` holds the generated messages and services; the other modules hold the
//! domain types that both sides reason with. Generated messages are turned into
//! domain types once, on receipt (`convert`), and validated there.
//!
//! This crate knows no runtime, no SQL and no tensor library.

pub mod convert;
pub mod ids;
pub mod job;
pub mod result;
pub mod seed;
pub mod task;

/// Generated from `seedbed/v1/*.proto`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("seedbed.v1");
}

/// The compiled `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seedbed_v1.bin"));

pub use ids::{BlobDigest, JobKey, LeaseToken, SweepId, WorkerId};

/// Largest piece of a blob in one message.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Largest gRPC message that either side accepts: results with many metrics.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
