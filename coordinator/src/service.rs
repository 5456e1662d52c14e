//! What a running coordinator does for workers and clients, one method a call.
//!
//! It holds no state that matters: that is the store's, so that `kill -9` costs
//! nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use seedbed_proto::convert::{id, required};
use seedbed_proto::job::SPEC_VERSION;
use seedbed_proto::result::{Artifact, FailureReason, JobResult};
use seedbed_proto::{BlobDigest, CHUNK_BYTES, SweepId, v1};
use tokio::sync::watch;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use crate::artifacts::{ArtifactError, Artifacts};
use crate::clock::{Clock, Micros};
use crate::growth::Growth;
use crate::results::SweepResults;
use crate::rpc::{RpcError, convert};
use crate::settle::settle;
use crate::store::{BlobInfo, Lease, NewWorker, Progress, Recorded, Store, SweepStatus};
use crate::submission::Submission;

/// Longest poll for work; a client that wants longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Shortest time between two updates of one watcher.
const UPDATE_EVERY: Duration = Duration::from_millis(250);
/// Longest time between two looks at the store while nothing was announced:
/// pauses before retries end, and other processes may write.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A running coordinator.
pub struct Coordinator {
    store: Arc<dyn Store>,
    artifacts: Artifacts,
    clock: Arc<dyn Clock>,
    lease_secs: f64,
    heartbeat_secs: f64,
    /// Moves with every heartbeat, for those who watch.
    progress: watch::Sender<u64>,
    /// The one sweep whose jobs are handed out, if it is one.
    only: OnceLock<SweepId>,
    /// Sweeps that add seeds by themselves.
    growth: Growth,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Coordinator {
    /// A coordinator over this store. Once `stop` is cancelled, long calls end.
    pub fn new(
        store: Arc<dyn Store>,
        artifacts: Artifacts,
        clock: Arc<dyn Clock>,
        lease: Duration,
        heartbeat: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            artifacts,
            clock,
            lease_secs: lease.as_secs_f64(),
            heartbeat_secs: heartbeat.as_secs_f64(),
            progress: watch::Sender::new(0),
            only: OnceLock::new(),
            growth: Growth::default(),
            drain: CancellationToken::new(),
            stop,
        }
    }

