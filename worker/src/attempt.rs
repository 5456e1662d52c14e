//! One attempt at one job, from the lease to the spooled report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seedbed_proto::result::{Artifact, FailureReason, Provenance};
use seedbed_proto::{BlobDigest, WorkerId, v1};

use crate::agent::PARTING_SILENCE;
use crate::cache::hash_file;
use crate::client::CallError;
use crate::deliver::{Deliverer, Delivery};
use crate::device;
use crate::executor::{Ended, Executor};
use crate::heartbeat::{Held, Leases};
use crate::job::{JobError, Output};
use crate::spool::{Home, Report};

/// Makes attempts.
pub struct Attempts {
    id: WorkerId,
    executor: Executor,
    home: Arc<Home>,
    leases: Arc<Leases>,
    deliverer: Deliverer,
}

/// A finished job's files: digest, and where they lie now.
type Files = Vec<(BlobDigest, PathBuf)>;

impl Attempts {
    /// What makes attempts for the worker `id`.
    pub fn new(
        id: WorkerId,
        executor: Executor,
        home: Arc<Home>,
        leases: Arc<Leases>,
        deliverer: Deliverer,
    ) -> Self {
        Self {
            id,
            executor,
            home,
            leases,
            deliverer,
        }
    }

    /// What runs the jobs.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// What is renewed.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Runs a job and hands in its report. The lease is kept until the report is
    /// delivered.
    ///
    /// # Errors
    /// If the coordinator refuses this worker for good.
    pub async fn run(&self, job: v1::Assignment, held: Arc<Held>) -> Result<(), CallError> {
        self.leases.add(held.clone());
        let start = Instant::now();
        let ended = match self.home.work_dir(held.token) {
            Ok(dir) => {
                let ended = self.executor.run(&job, &held, &dir).await;
                let ended = self.report(ended, &held, start.elapsed()).await;
                // A job that was dropped may still write its last lines there.
                if let Err(error) = std::fs::remove_dir_all(&dir) {
                    tracing::warn!(%error, dir = %dir.display(), "can't clear away an attempt");
                }
                ended
            }
            Err(error) => {
                let text = format!("can't make a directory for the job: {error}");
                let error = JobError::new(FailureReason::Environment, text);
                self.report(Ended::Failed(error), &held, start.elapsed())
                    .await
            }
        };
        held.stands_still();
        ended
    }

    async fn report(
        &self,
        ended: Ended,
        held: &Arc<Held>,
        wall: Duration,
    ) -> Result<(), CallError> {
        let job = held.key.short();
        match ended {
            Ended::Finished {
                output,
                steps_per_sec,
            } => {
                tracing::info!(
                    "job {job} done in {:.1} s ({steps_per_sec:.1} steps/s)",
                    wall.as_secs_f64()
                );
                self.finished(output, held, wall).await;
                Ok(())
            }
            Ended::Failed(error) => {
                tracing::error!("job {job} failed ({}): {error}", error.reason);
                self.failed(&error, held, wall).await;
                Ok(())
            }
            Ended::Released(checkpoint) => {
                let step = checkpoint.as_ref().map_or(0, |c| c.step);
                tracing::info!("job {job} given back at step {step}");
                self.released(checkpoint, held).await;
                Ok(())
            }
            Ended::Dropped => {
                tracing::warn!("job {job} was taken away, dropping it");
                self.leases.remove(held.token);
                Ok(())
            }
            Ended::Refused(error) => Err(error),
        }
    }

