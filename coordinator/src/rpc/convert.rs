//! Messages ⇄ what the store takes and gives.

use seedbed_proto::convert::{BadMessage, id, required};
use seedbed_proto::v1;

use crate::clock::Micros;
use crate::store::{
    Checkpoint, FailedJob, Lease, Leased, NewWorker, Progress, Renewal, RunningJob, SweepStatus,
};

/// Converts a whole list.
pub fn all<T, U: TryFrom<T, Error = BadMessage>>(items: Vec<T>) -> Result<Vec<U>, BadMessage> {
    items.into_iter().map(TryInto::try_into).collect()
}

/// An enum value of a message, if this program knows it.
pub fn known<T, E>(
    field: &'static str,
    value: i32,
    parse: impl Fn(i32) -> Result<T, E>,
) -> Result<T, BadMessage> {
    parse(value).map_err(|_| BadMessage::Unknown { field, value })
}

impl TryFrom<v1::RegisterRequest> for NewWorker {
    type Error = BadMessage;

    fn try_from(r: v1::RegisterRequest) -> Result<Self, BadMessage> {
        Ok(Self {
            id: id("worker_id", &r.worker_id)?,
            host: r.host,
            pid: r.pid,
            version: r.version,
            label: r.label,
            capability: required("capability", r.capability)?.into(),
        })
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = BadMessage;

    fn try_from(l: v1::Lease) -> Result<Self, BadMessage> {
        Ok(Self {
            job: id("lease.job_key", &l.job_key)?,
            token: id("lease.token", &l.token)?,
            attempt: l.attempt,
        })
    }
}

impl TryFrom<v1::Checkpoint> for Checkpoint {
    type Error = BadMessage;

    fn try_from(c: v1::Checkpoint) -> Result<Self, BadMessage> {
        Ok(Self {
            step: c.step,
            digest: id("checkpoint.digest", &c.digest)?,
            size_bytes: c.size_bytes,
        })
    }
}

impl From<Checkpoint> for v1::Checkpoint {
    fn from(c: Checkpoint) -> Self {
        Self {
            step: c.step,
            digest: c.digest.to_string(),
            size_bytes: c.size_bytes,
        }
    }
}

impl TryFrom<v1::JobProgress> for Progress {
    type Error = BadMessage;

    fn try_from(p: v1::JobProgress) -> Result<Self, BadMessage> {
        Ok(Self {
            job: id("jobs.job_key", &p.job_key)?,
            token: id("jobs.token", &p.token)?,
            step: p.step,
            steps_per_sec: p.steps_per_sec,
            live: (!p.live_metric.is_empty()).then_some((p.live_metric, p.live_value)),
            checkpoint: p.checkpoint.map(TryInto::try_into).transpose()?,
        })
    }
}

/// A leased job for its worker.
pub fn assignment(leased: Leased, now: Micros) -> v1::Assignment {
    let Leased {
        lease,
        expires,
        spec_json,
        inputs,
        resume,
        resume_before,
    } = leased;
    v1::Assignment {
        lease: Some(v1::Lease {
            job_key: lease.job.to_string(),
            token: lease.token.to_string(),
            attempt: lease.attempt,
            expires_in_secs: expires.secs_since(now).max(0.0),
        }),
        spec_json,
        inputs: inputs
            .into_iter()
            .map(|(job, artifacts)| v1::JobInput {
                job_key: job.to_string(),
                artifacts: artifacts.into_iter().map(Into::into).collect(),
            })
            .collect(),
        resume: resume.map(Into::into),
        resume_before: resume_before.map(Into::into),
    }
}

/// The answer to one job's heartbeat.
pub fn order(job: &Progress, renewal: Renewal) -> v1::Order {
    let kind = match renewal {
        Renewal::Continue => v1::OrderKind::Continue,
        Renewal::Drop => v1::OrderKind::Drop,
    };
    v1::Order {
        job_key: job.job.to_string(),
        token: job.token.to_string(),
        kind: kind.into(),
    }
}

/// Where a sweep stands, for its watchers.
pub fn status(status: SweepStatus, workers: u64) -> v1::SweepStatus {
    v1::SweepStatus {
        sweep_id: status.id.to_string(),
        name: status.name,
        blocked: status.counts.blocked,
        pending: status.counts.pending,
        running: status.counts.running,
        done: status.counts.done,
        failed: status.counts.failed,
        cancelled: status.counts.cancelled,
        workers,
        // Summed from zero: an empty sum of floats is -0.
        steps_per_sec: status
            .running
            .iter()
            .fold(0.0, |sum, job| sum + job.steps_per_sec),
        steps_left: status.steps_left,
        running_jobs: status.running.into_iter().map(Into::into).collect(),
        failed_jobs: status.failed.into_iter().map(Into::into).collect(),
        diverged: status.diverged,
        steps_total: status.steps_total,
        replication: None,
        inspections: status.inspections.total(),
        inspections_done: status.inspections.done,
    }
}

impl From<RunningJob> for v1::RunningJob {
    fn from(job: RunningJob) -> Self {
        let (live_metric, live_value) = job.live.unwrap_or_default();
        Self {
            job_key: job.job.to_string(),
            title: job.title,
            step: job.step,
            steps_total: job.steps,
            steps_per_sec: job.steps_per_sec,
            live_metric,
            live_value,
            worker: job.worker,
            attempt: job.attempt,
            checkpoint_step: job.checkpoint_step,
        }
    }
}

impl From<FailedJob> for v1::FailedJob {
    fn from(job: FailedJob) -> Self {
        Self {
            job_key: job.job.to_string(),
            title: job.title,
            reason: v1::FailureReason::from(job.reason).into(),
            message: job.message,
            attempts: job.attempts,
        }
    }
}
