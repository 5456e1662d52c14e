//! What is known of blobs. Their bytes live elsewhere (`artifacts`).

use std::collections::BTreeSet;

use seedbed_proto::BlobDigest;
use seedbed_proto::result::JobResult;
use sqlx::SqliteConnection;

use super::row::{self, parse, signed, to_json, unsigned};
use crate::clock::Micros;
use crate::store::{BlobInfo, StoreError};

pub(super) async fn coming(
    conn: &mut SqliteConnection,
    blob: BlobInfo,
    now: Micros,
) -> Result<bool, StoreError> {
    let state: String = sqlx::query_scalar(
        "INSERT INTO blobs (digest, size_bytes, created_us, touched_us, state)
         VALUES (?1, ?2, ?3, ?3, 'coming')
         ON CONFLICT (digest) DO UPDATE SET touched_us = max(touched_us, excluded.touched_us)
         RETURNING state",
    )
    .bind(blob.digest.to_string())
    .bind(signed(blob.size_bytes))
    .bind(now.0)
    .fetch_one(conn)
    .await?;
    match state.as_str() {
        "stored" => Ok(true),
        "doomed" => Err(StoreError::BlobBusy(blob.digest)),
        _ => Ok(false),
    }
}

pub(super) async fn stored(
    conn: &mut SqliteConnection,
    digest: BlobDigest,
) -> Result<(), StoreError> {
    let announced = sqlx::query(
        "UPDATE blobs SET state = 'stored' WHERE digest = ? AND state IN ('coming', 'stored')",
    )
    .bind(digest.to_string())
    .execute(conn)
    .await?;
    match announced.rows_affected() {
        1 => Ok(()),
        // The upload took longer than garbage is left alone.
        _ => Err(StoreError::BlobBusy(digest)),
    }
}

pub(super) async fn missing(
    conn: &mut SqliteConnection,
    digests: Vec<BlobDigest>,
    now: Micros,
) -> Result<Vec<BlobDigest>, StoreError> {
    let mut missing = vec![];
    for digest in digests {
        let there = sqlx::query(
            "UPDATE blobs SET touched_us = max(touched_us, ?) WHERE digest = ? AND state = 'stored'",
        )
        .bind(now.0)
        .bind(digest.to_string())
        .execute(&mut *conn)
        .await?;
        if there.rows_affected() == 0 {
            missing.push(digest);
        }
    }
    Ok(missing)
}

pub(super) async fn doom(
    conn: &mut SqliteConnection,
    before: Micros,
) -> Result<Vec<BlobInfo>, StoreError> {
    // Results that were kept aside are few; their files stay readable.
    let diverged: Vec<String> = sqlx::query_scalar("SELECT result FROM diverged")
        .fetch_all(&mut *conn)
        .await?;
    let mut shown = BTreeSet::new();
    for text in &diverged {
        let result: JobResult = row::json("diverged.result", text)?;
        shown.extend(result.artifacts.iter().map(|artifact| artifact.digest));
    }
    sqlx::query(
        "UPDATE blobs SET state = 'doomed'
         WHERE state <> 'doomed' AND touched_us < ?
           AND digest NOT IN (SELECT value FROM json_each(?))
           AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.digest = blobs.digest)
           AND NOT EXISTS (SELECT 1 FROM sweep_files f WHERE f.digest = blobs.digest)
           AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.checkpoint_digest = blobs.digest)
           AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.before_digest = blobs.digest)",
    )
    .bind(before.0)
    .bind(to_json(&shown))
    .execute(&mut *conn)
    .await?;
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT digest, size_bytes FROM blobs WHERE state = 'doomed' ORDER BY digest",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(digest, size)| {
            Ok(BlobInfo {
                digest: parse("blobs.digest", &digest)?,
                size_bytes: unsigned("blobs.size_bytes", size)?,
            })
        })
        .collect()
}

pub(super) async fn forget(
    conn: &mut SqliteConnection,
    digests: &[BlobDigest],
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM blobs
         WHERE state = 'doomed' AND digest IN (SELECT value FROM json_each(?))",
    )
    .bind(to_json(&digests))
    .execute(conn)
    .await?;
    Ok(())
}
