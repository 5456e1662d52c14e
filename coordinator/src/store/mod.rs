//! What the coordinator remembers: the only place that knows SQL.
//!
//! [`Store`] is what a coordinator may ask, and its documentation says what each
//! call promises after a crash. In general:
//! - A call that returned `Ok` is on disk: neither `kill -9` nor a power cut takes
//!   it back. A call that returned an error recorded nothing. A call whose answer
//!   was lost did one or the other, and may be made again.
//! - Every write of a worker names its lease and hits exactly one job, or answers
//!   [`StoreError::LeaseLost`].
//! - Time is an argument; the store never reads a clock.

mod error;
pub mod sqlite;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use seedbed_proto::result::{Artifact, FailureReason, JobResult, Provenance};
use seedbed_proto::{BlobDigest, JobKey, LeaseToken, SweepId, WorkerId};
use tokio::sync::watch;

use crate::clock::Micros;
use crate::results::{Quantities, Run, Selection, SweepResults};
use crate::submission::Submission;

pub use error::StoreError;
pub use types::*;

/// Jobs of a sweep, made while they are stored.
pub type NewJobs = Box<dyn Iterator<Item = NewJob> + Send>;

/// The coordinator's memory.
#[async_trait]
pub trait Store: Send + Sync {
    // ---- sweeps -----------------------------------------------------------

    /// Stores a sweep and those of its jobs that are not known yet.
    ///
    /// All or nothing. The same name again replaces the text and the list of
    /// jobs; a job that is no longer listed leaves the sweep but keeps its
    /// result, and is not handed out while no sweep lists it. A cancelled job
    /// that is listed becomes ready again; a failed one stays failed until
    /// [`Store::retry`]. A job with a failed input is stored as failed. No selection
    /// is current any more, and no questions are listed; nor is one in any other
    /// sweep that lists a run which became ready again.
    async fn submit_sweep(
        &self,
        sweep: NewSweep,
        jobs: NewJobs,
        now: Micros,
    ) -> Result<Submitted, StoreError>;

    /// The same of a sweep that goes on by itself: what it is given follows from what
    /// was read at this revision. [`StoreError::SweepMoved`] if it has changed since;
    /// [`StoreError::SweepCancelled`] if a person has ended it.
    async fn extend_sweep(
        &self,
        sweep: NewSweep,
        read_at: Revision,
        jobs: NewJobs,
        now: Micros,
    ) -> Result<Submitted, StoreError>;

    /// Whether a person has ended a sweep, and nobody submitted or retried it since.
    async fn is_cancelled(&self, sweep: &str) -> Result<bool, StoreError>;

    /// Where a sweep stands, by name or id.
    async fn status(&self, sweep: &str) -> Result<SweepStatus, StoreError>;

    /// Where every sweep stands, in the order of their submission.
    async fn list(&self) -> Result<Vec<SweepStatus>, StoreError>;

    /// Ends what has no end yet, and says how many jobs that were. A job that
    /// another sweep wants too goes on, unless that one was cancelled as well. A run
    /// that is done again for its weights is done as before, and not counted.
    /// No selection is current any more. Naming a state, it may be called again.
    async fn cancel(&self, sweep: &str, now: Micros) -> Result<u64, StoreError>;

    /// Makes failed and cancelled jobs ready again, with a fresh retry budget and
    /// from their last checkpoint; says how many. No selection is current any more,
    /// here and in any other sweep that lists such a run. It may be called again.
    async fn retry(&self, sweep: &str, now: Micros) -> Result<u64, StoreError>;

    // ---- workers ----------------------------------------------------------

    /// Makes a worker known, or updates what is known of it.
    async fn register_worker(&self, worker: NewWorker, now: Micros) -> Result<(), StoreError>;

    /// Workers that were heard of within this many seconds.
    async fn live_workers(&self, now: Micros, within_secs: f64) -> Result<u64, StoreError>;

