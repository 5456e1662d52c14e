//! Runs one leased job: verify the spec, fetch the inputs, compute on a thread of
//! its own, and say how it ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seedbed_proto::convert::id;
use seedbed_proto::job::{JobSpec, Pretrain, Work};
use seedbed_proto::result::FailureReason;
use seedbed_proto::{BlobDigest, v1};
use tokio_util::sync::CancellationToken;

use crate::agent::PARTING_SILENCE;
use crate::cache::Cache;
use crate::client::{CallError, Client};
use crate::device::Opened;
use crate::heartbeat::Held;
use crate::host::{AttemptHost, CheckpointPolicy};
use crate::job::{Inputs, JobError, Outcome, Output, RunContext};
use crate::roles::roles;
use crate::uploads::Uploads;

/// What computes a job; the tests put something shorter in its place.
pub type Runner =
    Arc<dyn Fn(&JobSpec, &Inputs, &RunContext<'_>) -> Result<Outcome, JobError> + Send + Sync>;

/// Longest wait for the last checkpoint of a job that is given back.
const LAST_UPLOAD_MAX: Duration = Duration::from_secs(120);

/// Stack of the thread that computes: deep recursion of a backward pass fits.
const STACK_BYTES: usize = 16 << 20;

/// What all jobs of a worker share.
#[derive(Clone)]
pub struct Executor {
    /// The coordinator.
    pub client: Client,
    /// Inputs on local disk.
    pub cache: Arc<Cache>,
    /// Where to compute.
    pub device: Opened,
    /// When a job hands over a checkpoint.
    pub policy: CheckpointPolicy,
    /// For what jobs of this host may reuse.
    pub shared_dir: PathBuf,
    /// Most bytes that may be kept there.
    pub shared_bytes_max: u64,
    /// What computes.
    pub runner: Runner,
    /// Set while a job computes.
    pub computing: Arc<AtomicBool>,
    /// Cancelled when the worker is about to end.
    pub drain: CancellationToken,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Ended {
    /// With a result, its files still in the attempt's directory.
    Finished {
        /// The result.
        output: Output,
        /// Mean optimizer steps a second.
        steps_per_sec: f64,
    },
    /// With a failure.
    Failed(JobError),
    /// Given back, with the last checkpoint that the coordinator has.
    Released(Option<v1::Checkpoint>),
    /// Taken away: nothing is to be written.
    Dropped,
    /// The coordinator refuses this worker altogether.
    Refused(CallError),
}

/// Why an attempt did not get to its computation.
enum Unready {
    Failed(JobError),
    Dropped,
    Drained,
    Refused(CallError),
}

impl Executor {
    /// Runs a job to its end, whichever that is. `dir` is the attempt's own.
    pub async fn run(&self, job: &v1::Assignment, held: &Arc<Held>, dir: &Path) -> Ended {
        let (spec, inputs) = match self.prepare(job, held, dir).await {
            Ok(ready) => ready,
            Err(Unready::Failed(error)) => return Ended::Failed(error),
            Err(Unready::Dropped) => return Ended::Dropped,
            Err(Unready::Drained) => return Ended::Released(job.resume.clone()),
            Err(Unready::Refused(error)) => return Ended::Refused(error),
        };
        let (uploads, task) = Uploads::start(self.client.clone(), held.clone());
        let host = Arc::new(AttemptHost::new(
            held.clone(),
            self.drain.clone(),
            self.policy,
            dir.to_owned(),
            uploads.clone(),
        ));
        tracing::info!(
            "job {} starts, attempt {}: {}",
            held.key.short(),
            held.lease.attempt,
            title(&spec)
        );
        self.computing.store(true, Ordering::Relaxed);
        let answer = self.compute(spec, inputs, dir, host.clone()).await;
        self.computing.store(false, Ordering::Relaxed);
        held.stands_still();
        let ended = match answer {
            _ if held.dropped.is_cancelled() => Ended::Dropped,
            Ok(Outcome::Finished(output)) => Ended::Finished {
                output,
                steps_per_sec: host.mean_steps_per_sec(),
            },
            Ok(Outcome::Stopped) => {
                let last = tokio::select! {
                    last = tokio::time::timeout(LAST_UPLOAD_MAX, uploads.settle()) => {
                        last.unwrap_or_else(|_| uploads.last())
                    }
                    () = held.dropped.cancelled() => uploads.last(),
                    () = self.client.contact().silent_for(PARTING_SILENCE) => uploads.last(),
                };
                // None was made: the one that it started from still stands.
                Ended::Released(last.or_else(|| job.resume.clone()))
            }
            Err(error) => Ended::Failed(error),
        };
        task.abort();
        ended
    }

    async fn prepare(
        &self,
        job: &v1::Assignment,
        held: &Held,
        dir: &Path,
    ) -> Result<(JobSpec, Inputs), Unready> {
        let spec = JobSpec::from_json(&job.spec_json, held.key)
            .map_err(|e| Unready::Failed(JobError::invalid(e.to_string())))?;
        self.check_engine(&spec).map_err(Unready::Failed)?;
        let roles = roles(&spec, &job.inputs).map_err(Unready::Failed)?;
        let fetch = async {
            let mut inputs = Inputs::default();
            for (role, digest) in roles {
                let to = dir.join("inputs").join(&role);
                self.fetch(digest, &to)
                    .await
                    .map_err(|e| unfetched(&role, e))?;
                inputs.files.insert(role, to);
            }
            inputs.resume = self.fetch_resume(job, held, dir).await?;
            Ok(inputs)
        };
        tokio::select! {
            inputs = fetch => Ok((spec, inputs?)),
            () = held.dropped.cancelled() => Err(Unready::Dropped),
            () = self.drain.cancelled() => Err(Unready::Drained),
        }
    }

    fn check_engine(&self, spec: &JobSpec) -> Result<(), JobError> {
        if spec.is_download() {
            return Ok(());
        }
        let engine = &spec.engine;
        let refuse = |what: &str| {
            JobError::new(
                FailureReason::Bug,
                format!(
                    "the coordinator handed a job for {what} to a worker on {}",
                    self.device.name
                ),
            )
        };
        if engine.device != self.device.kind {
            return Err(refuse(&format!("{:?}", engine.device).to_lowercase()));
        }
        if !self.device.ops.contains(&engine.ops) {
            return Err(refuse(
                &format!("{:?} operations", engine.ops).to_lowercase(),
            ));
        }
        Ok(())
    }

    /// A blob at `to`: from the cache, or from the coordinator through the cache.
    async fn fetch(&self, digest: BlobDigest, to: &Path) -> Result<(), CallError> {
        let (cache, at) = (self.cache.clone(), to.to_owned());
        let linked = blocking(to, move || {
            std::fs::create_dir_all(at.parent().expect("an input lies in a directory"))?;
            cache.link(digest, &at)
        });
        if linked.await? {
            return Ok(());
        }
        let cache = self.cache.clone();
        let lock = blocking(to, move || cache.lock(digest)).await?;
        let (cache, at) = (self.cache.clone(), to.to_owned());
        // Another worker of this host may have fetched it while we waited.
        if !blocking(to, move || cache.link(digest, &at)).await? {
            let incoming = to.with_extension("incoming");
            self.client.get_blob(digest, &incoming).await?;
            let (cache, at) = (self.cache.clone(), to.to_owned());
            blocking(to, move || {
                std::fs::hard_link(&incoming, &at)
                    .or_else(|_| std::fs::copy(&incoming, &at).map(drop))?;
                cache.insert(digest, &incoming)
            })
            .await?;
        }
        drop(lock);
        Ok(())
    }

    /// The checkpoints of earlier attempts, the furthest first. One that can't be
    /// had costs time, not the result. Both are fetched: whether the first can be
    /// used is known only when the job has read it, and then there is no network.
    async fn fetch_resume(
        &self,
        job: &v1::Assignment,
        held: &Held,
        dir: &Path,
    ) -> Result<Vec<PathBuf>, Unready> {
        let mut fetched = vec![];
        for resume in job.resume.iter().chain(&job.resume_before) {
            let Ok(digest) = id::<BlobDigest>("resume.digest", &resume.digest) else {
                let text = format!("malformed digest {:?}", resume.digest);
                return Err(Unready::Failed(JobError::invalid(text)));
            };
            let to = dir.join(format!("resume-{}-{}", fetched.len(), resume.step));
            match self.client.get_blob(digest, &to).await {
                Ok(()) => fetched.push(to),
                Err(error @ (CallError::NotFound(_) | CallError::Damaged(_))) => {
                    tracing::warn!(job = %held.key.short(), step = resume.step, %error,
                        "a checkpoint can't be had");
                }
                Err(error) => return Err(unfetched("checkpoint", error)),
            }
        }
        Ok(fetched)
    }

    async fn compute(
        &self,
        spec: JobSpec,
        inputs: Inputs,
        dir: &Path,
        host: Arc<AttemptHost>,
    ) -> Result<Outcome, JobError> {
        let runner = self.runner.clone();
        let device = self.device.device.clone();
        let free = self.device.free();
        let (work_dir, shared_dir) = (dir.join("work"), self.shared_dir.clone());
        let shared_bytes_max = self.shared_bytes_max;
        let (tx, rx) = tokio::sync::oneshot::channel();
        let body = move || {
            let run = || {
                for dir in [&work_dir, &shared_dir] {
                    std::fs::create_dir_all(dir).map_err(|e| environment(dir, &e))?;
                }
                let context = RunContext {
                    device,
                    free,
                    work_dir,
                    shared_dir,
                    shared_bytes_max,
                    host: &*host,
                };
                runner(&spec, &inputs, &context)
            };
            let answer = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
                let text = format!("the job panicked: {}", panic_text(&*panic));
                Err(JobError::new(FailureReason::Bug, text))
            });
            // Nobody listens only when the worker was told to stop at once.
            let _ = tx.send(answer);
        };
        let thread = std::thread::Builder::new()
            .name("job".into())
            .stack_size(STACK_BYTES)
            .spawn(body);
        if let Err(error) = thread {
            let text = format!("can't start a thread for the job: {error}");
            return Err(JobError::new(FailureReason::Environment, text));
        }
        rx.await.unwrap_or_else(|_| {
            let text = "the job's thread ended without an answer";
            Err(JobError::new(FailureReason::Bug, text))
        })
    }
}

