//! Where sweeps stand.

use seedbed_proto::JobKey;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::row::{self, SweepRow, parse, unsigned};
use crate::clock::Micros;
use crate::store::{Counts, FailedJob, RunningJob, StoreError, SweepStatus};

pub(super) async fn status(
    conn: &mut SqliteConnection,
    sweep: &str,
) -> Result<SweepStatus, StoreError> {
    let sweep = row::sweep(conn, sweep).await?;
    of(conn, sweep).await
}

pub(super) async fn list(conn: &mut SqliteConnection) -> Result<Vec<SweepStatus>, StoreError> {
    let sweeps: Vec<SweepRow> = sqlx::query_as("SELECT id, uuid, name FROM sweeps ORDER BY id")
        .fetch_all(&mut *conn)
        .await?;
    let mut all = vec![];
    for sweep in sweeps {
        all.push(of(conn, sweep).await?);
    }
    Ok(all)
}

async fn of(conn: &mut SqliteConnection, sweep: SweepRow) -> Result<SweepStatus, StoreError> {
    let phases: Vec<(String, bool, i64, i64, i64)> = sqlx::query_as(
        "SELECT phase, kind = 'inspect', count(*), sum(steps), sum(max(steps - step, 0))
         FROM jobs WHERE id IN (SELECT job_id FROM sweep_jobs WHERE sweep_id = ?)
         GROUP BY phase, kind = 'inspect'",
    )
    .bind(sweep.id)
    .fetch_all(&mut *conn)
    .await?;
    let mut counts = Counts::default();
    let mut inspections = Counts::default();
    let (mut steps_total, mut steps_left) = (0, 0);
    for (phase, inspects, jobs, steps, left) in phases {
        let mut here = Counts::default();
        here.add(row::phase(&phase)?, unsigned("count", jobs)?);
        counts.add(row::phase(&phase)?, here.total());
        if inspects {
            inspections.add(row::phase(&phase)?, here.total());
        }
        steps_total += unsigned::<u64>("jobs.steps", steps)?;
        if here.unsettled() > 0 {
            steps_left += unsigned::<u64>("jobs.step", left)?;
        }
    }
    let diverged: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM diverged
         WHERE job_id IN (SELECT job_id FROM sweep_jobs WHERE sweep_id = ?)",
    )
    .bind(sweep.id)
    .fetch_one(&mut *conn)
    .await?;
    Ok(SweepStatus {
        id: parse("sweeps.uuid", &sweep.uuid)?,
        counts,
        inspections,
        steps_total,
        steps_left,
        running: running(conn, sweep.id).await?,
        failed: failed(conn, sweep.id).await?,
        diverged: unsigned("count", diverged)?,
        name: sweep.name,
    })
}

#[derive(sqlx::FromRow)]
struct RunningRow {
    key: String,
    title: String,
    step: i64,
    steps: i64,
    steps_per_sec: f64,
    live_metric: Option<String>,
    live_value: Option<f64>,
    worker: String,
    attempts: i64,
    progressed_us: i64,
    checkpoint_step: i64,
}

async fn running(
    conn: &mut SqliteConnection,
    sweep_id: i64,
) -> Result<Vec<RunningJob>, StoreError> {
    // A job that the sweep lists twice stands where it comes first.
    let statement = AssertSqlSafe(format!(
        "SELECT j.key, s.title, j.step, j.steps, j.steps_per_sec, j.live_metric, j.live_value,
           j.attempts, j.progressed_us, coalesce(j.checkpoint_step, 0) AS checkpoint_step,
           {} AS worker, min(s.ordinal) AS place
         FROM jobs j
           JOIN workers w ON w.id = j.worker_id
           JOIN sweep_jobs s ON s.job_id = j.id AND s.sweep_id = ?
         WHERE j.phase = 'running'
         GROUP BY j.id ORDER BY place",
        row::WORKER_NAME
    ));
    let rows: Vec<RunningRow> = sqlx::query_as(statement)
        .bind(sweep_id)
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(RunningJob {
                job: parse("jobs.key", &row.key)?,
                title: row.title,
                step: unsigned("jobs.step", row.step)?,
                steps: unsigned("jobs.steps", row.steps)?,
                steps_per_sec: row.steps_per_sec,
                // A value that is not available has no digits to show.
                live: row.live_metric.zip(row.live_value),
                worker: row.worker,
                checkpoint_step: unsigned("jobs.checkpoint_step", row.checkpoint_step)?,
                attempt: unsigned("jobs.attempts", row.attempts)?,
                progressed: Micros(row.progressed_us),
            })
        })
        .collect()
}

/// The jobs that failed themselves, without those that only lack their results.
async fn failed(conn: &mut SqliteConnection, sweep_id: i64) -> Result<Vec<FailedJob>, StoreError> {
    let rows: Vec<(String, String, String, String, i64, i64)> = sqlx::query_as(
        "SELECT j.key, s.title, j.failure_reason, j.failure_message, j.attempts,
           min(s.ordinal) AS place
         FROM jobs j JOIN sweep_jobs s ON s.job_id = j.id AND s.sweep_id = ?
         WHERE j.phase = 'failed' AND NOT EXISTS (
           SELECT 1 FROM job_inputs i JOIN jobs n ON n.id = i.input_id
           WHERE i.job_id = j.id AND n.phase = 'failed')
         GROUP BY j.id ORDER BY place",
    )
    .bind(sweep_id)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(key, title, reason, message, attempts, _)| {
            Ok(FailedJob {
                job: parse::<JobKey>("jobs.key", &key)?,
                title,
                reason: row::reason(&reason)?,
                message,
                attempts: unsigned("jobs.attempts", attempts)?,
            })
        })
        .collect()
}

pub(super) async fn live_workers(
    conn: &mut SqliteConnection,
    since: Micros,
) -> Result<u64, StoreError> {
    let live: i64 = sqlx::query_scalar("SELECT count(*) FROM workers WHERE seen_us >= ?")
        .bind(since.0)
        .fetch_one(conn)
        .await?;
    unsigned("count", live)
}