    /// Leases up to `max_jobs` jobs that the worker can run, oldest sweep first,
    /// in each sweep's order; with `only`, jobs of that sweep alone. An answer
    /// that is lost leaves leases for [`Self::release_unheld`], or that expire.
    async fn acquire(
        &self,
        worker: WorkerId,
        max_jobs: u32,
        only: Option<SweepId>,
        now: Micros,
        lease_secs: f64,
    ) -> Result<Vec<Leased>, StoreError>;

    /// Takes back the leases of a worker that it does not know of, because the
    /// answer with them was lost; says how many. `held` are all that it knows of.
    async fn release_unheld(
        &self,
        worker: WorkerId,
        held: Vec<LeaseToken>,
        now: Micros,
    ) -> Result<u64, StoreError>;

    /// Heartbeat of several jobs; the answers are in the order of the question.
    /// A checkpoint whose blob is not there is passed over.
    async fn renew(
        &self,
        worker: WorkerId,
        jobs: Vec<Progress>,
        now: Micros,
        lease_secs: f64,
    ) -> Result<Vec<Renewal>, StoreError>;

    /// Records a result, once: whatever happens around it, exactly one result of
    /// a job is ever on record, and it is never changed. Jobs that waited for it
    /// become ready in the same transaction.
    ///
    /// A job that is done again for its weights gets back the files that were
    /// dropped from its result, if this is the same one. If not, the one on record
    /// stands, and the questions that waited for the weights have failed.
    ///
    /// A result for a job that is done is compared with the one on record, if the
    /// lease was ever one of that job. [`StoreError::MissingBlobs`] if an artifact
    /// was not uploaded.
    async fn complete(
        &self,
        lease: Lease,
        result: JobResult,
        provenance: Provenance,
        now: Micros,
    ) -> Result<Recorded, StoreError>;

    /// Ends an attempt with a reason; `true` if the job goes back to the queue.
    /// When it has failed for good, so have the jobs that need it. A job that is done
    /// again for its weights is then done as before, and the questions that waited for
    /// the weights have failed.
    async fn fail(
        &self,
        lease: Lease,
        reason: FailureReason,
        message: String,
        provenance: Provenance,
        now: Micros,
    ) -> Result<bool, StoreError>;

    /// Gives a job back unfinished; it goes on from its last checkpoint.
    async fn release(
        &self,
        lease: Lease,
        checkpoint: Option<Checkpoint>,
        now: Micros,
    ) -> Result<(), StoreError>;

    /// Takes back every lease that has expired by `now`.
    async fn expire_due(&self, now: Micros) -> Result<Vec<Expired>, StoreError>;

    /// Makes sure that no lease expires before `until`; says how many jobs run.
    /// To be called at the start of a coordinator: workers that went on while it
    /// was down must get the time to come back.
    async fn extend_running(&self, until: Micros) -> Result<u64, StoreError>;

    /// A counter that moves when jobs may have become ready or settled through
    /// this process. Others may write to the same database: look now and then.
    fn changes(&self) -> watch::Receiver<u64>;

    // ---- results ----------------------------------------------------------

    /// A sweep without its runs: name, text, selections, attempts.
    async fn results_header(&self, sweep: &str) -> Result<SweepResults, StoreError>;

    /// Up to `limit` runs of a sweep whose ordinal is at least `from`, in order.
    /// A run whose result is on record is done, whether or not it is done again for
    /// its weights. Metrics of test splits are left out while no selection is current.
    /// What they measured is shared with runs that were read with `known` before.
    async fn runs(
        &self,
        sweep: &str,
        from: u64,
        limit: u32,
        known: &mut Quantities,
    ) -> Result<Vec<Run>, StoreError>;

    /// The same of its inspect jobs.
    async fn inspections(
        &self,
        sweep: &str,
        from: u64,
        limit: u32,
        known: &mut Quantities,
    ) -> Result<Vec<Run>, StoreError>;

    /// A sweep with all its runs and inspections, of one moment: pages that are asked
    /// for one by one may lie on both sides of a submission. Only one page of them is
    /// in memory as the database holds them.
    async fn results(&self, sweep: &str) -> Result<SweepResults, StoreError>;