/// What a job is, in one line for people.
fn title(spec: &JobSpec) -> String {
    match &spec.work {
        Work::Pretrain(Pretrain::Hub(hub)) => {
            format!("fetch {} at {}", hub.repo, hub.revision)
        }
        Work::Pretrain(Pretrain::Corpus(corpus)) => format!(
            "pretrain a base of {} layers, width {}, {} steps",
            corpus.shape.layers, corpus.shape.width, corpus.optim.steps
        ),
        Work::Train(train) => format!(
            "train {}, frozen {}, rate {}, seed {}, {} steps",
            train.init, train.frozen, train.optim.learning_rate, train.seed, train.optim.steps
        ),
        Work::Inspect(inspect) => {
            format!("{} of {}", inspect.question, inspect.subject.title())
        }
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, CallError> {
    let answer = tokio::task::spawn_blocking(work).await;
    let answer = answer.expect("file work does not panic");
    answer.map_err(|e| CallError::Local(format!("{}: {e}", path.display())))
}

fn unfetched(role: &str, error: CallError) -> Unready {
    match error {
        CallError::Unauthorised(_) => Unready::Refused(error),
        error => Unready::Failed(JobError::new(
            FailureReason::Environment,
            format!("can't fetch the input {role}: {error}"),
        )),
    }
}

fn environment(path: &Path, error: &std::io::Error) -> JobError {
    let text = format!("can't make the directory {}: {error}", path.display());
    JobError::new(FailureReason::Environment, text)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
