//! Workers and their leases: who may take what, who still holds what.

use seedbed_proto::{JobKey, LeaseToken, SweepId, WorkerId};
use sqlx::SqliteConnection;

use super::record::{self, Held};
use super::row::{self, CheckpointColumns, parse, signed, to_json, unsigned};
use crate::clock::Micros;
use crate::lease::Capability;
use crate::lifecycle::{Event, next};
use crate::store::{Checkpoint, Expired, Lease, Leased, NewWorker, Progress, Renewal, StoreError};
use seedbed_proto::result::{FailureReason, JobPhase};

/// An idle worker's row is written this often at most.
const SEEN_EVERY_SECS: f64 = 5.0;

pub(super) async fn register(
    conn: &mut SqliteConnection,
    worker: NewWorker,
    now: Micros,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO workers (uuid, host, pid, version, label, capability, registered_us, seen_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         ON CONFLICT (uuid) DO UPDATE SET host = excluded.host, pid = excluded.pid,
           version = excluded.version, label = excluded.label,
           capability = excluded.capability, seen_us = excluded.seen_us",
    )
    .bind(worker.id.to_string())
    .bind(worker.host)
    .bind(i64::from(worker.pid))
    .bind(worker.version)
    .bind(worker.label)
    .bind(to_json(&worker.capability))
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// What acquiring needs to know of a worker.
pub(super) struct WorkerRow {
    id: i64,
    capability: Capability,
    seen: Micros,
}

pub(super) async fn worker(
    conn: &mut SqliteConnection,
    worker: WorkerId,
) -> Result<WorkerRow, StoreError> {
    let row: Option<(i64, String, i64)> =
        sqlx::query_as("SELECT id, capability, seen_us FROM workers WHERE uuid = ?")
            .bind(worker.to_string())
            .fetch_optional(conn)
            .await?;
    let (id, capability, seen) = row.ok_or(StoreError::UnknownWorker(worker))?;
    Ok(WorkerRow {
        id,
        capability: row::json("workers.capability", &capability)?,
        seen: Micros(seen),
    })
}

/// Whether [`acquire`] would write anything: a worker that polls an empty queue
/// must not cost a commit each time.
pub(super) async fn worth_acquiring(
    conn: &mut SqliteConnection,
    worker: &WorkerRow,
    only: Option<SweepId>,
    now: Micros,
) -> Result<bool, StoreError> {
    if now.secs_since(worker.seen) >= SEEN_EVERY_SECS {
        return Ok(true);
    }
    Ok(!candidates(conn, &worker.capability, 1, only, now)
        .await?
        .is_empty())
}

/// A job that a worker could take.
#[derive(sqlx::FromRow)]
struct Candidate {
    queue_sweep: i64,
    queue_ordinal: i64,
    id: i64,
    key: String,
    attempts: i64,
    checkpoint_step: Option<i64>,
    checkpoint_digest: Option<String>,
    checkpoint_bytes: Option<i64>,
    before_step: Option<i64>,
    before_digest: Option<String>,
    before_bytes: Option<i64>,
}

async fn candidates(
    conn: &mut SqliteConnection,
    capability: &Capability,
    max_jobs: u32,
    only: Option<SweepId>,
    now: Micros,
) -> Result<Vec<Candidate>, StoreError> {
    let only = only.map(|sweep| sweep.to_string());
    let mut found: Vec<Candidate> = vec![];
    // One walk along the index per kind of demand, merged here: the database
    // would sort all pending jobs.
    for demand in capability.meets() {
        found.extend(
            sqlx::query_as::<_, Candidate>(
                "SELECT queue_sweep, queue_ordinal, id, key, attempts,
                   checkpoint_step, checkpoint_digest, checkpoint_bytes,
                   before_step, before_digest, before_bytes
                 FROM jobs
                 WHERE phase = 'pending' AND requires = ?1 AND queue_sweep IS NOT NULL
                   AND not_before_us <= ?2
                   AND (?4 IS NULL OR EXISTS (
                     SELECT 1 FROM sweep_jobs s JOIN sweeps w ON w.id = s.sweep_id
                     WHERE s.job_id = jobs.id AND w.uuid = ?4))
                 ORDER BY queue_sweep, queue_ordinal LIMIT ?3",
            )
            .bind(demand.as_str())
            .bind(now.0)
            .bind(i64::from(max_jobs))
            .bind(only.as_deref())
            .fetch_all(&mut *conn)
            .await?,
        );
    }
    found.sort_unstable_by_key(|job| (job.queue_sweep, job.queue_ordinal));
    found.truncate(usize::try_from(max_jobs).unwrap_or(usize::MAX));
    Ok(found)
}

pub(super) async fn acquire(
    conn: &mut SqliteConnection,
    worker_id: WorkerId,
    max_jobs: u32,
    only: Option<SweepId>,
    now: Micros,
    lease_secs: f64,
) -> Result<Vec<Leased>, StoreError> {
    let worker = worker(conn, worker_id).await?;
    seen(conn, worker.id, now).await?;
    let expires = now.plus_secs(lease_secs);
    let mut leased = vec![];
    for job in candidates(conn, &worker.capability, max_jobs, only, now).await? {
        leased.push(lease(conn, &worker, job, now, expires).await?);
    }
    Ok(leased)
}

pub(super) async fn release_unheld(
    conn: &mut SqliteConnection,
    worker: WorkerId,
    held: Vec<LeaseToken>,
    now: Micros,
) -> Result<u64, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT j.key, j.lease_token, j.attempts FROM jobs j JOIN workers w ON w.id = j.worker_id
         WHERE w.uuid = ? AND j.phase = 'running' ORDER BY j.id",
    )
    .bind(worker.to_string())
    .fetch_all(&mut *conn)
    .await?;
    let mut released = 0;
    for (key, token, attempt) in rows {
        let lease = Lease {
            job: parse("jobs.key", &key)?,
            token: parse("jobs.lease_token", &token)?,
            attempt: unsigned("jobs.attempts", attempt)?,
        };
        if !held.contains(&lease.token) {
            release(&mut *conn, lease, None, now).await?;
            released += 1;
        }
    }
    Ok(released)
}