    async fn finished(&self, output: Output, held: &Arc<Held>, wall: Duration) {
        let provenance = self.provenance(wall, output.resumed_from_step);
        let metrics = output.metrics;
        let (files, notes) = (output.files, output.notes);
        let hashed = tokio::task::spawn_blocking(move || hash_all(&files)).await;
        let (artifacts, files) = match hashed.expect("hashing files does not panic") {
            Ok(hashed) => hashed,
            Err(error) => return self.failed(&error, held, wall).await,
        };
        let report = Report {
            coordinator: self.executor.client.url().to_owned(),
            complete: Some(v1::CompleteRequest {
                lease: Some(held.lease.clone()),
                worker_id: self.id.to_string(),
                metrics: metrics.into_iter().map(Into::into).collect(),
                artifacts: artifacts.into_iter().map(Into::into).collect(),
                provenance: Some(provenance.into()),
                notes: notes.into_iter().map(Into::into).collect(),
            }),
            fail: None,
        };
        if let Err(error) = self.spool(report, files, held).await {
            let text = format!("can't keep the result on disk until it is delivered: {error}");
            let error = JobError::new(FailureReason::Environment, text);
            self.failed(&error, held, wall).await;
        }
    }

    async fn failed(&self, error: &JobError, held: &Arc<Held>, wall: Duration) {
        let fail = v1::FailRequest {
            lease: Some(held.lease.clone()),
            worker_id: self.id.to_string(),
            reason: v1::FailureReason::from(error.reason).into(),
            message: error.message.clone(),
            provenance: Some(self.provenance(wall, 0).into()),
        };
        let report = Report {
            coordinator: self.executor.client.url().to_owned(),
            complete: None,
            fail: Some(fail.clone()),
        };
        if self.spool(report, vec![], held).await.is_err() {
            // The disk is full: then without it. Whatever the answer, the lease ends.
            let answer = self.executor.client.fail(&fail).await;
            if let Err(error) = answer {
                tracing::warn!(%error, "reporting a failure");
            }
            self.leases.remove(held.token);
        }
    }

    async fn spool(&self, report: Report, files: Files, held: &Arc<Held>) -> std::io::Result<()> {
        let (home, token) = (self.home.clone(), held.token);
        let put = move || home.put(token, report, &files);
        let put = tokio::task::spawn_blocking(put).await;
        let entry = put.expect("file work does not panic")?;
        let held = held.clone();
        self.deliverer.submit(Delivery { entry, held });
        Ok(())
    }

    async fn released(&self, checkpoint: Option<v1::Checkpoint>, held: &Held) {
        let client = &self.executor.client;
        let request = v1::ReleaseRequest {
            lease: Some(held.lease.clone()),
            worker_id: self.id.to_string(),
            checkpoint,
        };
        let answer = tokio::select! {
            answer = client.release(&request) => answer,
            // The lease then expires by itself.
            () = client.contact().silent_for(PARTING_SILENCE) => {
                Err(CallError::Unavailable("no answer".into()))
            }
        };
        if let Err(error) = answer {
            tracing::warn!(%error, "giving a job back");
        }
        self.leases.remove(held.token);
    }

    fn provenance(&self, wall: Duration, resumed_from_step: u64) -> Provenance {
        let device = &self.executor.device;
        Provenance {
            version: crate::VERSION.to_owned(),
            host: device::host_name(),
            device: device.name.clone(),
            cpu_fingerprint: device.cpu_fingerprint.clone(),
            threads: device.threads,
            wall_secs: wall.as_secs_f64(),
            resumed_from_step,
        }
    }
}

fn hash_all(files: &[(String, PathBuf)]) -> Result<(Vec<Artifact>, Files), JobError> {
    let mut artifacts = vec![];
    let mut blobs = vec![];
    for (name, path) in files {
        let (digest, size_bytes) = hash_file(path).map_err(|e| unreadable(name, path, &e))?;
        artifacts.push(Artifact {
            name: name.clone(),
            digest,
            size_bytes,
        });
        blobs.push((digest, path.clone()));
    }
    artifacts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((artifacts, blobs))
}

fn unreadable(name: &str, path: &Path, error: &std::io::Error) -> JobError {
    let text = format!(
        "can't read the artifact {name} at {}: {error}",
        path.display()
    );
    JobError::new(FailureReason::Environment, text)
}
