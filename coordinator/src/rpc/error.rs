//! One table from errors to gRPC codes.
//!
//! The code tells the caller what to do (the contract is in `worker.proto`):
//! ABORTED = drop the job; UNAVAILABLE, DATA_LOSS = call again;
//! NOT_FOUND = it isn't here (a worker registers anew);
//! INVALID_ARGUMENT, FAILED_PRECONDITION, INTERNAL = don't call again.

use seedbed_proto::convert::BadMessage;
use seedbed_proto::job::SPEC_VERSION;
use tonic::{Code, Status};

use crate::artifacts::ArtifactError;
use crate::settle::SettleError;
use crate::store::StoreError;
use crate::sweep::SweepErrors;

/// Why a call could not be served.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The message breaks the contract.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blobs.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Mistakes in a sweep file.
    #[error(transparent)]
    Sweep(#[from] SweepErrors),
    /// A sweep on record.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The worker is of another release.
    #[error(
        "this coordinator makes job specs of version {SPEC_VERSION}, the worker knows {known:?}: use programs of one release"
    )]
    Version {
        /// What the worker knows.
        known: Vec<u32>,
    },
    /// The sender of a stream broke off.
    #[error("the stream broke off: {0}")]
    Stream(#[source] Status),
}

impl RpcError {
    /// What the caller should do.
    pub fn code(&self) -> Code {
        match self {
            Self::Message(
                BadMessage::Id { .. } | BadMessage::Missing(_) | BadMessage::Unknown { .. },
            )
            | Self::Sweep(_) => Code::InvalidArgument,
            Self::Store(error) => store_code(error),
            Self::Artifact(error) => artifact_code(error),
            Self::Settle(SettleError::Store(error)) => store_code(error),
            Self::Settle(SettleError::Sweep(_) | SettleError::Spec(_)) => Code::Internal,
            Self::Version { .. } => Code::FailedPrecondition,
            Self::Stream(_) => Code::Unavailable,
        }
    }
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::LeaseLost(_) => Code::Aborted,
        StoreError::UnknownSweep(_) | StoreError::UnknownWorker(_) => Code::NotFound,
        StoreError::MissingBlobs(_) | StoreError::SweepCancelled(_) => Code::FailedPrecondition,
        StoreError::BadResult { .. } | StoreError::BadSweep { .. } => Code::InvalidArgument,
        // A worker's result must outlive trouble with the coordinator's disk.
        StoreError::BlobBusy(_)
        | StoreError::SweepMoved(_)
        | StoreError::DiskFull(_)
        | StoreError::Busy(_)
        | StoreError::Database(_)
        | StoreError::Closed => Code::Unavailable,
        StoreError::Open { .. } | StoreError::Corrupt { .. } | StoreError::Illegal(_) => {
            Code::Internal
        }
    }
}

fn artifact_code(error: &ArtifactError) -> Code {
    match error {
        ArtifactError::WrongDigest { .. } | ArtifactError::WrongSize { .. } => Code::DataLoss,
        ArtifactError::NotFound(_) => Code::NotFound,
        ArtifactError::DiskFull { .. }
        | ArtifactError::Io { .. }
        | ArtifactError::BrokenOff { .. } => Code::Unavailable,
        ArtifactError::Store(error) => store_code(error),
    }
}

impl From<RpcError> for Status {
    fn from(error: RpcError) -> Self {
        let code = error.code();
        // The caller can't mend these; whoever runs the coordinator can.
        if matches!(code, Code::Internal | Code::Unavailable) {
            tracing::error!(%error, ?code, "a call failed");
        }
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use seedbed_proto::{BlobDigest, JobKey};

    use super::*;

    #[test]
    fn the_code_says_what_to_do() {
        let check = |error: RpcError, expect: Code| {
            let text = error.to_string();
            let status = Status::from(error);
            assert_eq!(status.code(), expect, "{text}");
            assert_eq!(status.message(), text);
        };
        let (job, blob) = (JobKey::of(b"job"), BlobDigest::of(b"blob"));
        check(BadMessage::Missing("lease").into(), Code::InvalidArgument);
        check(StoreError::LeaseLost(job).into(), Code::Aborted);
        check(
            StoreError::MissingBlobs(vec![blob]).into(),
            Code::FailedPrecondition,
        );
        check(StoreError::UnknownSweep("x".into()).into(), Code::NotFound);
        check(StoreError::Closed.into(), Code::Unavailable);
        check(StoreError::SweepMoved("x".into()).into(), Code::Unavailable);
        check(
            StoreError::SweepCancelled("x".into()).into(),
            Code::FailedPrecondition,
        );
        let (claimed, actual) = (blob, BlobDigest::of(b"other"));
        check(
            ArtifactError::WrongDigest { claimed, actual }.into(),
            Code::DataLoss,
        );
        check(ArtifactError::NotFound(blob).into(), Code::NotFound);
        check(
            ArtifactError::Store(StoreError::LeaseLost(job)).into(),
            Code::Aborted,
        );
        check(
            RpcError::Version { known: vec![0] },
            Code::FailedPrecondition,
        );
        check(
            RpcError::Stream(Status::cancelled("gone")),
            Code::Unavailable,
        );
    }
}
