//! The inspect jobs of a sweep: listed when its selection is on record.

use std::collections::BTreeMap;

use seedbed_proto::result::JobPhase;
use seedbed_proto::{JobKey, SweepId};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::row::{self, parse};
use super::{manage, redo, submit};
use crate::clock::Micros;
use crate::store::{NewJob, Revision, StoreError};

/// Of `sweeps`: those that ask questions, have nothing left to do, and whose questions
/// are not listed. A run that is done again for its weights has its result.
pub(super) const AWAITING: &str =
    "inspects = 1 AND inspected_version IS NULL AND cancelled_us IS NULL
     AND NOT EXISTS (
       SELECT 1 FROM sweep_jobs l JOIN jobs u ON u.id = l.job_id
       WHERE l.sweep_id = sweeps.id AND u.phase IN ('blocked', 'pending', 'running')
         AND u.recorded_digest IS NULL)";

/// The sweeps (or this one, if it is one) whose questions are to be listed.
pub(super) async fn awaiting(
    conn: &mut SqliteConnection,
    sweep: Option<&str>,
) -> Result<Vec<SweepId>, StoreError> {
    let only = match sweep {
        Some(name) => Some(row::sweep(conn, name).await?.id),
        None => None,
    };
    let statement = AssertSqlSafe(format!(
        "SELECT uuid FROM sweeps WHERE {AWAITING} AND (?1 IS NULL OR id = ?1) ORDER BY id"
    ));
    let found: Vec<String> = sqlx::query_scalar(statement)
        .bind(only)
        .fetch_all(conn)
        .await?;
    found
        .iter()
        .map(|uuid| parse("sweeps.uuid", uuid))
        .collect()
}

pub(super) async fn train_specs(
    conn: &mut SqliteConnection,
    sweep: &str,
) -> Result<BTreeMap<JobKey, String>, StoreError> {
    let sweep = row::sweep(conn, sweep).await?;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT j.key, t.spec
         FROM sweep_jobs s
           JOIN jobs j ON j.id = s.job_id
           JOIN job_specs t ON t.job_id = j.id
         WHERE s.sweep_id = ? AND j.kind = 'train'",
    )
    .bind(sweep.id)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(key, spec)| Ok((parse("jobs.key", &key)?, spec)))
        .collect()
}

/// Puts these jobs in the place of the sweep's inspect jobs, after its others.
pub(super) async fn list(
    conn: &mut SqliteConnection,
    sweep: &str,
    read_at: Revision,
    version: u32,
    jobs: &[NewJob],
    now: Micros,
) -> Result<bool, StoreError> {
    let sweep = row::unmoved(conn, sweep, read_at).await?;
    // Whoever ended the sweep does not want it to go on by itself.
    if row::is_cancelled(conn, sweep.id).await? {
        return Ok(false);
    }
    sqlx::query("UPDATE sweeps SET inspected_version = ?2 WHERE id = ?1")
        .bind(sweep.id)
        .bind(i64::from(version))
        .execute(&mut *conn)
        .await?;
    let listed: Vec<String> = sqlx::query_scalar(
        "SELECT j.key FROM sweep_jobs s JOIN jobs j ON j.id = s.job_id
         WHERE s.sweep_id = ? AND j.kind = 'inspect' ORDER BY s.ordinal",
    )
    .bind(sweep.id)
    .fetch_all(&mut *conn)
    .await?;
    let wanted = jobs.iter().map(|job| job.key.to_string());
    if listed.iter().cloned().eq(wanted) {
        // They were about to be, until now.
        redo::restore(conn, now).await?;
        return Ok(false);
    }
    sqlx::query(
        "DELETE FROM sweep_jobs WHERE sweep_id = ?
           AND job_id IN (SELECT id FROM jobs WHERE kind = 'inspect')",
    )
    .bind(sweep.id)
    .execute(&mut *conn)
    .await?;
    let first: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(ordinal) + 1, 0) FROM sweep_jobs WHERE sweep_id = ?",
    )
    .bind(sweep.id)
    .fetch_one(&mut *conn)
    .await?;
    submit::append(conn, sweep.id, &sweep.name, first, jobs, now).await?;
    submit::place_in_queue(conn, sweep.id).await?;
    manage::revive(conn, sweep.id, &[JobPhase::Cancelled]).await?;
    manage::settle_blocked(conn, sweep.id, now).await?;
    Ok(true)
}
