//! What a sweep has yielded, selections, and which weights stay.

use std::collections::BTreeSet;

use seedbed_proto::JobKey;
use seedbed_proto::result::{Artifact, Note};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::pack;
use super::row::{self, parse, signed, to_json, unsigned};
use crate::clock::Micros;
use crate::results::{Attempt, Measured, Quantities, Quantity, Run, Selection, SweepResults};
use crate::store::{Revision, StoreError};
use crate::submission::Submission;

/// Runs that are read from the database at a time.
const PAGE: u32 = 256;

pub(super) async fn header(
    conn: &mut SqliteConnection,
    sweep: &str,
) -> Result<SweepResults, StoreError> {
    let sweep = row::sweep(conn, sweep).await?;
    let yaml: String = sqlx::query_scalar("SELECT yaml FROM sweeps WHERE id = ?")
        .bind(sweep.id)
        .fetch_one(&mut *conn)
        .await?;
    Ok(SweepResults {
        sweep_id: parse("sweeps.uuid", &sweep.uuid)?,
        name: sweep.name,
        yaml,
        runs: vec![],
        inspections: vec![],
        selections: selections(conn, sweep.id).await?,
        current: current(conn, sweep.id).await?,
        attempts: attempts(conn, sweep.id).await?,
    })
}

pub(super) async fn submission(
    conn: &mut SqliteConnection,
    sweep: &str,
) -> Result<Submission, StoreError> {
    let sweep = row::sweep(conn, sweep).await?;
    let yaml: String = sqlx::query_scalar("SELECT yaml FROM sweeps WHERE id = ?")
        .bind(sweep.id)
        .fetch_one(&mut *conn)
        .await?;
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT path, digest, size_bytes FROM sweep_files WHERE sweep_id = ?")
            .bind(sweep.id)
            .fetch_all(conn)
            .await?;
    let files = rows.into_iter().map(|(path, digest, size_bytes)| {
        let file = Artifact {
            name: path.rsplit('/').next().unwrap_or(&path).to_owned(),
            digest: parse("sweep_files.digest", &digest)?,
            size_bytes: unsigned("sweep_files.size_bytes", size_bytes)?,
        };
        Ok((path, file))
    });
    Ok(Submission {
        file_name: sweep.name,
        yaml,
        files: files.collect::<Result<_, StoreError>>()?,
    })
}

/// The version of the selection that is current. While a run goes on there is none,
/// whatever stands on record: whoever brings it back must not be able to forget that.
async fn current(conn: &mut SqliteConnection, sweep_id: i64) -> Result<Option<u32>, StoreError> {
    let version: Option<Option<i64>> = sqlx::query_scalar(
        "SELECT selected_version FROM sweeps WHERE id = ?1 AND NOT EXISTS (
           SELECT 1 FROM sweep_jobs s JOIN jobs j ON j.id = s.job_id
           WHERE s.sweep_id = ?1 AND s.point IS NOT NULL AND j.kind <> 'inspect'
             AND j.phase IN ('blocked', 'pending', 'running') AND j.recorded_digest IS NULL)",
    )
    .bind(sweep_id)
    .fetch_optional(conn)
    .await?;
    version
        .flatten()
        .map(|version| unsigned("sweeps.selected_version", version))
        .transpose()
}

async fn selections(
    conn: &mut SqliteConnection,
    sweep_id: i64,
) -> Result<Vec<Selection>, StoreError> {
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT selection FROM selections WHERE sweep_id = ? ORDER BY version")
            .bind(sweep_id)
            .fetch_all(conn)
            .await?;
    rows.iter()
        .map(|text| row::json("selections.selection", text))
        .collect()
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    key: String,
    attempt: i64,
    outcome: String,
    message: String,
    worker: String,
    provenance: Option<String>,
    started_us: i64,
    ended_us: Option<i64>,
}

