//! What goes into the store and comes out of it.

use std::collections::BTreeMap;

use seedbed_proto::job::JobSpec;
use seedbed_proto::result::{Artifact, FailureReason, JobPhase};
use seedbed_proto::{BlobDigest, JobKey, LeaseToken, SweepId, WorkerId};

use crate::clock::Micros;
use crate::lease::{Capability, Requirement};
use crate::results::Point;

/// A sweep to store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSweep {
    /// Its name: the same name again replaces what was submitted under it.
    pub name: String,
    /// The sweep file's text.
    pub yaml: String,
    /// The files that it names, by the path as it stands there.
    pub files: BTreeMap<String, Artifact>,
    /// Whether it asks questions of its networks: their jobs are listed when the
    /// selection is on record.
    pub inspects: bool,
}

/// One job of a sweep to store, in the sweep's order. The jobs that it takes as
/// inputs come before it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// BLAKE3 of `spec_json`.
    pub key: JobKey,
    /// Canonical JSON of the spec.
    pub spec_json: String,
    /// "pretrain", "train", "inspect".
    pub kind: &'static str,
    /// Optimizer steps.
    pub steps: u64,
    /// Jobs whose results it needs.
    pub inputs: Vec<JobKey>,
    /// What it demands of its worker.
    pub requires: Requirement,
    /// Its axes; absent for a job that only serves others (pretraining).
    pub point: Option<Point>,
    /// For people: "pretrained lr=5e-4 frozen=none seed=3".
    pub title: String,
}

impl NewJob {
    /// The job of this spec.
    pub fn new(spec: &JobSpec, point: Option<Point>, title: String) -> Self {
        let spec_json = spec.canonical_json();
        Self {
            key: JobKey::of(spec_json.as_bytes()),
            spec_json,
            kind: spec.kind(),
            steps: spec.steps(),
            inputs: spec.inputs(),
            requires: Requirement::of(spec),
            point,
            title,
        }
    }
}

/// How often a sweep was submitted again, cancelled or retried, or another sweep went
/// on with a run of it: what follows from results that were read at one revision is
/// not written at another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision(pub u64);

/// Answer to a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The sweep.
    pub sweep: SweepId,
    /// Its jobs.
    pub jobs: u64,
    /// Of these, jobs that were not known before.
    pub jobs_new: u64,
    /// Of these, jobs that are done already.
    pub jobs_done: u64,
}

/// Proof that somebody holds a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobKey,
    /// The attempt's token.
    pub token: LeaseToken,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// A job handed to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Leased {
    /// The proof.
    pub lease: Lease,
    /// When it expires unless it is renewed.
    pub expires: Micros,
    /// Canonical JSON of the spec.
    pub spec_json: String,
    /// The results of its inputs.
    pub inputs: Vec<(JobKey, Vec<Artifact>)>,
    /// Where an earlier attempt got to.
    pub resume: Option<Checkpoint>,
    /// The checkpoint before that one, for when it turns out to be damaged.
    pub resume_before: Option<Checkpoint>,
}

/// A state of training from which a job can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Its blob.
    pub digest: BlobDigest,
    /// Size of the blob.
    pub size_bytes: u64,
}

/// What a worker tells of a job that it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The job.
    pub job: JobKey,
    /// The token of its lease.
    pub token: LeaseToken,
    /// Optimizer steps done.
    pub step: u64,
    /// Steps a second; 0 while nothing was measured.
    pub steps_per_sec: f64,
    /// The latest validation metric, for people: name and value.
    pub live: Option<(String, f64)>,
    /// A checkpoint that was uploaded since the last call.
    pub checkpoint: Option<Checkpoint>,
}

/// Answer to a heartbeat, per job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is renewed.
    Continue,
    /// The lease is gone, or the job was cancelled: drop it.
    Drop,
}

/// How a result was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is on record now.
    New,
    /// It was on record already, bit by bit the same.
    Same,
    /// Another one is on record: this one was kept aside.
    Diverged,
}

/// A worker that makes itself known.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWorker {
    /// Made by the worker at its start.
    pub id: WorkerId,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Program version.
    pub version: String,
    /// Free-form name for people; may be empty.
    pub label: String,
    /// What it offers.
    pub capability: Capability,
}

/// A job whose lease ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The job.
    pub job: JobKey,
    /// The attempt that was lost.
    pub attempt: u32,
    /// The worker that held it, for people.
    pub worker: String,
    /// Whether it goes back to the queue.
    pub will_retry: bool,
}

/// Jobs per phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for an input.
    pub blocked: u64,
    /// Ready.
    pub pending: u64,
    /// Leased.
    pub running: u64,
    /// With a result.
    pub done: u64,
    /// Ended without a result.
    pub failed: u64,
    /// Ended by a person.
    pub cancelled: u64,
}

impl Counts {
    /// Adds jobs of a phase.
    pub const fn add(&mut self, phase: JobPhase, jobs: u64) {
        match phase {
            JobPhase::Blocked => self.blocked += jobs,
            JobPhase::Pending => self.pending += jobs,
            JobPhase::Running => self.running += jobs,
            JobPhase::Done => self.done += jobs,
            JobPhase::Failed => self.failed += jobs,
            JobPhase::Cancelled => self.cancelled += jobs,
        }
    }

    /// All jobs.
    pub const fn total(&self) -> u64 {
        self.blocked + self.pending + self.running + self.done + self.failed + self.cancelled
    }

    /// Jobs that will still change by themselves.
    pub const fn unsettled(&self) -> u64 {
        self.blocked + self.pending + self.running
    }
}

/// Where a sweep stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepStatus {
    /// The sweep.
    pub id: SweepId,
    /// Its name.
    pub name: String,
    /// Its jobs by phase.
    pub counts: Counts,
    /// Of these, jobs that inspect trained networks.
    pub inspections: Counts,
    /// Optimizer steps of all its jobs.
    pub steps_total: u64,
    /// Of these, steps that will still be taken.
    pub steps_left: u64,
    /// What runs, in the sweep's order.
    pub running: Vec<RunningJob>,
    /// What failed itself, in the sweep's order; what only lacks the result of
    /// such a job is counted and not listed.
    pub failed: Vec<FailedJob>,
    /// Results that contradict the one on record.
    pub diverged: u64,
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningJob {
    /// The job.
    pub job: JobKey,
    /// For people.
    pub title: String,
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps in all.
    pub steps: u64,
    /// Steps a second; 0 while nothing was measured.
    pub steps_per_sec: f64,
    /// The latest validation metric.
    pub live: Option<(String, f64)>,
    /// The worker, for people.
    pub worker: String,
    /// Step of the last stored checkpoint; 0 if there is none.
    pub checkpoint_step: u64,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// When the step last moved (or the attempt began).
    pub progressed: Micros,
}

/// A job that failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedJob {
    /// The job.
    pub job: JobKey,
    /// For people.
    pub title: String,
    /// Why.
    pub reason: FailureReason,
    /// What failed, where, and the way out.
    pub message: String,
    /// Attempts made.
    pub attempts: u32,
}

/// A blob that the store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobInfo {
    /// BLAKE3 of the bytes.
    pub digest: BlobDigest,
    /// Size.
    pub size_bytes: u64,
}
