//! Storing a sweep: jobs come in a stream and go in by chunks, one statement per
//! chunk and table, so that a large sweep neither sits in memory nor takes long.

use seedbed_proto::SweepId;
use seedbed_proto::result::JobPhase;
use sqlx::SqliteConnection;

use super::manage;
use super::row::{self, parse, signed, to_json};
use crate::clock::Micros;
use crate::store::{NewJob, NewJobs, NewSweep, Revision, StoreError, Submitted};

/// Jobs per statement.
const CHUNK: usize = 512;

pub(super) async fn submit(
    conn: &mut SqliteConnection,
    sweep: NewSweep,
    mut jobs: NewJobs,
    now: Micros,
) -> Result<Submitted, StoreError> {
    let id = upsert_sweep(conn, &sweep, now).await?;
    let mut jobs_new = 0;
    let mut ordinal = 0;
    loop {
        let chunk: Vec<NewJob> = jobs.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        jobs_new += insert_chunk(conn, id, &sweep.name, ordinal, &chunk, now).await?;
        ordinal += signed(chunk.len() as u64);
    }
    check_inputs_are_listed(conn, id, &sweep.name).await?;
    place_in_queue(conn, id).await?;
    manage::revive(conn, id, &[JobPhase::Cancelled]).await?;
    manage::settle_blocked(conn, id, now).await?;

    let (uuid, jobs, jobs_done): (String, i64, i64) = sqlx::query_as(
        "SELECT s.uuid, count(j.id), count(CASE j.phase WHEN 'done' THEN 1 END)
         FROM sweeps s LEFT JOIN jobs j
           ON j.id IN (SELECT job_id FROM sweep_jobs WHERE sweep_id = s.id)
         WHERE s.id = ?",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(Submitted {
        sweep: parse("sweeps.uuid", &uuid)?,
        jobs: row::unsigned("count", jobs)?,
        jobs_new,
        jobs_done: row::unsigned("count", jobs_done)?,
    })
}

/// The same of a sweep that goes on by itself.
pub(super) async fn extend(
    conn: &mut SqliteConnection,
    sweep: NewSweep,
    read_at: Revision,
    jobs: NewJobs,
    now: Micros,
) -> Result<Submitted, StoreError> {
    let known = row::unmoved(conn, &sweep.name, read_at).await?;
    // A submission would bring it back.
    if row::is_cancelled(conn, known.id).await? {
        return Err(StoreError::SweepCancelled(known.name));
    }
    submit(conn, sweep, jobs, now).await
}

/// Adds jobs to a sweep's list, from this ordinal on; says how many were not known.
pub(super) async fn append(
    conn: &mut SqliteConnection,
    sweep_id: i64,
    sweep_name: &str,
    first_ordinal: i64,
    jobs: &[NewJob],
    now: Micros,
) -> Result<u64, StoreError> {
    let mut new = 0;
    let mut ordinal = first_ordinal;
    for chunk in jobs.chunks(CHUNK) {
        new += insert_chunk(conn, sweep_id, sweep_name, ordinal, chunk, now).await?;
        ordinal += signed(chunk.len() as u64);
    }
    Ok(new)
}

async fn upsert_sweep(
    conn: &mut SqliteConnection,
    sweep: &NewSweep,
    now: Micros,
) -> Result<i64, StoreError> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO sweeps (uuid, name, yaml, created_us, updated_us, inspects)
         VALUES (?, ?, ?, ?4, ?4, ?5)
         ON CONFLICT (name) DO UPDATE
           SET yaml = excluded.yaml, updated_us = excluded.updated_us, cancelled_us = NULL,
             inspects = excluded.inspects, inspected_version = NULL,
             selected_version = NULL, revision = revision + 1
         RETURNING id",
    )
    .bind(SweepId::new().to_string())
    .bind(&sweep.name)
    .bind(&sweep.yaml)
    .bind(now.0)
    .bind(sweep.inspects)
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM sweep_files WHERE sweep_id = ?")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    for (path, file) in &sweep.files {
        sqlx::query(
            "INSERT INTO sweep_files (sweep_id, path, digest, size_bytes) VALUES (?, ?, ?, ?)",
        )
        .bind(id)
        .bind(path)
        .bind(file.digest.to_string())
        .bind(signed(file.size_bytes))
        .execute(&mut *conn)
        .await?;
    }
    // The list is written anew; jobs themselves stay.
    sqlx::query("DELETE FROM sweep_jobs WHERE sweep_id = ?")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(id)
}

/// One job on its way into a statement.
#[derive(serde::Serialize)]
struct JobRow<'a> {
    ordinal: i64,
    key: String,
    kind: &'a str,
    requires: &'a str,
    steps: i64,
    spec: &'a str,
    inputs: Vec<String>,
    /// JSON in JSON: it is kept as text.
    point: Option<String>,
    title: &'a str,
}