async fn attempts(conn: &mut SqliteConnection, sweep_id: i64) -> Result<Vec<Attempt>, StoreError> {
    let statement = AssertSqlSafe(format!(
        "SELECT j.key, a.attempt, a.outcome, a.message, a.provenance, a.started_us, a.ended_us,
           {} AS worker
         FROM attempts a
           JOIN jobs j ON j.id = a.job_id
           JOIN workers w ON w.id = a.worker_id
           JOIN (SELECT job_id, min(ordinal) AS place FROM sweep_jobs WHERE sweep_id = ?
                 GROUP BY job_id) s ON s.job_id = a.job_id
         ORDER BY s.place, a.attempt",
        row::WORKER_NAME
    ));
    let rows: Vec<AttemptRow> = sqlx::query_as(statement)
        .bind(sweep_id)
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Attempt {
                job_key: parse("jobs.key", &row.key)?,
                attempt: unsigned("attempts.attempt", row.attempt)?,
                outcome: row.outcome,
                message: row.message,
                worker: row.worker,
                provenance: row
                    .provenance
                    .map(|text| row::json("attempts.provenance", &text))
                    .transpose()?,
                started_at: Micros(row.started_us).to_string(),
                ended_at: row.ended_us.map(|us| Micros(us).to_string()),
            })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct RunRow {
    ordinal: i64,
    id: i64,
    key: String,
    point: String,
    phase: String,
    failure_reason: Option<String>,
    failure_message: Option<String>,
    packed: bool,
    seen: Option<Vec<u8>>,
    sealed: Option<Vec<u8>>,
}

/// A sweep with all its runs and inspections. Whether tests are open is asked once:
/// the connection must hold a snapshot.
pub(super) async fn whole(
    conn: &mut SqliteConnection,
    sweep: &str,
) -> Result<SweepResults, StoreError> {
    let id = row::sweep(conn, sweep).await?.id;
    let mut results = header(conn, sweep).await?;
    let sealed = results.current.is_none();
    let mut known = Quantities::default();
    for inspections in [false, true] {
        let mut from = 0;
        loop {
            let runs = page(conn, id, sealed, inspections, from, PAGE, &mut known).await?;
            let Some(last) = runs.last() else { break };
            from = last.ordinal + 1;
            match inspections {
                false => results.runs.extend(runs),
                true => results.inspections.extend(runs),
            }
        }
    }
    Ok(results)
}

/// The jobs that stand at a point: runs, or inspections of them.
pub(super) async fn runs(
    conn: &mut SqliteConnection,
    sweep: &str,
    inspections: bool,
    from: u64,
    limit: u32,
    known: &mut Quantities,
) -> Result<Vec<Run>, StoreError> {
    let id = row::sweep(conn, sweep).await?.id;
    let sealed = current(conn, id).await?.is_none();
    page(conn, id, sealed, inspections, from, limit, known).await
}

