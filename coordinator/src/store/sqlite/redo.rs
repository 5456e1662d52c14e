//! Runs that are trained again for weights that were dropped: they go back to work
//! when a question needs them, and are done as before as soon as none does. Their
//! results stay on record: what they bring must be the same, and only gives back the
//! files.

use std::collections::BTreeSet;

use seedbed_proto::job::{JobSpec, Work};
use seedbed_proto::result::JobPhase;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::inspect::AWAITING;
use super::row::{self, parse, to_json};
use super::{manage, record};
use crate::clock::Micros;
use crate::lifecycle::{Event, moves, next};
use crate::store::StoreError;

/// A question that waits for weights of a run.
#[derive(sqlx::FromRow)]
struct Lack {
    question: i64,
    run: i64,
}

/// What the questions that wait (of one sweep, or all) lack: those that no sweep lists
/// are not handed out, and need nothing.
async fn lacking(
    conn: &mut SqliteConnection,
    sweep_id: Option<i64>,
) -> Result<Vec<Lack>, StoreError> {
    let waiting: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT j.id, j.key, t.spec
         FROM jobs j JOIN job_specs t ON t.job_id = j.id
         WHERE j.kind = 'inspect' AND j.phase = 'blocked' AND j.queue_sweep IS NOT NULL
           AND (?1 IS NULL OR j.id IN (SELECT job_id FROM sweep_jobs WHERE sweep_id = ?1))",
    )
    .bind(sweep_id)
    .fetch_all(&mut *conn)
    .await?;
    // Question, run and file.
    let mut needed: BTreeSet<(i64, String, String)> = BTreeSet::new();
    for (id, key, spec) in waiting {
        let key = parse("jobs.key", &key)?;
        let spec = JobSpec::from_json(&spec, key).map_err(|error| StoreError::Corrupt {
            what: "job_specs.spec",
            why: error.to_string(),
        })?;
        if let Work::Inspect(inspect) = spec.work {
            let others = inspect.others.iter().map(|other| &other.network);
            for network in std::iter::once(&inspect.subject).chain(others) {
                needed.insert((id, network.job.to_string(), network.file()));
            }
        }
    }
    if needed.is_empty() {
        return Ok(vec![]);
    }
    Ok(sqlx::query_as(
        "SELECT DISTINCT r.value ->> 0 AS question, n.id AS run
         FROM json_each(?) r JOIN jobs n ON n.key = r.value ->> 1
         WHERE NOT EXISTS (SELECT 1 FROM artifacts a
                           WHERE a.job_id = n.id AND a.name = r.value ->> 2)
         ORDER BY question, run",
    )
    .bind(to_json(&needed))
    .fetch_all(conn)
    .await?)
}

/// Sends runs back to work whose weights were dropped and are needed by a question
/// of this sweep that waits.
pub(super) async fn want_weights(
    conn: &mut SqliteConnection,
    sweep_id: i64,
) -> Result<(), StoreError> {
    let lacking = lacking(conn, Some(sweep_id)).await?;
    if lacking.is_empty() {
        return Ok(());
    }
    let runs: BTreeSet<i64> = lacking.iter().map(|lack| lack.run).collect();
    // A run that no sweep lists would never be handed out: its question must not
    // wait for it.
    let again = sqlx::query(
        "UPDATE jobs SET phase = ?2, recorded_digest = result_digest, result_digest = NULL,
           finished_us = NULL, step = 0, not_before_us = 0, budget_from = attempts
         WHERE phase = 'done' AND queue_sweep IS NOT NULL
           AND id IN (SELECT value FROM json_each(?1))",
    )
    .bind(to_json(&runs))
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

/// Ends the training of runs that is done again for nothing: no question that waits
/// lacks their weights any more. To be called by whatever may take such a question
/// away.
pub(super) async fn restore(conn: &mut SqliteConnection, now: Micros) -> Result<(), StoreError> {
    let again: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM jobs WHERE recorded_digest IS NOT NULL ORDER BY id")
            .fetch_all(&mut *conn)
            .await?;
    if again.is_empty() {
        return Ok(());
    }
    let mut needed = about_to_be_asked(conn).await?;
    needed.extend(lacking(conn, None).await?.iter().map(|lack| lack.run));
    let mut restored = 0;
    for run in again.into_iter().filter(|run| !needed.contains(run)) {
        sqlx::query(
            "UPDATE attempts SET outcome = 'cancelled', ended_us = ?2
             WHERE job_id = ?1 AND outcome = 'running'",
        )
        .bind(run)
        .bind(now.0)
        .execute(&mut *conn)
        .await?;
        for (from, _) in moves(Event::Restored) {
            restored += record::finish(conn, run, (from, Event::Restored), None, now).await?;
        }
        manage::unblock_dependents(conn, run).await?;
    }
    if restored > 0 {
        tracing::info!(
            runs = restored,
            "no question needs the weights any more: runs are done as before"
        );
    }
    Ok(())
}

/// Runs of sweeps whose questions are listed next, whatever these will be: the same
/// file again must not cost what its runs have got to meanwhile.
async fn about_to_be_asked(conn: &mut SqliteConnection) -> Result<BTreeSet<i64>, StoreError> {
    let statement = AssertSqlSafe(format!(
        "SELECT s.job_id FROM sweep_jobs s JOIN jobs j ON j.id = s.job_id
         WHERE j.recorded_digest IS NOT NULL
           AND s.sweep_id IN (SELECT id FROM sweeps WHERE {AWAITING})"
    ));
    let runs: Vec<i64> = sqlx::query_scalar(statement).fetch_all(conn).await?;
    Ok(runs.into_iter().collect())
}

/// A run is done, and still without the weights that it was done again for: fails the
/// questions that lack them, and goes on with the others.
pub(super) async fn without_weights(
    conn: &mut SqliteConnection,
    run: i64,
    why: &str,
    now: Micros,
) -> Result<(), StoreError> {
    let message = format!(
        "the weights of {} were dropped, and training it again {why}",
        row::describe(conn, run).await?
    );
    let lacking = lacking(conn, None).await?;
    let of_it = lacking.iter().filter(|lack| lack.run == run);
    let questions: Vec<i64> = of_it.map(|lack| lack.question).collect();
    manage::fail_blocked(conn, &questions, &message, now).await?;
    manage::unblock_dependents(conn, run).await?;
    restore(conn, now).await
}
