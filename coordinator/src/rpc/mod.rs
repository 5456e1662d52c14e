//! The two gRPC services. A handler decodes, calls the [`Coordinator`], encodes.
//!
//! [`Coordinator`]: crate::service::Coordinator

mod blobs;
pub(crate) mod convert;
mod error;
pub mod results;
mod sweep;
mod worker;

pub use error::RpcError;
pub use sweep::SweepApi;
pub use worker::WorkerApi;