async fn lease(
    conn: &mut SqliteConnection,
    worker: &WorkerRow,
    job: Candidate,
    now: Micros,
    expires: Micros,
) -> Result<Leased, StoreError> {
    let token = LeaseToken::new();
    let attempt = job.attempts + 1;
    let last: CheckpointColumns = (
        job.checkpoint_step,
        job.checkpoint_digest,
        job.checkpoint_bytes,
    );
    let before: CheckpointColumns = (job.before_step, job.before_digest, job.before_bytes);
    let (resume, resume_before) = (row::checkpoint(&last)?, row::checkpoint(&before)?);
    sqlx::query(
        "UPDATE jobs SET phase = ?2, attempts = ?3, lease_token = ?4, lease_expires_us = ?5,
           worker_id = ?6, progressed_us = ?7, step = coalesce(checkpoint_step, 0)
         WHERE id = ?1",
    )
    .bind(job.id)
    .bind(next(JobPhase::Pending, Event::Leased)?.name())
    .bind(attempt)
    .bind(token.to_string())
    .bind(expires.0)
    .bind(worker.id)
    .bind(now.0)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO attempts (job_id, attempt, token, worker_id, started_us, outcome)
         VALUES (?, ?, ?, ?, ?, 'running')",
    )
    .bind(job.id)
    .bind(attempt)
    .bind(token.to_string())
    .bind(worker.id)
    .bind(now.0)
    .execute(&mut *conn)
    .await?;
    let spec_json: String = sqlx::query_scalar("SELECT spec FROM job_specs WHERE job_id = ?")
        .bind(job.id)
        .fetch_one(&mut *conn)
        .await?;
    Ok(Leased {
        lease: Lease {
            job: parse("jobs.key", &job.key)?,
            token,
            attempt: unsigned("jobs.attempts", attempt)?,
        },
        expires,
        spec_json,
        inputs: inputs(conn, job.id).await?,
        resume,
        resume_before,
    })
}

async fn inputs(
    conn: &mut SqliteConnection,
    job_id: i64,
) -> Result<Vec<(JobKey, Vec<seedbed_proto::result::Artifact>)>, StoreError> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT n.id, n.key FROM job_inputs i JOIN jobs n ON n.id = i.input_id
         WHERE i.job_id = ? ORDER BY n.key",
    )
    .bind(job_id)
    .fetch_all(&mut *conn)
    .await?;
    let mut inputs = vec![];
    for (id, key) in rows {
        inputs.push((parse("jobs.key", &key)?, row::artifacts(conn, id).await?));
    }
    Ok(inputs)
}