async fn insert_chunk(
    conn: &mut SqliteConnection,
    sweep_id: i64,
    sweep_name: &str,
    first_ordinal: i64,
    chunk: &[NewJob],
    now: Micros,
) -> Result<u64, StoreError> {
    let rows: Vec<JobRow<'_>> = (first_ordinal..)
        .zip(chunk)
        .map(|(ordinal, job)| JobRow {
            ordinal,
            key: job.key.to_string(),
            kind: job.kind,
            requires: job.requires.as_str(),
            steps: signed(job.steps),
            spec: &job.spec_json,
            inputs: job.inputs.iter().map(ToString::to_string).collect(),
            point: job.point.as_ref().map(to_json),
            title: &job.title,
        })
        .collect();
    let rows = to_json(&rows);

    let new = sqlx::query(
        "INSERT INTO jobs (key, kind, requires, steps, created_us, phase)
         SELECT r.value ->> 'key', r.value ->> 'kind', r.value ->> 'requires',
                r.value ->> 'steps', ?2, 'blocked'
         FROM json_each(?1) r WHERE true
         ON CONFLICT (key) DO NOTHING",
    )
    .bind(&rows)
    .bind(now.0)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if new > 0 {
        insert_details(conn, sweep_name, &rows).await?;
    }
    sqlx::query(
        "INSERT INTO sweep_jobs (sweep_id, ordinal, job_id, point, title)
         SELECT ?2, r.value ->> 'ordinal', j.id, r.value ->> 'point', r.value ->> 'title'
         FROM json_each(?1) r JOIN jobs j ON j.key = r.value ->> 'key'",
    )
    .bind(&rows)
    .bind(sweep_id)
    .execute(conn)
    .await?;
    Ok(new)
}

/// Specs and inputs of jobs that may be new.
async fn insert_details(
    conn: &mut SqliteConnection,
    sweep_name: &str,
    rows: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO job_specs (job_id, spec)
         SELECT j.id, r.value ->> 'spec'
         FROM json_each(?) r JOIN jobs j ON j.key = r.value ->> 'key' WHERE true
         ON CONFLICT (job_id) DO NOTHING",
    )
    .bind(rows)
    .execute(&mut *conn)
    .await?;
    let unknown: Option<(String, String)> = sqlx::query_as(
        "SELECT r.value ->> 'key', i.value
         FROM json_each(?) r, json_each(r.value -> 'inputs') i
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE key = i.value) LIMIT 1",
    )
    .bind(rows)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((job, input)) = unknown {
        return Err(StoreError::BadSweep {
            sweep: sweep_name.to_owned(),
            why: format!(
                "job {job} needs the result of job {input}, which is not listed before it"
            ),
        });
    }
    sqlx::query(
        "INSERT INTO job_inputs (job_id, input_id)
         SELECT j.id, n.id
         FROM json_each(?) r, json_each(r.value -> 'inputs') i
           JOIN jobs j ON j.key = r.value ->> 'key'
           JOIN jobs n ON n.key = i.value
         WHERE true
         ON CONFLICT (job_id, input_id) DO NOTHING",
    )
    .bind(rows)
    .execute(conn)
    .await?;
    Ok(())
}

/// An input that no sweep lists would never be handed out, and the jobs that need
/// it would wait for ever.
async fn check_inputs_are_listed(
    conn: &mut SqliteConnection,
    sweep_id: i64,
    sweep_name: &str,
) -> Result<(), StoreError> {
    let missing: Option<(String, String)> = sqlx::query_as(
        "SELECT j.key, n.key
         FROM sweep_jobs s
           JOIN job_inputs i ON i.job_id = s.job_id
           JOIN jobs j ON j.id = s.job_id
           JOIN jobs n ON n.id = i.input_id
         WHERE s.sweep_id = ?1 AND NOT EXISTS
           (SELECT 1 FROM sweep_jobs o WHERE o.sweep_id = ?1 AND o.job_id = i.input_id)
         LIMIT 1",
    )
    .bind(sweep_id)
    .fetch_optional(conn)
    .await?;
    match missing {
        None => Ok(()),
        Some((job, input)) => Err(StoreError::BadSweep {
            sweep: sweep_name.to_owned(),
            why: format!("job {job} needs the result of job {input}, which is not listed"),
        }),
    }
}

/// A job stands where it comes first. Jobs that just left the sweep are moved too:
/// to another sweep that lists them, or out of the queue.
pub(super) async fn place_in_queue(
    conn: &mut SqliteConnection,
    sweep_id: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET (queue_sweep, queue_ordinal) =
           (SELECT s.sweep_id, s.ordinal FROM sweep_jobs s WHERE s.job_id = jobs.id
            ORDER BY s.sweep_id, s.ordinal LIMIT 1)
         WHERE queue_sweep = ?1
            OR id IN (SELECT job_id FROM sweep_jobs WHERE sweep_id = ?1)",
    )
    .bind(sweep_id)
    .execute(conn)
    .await?;
    Ok(())
}