    /// How often a sweep was changed, by itself or by another that went on with a run of
    /// it. To be read before the results from which a
    /// write follows: that write answers [`StoreError::SweepMoved`] if it has been
    /// changed since.
    async fn revision(&self, sweep: &str) -> Result<Revision, StoreError>;

    /// A sweep's text and files, as they were last submitted.
    async fn submission(&self, sweep: &str) -> Result<Submission, StoreError>;
    /// The specs of a sweep's train jobs, canonical JSON by key.
    async fn train_specs(&self, sweep: &str) -> Result<BTreeMap<JobKey, String>, StoreError>;

    /// The sweeps (or this one, if it is one) that ask questions of their networks,
    /// have nothing left to do, and whose questions are not listed yet. Cancelled
    /// ones are not among them.
    async fn awaiting_inspection(&self, sweep: Option<&str>) -> Result<Vec<SweepId>, StoreError>;

    /// Lists a sweep's inspect jobs, in the place of those that are listed: all or
    /// nothing. They follow from this version of its selection; 0 if it has none.
    /// `false` if they are listed already, or the sweep was cancelled.
    ///
    /// A run whose weights one of them needs and that were dropped goes back to
    /// work; the question waits for it. One that none needs any more is done as before.
    async fn list_inspections(
        &self,
        sweep: &str,
        read_at: Revision,
        version: u32,
        jobs: Vec<NewJob>,
        now: Micros,
    ) -> Result<bool, StoreError>;

    /// The files of each job of a sweep that is done and only serves others: its
    /// base models, in the sweep's order.
    async fn models(&self, sweep: &str) -> Result<Vec<Vec<Artifact>>, StoreError>;

    /// Records a selection and answers with it as it stands on record: a new
    /// version if it says something new, else the latest one. The version that
    /// it comes with is not looked at. It is the current one until the sweep is
    /// submitted, cancelled or retried, or one of its runs becomes ready again; while
    /// a run has not ended, none is.
    async fn record_selection(
        &self,
        sweep: &str,
        read_at: Revision,
        selection: Selection,
        now: Micros,
    ) -> Result<Selection, StoreError>;

    /// Says which runs' weights a sweep keeps (`keep: {weights: selected}`). The
    /// weights of its other runs that are done are dropped, unless another sweep
    /// keeps them or a job still needs them; says how many files. The bytes go
    /// with the next collection of garbage.
    async fn retain_weights(
        &self,
        sweep: &str,
        read_at: Revision,
        keep: BTreeSet<JobKey>,
    ) -> Result<u64, StoreError>;

    // ---- blobs ------------------------------------------------------------
    // Used by `artifacts::Artifacts`, which keeps bytes and rows in step.

    /// Announces that a blob is about to be written, which protects it from the
    /// collection of garbage for a while. `true` if it is there already.
    /// [`StoreError::BlobBusy`] while it is being deleted.
    async fn blob_coming(&self, blob: BlobInfo, now: Micros) -> Result<bool, StoreError>;

    /// Records that the bytes of an announced blob are on disk.
    async fn blob_stored(&self, digest: BlobDigest) -> Result<(), StoreError>;

    /// Which of these blobs are not there, in the order of the question. Those
    /// that are there are protected anew.
    async fn missing_blobs(
        &self,
        digests: Vec<BlobDigest>,
        now: Micros,
    ) -> Result<Vec<BlobDigest>, StoreError>;

    /// Marks every blob that nothing refers to and nobody asked for since
    /// `before` as doomed, and lists all doomed ones (those of a collection that
    /// was interrupted too). From then on the store denies having them.
    async fn doom_blobs(&self, before: Micros) -> Result<Vec<BlobInfo>, StoreError>;

    /// Forgets doomed blobs, once their bytes are gone.
    async fn forget_blobs(&self, digests: Vec<BlobDigest>) -> Result<(), StoreError>;

    // ---- the whole --------------------------------------------------------

    /// The sweep of this name or id.
    async fn sweep_id(&self, sweep: &str) -> Result<SweepId, StoreError>;

    /// Waits for what is queued and closes the database.
    async fn close(&self);
}