async fn seen(conn: &mut SqliteConnection, worker: i64, now: Micros) -> Result<(), StoreError> {
    sqlx::query("UPDATE workers SET seen_us = max(seen_us, ?) WHERE id = ?")
        .bind(now.0)
        .bind(worker)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn renew(
    conn: &mut SqliteConnection,
    worker_id: WorkerId,
    jobs: Vec<Progress>,
    now: Micros,
    lease_secs: f64,
) -> Result<Vec<Renewal>, StoreError> {
    let worker = worker(conn, worker_id).await?;
    seen(conn, worker.id, now).await?;
    let expires = now.plus_secs(lease_secs);
    let mut answers = vec![];
    for job in jobs {
        let (metric, value) = job.live.unzip();
        let held = sqlx::query(
            "UPDATE jobs SET lease_expires_us = ?3,
               progressed_us = CASE WHEN step = ?4 THEN progressed_us ELSE ?5 END,
               step = ?4, steps_per_sec = ?6, live_metric = ?7, live_value = ?8
             WHERE key = ?1 AND lease_token = ?2",
        )
        .bind(job.job.to_string())
        .bind(job.token.to_string())
        .bind(expires.0)
        .bind(signed(job.step))
        .bind(now.0)
        .bind(if job.steps_per_sec.is_finite() {
            job.steps_per_sec
        } else {
            0.0
        })
        .bind(metric)
        .bind(value)
        .execute(&mut *conn)
        .await?
        .rows_affected();
        if held == 0 {
            answers.push(Renewal::Drop);
            continue;
        }
        answers.push(Renewal::Continue);
        if let Some(checkpoint) = job.checkpoint {
            match row::is_stored(conn, checkpoint.digest).await? {
                true => keep_checkpoint(conn, job.token, checkpoint).await?,
                false => tracing::warn!(
                    job = %job.job,
                    digest = %checkpoint.digest,
                    "a checkpoint was announced without its bytes"
                ),
            }
        }
    }
    Ok(answers)
}

/// The furthest checkpoint of an attempt is kept, with the one before it; what
/// was before that becomes garbage. An attempt that comes with an earlier step
/// than a former attempt could not use that one's checkpoint: its own takes that
/// place, or a damaged checkpoint would be handed out for ever.
async fn keep_checkpoint(
    conn: &mut SqliteConnection,
    token: LeaseToken,
    checkpoint: Checkpoint,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET
           before_step = iif(checkpoint_step < ?2, checkpoint_step, before_step),
           before_digest = iif(checkpoint_step < ?2, checkpoint_digest, before_digest),
           before_bytes = iif(checkpoint_step < ?2, checkpoint_bytes, before_bytes),
           checkpoint_step = ?2, checkpoint_digest = ?3, checkpoint_bytes = ?4,
           checkpoint_attempt = attempts
         WHERE lease_token = ?1 AND (checkpoint_step IS NULL OR checkpoint_step < ?2
           OR coalesce(checkpoint_attempt, 0) < attempts)",
    )
    .bind(token.to_string())
    .bind(signed(checkpoint.step))
    .bind(checkpoint.digest.to_string())
    .bind(signed(checkpoint.size_bytes))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn release(
    conn: &mut SqliteConnection,
    lease: Lease,
    checkpoint: Option<Checkpoint>,
    now: Micros,
) -> Result<(), StoreError> {
    let held = record::held(conn, lease).await?;
    if let Some(checkpoint) = checkpoint {
        if !row::is_stored(conn, checkpoint.digest).await? {
            return Err(StoreError::MissingBlobs(vec![checkpoint.digest]));
        }
        keep_checkpoint(conn, lease.token, checkpoint).await?;
    }
    record::end_attempt(conn, &held, "released", "", None, now).await?;
    record::requeue(conn, &held, now).await
}

/// A job whose lease ran out.
#[derive(sqlx::FromRow)]
struct Overdue {
    id: i64,
    key: String,
    attempts: i64,
    worker: String,
    lease_expires_us: i64,
}

pub(super) async fn expire_due(
    conn: &mut SqliteConnection,
    now: Micros,
) -> Result<Vec<Expired>, StoreError> {
    let statement = sqlx::AssertSqlSafe(format!(
        "SELECT j.id, j.key, j.attempts, j.lease_expires_us, {} AS worker
         FROM jobs j JOIN workers w ON w.id = j.worker_id
         WHERE j.phase = 'running' AND j.lease_expires_us <= ?
         ORDER BY j.lease_expires_us, j.id",
        row::WORKER_NAME
    ));
    let overdue: Vec<Overdue> = sqlx::query_as(statement)
        .bind(now.0)
        .fetch_all(&mut *conn)
        .await?;
    let mut expired = vec![];
    for job in overdue {
        let held = Held {
            id: job.id,
            attempt: job.attempts,
        };
        let message = format!(
            "worker {} went silent; its lease ran out at {}",
            job.worker,
            Micros(job.lease_expires_us)
        );
        let lost = FailureReason::Lost;
        let will_retry = record::end_without_result(conn, &held, lost, &message, None, now).await?;
        expired.push(Expired {
            job: parse("jobs.key", &job.key)?,
            attempt: unsigned("jobs.attempts", job.attempts)?,
            worker: job.worker,
            will_retry,
        });
    }
    Ok(expired)
}

/// Whether [`expire_due`] would find anything.
pub(super) async fn any_due(conn: &mut SqliteConnection, now: Micros) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM jobs WHERE phase = 'running' AND lease_expires_us <= ? LIMIT 1",
    )
    .bind(now.0)
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

pub(super) async fn extend_running(
    conn: &mut SqliteConnection,
    until: Micros,
) -> Result<u64, StoreError> {
    let extended = sqlx::query(
        "UPDATE jobs SET lease_expires_us = max(lease_expires_us, ?) WHERE phase = 'running'",
    )
    .bind(until.0)
    .execute(conn)
    .await?;
    Ok(extended.rows_affected())
}
