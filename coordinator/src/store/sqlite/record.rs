//! The end of an attempt: a result, recorded once, or a failure.

use std::collections::BTreeSet;

use seedbed_proto::result::{
    Artifact, FailureReason, JobPhase, JobResult, Metric, Note, Provenance,
};
use seedbed_proto::{BlobDigest, JobKey};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::row::{self, signed, to_json, unsigned};
use super::{manage, pack, redo};
use crate::clock::Micros;
use crate::lease::{Verdict, judge};
use crate::lifecycle::{Event, next};
use crate::store::{Lease, Recorded, StoreError};

/// Metrics per statement; SQLite takes 32,766 values at most.
const METRICS_PER_STATEMENT: usize = 256;

/// A running job whose holder has been verified.
pub(super) struct Held {
    pub(super) id: i64,
    pub(super) attempt: i64,
}

/// The job that this lease holds.
pub(super) async fn held(conn: &mut SqliteConnection, lease: Lease) -> Result<Held, StoreError> {
    let row: Option<(i64, i64)> = sqlx::query_as(
        "SELECT id, attempts FROM jobs WHERE key = ? AND lease_token = ? AND attempts = ?",
    )
    .bind(lease.job.to_string())
    .bind(lease.token.to_string())
    .bind(i64::from(lease.attempt))
    .fetch_optional(conn)
    .await?;
    let (id, attempt) = row.ok_or(StoreError::LeaseLost(lease.job))?;
    Ok(Held { id, attempt })
}

/// Finds what the database would refuse, or change, in a result.
pub(super) fn check_result(job: JobKey, result: &JobResult) -> Result<(), StoreError> {
    let bad = |why: String| Err(StoreError::BadResult { job, why });
    let mut metrics = BTreeSet::new();
    for m in &result.metrics {
        let slot = m.slot.as_deref();
        if m.split.is_empty() || m.name.is_empty() || slot == Some("") {
            return bad(format!("a metric at step {} has an empty name", m.step));
        }
        if !metrics.insert((&m.split, m.step, &m.name, m.layer, m.head, slot)) {
            return bad(format!(
                "{}.{} at step {} stands there twice",
                m.split, m.name, m.step
            ));
        }
    }
    let mut names = BTreeSet::new();
    for artifact in &result.artifacts {
        if !names.insert(&artifact.name) {
            return bad(format!("artifact {:?} stands there twice", artifact.name));
        }
    }
    if let Some(note) = result
        .notes
        .iter()
        .find(|note| note.place.is_empty() || note.reason.is_empty())
    {
        return bad(format!("the note {note:?} lacks its place or its reason"));
    }
    Ok(())
}

pub(super) async fn complete(
    conn: &mut SqliteConnection,
    lease: Lease,
    result: JobResult,
    digest: BlobDigest,
    provenance: Provenance,
    now: Micros,
) -> Result<Recorded, StoreError> {
    // Whoever holds the job now does it again, and brings its files.
    let on_record: Option<(i64, String)> = sqlx::query_as(
        "SELECT j.id, coalesce(j.result_digest, j.recorded_digest) AS digest
         FROM jobs j JOIN attempts a ON a.job_id = j.id
         WHERE j.key = ? AND a.token = ? AND a.token IS NOT j.lease_token
           AND digest IS NOT NULL",
    )
    .bind(lease.job.to_string())
    .bind(lease.token.to_string())
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((id, recorded)) = on_record {
        if recorded == digest.to_string() {
            return Ok(Recorded::Same);
        }
        keep_aside(conn, id, lease, &result, digest, &provenance, now).await?;
        return Ok(Recorded::Diverged);
    }
    let held = held(conn, lease).await?;
    let mut missing = vec![];
    for artifact in &result.artifacts {
        if !row::is_stored(conn, artifact.digest).await? {
            missing.push(artifact.digest);
        }
    }
    if !missing.is_empty() {
        return Err(StoreError::MissingBlobs(missing));
    }

    let recorded = match recorded_digest(conn, &held).await? {
        None => Recorded::New,
        Some(recorded) if recorded == digest.to_string() => Recorded::Same,
        Some(_) => Recorded::Diverged,
    };
    match recorded {
        Recorded::New => {
            insert_metrics(conn, held.id, &result.metrics).await?;
            insert_packs(conn, held.id, &result.metrics).await?;
            insert_artifacts(conn, held.id, &result.artifacts).await?;
            insert_notes(conn, held.id, &result.notes).await?;
        }
        // All but the files that were dropped is there.
        Recorded::Same => insert_artifacts(conn, held.id, &result.artifacts).await?,
        Recorded::Diverged => {
            keep_aside(conn, held.id, lease, &result, digest, &provenance, now).await?;
        }
    }
    end_attempt(conn, &held, "done", "", Some(&provenance), now).await?;
    let completed = (JobPhase::Running, Event::Completed);
    finish(conn, held.id, completed, Some(digest), now).await?;
    match recorded {
        Recorded::New | Recorded::Same => manage::unblock_dependents(conn, held.id).await?,
        // Weights of another result would be asked in the name of this one.
        Recorded::Diverged => {
            let why = "gave another result (on another kind of machine?); the one on record stands";
            redo::without_weights(conn, held.id, why, now).await?;
        }
    }
    Ok(recorded)
}

