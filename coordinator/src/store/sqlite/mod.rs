//! The store in one SQLite file: no server to set up.
//!
//! Write-ahead log, one sync per commit (`synchronous = FULL`), one writer with
//! group commit (`writer`), a few readers that see a snapshot each and never
//! wait for it. Several processes may open the same file: they take turns.

mod blobs;
mod inspect;
mod manage;
mod pack;
mod queue;
mod record;
mod redo;
mod results;
mod row;
#[cfg(test)]
mod sabotage;
mod status;
mod submit;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use seedbed_proto::result::{Artifact, FailureReason, JobResult, Provenance};
use seedbed_proto::{BlobDigest, JobKey, LeaseToken, SweepId, WorkerId};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use tokio::sync::watch;

use super::{
    BlobInfo, Checkpoint, Expired, Lease, Leased, NewJob, NewJobs, NewSweep, NewWorker, Progress,
    Recorded, Renewal, Revision, Store, StoreError, Submitted, SweepStatus,
};
use crate::clock::Micros;
use crate::results::{Quantities, Run, Selection, SweepResults};
use crate::submission::Submission;
use writer::{Effect, Writer};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Readers at the same time; a reader is done in milliseconds.
const READERS_MAX: u32 = 4;

/// How long a writer waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The store in one file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the database, makes it if it is not there, and brings it up to this
    /// program's version.
    ///
    /// # Errors
    /// If the file can't be opened, is no database of ours, or was written by a
    /// newer program.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        let fail = |why: String| StoreError::Open {
            path: file.display().to_string(),
            why,
        };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let lock = lock_beside(file)
            .await
            .map_err(|error| fail(error.to_string()))?;
        let mut writer = options
            .connect()
            .await
            .map_err(|error| fail(error.to_string()))?;
        MIGRATIONS
            .run(&mut writer)
            .await
            .map_err(|error| fail(explain(&error)))?;
        drop(lock);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_lazy_with(options.create_if_missing(false).pragma("query_only", "ON"));
        Ok(Self {
            writer: Writer::start(writer),
            readers,
        })
    }

    /// Every job whose result is on record in a database, whichever sweep it
    /// belongs to. The file is neither changed nor upgraded, and nothing is put
    /// beside it.
    ///
    /// # Errors
    /// If the file can't be read, or is no database of ours.
    pub async fn done_jobs(file: &Path) -> Result<BTreeSet<JobKey>, StoreError> {
        // Whoever ends in order leaves no log. With one, somebody is at work or was
        // killed, and what is done stands in the log too.
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        let options = SqliteConnectOptions::new()
            .filename(file)
            .read_only(true)
            .immutable(!Path::new(&log).exists())
            .busy_timeout(BUSY_TIMEOUT);
        let mut reader = options.connect().await.map_err(|error| StoreError::Open {
            path: file.display().to_string(),
            why: error.to_string(),
        })?;
        let done = results::done_jobs(&mut reader).await?;
        reader.close().await?;
        Ok(done)
    }

    /// A snapshot to read from.
    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.readers.begin().await?)
    }

    /// A connection for a single statement.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }
}

/// Two processes must not upgrade at the same time. The lock is not on the
/// database itself: closing that file would drop SQLite's own locks on it.
async fn lock_beside(file: &Path) -> std::io::Result<File> {
    let path = file.with_extension("lock");
    let locking = tokio::task::spawn_blocking(move || {
        let lock = File::create(path)?;
        lock.lock()?;
        Ok(lock)
    });
    locking
        .await
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
}

