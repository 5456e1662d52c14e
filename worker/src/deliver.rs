//! Delivery of spooled reports: blobs first, then the report that names them.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use seedbed_proto::{BlobDigest, LeaseToken, v1};
use tokio::sync::{mpsc, watch};

use crate::client::{CallError, Client};
use crate::heartbeat::{Held, Leases};
use crate::spool::Entry;

/// Attempts at a report whose blobs the coordinator says it lacks.
const UPLOADS_MAX: usize = 3;

/// Longest wait for the answer about a job whose lease is gone.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(2);

/// A report with the lease under which it is delivered.
pub struct Delivery {
    /// The report on disk.
    pub entry: Entry,
    /// Its lease, renewed until the report is delivered.
    pub held: Arc<Held>,
}

/// Where reports are handed in.
#[derive(Clone)]
pub struct Deliverer {
    queue: mpsc::UnboundedSender<Delivery>,
    /// Reports that are not delivered yet.
    open: Arc<watch::Sender<usize>>,
}

/// The other end: what delivers them.
pub struct DeliveryLoop {
    client: Client,
    leases: Arc<Leases>,
    queue: mpsc::UnboundedReceiver<Delivery>,
    open: Arc<watch::Sender<usize>>,
}

/// A deliverer and its loop.
pub fn deliverer(client: Client, leases: Arc<Leases>) -> (Deliverer, DeliveryLoop) {
    let (sender, queue) = mpsc::unbounded_channel();
    let open = Arc::new(watch::Sender::new(0));
    let deliverer = Deliverer {
        queue: sender,
        open: open.clone(),
    };
    let delivery = DeliveryLoop {
        client,
        leases,
        queue,
        open,
    };
    (deliverer, delivery)
}

impl Deliverer {
    /// Hands in a report that is on disk; its lease is kept until it is delivered.
    pub fn submit(&self, delivery: Delivery) {
        self.open.send_modify(|n| *n += 1);
        let sent = self.queue.send(delivery);
        assert!(sent.is_ok(), "the loop lives as long as the agent");
    }

    /// Reports that are not delivered yet.
    pub fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until fewer than `n` reports are open.
    pub async fn fewer_than(&self, n: usize) {
        let mut open = self.open.subscribe();
        let waited = open.wait_for(|open| *open < n).await;
        assert!(waited.is_ok(), "its sender is held by self");
    }
}

impl DeliveryLoop {
    /// Delivers for ever, each report until the coordinator has answered.
    ///
    /// # Errors
    /// If the coordinator refuses the worker for good.
    pub async fn run(mut self) -> CallError {
        while let Some(delivery) = self.queue.recv().await {
            let held = delivery.held.clone();
            let answer = {
                let mut delivered = pin!(self.deliver(&delivery.entry));
                tokio::select! {
                    answer = &mut delivered => answer,
                    // Taken away, or just recorded: then the answer is on its way.
                    () = held.dropped.cancelled() => {
                        let answer = tokio::time::timeout(LAST_ANSWER_MAX, delivered).await;
                        let gone = || CallError::Aborted("taken away by the coordinator".into());
                        answer.unwrap_or_else(|_| Err(gone()))
                    }
                }
            };
            match answer {
                Ok(()) => {}
                // The report stays on disk for a worker with a good token.
                Err(error @ CallError::Unauthorised(_)) => return error,
                Err(CallError::Aborted(cause)) => {
                    tracing::warn!(
                        "job {} is not this worker's any more: {cause}",
                        held.key.short()
                    );
                }
                Err(error) => {
                    tracing::error!(
                        "job {}: the report was not taken: {error}",
                        held.key.short()
                    );
                }
            }
            if let Err(error) = delivery.entry.remove() {
                tracing::warn!(%error, "a delivered report stays on disk");
            }
            self.leases.remove(held.token);
            self.open.send_modify(|n| *n -= 1);
        }
        unreachable!("the agent holds a sender for as long as this is polled")
    }

    async fn deliver(&self, entry: &Entry) -> Result<(), CallError> {
        if let Some(fail) = &entry.report.fail {
            return self.client.fail(fail).await.map(drop);
        }
        let Some(complete) = &entry.report.complete else {
            return Ok(());
        };
        match self.deliver_result(entry, complete).await {
            // The job would stay leased to nobody until it expires, and again.
            Err(
                error @ (CallError::Refused { .. } | CallError::Local(_) | CallError::Damaged(_)),
            ) => {
                let fail = v1::FailRequest {
                    lease: complete.lease.clone(),
                    worker_id: complete.worker_id.clone(),
                    reason: v1::FailureReason::Bug.into(),
                    message: format!("the result could not be delivered: {error}"),
                    provenance: complete.provenance.clone(),
                };
                self.client.fail(&fail).await?;
                Err(error)
            }
            answer => answer,
        }
    }

    async fn deliver_result(
        &self,
        entry: &Entry,
        complete: &v1::CompleteRequest,
    ) -> Result<(), CallError> {
        let blobs = blobs(entry, complete)?;
        let mut uploads = 0;
        loop {
            self.client.put_blobs(&blobs).await?;
            uploads += 1;
            match self.client.complete(complete).await {
                Ok(answer) => {
                    if answer.diverged {
                        tracing::error!("the result contradicts the one on record: kept aside");
                    }
                    return Ok(());
                }
                // A blob was collected between upload and report.
                Err(CallError::Refused {
                    code: tonic::Code::FailedPrecondition,
                    ..
                }) if !blobs.is_empty() && uploads < UPLOADS_MAX => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn blobs(
    entry: &Entry,
    complete: &v1::CompleteRequest,
) -> Result<Vec<(BlobDigest, u64, PathBuf)>, CallError> {
    let blob = |artifact: &v1::Artifact| {
        let digest = artifact.digest.parse();
        let digest = digest.map_err(|e| CallError::Local(format!("{}: {e}", artifact.name)))?;
        Ok((digest, artifact.size_bytes, entry.blob(&artifact.digest)))
    };
    complete.artifacts.iter().map(blob).collect()
}

/// The lease of a report that an earlier worker left.
pub fn adopt(entry: &Entry) -> Option<Arc<Held>> {
    let lease = entry.report.lease()?;
    let token: LeaseToken = lease.token.parse().ok()?;
    let key = lease.job_key.parse().ok()?;
    Some(Arc::new(Held::new(key, token, lease.clone())))
}
