//! What people do to a sweep (cancel, retry), and how jobs follow their inputs.

use seedbed_proto::result::{FailureReason, JobPhase};
use sqlx::SqliteConnection;

use super::{redo, row};
use crate::clock::Micros;
use crate::lifecycle::{Event, moves, next};
use crate::store::StoreError;

/// Ends the jobs of a sweep that have no end yet and that no other sweep wants.
pub(super) async fn cancel(
    conn: &mut SqliteConnection,
    sweep: &str,
    now: Micros,
) -> Result<u64, StoreError> {
    let sweep = row::sweep(conn, sweep).await?;
    sqlx::query(
        "UPDATE sweeps SET cancelled_us = coalesce(cancelled_us, ?), selected_version = NULL,
           revision = revision + 1
         WHERE id = ?",
    )
    .bind(now.0)
    .bind(sweep.id)
    .execute(&mut *conn)
    .await?;
    // The attempts first: afterwards nobody knows what was running. A run that is done
    // again has its result, and is ended below if no question needs it any more.
    sqlx::query(
        "UPDATE attempts SET outcome = 'cancelled', ended_us = ?2
         WHERE outcome = 'running' AND job_id IN (
           SELECT c.job_id
           FROM sweep_jobs c JOIN jobs j ON j.id = c.job_id AND j.recorded_digest IS NULL
           WHERE c.sweep_id = ?1 AND NOT EXISTS (
             SELECT 1 FROM sweep_jobs o JOIN sweeps s ON s.id = o.sweep_id
             WHERE o.job_id = c.job_id AND s.cancelled_us IS NULL))",
    )
    .bind(sweep.id)
    .bind(now.0)
    .execute(&mut *conn)
    .await?;
    let mut cancelled = 0;
    for (from, to) in moves(Event::Cancelled) {
        cancelled += sqlx::query(
            "UPDATE jobs SET phase = ?3, finished_us = ?4, step = coalesce(checkpoint_step, 0),
               lease_token = NULL, lease_expires_us = NULL, worker_id = NULL,
               progressed_us = NULL, steps_per_sec = 0, live_metric = NULL, live_value = NULL
             WHERE phase = ?2 AND recorded_digest IS NULL AND id IN (
               SELECT c.job_id FROM sweep_jobs c WHERE c.sweep_id = ?1 AND NOT EXISTS (
                 SELECT 1 FROM sweep_jobs o JOIN sweeps s ON s.id = o.sweep_id
                 WHERE o.job_id = c.job_id AND s.cancelled_us IS NULL))",
        )
        .bind(sweep.id)
        .bind(from.name())
        .bind(to.name())
        .bind(now.0)
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    redo::restore(conn, now).await?;
    Ok(cancelled)
}

/// Gives the failed and cancelled jobs of a sweep another chance.
pub(super) async fn retry(
    conn: &mut SqliteConnection,
    sweep: &str,
    now: Micros,
) -> Result<u64, StoreError> {
    let sweep = row::sweep(conn, sweep).await?;
    sqlx::query(
        "UPDATE sweeps SET cancelled_us = NULL, inspected_version = NULL,
           selected_version = NULL, revision = revision + 1
         WHERE id = ?",
    )
    .bind(sweep.id)
    .execute(&mut *conn)
    .await?;
    let retried = revive(conn, sweep.id, &JobPhase::ALL).await?;
    settle_blocked(conn, sweep.id, now).await?;
    Ok(retried)
}

/// Brings those jobs of a sweep back that ended in one of these phases, as blocked
/// ones with a fresh budget; a call of [`settle_blocked`] must follow.
///
/// Every other sweep that lists one of them goes on, too: what was selected from how
/// its runs had ended is no longer current there. The sweep itself is the caller's.
pub(super) async fn revive(
    conn: &mut SqliteConnection,
    sweep_id: i64,
    phases: &[JobPhase],
) -> Result<u64, StoreError> {
    let mut revived = 0;
    for (from, to) in moves(Event::Retried) {
        if !phases.contains(&from) {
            continue;
        }
        // Before: afterwards nobody knows which they were. A question is no run, and
        // no selection follows from it.
        sqlx::query(
            "UPDATE sweeps SET inspected_version = NULL, selected_version = NULL,
               revision = revision + 1
             WHERE id <> ?1 AND id IN (
               SELECT o.sweep_id
               FROM sweep_jobs s
                 JOIN jobs j ON j.id = s.job_id AND j.phase = ?2 AND j.kind <> 'inspect'
                 JOIN sweep_jobs o ON o.job_id = j.id
               WHERE s.sweep_id = ?1)",
        )
        .bind(sweep_id)
        .bind(from.name())
        .execute(&mut *conn)
        .await?;
        revived += sqlx::query(
            "UPDATE jobs SET phase = ?3, finished_us = NULL, failure_reason = NULL,
               failure_message = NULL, budget_from = attempts, not_before_us = 0
             WHERE phase = ?2 AND id IN (SELECT job_id FROM sweep_jobs WHERE sweep_id = ?1)",
        )
        .bind(sweep_id)
        .bind(from.name())
        .bind(to.name())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    Ok(revived)
}

/// Makes blocked jobs of a sweep follow their inputs: failed if one has failed,
/// ready if all are done and their weights are there. Whichever questions have left a
/// list or failed, runs are done again only for those that are left.
pub(super) async fn settle_blocked(
    conn: &mut SqliteConnection,
    sweep_id: i64,
    now: Micros,
) -> Result<(), StoreError> {
    let failed: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT n.id
         FROM sweep_jobs s
           JOIN jobs j ON j.id = s.job_id AND j.phase = 'blocked'
           JOIN job_inputs i ON i.job_id = j.id
           JOIN jobs n ON n.id = i.input_id AND n.phase = 'failed'
         WHERE s.sweep_id = ? ORDER BY n.id",
    )
    .bind(sweep_id)
    .fetch_all(&mut *conn)
    .await?;
    for input in failed {
        fail_dependents(conn, input, now).await?;
    }
    redo::want_weights(conn, sweep_id).await?;
    let ready = next(JobPhase::Blocked, Event::InputsDone)?;
    sqlx::query(
        "UPDATE jobs SET phase = ?2
         WHERE phase = 'blocked'
           AND id IN (SELECT job_id FROM sweep_jobs WHERE sweep_id = ?1)
           AND NOT EXISTS (SELECT 1 FROM job_inputs i JOIN jobs n ON n.id = i.input_id
                           WHERE i.job_id = jobs.id AND n.phase <> 'done')",
    )
    .bind(sweep_id)
    .bind(ready.name())
    .execute(&mut *conn)
    .await?;
    redo::restore(conn, now).await
}

/// Makes jobs ready that waited for this one alone.
pub(super) async fn unblock_dependents(
    conn: &mut SqliteConnection,
    done: i64,
) -> Result<(), StoreError> {
    let ready = next(JobPhase::Blocked, Event::InputsDone)?;
    sqlx::query(
        "UPDATE jobs SET phase = ?2
         WHERE phase = 'blocked'
           AND id IN (SELECT job_id FROM job_inputs WHERE input_id = ?1)
           AND NOT EXISTS (SELECT 1 FROM job_inputs i JOIN jobs n ON n.id = i.input_id
                           WHERE i.job_id = jobs.id AND n.phase <> 'done')",
    )
    .bind(done)
    .bind(ready.name())
    .execute(conn)
    .await?;
    Ok(())
}

/// Fails the jobs that wait for one that has failed, and those that wait for them.
pub(super) async fn fail_dependents(
    conn: &mut SqliteConnection,
    failed: i64,
    now: Micros,
) -> Result<(), StoreError> {
    let mut inputs = vec![failed];
    while let Some(input) = inputs.pop() {
        let failed = waiting(conn, input).await?;
        if failed.is_empty() {
            continue;
        }
        let why: String = sqlx::query_scalar("SELECT failure_message FROM jobs WHERE id = ?")
            .bind(input)
            .fetch_one(&mut *conn)
            .await?;
        let message = format!(
            "its input {} failed: {why}",
            row::describe(conn, input).await?
        );
        fail_blocked(conn, &failed, &message, now).await?;
        inputs.extend(failed);
    }
    Ok(())
}

/// The jobs that wait for this one.
async fn waiting(conn: &mut SqliteConnection, input: i64) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT j.id FROM job_inputs i JOIN jobs j ON j.id = i.job_id
         WHERE i.input_id = ? AND j.phase = 'blocked' ORDER BY j.id",
    )
    .bind(input)
    .fetch_all(conn)
    .await?)
}

/// Fails jobs that wait for what won't come.
pub(super) async fn fail_blocked(
    conn: &mut SqliteConnection,
    jobs: &[i64],
    message: &str,
    now: Micros,
) -> Result<(), StoreError> {
    let to = next(JobPhase::Blocked, Event::InputFailed)?;
    for job in jobs {
        sqlx::query(
            "UPDATE jobs SET phase = ?, finished_us = ?, failure_reason = ?,
               failure_message = ?
             WHERE id = ? AND phase = 'blocked'",
        )
        .bind(to.name())
        .bind(now.0)
        .bind(FailureReason::Invalid.name())
        .bind(message)
        .bind(job)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
