//! Columns ⇄ domain types, and the few look-ups that every file here needs.

use std::fmt::Display;
use std::str::FromStr;

use seedbed_proto::result::{Artifact, FailureReason, JobPhase};
use seedbed_proto::{BlobDigest, JobKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use crate::store::{Checkpoint, Revision, StoreError};

/// Reads a text column.
pub(super) fn parse<T>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|error: T::Err| StoreError::Corrupt {
        what,
        why: error.to_string(),
    })
}

/// Reads a column that holds no negative numbers.
pub(super) fn unsigned<T: TryFrom<i64>>(what: &'static str, value: i64) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt {
        what,
        why: format!("{value} is out of range"),
    })
}

/// For a column; SQL has no unsigned numbers, and no count here comes near.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads a JSON column.
pub(super) fn json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        what,
        why: error.to_string(),
    })
}

/// For a JSON column.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our types have string keys and no failing serializer")
}

/// Reads a phase.
pub(super) fn phase(name: &str) -> Result<JobPhase, StoreError> {
    JobPhase::from_name(name).ok_or_else(|| unknown("jobs.phase", name))
}

/// Reads a failure reason.
pub(super) fn reason(name: &str) -> Result<FailureReason, StoreError> {
    FailureReason::from_name(name).ok_or_else(|| unknown("jobs.failure_reason", name))
}

fn unknown(what: &'static str, name: &str) -> StoreError {
    StoreError::Corrupt {
        what,
        why: format!("{name:?} is not a known name"),
    }
}

/// The three columns of a checkpoint.
pub(super) type CheckpointColumns = (Option<i64>, Option<String>, Option<i64>);

/// Reads a checkpoint.
pub(super) fn checkpoint(columns: &CheckpointColumns) -> Result<Option<Checkpoint>, StoreError> {
    let (Some(step), Some(digest), Some(bytes)) = columns else {
        return Ok(None);
    };
    Ok(Some(Checkpoint {
        step: unsigned("jobs.checkpoint_step", *step)?,
        digest: parse("jobs.checkpoint_digest", digest)?,
        size_bytes: unsigned("jobs.checkpoint_bytes", *bytes)?,
    }))
}

/// A sweep's row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct SweepRow {
    pub(super) id: i64,
    pub(super) uuid: String,
    pub(super) name: String,
}

/// The sweep of this name or id; a name goes before an id.
pub(super) async fn sweep(
    conn: &mut SqliteConnection,
    name_or_id: &str,
) -> Result<SweepRow, StoreError> {
    sqlx::query_as(
        "SELECT id, uuid, name FROM sweeps WHERE name = ?1 OR uuid = ?1
         ORDER BY name = ?1 DESC LIMIT 1",
    )
    .bind(name_or_id)
    .fetch_optional(conn)
    .await?
    .ok_or_else(|| StoreError::UnknownSweep(name_or_id.to_owned()))
}

/// How often a sweep was submitted again, cancelled or retried, or another one went on
/// with a run of it.
pub(super) async fn revision(
    conn: &mut SqliteConnection,
    sweep: &str,
) -> Result<Revision, StoreError> {
    let sweep = self::sweep(conn, sweep).await?;
    let revision: i64 = sqlx::query_scalar("SELECT revision FROM sweeps WHERE id = ?")
        .bind(sweep.id)
        .fetch_one(conn)
        .await?;
    unsigned("sweeps.revision", revision).map(Revision)
}

/// The sweep, if nobody has changed it since its results were read: what follows
/// from old results would stand as if it followed from the new ones.
pub(super) async fn unmoved(
    conn: &mut SqliteConnection,
    name_or_id: &str,
    read_at: Revision,
) -> Result<SweepRow, StoreError> {
    let sweep = sweep(conn, name_or_id).await?;
    match revision(conn, &sweep.uuid).await? == read_at {
        true => Ok(sweep),
        false => Err(StoreError::SweepMoved(sweep.name)),
    }
}

/// Whether a person has ended a sweep.
pub(super) async fn is_cancelled(
    conn: &mut SqliteConnection,
    sweep_id: i64,
) -> Result<bool, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT cancelled_us IS NOT NULL FROM sweeps WHERE id = ?")
            .bind(sweep_id)
            .fetch_one(conn)
            .await?,
    )
}

/// The stored files of a job's result, by name.
pub(super) async fn artifacts(
    conn: &mut SqliteConnection,
    job_id: i64,
) -> Result<Vec<Artifact>, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT name, digest, size_bytes FROM artifacts WHERE job_id = ? ORDER BY name",
    )
    .bind(job_id)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(name, digest, size)| {
            Ok(Artifact {
                name,
                digest: parse("artifacts.digest", &digest)?,
                size_bytes: unsigned("artifacts.size_bytes", size)?,
            })
        })
        .collect()
}

/// Whether the bytes of a blob are on disk.
pub(super) async fn is_stored(
    conn: &mut SqliteConnection,
    digest: BlobDigest,
) -> Result<bool, StoreError> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM blobs WHERE digest = ? AND state = 'stored'")
            .bind(digest.to_string())
            .fetch_optional(conn)
            .await?;
    Ok(found.is_some())
}

/// How a job is called in messages: its title in the first sweep that lists it,
/// and its key.
pub(super) async fn describe(
    conn: &mut SqliteConnection,
    job_id: i64,
) -> Result<String, StoreError> {
    let (key, title): (String, Option<String>) = sqlx::query_as(
        "SELECT key, (SELECT title FROM sweep_jobs s WHERE s.job_id = j.id
                      ORDER BY sweep_id, ordinal LIMIT 1)
         FROM jobs j WHERE id = ?",
    )
    .bind(job_id)
    .fetch_one(conn)
    .await?;
    let key: JobKey = parse("jobs.key", &key)?;
    Ok(match title {
        Some(title) => format!("{title} ({})", key.short()),
        None => key.short(),
    })
}

/// How a worker is called in messages: its label, else host and process.
pub(super) const WORKER_NAME: &str =
    "CASE WHEN w.label <> '' THEN w.label ELSE w.host || '/' || w.pid END";