fn explain(error: &MigrateError) -> String {
    match error {
        MigrateError::VersionMissing(version) => format!(
            "made by a newer program (it has migration {version}); use that program, or another \
             state folder"
        ),
        MigrateError::VersionMismatch(version) => format!(
            "made by a program whose migration {version} differs from this one's; use that \
             program, or another state folder"
        ),
        error => error.to_string(),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn submit_sweep(
        &self,
        sweep: NewSweep,
        jobs: NewJobs,
        now: Micros,
    ) -> Result<Submitted, StoreError> {
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(submit::submit(c, sweep, jobs, now))
            })
            .await
    }

    async fn extend_sweep(
        &self,
        sweep: NewSweep,
        read_at: Revision,
        jobs: NewJobs,
        now: Micros,
    ) -> Result<Submitted, StoreError> {
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(submit::extend(c, sweep, read_at, jobs, now))
            })
            .await
    }

    async fn is_cancelled(&self, sweep: &str) -> Result<bool, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let sweep = row::sweep(&mut snapshot, sweep).await?;
        row::is_cancelled(&mut snapshot, sweep.id).await
    }

    async fn status(&self, sweep: &str) -> Result<SweepStatus, StoreError> {
        status::status(&mut *self.snapshot().await?, sweep).await
    }

    async fn list(&self) -> Result<Vec<SweepStatus>, StoreError> {
        status::list(&mut *self.snapshot().await?).await
    }

    async fn cancel(&self, sweep: &str, now: Micros) -> Result<u64, StoreError> {
        let sweep = sweep.to_owned();
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(async move { manage::cancel(c, &sweep, now).await })
            })
            .await
    }

    async fn retry(&self, sweep: &str, now: Micros) -> Result<u64, StoreError> {
        let sweep = sweep.to_owned();
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(async move { manage::retry(c, &sweep, now).await })
            })
            .await
    }

    async fn register_worker(&self, worker: NewWorker, now: Micros) -> Result<(), StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(queue::register(c, worker, now))
            })
            .await
    }

    async fn live_workers(&self, now: Micros, within_secs: f64) -> Result<u64, StoreError> {
        let since = now.plus_secs(-within_secs);
        status::live_workers(&mut *self.reader().await?, since).await
    }

    async fn acquire(
        &self,
        worker: WorkerId,
        max_jobs: u32,
        only: Option<SweepId>,
        now: Micros,
        lease_secs: f64,
    ) -> Result<Vec<Leased>, StoreError> {
        let mut reader = self.snapshot().await?;
        let known = queue::worker(&mut reader, worker).await?;
        if !queue::worth_acquiring(&mut reader, &known, only, now).await? {
            return Ok(vec![]);
        }
        drop(reader);
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(queue::acquire(c, worker, max_jobs, only, now, lease_secs))
            })
            .await
    }

    async fn release_unheld(
        &self,
        worker: WorkerId,
        held: Vec<LeaseToken>,
        now: Micros,
    ) -> Result<u64, StoreError> {
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(queue::release_unheld(c, worker, held, now))
            })
            .await
    }

    async fn renew(
        &self,
        worker: WorkerId,
        jobs: Vec<Progress>,
        now: Micros,
        lease_secs: f64,
    ) -> Result<Vec<Renewal>, StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(queue::renew(c, worker, jobs, now, lease_secs))
            })
            .await
    }

    async fn complete(
        &self,
        lease: Lease,
        result: JobResult,
        provenance: Provenance,
        now: Micros,
    ) -> Result<Recorded, StoreError> {
        // What needs no database is done before the writer's turn.
        record::check_result(lease.job, &result)?;
        let digest = result.digest();
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(record::complete(c, lease, result, digest, provenance, now))
            })
            .await
    }

    async fn fail(
        &self,
        lease: Lease,
        reason: FailureReason,
        message: String,
        provenance: Provenance,
        now: Micros,
    ) -> Result<bool, StoreError> {
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(record::fail(c, lease, reason, message, provenance, now))
            })
            .await
    }

    async fn release(
        &self,
        lease: Lease,
        checkpoint: Option<Checkpoint>,
        now: Micros,
    ) -> Result<(), StoreError> {
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(queue::release(c, lease, checkpoint, now))
            })
            .await
    }

    async fn expire_due(&self, now: Micros) -> Result<Vec<Expired>, StoreError> {
        // Asked every second, hardly ever with something to write.
        if !queue::any_due(&mut *self.reader().await?, now).await? {
            return Ok(vec![]);
        }
        self.writer
            .write(Effect::Jobs, move |c| Box::pin(queue::expire_due(c, now)))
            .await
    }

    async fn extend_running(&self, until: Micros) -> Result<u64, StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(queue::extend_running(c, until))
            })
            .await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.writer.changes()
    }

    async fn results(&self, sweep: &str) -> Result<SweepResults, StoreError> {
        results::whole(&mut *self.snapshot().await?, sweep).await
    }

    async fn results_header(&self, sweep: &str) -> Result<SweepResults, StoreError> {
        results::header(&mut *self.snapshot().await?, sweep).await
    }

    async fn runs(
        &self,
        sweep: &str,
        from: u64,
        limit: u32,
        known: &mut Quantities,
    ) -> Result<Vec<Run>, StoreError> {
        let mut conn = self.snapshot().await?;
        results::runs(&mut conn, sweep, false, from, limit, known).await
    }

    async fn inspections(
        &self,
        sweep: &str,
        from: u64,
        limit: u32,
        known: &mut Quantities,
    ) -> Result<Vec<Run>, StoreError> {
        let mut conn = self.snapshot().await?;
        results::runs(&mut conn, sweep, true, from, limit, known).await
    }

    async fn train_specs(&self, sweep: &str) -> Result<BTreeMap<JobKey, String>, StoreError> {
        inspect::train_specs(&mut *self.snapshot().await?, sweep).await
    }

    async fn awaiting_inspection(&self, sweep: Option<&str>) -> Result<Vec<SweepId>, StoreError> {
        inspect::awaiting(&mut *self.snapshot().await?, sweep).await
    }

    async fn list_inspections(
        &self,
        sweep: &str,
        read_at: Revision,
        version: u32,
        jobs: Vec<NewJob>,
        now: Micros,
    ) -> Result<bool, StoreError> {
        let sweep = sweep.to_owned();
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(
                    async move { inspect::list(c, &sweep, read_at, version, &jobs, now).await },
                )
            })
            .await
    }

    async fn revision(&self, sweep: &str) -> Result<Revision, StoreError> {
        row::revision(&mut *self.snapshot().await?, sweep).await
    }

    async fn submission(&self, sweep: &str) -> Result<Submission, StoreError> {
        results::submission(&mut *self.snapshot().await?, sweep).await
    }

    async fn models(&self, sweep: &str) -> Result<Vec<Vec<Artifact>>, StoreError> {
        results::models(&mut *self.snapshot().await?, sweep).await
    }

    async fn record_selection(
        &self,
        sweep: &str,
        read_at: Revision,
        selection: Selection,
        now: Micros,
    ) -> Result<Selection, StoreError> {
        let sweep = sweep.to_owned();
        self.writer
            .write(Effect::Jobs, move |c| {
                Box::pin(async move {
                    results::record_selection(c, &sweep, read_at, selection, now).await
                })
            })
            .await
    }

    async fn retain_weights(
        &self,
        sweep: &str,
        read_at: Revision,
        keep: BTreeSet<JobKey>,
    ) -> Result<u64, StoreError> {
        let sweep = sweep.to_owned();
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(async move { results::retain_weights(c, &sweep, read_at, &keep).await })
            })
            .await
    }

    async fn blob_coming(&self, blob: BlobInfo, now: Micros) -> Result<bool, StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(blobs::coming(c, blob, now))
            })
            .await
    }

    async fn blob_stored(&self, digest: BlobDigest) -> Result<(), StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| Box::pin(blobs::stored(c, digest)))
            .await
    }

    async fn missing_blobs(
        &self,
        digests: Vec<BlobDigest>,
        now: Micros,
    ) -> Result<Vec<BlobDigest>, StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(blobs::missing(c, digests, now))
            })
            .await
    }

    async fn doom_blobs(&self, before: Micros) -> Result<Vec<BlobInfo>, StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| Box::pin(blobs::doom(c, before)))
            .await
    }

    async fn forget_blobs(&self, digests: Vec<BlobDigest>) -> Result<(), StoreError> {
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(async move { blobs::forget(c, &digests).await })
            })
            .await
    }

    async fn sweep_id(&self, sweep: &str) -> Result<SweepId, StoreError> {
        let found = row::sweep(&mut *self.reader().await?, sweep).await?;
        row::parse("sweeps.uuid", &found.uuid)
    }

    async fn close(&self) {
        // The last connection to close writes the log back into the file.
        self.readers.close().await;
        self.writer.close().await;
    }
}