/// Takes a job to its end, with the result that is on record, or this one; 1 if it was
/// in the phase that it is taken from.
pub(super) async fn finish(
    conn: &mut SqliteConnection,
    job_id: i64,
    (from, event): (JobPhase, Event),
    digest: Option<BlobDigest>,
    now: Micros,
) -> Result<u64, StoreError> {
    let finished = sqlx::query(
        "UPDATE jobs SET phase = ?3, result_digest = coalesce(recorded_digest, ?4),
           recorded_digest = NULL, finished_us = ?5, step = steps,
           lease_token = NULL, lease_expires_us = NULL, worker_id = NULL, progressed_us = NULL,
           steps_per_sec = 0, live_metric = NULL, live_value = NULL,
           checkpoint_step = NULL, checkpoint_digest = NULL, checkpoint_bytes = NULL,
           checkpoint_attempt = NULL,
           before_step = NULL, before_digest = NULL, before_bytes = NULL
         WHERE id = ?1 AND phase = ?2",
    )
    .bind(job_id)
    .bind(from.name())
    .bind(next(from, event)?.name())
    .bind(digest.map(|digest| digest.to_string()))
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(finished.rows_affected())
}

/// Of a run that is done again for its weights: its result on record.
async fn recorded_digest(
    conn: &mut SqliteConnection,
    held: &Held,
) -> Result<Option<String>, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT recorded_digest FROM jobs WHERE id = ?")
            .bind(held.id)
            .fetch_one(conn)
            .await?,
    )
}

async fn keep_aside(
    conn: &mut SqliteConnection,
    id: i64,
    lease: Lease,
    result: &JobResult,
    digest: BlobDigest,
    provenance: &Provenance,
    now: Micros,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO diverged (job_id, result_digest, attempt, received_us, result, provenance)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (job_id, result_digest) DO NOTHING",
    )
    .bind(id)
    .bind(digest.to_string())
    .bind(i64::from(lease.attempt))
    .bind(now.0)
    .bind(to_json(result))
    .bind(to_json(provenance))
    .execute(conn)
    .await?;
    Ok(())
}

/// The same once more, as they are read.
async fn insert_packs(
    conn: &mut SqliteConnection,
    job_id: i64,
    metrics: &[Metric],
) -> Result<(), StoreError> {
    if metrics.is_empty() {
        return Ok(());
    }
    let part =
        |test: bool| pack::pack(metrics.iter().enumerate().filter(|m| m.1.is_test() == test));
    sqlx::query("INSERT INTO metric_packs (job_id, seen, sealed) VALUES (?, ?, ?)")
        .bind(job_id)
        .bind(part(false))
        .bind(part(true))
        .execute(conn)
        .await?;
    Ok(())
}