async fn page(
    conn: &mut SqliteConnection,
    sweep_id: i64,
    sealed: bool,
    inspections: bool,
    from: u64,
    limit: u32,
    known: &mut Quantities,
) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<RunRow> = sqlx::query_as(
        "SELECT s.ordinal, j.id, j.key, s.point,
           iif(j.recorded_digest IS NULL, j.phase, 'done') AS phase,
           iif(j.recorded_digest IS NULL, j.failure_reason, NULL) AS failure_reason,
           iif(j.recorded_digest IS NULL, j.failure_message, NULL) AS failure_message,
           p.job_id IS NOT NULL AS packed, p.seen, CASE WHEN ? THEN NULL ELSE p.sealed END AS sealed
         FROM sweep_jobs s JOIN jobs j ON j.id = s.job_id
           LEFT JOIN metric_packs p ON p.job_id = j.id
         WHERE s.sweep_id = ? AND s.ordinal >= ? AND s.point IS NOT NULL
           AND (j.kind = 'inspect') = ?
         ORDER BY s.ordinal LIMIT ?",
    )
    .bind(sealed)
    .bind(sweep_id)
    .bind(signed(from))
    .bind(inspections)
    .bind(i64::from(limit))
    .fetch_all(&mut *conn)
    .await?;
    let mut runs = vec![];
    for row in rows {
        let failure = match row.failure_reason.zip(row.failure_message) {
            Some((reason, message)) => Some((row::reason(&reason)?, message)),
            None => None,
        };
        runs.push(Run {
            ordinal: unsigned("sweep_jobs.ordinal", row.ordinal)?,
            key: parse("jobs.key", &row.key)?,
            point: row::json("sweep_jobs.point", &row.point)?,
            phase: row::phase(&row.phase)?,
            failure,
            metrics: if row.packed {
                let pieces = [row.seen.as_deref(), row.sealed.as_deref()];
                let pieces: Vec<&[u8]> = pieces.into_iter().flatten().collect();
                pack::unpack(&pieces, known)?
            } else {
                metrics(conn, row.id, sealed, known).await?
            },
            artifacts: row::artifacts(conn, row.id).await?,
            notes: notes(conn, row.id, sealed).await?,
        });
    }
    Ok(runs)
}

pub(super) async fn models(
    conn: &mut SqliteConnection,
    sweep: &str,
) -> Result<Vec<Vec<Artifact>>, StoreError> {
    let sweep = row::sweep(conn, sweep).await?;
    let jobs: Vec<i64> = sqlx::query_scalar(
        "SELECT j.id FROM sweep_jobs s JOIN jobs j ON j.id = s.job_id
         WHERE s.sweep_id = ? AND s.point IS NULL AND j.phase = 'done'
         ORDER BY s.ordinal",
    )
    .bind(sweep.id)
    .fetch_all(&mut *conn)
    .await?;
    let mut models = vec![];
    for job in jobs {
        models.push(row::artifacts(conn, job).await?);
    }
    Ok(models)
}

pub(super) async fn done_jobs(conn: &mut SqliteConnection) -> Result<BTreeSet<JobKey>, StoreError> {
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM jobs WHERE phase = 'done'")
        .fetch_all(conn)
        .await?;
    keys.iter().map(|key| parse("jobs.key", key)).collect()
}

#[derive(sqlx::FromRow)]
struct MetricRow {
    split: String,
    step: i64,
    layer: i64,
    head: i64,
    slot: String,
    name: String,
    value: Option<f64>,
}

/// Sealed metrics don't leave the database: no reader can forget to hide them.
async fn metrics(
    conn: &mut SqliteConnection,
    job_id: i64,
    sealed: bool,
    known: &mut Quantities,
) -> Result<Vec<Measured>, StoreError> {
    let rows: Vec<MetricRow> = sqlx::query_as(
        "SELECT split, step, layer, head, slot, name, value FROM metrics
         WHERE job_id = ? AND NOT (? AND substr(split, 1, 4) = 'test') ORDER BY seq",
    )
    .bind(job_id)
    .bind(sealed)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let quantity = Quantity {
                split: row.split,
                step: unsigned("metrics.step", row.step)?,
                layer: index("metrics.layer", row.layer)?,
                head: index("metrics.head", row.head)?,
                slot: Some(row.slot).filter(|slot| !slot.is_empty()),
                name: row.name,
            };
            Ok(known.measured(quantity, row.value.unwrap_or(f64::NAN)))
        })
        .collect()
}

/// Sealed as metrics are.
async fn notes(
    conn: &mut SqliteConnection,
    job_id: i64,
    sealed: bool,
) -> Result<Vec<Note>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT place, reason FROM notes
         WHERE job_id = ? AND NOT (? AND substr(place, 1, 4) = 'test') ORDER BY seq",
    )
    .bind(job_id)
    .bind(sealed)
    .fetch_all(conn)
    .await?;
    let note = |(place, reason)| Note { place, reason };
    Ok(rows.into_iter().map(note).collect())
}

