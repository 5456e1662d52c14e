//! Checkpoints on their way to the coordinator while training goes on.
//!
//! One upload at a time. At most one more waits; a newer one takes its place,
//! and also that of an upload which does not get through: after an outage only
//! the newest is worth sending.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seedbed_proto::v1;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::cache::hash_file;
use crate::client::{CallError, Client};
use crate::heartbeat::Held;

/// Pause after an upload that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// A checkpoint file that waits; removed when it is no longer wanted.
struct Pending {
    step: u64,
    path: PathBuf,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // It lies in the attempt's directory, which is removed in any case.
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Default)]
struct Queue {
    waiting: Option<Pending>,
    busy: bool,
    last: Option<v1::Checkpoint>,
}

/// The uploads of one attempt.
pub struct Uploads {
    queue: Mutex<Queue>,
    submitted: Notify,
    settled: Notify,
}

impl Uploads {
    /// Starts the uploader of one attempt. It ends when its handle is aborted.
    pub fn start(client: Client, held: Arc<Held>) -> (Arc<Self>, JoinHandle<()>) {
        let uploads = Arc::new(Self {
            queue: Mutex::default(),
            submitted: Notify::new(),
            settled: Notify::new(),
        });
        let task = tokio::spawn(uploads.clone().run(client, held));
        (uploads, task)
    }

    /// Takes over a checkpoint file; returns at once.
    pub fn submit(&self, step: u64, path: PathBuf) {
        let mut queue = self.queue.lock().expect("no panic while held");
        queue.waiting = Some(Pending { step, path });
        self.submitted.notify_one();
    }

    /// Waits until nothing is left to upload; the last one that got through.
    pub async fn settle(&self) -> Option<v1::Checkpoint> {
        loop {
            let settled = self.settled.notified();
            {
                let queue = self.queue.lock().expect("no panic while held");
                if queue.waiting.is_none() && !queue.busy {
                    return queue.last.clone();
                }
            }
            settled.await;
        }
    }

    /// The last one that got through.
    pub fn last(&self) -> Option<v1::Checkpoint> {
        let queue = self.queue.lock().expect("no panic while held");
        queue.last.clone()
    }

    async fn run(self: Arc<Self>, client: Client, held: Arc<Held>) {
        loop {
            self.submitted.notified().await;
            while let Some(mut pending) = self.take() {
                loop {
                    match upload(&client, &pending).await {
                        Ok(checkpoint) => {
                            held.uploaded(checkpoint.clone());
                            let mut queue = self.queue.lock().expect("no panic while held");
                            queue.last = Some(checkpoint);
                            break;
                        }
                        Err(CallError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
                        Err(error) => {
                            tracing::warn!(job = %held.key.short(), step = pending.step, %error,
                                "a checkpoint was not kept");
                            break;
                        }
                    }
                    if let Some(newer) = self.take() {
                        pending = newer;
                    }
                }
            }
            self.queue.lock().expect("no panic while held").busy = false;
            self.settled.notify_waiters();
        }
    }

    fn take(&self) -> Option<Pending> {
        let mut queue = self.queue.lock().expect("no panic while held");
        let pending = queue.waiting.take();
        queue.busy |= pending.is_some();
        pending
    }
}

async fn upload(client: &Client, pending: &Pending) -> Result<v1::Checkpoint, CallError> {
    let path = pending.path.clone();
    let hashed = tokio::task::spawn_blocking(move || hash_file(&path)).await;
    let (digest, bytes) = hashed
        .expect("hashing a file does not panic")
        .map_err(|e| CallError::Local(format!("{}: {e}", pending.path.display())))?;
    let blobs = [(digest, bytes, pending.path.clone())];
    client.put_blobs_once(&blobs).await?;
    Ok(v1::Checkpoint {
        step: pending.step,
        digest: digest.to_string(),
        size_bytes: bytes,
    })
}