/// Those that are there already stay.
async fn insert_artifacts(
    conn: &mut SqliteConnection,
    job_id: i64,
    artifacts: &[Artifact],
) -> Result<(), StoreError> {
    for artifact in artifacts {
        sqlx::query(
            "INSERT INTO artifacts (job_id, name, digest, size_bytes) VALUES (?, ?, ?, ?)
             ON CONFLICT (job_id, name) DO NOTHING",
        )
        .bind(job_id)
        .bind(&artifact.name)
        .bind(artifact.digest.to_string())
        .bind(signed(artifact.size_bytes))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

async fn insert_metrics(
    conn: &mut SqliteConnection,
    job_id: i64,
    metrics: &[Metric],
) -> Result<(), StoreError> {
    let key = |index: Option<u32>| index.map_or(-1, i64::from);
    let mut seq = 0_i64;
    for chunk in metrics.chunks(METRICS_PER_STATEMENT) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO metrics (job_id, split, step, layer, head, slot, name, seq, value) ",
        );
        // Values are bound, not printed: they come back bit by bit.
        insert.push_values(chunk, |mut row, m| {
            row.push_bind(job_id)
                .push_bind(&m.split)
                .push_bind(signed(m.step))
                .push_bind(key(m.layer))
                .push_bind(key(m.head))
                .push_bind(m.slot.as_deref().unwrap_or(""))
                .push_bind(&m.name)
                .push_bind(seq)
                .push_bind(Some(m.value).filter(|value| !value.is_nan()));
            seq += 1;
        });
        // Only whole chunks are alike enough to keep their statement.
        insert
            .build()
            .persistent(chunk.len() == METRICS_PER_STATEMENT)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

async fn insert_notes(
    conn: &mut SqliteConnection,
    job_id: i64,
    notes: &[Note],
) -> Result<(), StoreError> {
    for (seq, note) in (0_i64..).zip(notes) {
        sqlx::query("INSERT INTO notes (job_id, seq, place, reason) VALUES (?, ?, ?, ?)")
            .bind(job_id)
            .bind(seq)
            .bind(&note.place)
            .bind(&note.reason)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

pub(super) async fn fail(
    conn: &mut SqliteConnection,
    lease: Lease,
    reason: FailureReason,
    message: String,
    provenance: Provenance,
    now: Micros,
) -> Result<bool, StoreError> {
    let held = held(conn, lease).await?;
    end_without_result(conn, &held, reason, &message, Some(&provenance), now).await
}

/// Ends an attempt that brought nothing; `true` if another one may be made.
pub(super) async fn end_without_result(
    conn: &mut SqliteConnection,
    held: &Held,
    reason: FailureReason,
    message: &str,
    provenance: Option<&Provenance>,
    now: Micros,
) -> Result<bool, StoreError> {
    end_attempt(conn, held, reason.name(), message, provenance, now).await?;
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM attempts a JOIN jobs j ON j.id = a.job_id
         WHERE j.id = ? AND a.outcome = ? AND a.attempt > j.budget_from",
    )
    .bind(held.id)
    .bind(reason.name())
    .fetch_one(&mut *conn)
    .await?;
    let count: u32 = unsigned("count", count)?;
    match judge(reason, count) {
        Verdict::Retry { delay_secs } => {
            requeue(conn, held, now.plus_secs(delay_secs)).await?;
            Ok(true)
        }
        Verdict::GiveUp => {
            let message = match (reason, count) {
                (_, 1) => message.to_owned(),
                (FailureReason::Lost, _) => format!(
                    "lost {count} times, so the job may be what kills its worker; the last time: \
                     {message}"
                ),
                (_, _) => format!("{message} ({count} attempts ended so)"),
            };
            give_up(conn, held, reason, &message, now).await?;
            Ok(false)
        }
    }
}

/// Writes how an attempt ended.
pub(super) async fn end_attempt(
    conn: &mut SqliteConnection,
    held: &Held,
    outcome: &str,
    message: &str,
    provenance: Option<&Provenance>,
    now: Micros,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE attempts SET outcome = ?3, message = ?4, provenance = ?5, ended_us = ?6
         WHERE job_id = ?1 AND attempt = ?2",
    )
    .bind(held.id)
    .bind(held.attempt)
    .bind(outcome)
    .bind(message)
    .bind(provenance.map(to_json))
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a job back into the queue, at its place.
pub(super) async fn requeue(
    conn: &mut SqliteConnection,
    held: &Held,
    not_before: Micros,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET phase = ?2, not_before_us = ?3, step = coalesce(checkpoint_step, 0),
           lease_token = NULL, lease_expires_us = NULL, worker_id = NULL, progressed_us = NULL,
           steps_per_sec = 0, live_metric = NULL, live_value = NULL
         WHERE id = ?1",
    )
    .bind(held.id)
    .bind(next(JobPhase::Running, Event::Requeued)?.name())
    .bind(not_before.0)
    .execute(conn)
    .await?;
    Ok(())
}

async fn give_up(
    conn: &mut SqliteConnection,
    held: &Held,
    reason: FailureReason,
    message: &str,
    now: Micros,
) -> Result<(), StoreError> {
    let recorded = recorded_digest(conn, held).await?;
    if recorded.is_some() {
        // What it was done again for is not to be had; what it has yielded is.
        let restored = (JobPhase::Running, Event::Restored);
        finish(conn, held.id, restored, None, now).await?;
        let why = format!("failed: {message}");
        return redo::without_weights(conn, held.id, &why, now).await;
    }
    sqlx::query(
        "UPDATE jobs SET phase = ?2, failure_reason = ?3, failure_message = ?4, finished_us = ?5,
           step = coalesce(checkpoint_step, 0),
           lease_token = NULL, lease_expires_us = NULL, worker_id = NULL, progressed_us = NULL,
           steps_per_sec = 0, live_metric = NULL, live_value = NULL
         WHERE id = ?1",
    )
    .bind(held.id)
    .bind(next(JobPhase::Running, Event::Exhausted)?.name())
    .bind(reason.name())
    .bind(message)
    .bind(now.0)
    .execute(&mut *conn)
    .await?;
    manage::fail_dependents(conn, held.id, now).await?;
    redo::restore(conn, now).await
}
