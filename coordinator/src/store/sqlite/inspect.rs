//! The inspect jobs of a sweep: listed when its selection is on record; and the
//! weights that they need.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::job::{JobSpec, Work};
use seedbed_proto::result::JobPhase;
use seedbed_proto::{JobKey, SweepId};
use sqlx::SqliteConnection;

use super::row::{self, parse, to_json};
use super::{manage, submit};
use crate::clock::Micros;
use crate::lifecycle::{Event, next};
use crate::store::{NewJob, Revision, StoreError};

/// Sweeps that ask questions, have nothing left to do, and whose questions are not
/// listed.
pub(super) async fn awaiting(
    conn: &mut SqliteConnection,
    sweep: Option<&str>,
) -> Result<Vec<SweepId>, StoreError> {
    let only = match sweep {
        Some(name) => Some(row::sweep(conn, name).await?.id),
        None => None,
    };
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT uuid FROM sweeps
         WHERE inspects = 1 AND inspected_version IS NULL AND cancelled_us IS NULL
           AND (?1 IS NULL OR id = ?1)
           AND NOT EXISTS (
             SELECT 1 FROM sweep_jobs s JOIN jobs j ON j.id = s.job_id
             WHERE s.sweep_id = sweeps.id AND j.phase IN ('blocked', 'pending', 'running'))
         ORDER BY id",
    )
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

/// Sends runs back to work whose weights were dropped and are needed by a question
/// of this sweep that waits. Their results stay on record: what they bring must be
/// the same, and only gives back the files.
pub(super) async fn want_weights(
    conn: &mut SqliteConnection,
    sweep_id: i64,
) -> Result<(), StoreError> {
    let waiting: Vec<(String, String)> = sqlx::query_as(
        "SELECT j.key, t.spec
         FROM sweep_jobs s
           JOIN jobs j ON j.id = s.job_id
           JOIN job_specs t ON t.job_id = j.id
         WHERE s.sweep_id = ? AND j.kind = 'inspect' AND j.phase = 'blocked'",
    )
    .bind(sweep_id)
    .fetch_all(&mut *conn)
    .await?;
    // Job and file.
    let mut needed: BTreeSet<(String, String)> = BTreeSet::new();
    for (key, spec) in waiting {
        let key = parse("jobs.key", &key)?;
        let spec = JobSpec::from_json(&spec, key).map_err(|error| StoreError::Corrupt {
            what: "job_specs.spec",
            why: error.to_string(),
        })?;
        if let Work::Inspect(inspect) = spec.work {
            let others = inspect.others.iter().map(|other| &other.network);
            for network in std::iter::once(&inspect.subject).chain(others) {
                needed.insert((network.job.to_string(), network.file()));
            }
        }
    }
    if needed.is_empty() {
        return Ok(());
    }
    // A run that no sweep lists would never be handed out: its question must not
    // wait for it.
    let again = sqlx::query(
        "UPDATE jobs SET phase = ?2, recorded_digest = result_digest, result_digest = NULL,
           finished_us = NULL, step = 0, not_before_us = 0, budget_from = attempts
         WHERE phase = 'done' AND queue_sweep IS NOT NULL AND id IN (
           SELECT n.id FROM json_each(?1) r JOIN jobs n ON n.key = r.value ->> 0
           WHERE NOT EXISTS (SELECT 1 FROM artifacts a
                             WHERE a.job_id = n.id AND a.name = r.value ->> 1))",
    )
    .bind(to_json(&needed))
    .bind(next(JobPhase::Done, Event::WeightsWanted)?.name())
    .execute(conn)
    .await?
    .rows_affected();
    if again > 0 {
        tracing::info!(
            runs = again,
            "questions need weights that were dropped: their runs are trained again"
        );
    }
    Ok(())
}
