//! What can go wrong in the store.

use std::sync::Arc;

use seedbed_proto::{BlobDigest, JobKey, WorkerId};

use crate::lifecycle::IllegalTransition;

/// An error of the store. Whatever it is, nothing of the call was recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The writer does not hold the job (any more): it must drop it.
    #[error("the lease on job {} is gone", .0.short())]
    LeaseLost(JobKey),
    /// No sweep of this name or id.
    #[error("there is no sweep {0:?} (`coordinator status` lists them)")]
    UnknownSweep(String),
    /// The sweep was submitted, cancelled or retried since its results were read, or
    /// another one went on with a run of it: read them again.
    #[error("sweep {0:?} has changed meanwhile, try again")]
    SweepMoved(String),
    /// A person has ended the sweep: it does not go on by itself.
    #[error("sweep {0:?} was cancelled (`coordinator retry` goes on with it)")]
    SweepCancelled(String),
    /// A worker that never registered with this store.
    #[error("worker {0} is not registered")]
    UnknownWorker(WorkerId),
    /// Blobs that a result or a checkpoint names were not uploaded before.
    #[error("{} blob(s) were not uploaded, the first is {}", .0.len(), .0[0])]
    MissingBlobs(Vec<BlobDigest>),
    /// The blob is being deleted at this moment: call again.
    #[error("blob {0} is being deleted, upload it again in a moment")]
    BlobBusy(BlobDigest),
    /// A result that can't be recorded as it is.
    #[error("result of job {}: {why}", .job.short())]
    BadResult {
        /// The job.
        job: JobKey,
        /// What is wrong.
        why: String,
    },
    /// A sweep that can't be stored as it is.
    #[error("sweep {sweep:?}: {why}")]
    BadSweep {
        /// Its name.
        sweep: String,
        /// What is wrong.
        why: String,
    },
    /// The disk of the state folder is full.
    #[error("the disk of the coordinator's state is full, free some space: {0}")]
    DiskFull(Arc<sqlx::Error>),
    /// Somebody else writes to the database for too long: call again.
    #[error("the database is locked by another process: {0}")]
    Busy(Arc<sqlx::Error>),
    /// The database can't be opened or upgraded.
    #[error("{path}: {why}")]
    Open {
        /// The database.
        path: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// Any other error of the database.
    #[error("database: {0}")]
    Database(Arc<sqlx::Error>),
    /// A row that this program can't have written.
    #[error("the database holds {what}, which this program can't read: {why}")]
    Corrupt {
        /// Table or column.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The life of a job forbids it: a bug.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLite's extended codes carry the primary code in their low byte.
        let code = error
            .as_database_error()
            .and_then(|e| e.code())
            .and_then(|code| code.parse::<u32>().ok())
            .map(|code| code & 0xff);
        match code {
            Some(5 | 6) => Self::Busy(Arc::new(error)),
            Some(13) => Self::DiskFull(Arc::new(error)),
            _ => Self::Database(Arc::new(error)),
        }
    }
}