/// -1 stands for "none".
fn index(what: &'static str, value: i64) -> Result<Option<u32>, StoreError> {
    match value {
        -1 => Ok(None),
        value => unsigned(what, value).map(Some),
    }
}

pub(super) async fn record_selection(
    conn: &mut SqliteConnection,
    sweep: &str,
    read_at: Revision,
    mut selection: Selection,
    now: Micros,
) -> Result<Selection, StoreError> {
    let sweep = row::unmoved(conn, sweep, read_at).await?;
    let latest: Option<(i64, String)> = sqlx::query_as(
        "SELECT version, selection FROM selections WHERE sweep_id = ?
         ORDER BY version DESC LIMIT 1",
    )
    .bind(sweep.id)
    .fetch_optional(&mut *conn)
    .await?;
    let latest_version = latest.as_ref().map_or(0, |(version, _)| *version);
    if let Some((version, text)) = latest {
        // Texts are compared: reading a float from text may move its last bit.
        selection.version = unsigned("selections.version", version)?;
        if to_json(&selection) == text {
            make_current(conn, sweep.id, version).await?;
            return Ok(selection);
        }
    }
    selection.version = unsigned("selections.version", latest_version + 1)?;
    sqlx::query(
        "INSERT INTO selections (sweep_id, version, created_us, selection) VALUES (?, ?, ?, ?)",
    )
    .bind(sweep.id)
    .bind(latest_version + 1)
    .bind(now.0)
    .bind(to_json(&selection))
    .execute(&mut *conn)
    .await?;
    make_current(conn, sweep.id, latest_version + 1).await?;
    Ok(selection)
}

async fn make_current(
    conn: &mut SqliteConnection,
    sweep_id: i64,
    version: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE sweeps SET selected_version = ?2 WHERE id = ?1 AND selected_version IS NOT ?2",
    )
    .bind(sweep_id)
    .bind(version)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn retain_weights(
    conn: &mut SqliteConnection,
    sweep: &str,
    read_at: Revision,
    keep: &BTreeSet<JobKey>,
) -> Result<u64, StoreError> {
    let sweep = row::unmoved(conn, sweep, read_at).await?;
    sqlx::query("DELETE FROM unwanted_weights WHERE sweep_id = ?")
        .bind(sweep.id)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO unwanted_weights (sweep_id, job_id)
         SELECT DISTINCT s.sweep_id, s.job_id
         FROM sweep_jobs s JOIN jobs j ON j.id = s.job_id
         WHERE s.sweep_id = ? AND s.point IS NOT NULL AND j.kind <> 'inspect' AND j.phase = 'done'
           AND j.key NOT IN (SELECT value FROM json_each(?))",
    )
    .bind(sweep.id)
    .bind(to_json(keep))
    .execute(&mut *conn)
    .await?;
    let dropped = sqlx::query(
        "DELETE FROM artifacts
         WHERE name LIKE '%.safetensors'
           AND job_id IN (SELECT job_id FROM unwanted_weights WHERE sweep_id = ?)
           AND NOT EXISTS (
             SELECT 1 FROM sweep_jobs s WHERE s.job_id = artifacts.job_id AND NOT EXISTS (
               SELECT 1 FROM unwanted_weights u
               WHERE u.sweep_id = s.sweep_id AND u.job_id = s.job_id))
           AND NOT EXISTS (
             SELECT 1 FROM job_inputs i JOIN jobs j ON j.id = i.job_id
             WHERE i.input_id = artifacts.job_id
               AND (j.phase IN ('blocked', 'pending', 'running')
                 -- A question that failed may be asked again.
                 OR (j.kind = 'inspect' AND j.phase IN ('failed', 'cancelled'))))",
    )
    .bind(sweep.id)
    .execute(conn)
    .await?;
    Ok(dropped.rows_affected())
}