    /// From now on tells workers to finish what they have and end.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// From now on hands out jobs of this sweep alone: whoever runs one sweep
    /// does not wait for what else the state folder holds. The first call counts.
    pub fn only(&self, sweep: SweepId) {
        self.only.get_or_init(|| sweep);
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The blobs.
    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    // ---- workers ----------------------------------------------------------

    pub(crate) async fn register(
        &self,
        request: v1::RegisterRequest,
    ) -> Result<v1::RegisterResponse, RpcError> {
        if !request.spec_versions.contains(&SPEC_VERSION) {
            let known = request.spec_versions;
            return Err(RpcError::Version { known });
        }
        let worker = NewWorker::try_from(request)?;
        tracing::info!(worker = %worker.id, host = worker.host, label = worker.label, "a worker is there");
        self.store.register_worker(worker, self.now()).await?;
        Ok(v1::RegisterResponse {
            lease_secs: self.lease_secs,
            heartbeat_secs: self.heartbeat_secs,
        })
    }

    pub(crate) async fn acquire(
        &self,
        request: v1::AcquireRequest,
    ) -> Result<v1::AcquireResponse, RpcError> {
        let worker = id("worker_id", &request.worker_id)?;
        if request.answer_lost {
            let held: Result<Vec<_>, _> = (request.held_tokens.iter())
                .map(|token| id("held_tokens", token))
                .collect();
            let jobs = self.store.release_unheld(worker, held?, self.now()).await?;
            if jobs > 0 {
                tracing::info!(%worker, jobs, "the worker never heard of its lease");
            }
        }
        let wait = Duration::try_from_secs_f64(request.wait_secs).unwrap_or_default();
        let deadline = tokio::time::sleep(wait.min(WAIT_MAX));
        tokio::pin!(deadline);
        // Subscribed before the first look: what comes between is not missed.
        let mut changes = self.store.changes();
        loop {
            if self.drain.is_cancelled() {
                return Ok(v1::AcquireResponse {
                    jobs: vec![],
                    drain: true,
                });
            }
            changes.mark_unchanged();
            let now = self.now();
            let max_jobs = request.max_jobs.max(1);
            let leased = self
                .store
                .acquire(
                    worker,
                    max_jobs,
                    self.only.get().copied(),
                    now,
                    self.lease_secs,
                )
                .await?;
            if !leased.is_empty() {
                self.progress.send_modify(|n| *n += 1);
                let jobs = leased
                    .into_iter()
                    .map(|l| convert::assignment(l, now))
                    .collect();
                return Ok(v1::AcquireResponse { jobs, drain: false });
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.drain.cancelled() => {}
                () = self.stop.cancelled() => return Ok(v1::AcquireResponse::default()),
                () = &mut deadline => return Ok(v1::AcquireResponse::default()),
            }
        }
    }

    pub(crate) async fn renew(
        &self,
        request: v1::RenewRequest,
    ) -> Result<v1::RenewResponse, RpcError> {
        let worker = id("worker_id", &request.worker_id)?;
        let jobs: Vec<Progress> = convert::all(request.jobs)?;
        let renewals = self
            .store
            .renew(worker, jobs.clone(), self.now(), self.lease_secs)
            .await?;
        self.progress.send_modify(|n| *n += 1);
        let orders = jobs
            .iter()
            .zip(renewals)
            .map(|(job, r)| convert::order(job, r));
        Ok(v1::RenewResponse {
            orders: orders.collect(),
            drain: self.drain.is_cancelled(),
        })
    }

    pub(crate) async fn complete(
        &self,
        request: v1::CompleteRequest,
    ) -> Result<v1::CompleteResponse, RpcError> {
        let lease: Lease = required("lease", request.lease)?.try_into()?;
        let provenance = required("provenance", request.provenance)?.into();
        let result = JobResult {
            metrics: convert::all(request.metrics)?,
            artifacts: convert::all(request.artifacts)?,
            notes: convert::all(request.notes)?,
        };
        let recorded = self
            .store
            .complete(lease, result, provenance, self.now())
            .await?;
        let diverged = match recorded {
            Recorded::New | Recorded::Same => false,
            Recorded::Diverged => {
                tracing::error!(job = %lease.job.short(), "a result contradicts the one on record");
                true
            }
        };
        Ok(v1::CompleteResponse { diverged })
    }

    pub(crate) async fn fail(
        &self,
        request: v1::FailRequest,
    ) -> Result<v1::FailResponse, RpcError> {
        let lease: Lease = required("lease", request.lease)?.try_into()?;
        let reason = FailureReason::try_from(convert::known(
            "reason",
            request.reason,
            v1::FailureReason::try_from,
        )?)?;
        let provenance = request.provenance.unwrap_or_default().into();
        tracing::warn!(job = %lease.job.short(), %reason, message = request.message, "an attempt failed");
        let now = self.now();
        let will_retry = self
            .store
            .fail(lease, reason, request.message, provenance, now)
            .await?;
        Ok(v1::FailResponse { will_retry })
    }

    pub(crate) async fn release(
        &self,
        request: v1::ReleaseRequest,
    ) -> Result<v1::ReleaseResponse, RpcError> {
        let lease = required("lease", request.lease)?.try_into()?;
        let checkpoint = request.checkpoint.map(TryInto::try_into).transpose()?;
        self.store.release(lease, checkpoint, self.now()).await?;
        Ok(v1::ReleaseResponse {})
    }

    // ---- blobs ------------------------------------------------------------

    pub(crate) async fn put_blob<S>(&self, blob: BlobInfo, bytes: S) -> Result<bool, RpcError>
    where
        S: Stream<Item = Result<Bytes, tonic::Status>> + Send,
    {
        Ok(self.artifacts.put(blob, bytes, self.now()).await?)
    }

    pub(crate) async fn get_blob(
        &self,
        digest: BlobDigest,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, ArtifactError>>), RpcError> {
        Ok(self.artifacts.get(digest).await?)
    }

    pub(crate) async fn has_blobs(
        &self,
        request: v1::HasBlobsRequest,
    ) -> Result<v1::HasBlobsResponse, RpcError> {
        let asked = request.digests.iter().map(|text| id("digests", text));
        let asked = asked.collect::<Result<Vec<BlobDigest>, _>>()?;
        let missing = self.artifacts.missing(asked, self.now()).await?;
        Ok(v1::HasBlobsResponse {
            missing: missing.iter().map(ToString::to_string).collect(),
        })
    }

    /// Stores a file of this machine.
    ///
    /// # Errors
    /// If it cannot be read or stored, or is not what `blob` says.
    pub async fn store_file(&self, blob: BlobInfo, path: &Path) -> Result<(), RpcError> {
        let file = tokio::fs::File::open(path)
            .await
            .map_err(|e| ArtifactError::Io {
                path: path.display().to_string(),
                why: e.to_string(),
            })?;
        let bytes = ReaderStream::with_capacity(file, CHUNK_BYTES);
        self.artifacts.put(blob, bytes, self.now()).await?;
        Ok(())
    }

    // ---- sweeps -----------------------------------------------------------

    /// Validates, expands and stores a sweep.
    ///
    /// # Errors
    /// If the file has mistakes, or a blob that it needs was not uploaded.
    pub async fn submit(&self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, RpcError> {
        let mut files = BTreeMap::new();
        for (path, artifact) in request.files {
            files.insert(path, Artifact::try_from(artifact)?);
        }
        let submission = Submission {
            file_name: request.file_name,
            yaml: request.yaml,
            files,
        };
        let (name, submitted) = self
            .growth
            .submit(&self.store, &self.artifacts, submission, self.now())
            .await?;
        tracing::info!(
            sweep = name,
            jobs = submitted.jobs,
            new = submitted.jobs_new,
            "a sweep was submitted"
        );
        Ok(v1::SubmitResponse {
            sweep_id: submitted.sweep.to_string(),
            name,
            jobs: submitted.jobs,
            jobs_new: submitted.jobs_new,
            jobs_done: submitted.jobs_done,
        })
    }

    /// Where a sweep stands. One whose runs have just settled and that asks
    /// questions of its networks goes on with these: nobody sees it at rest between.
    ///
    /// # Errors
    /// If there is no sweep of this name or id.
    pub async fn status(&self, sweep: &str) -> Result<v1::SweepStatus, RpcError> {
        self.ask_questions(Some(sweep)).await?;
        let workers = self.live_workers().await?;
        let (status, replication) = self.grown(sweep).await?;
        Ok(v1::SweepStatus {
            replication,
            ..convert::status(status, workers)
        })
    }

    /// Where a sweep stands, a block of seeds added if it has settled and needs one.
    async fn grown(&self, sweep: &str) -> Result<(SweepStatus, Option<v1::Replication>), RpcError> {
        let now = self.now();
        self.growth
            .status(&self.store, &self.artifacts, sweep, now)
            .await
    }

    pub(crate) async fn list(&self) -> Result<Vec<v1::SweepStatus>, RpcError> {
        self.ask_questions(None).await?;
        let workers = self.live_workers().await?;
        let all = self.store.list().await?;
        Ok(all
            .into_iter()
            .map(|s| convert::status(s, workers))
            .collect())
    }

    async fn live_workers(&self) -> Result<u64, RpcError> {
        // One that waits for work is heard of every LOOK_EVERY.
        let within_secs = self.lease_secs.max(2.0 * LOOK_EVERY.as_secs_f64());
        Ok(self.store.live_workers(self.now(), within_secs).await?)
    }

    /// A status at once, then one after each change, until nothing is left to do
    /// or the coordinator stops.
    ///
    /// # Errors
    /// If there is no sweep of this name or id.
    pub async fn watch(
        self: Arc<Self>,
        sweep: &str,
    ) -> Result<impl Stream<Item = Result<v1::SweepStatus, RpcError>> + Send + use<>, RpcError>
    {
        let sweep = self.store.sweep_id(sweep).await?.to_string();
        let (changes, progress) = (self.store.changes(), self.progress.subscribe());
        let start = Some((self, sweep, changes, progress, true));
        Ok(futures::stream::try_unfold(start, async |state| {
            let Some((coordinator, sweep, mut changes, mut progress, first)) = state else {
                return Ok(None);
            };
            if !first {
                tokio::time::sleep(UPDATE_EVERY).await;
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = progress.changed() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = coordinator.stop.cancelled() => return Ok(None),
                }
            }
            changes.mark_unchanged();
            progress.mark_unchanged();
            let status = coordinator.status(&sweep).await?;
            let settled = status.blocked + status.pending + status.running == 0;
            let next = (!settled).then_some((coordinator, sweep, changes, progress, false));
            Ok(Some((status, next)))
        }))
    }

    pub(crate) async fn cancel(&self, sweep: &str) -> Result<u64, RpcError> {
        self.growth.cancel(&*self.store, sweep, self.now()).await
    }

    pub(crate) async fn retry(&self, sweep: &str) -> Result<u64, RpcError> {
        self.growth.retry(&*self.store, sweep, self.now()).await
    }

    /// All runs of a sweep; the selection is recorded before, if the sweep has
    /// settled.
    ///
    /// # Errors
    /// If there is no sweep of this name or id.
    pub async fn results(&self, sweep: &str) -> Result<SweepResults, RpcError> {
        Ok(settle(&*self.store, sweep, self.now()).await?)
    }

    /// Lists the questions about networks that are due, of this sweep or of all. Of
    /// all, one that can't be read must not stop the others.
    async fn ask_questions(&self, sweep: Option<&str>) -> Result<(), RpcError> {
        for due in self.store.awaiting_inspection(sweep).await? {
            let settled = settle(&*self.store, &due.to_string(), self.now()).await;
            match settled {
                Err(error) if sweep.is_none() => tracing::error!(
                    sweep = %due, %error,
                    "the questions about a sweep's networks could not be listed"
                ),
                settled => drop(settled?),
            }
        }
        Ok(())
    }

    /// The files of each model that the sweep has made.
    ///
    /// # Errors
    /// If there is no sweep of this name or id.
    pub async fn models(&self, sweep: &str) -> Result<Vec<Vec<Artifact>>, RpcError> {
        Ok(self.store.models(sweep).await?)
    }

    // ---- in the background ------------------------------------------------

    /// Takes back the leases of workers that are not heard of any more.
    pub(crate) async fn expire(&self) {
        match self.store.expire_due(self.now()).await {
            Ok(expired) => {
                for e in expired {
                    tracing::warn!(
                        job = %e.job.short(), attempt = e.attempt, worker = e.worker,
                        will_retry = e.will_retry, "a worker was lost"
                    );
                }
            }
            Err(error) => tracing::error!(%error, "leases could not be expired"),
        }
    }

    /// Learns which sweeps add seeds by themselves; from then on they do.
    pub(crate) async fn learn_growth(&self) -> Result<(), RpcError> {
        self.growth.learn(&*self.store).await
    }

    /// Adds seeds to sweeps that have settled and need them, though nobody asks
    /// where they stand.
    pub(crate) async fn grow_all(&self) {
        for sweep in self.growth.all().await {
            if let Err(error) = self.grown(&sweep.to_string()).await {
                tracing::error!(%sweep, %error, "seeds could not be added");
            }
        }
    }

    /// Goes on with sweeps whose runs have settled, whether or not anybody watches.
    pub(crate) async fn follow_up(&self) {
        if let Err(error) = self.ask_questions(None).await {
            tracing::error!(%error, "the sweeps that ask about their networks are not known");
        }
    }

    /// Gives workers that went on while no coordinator was there the time to
    /// come back.
    pub(crate) async fn welcome_back(&self) -> Result<u64, RpcError> {
        // Their back-off may have grown: several leases.
        let until = self.now().plus_secs(3.0 * self.lease_secs);
        Ok(self.store.extend_running(until).await?)
    }
}
