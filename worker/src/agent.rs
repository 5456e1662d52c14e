//! The worker's life: register, pull jobs one by one, deliver what they yield,
//! end in good order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backon::BackoffBuilder;
use seedbed_proto::convert::{id, required};
use seedbed_proto::job::SPEC_VERSION;
use seedbed_proto::{WorkerId, v1};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::Attempts;
use crate::cache::Cache;
use crate::client::{CallError, Client, ClientError, backoff};
use crate::config::Config;
use crate::deliver::{Deliverer, Delivery, adopt, deliverer};
use crate::device::{self, DeviceError};
use crate::executor::{Executor, Runner};
use crate::heartbeat::{Heartbeat, Held, Leases};
use crate::memory;
use crate::spool::{Entry, Home};

/// Longest wait of one Acquire; a new one follows.
const ACQUIRE_WAIT: Duration = Duration::from_secs(10);

/// Pause before asking again a coordinator that has nothing and does not wait.
const EMPTY_PAUSE: Duration = Duration::from_millis(500);

/// Undelivered reports beyond which no new job is taken.
const UNDELIVERED_MAX: usize = 2;

/// How long a worker that ends waits for a coordinator that does not answer.
pub const PARTING_SILENCE: Duration = Duration::from_secs(10);

/// How long a worker that ends takes to deliver its reports.
const PARTING_MAX: Duration = Duration::from_secs(120);

/// Why a worker could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The device can't be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The connection can't be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The cache directory can't be used.
    #[error("can't use the cache directory {dir}: {cause}; choose another with --cache DIR")]
    Dir {
        /// The directory.
        dir: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// Nobody was there from the start.
    #[error(
        "no coordinator answers at {url} ({cause}); start one with `coordinator serve`, or \
         give the address of a running one with --coordinator"
    )]
    NeverThere {
        /// The address.
        url: String,
        /// The last error.
        cause: String,
    },
    /// The coordinator went away.
    #[error(
        "the coordinator at {url} has not answered for {secs} s ({cause}), giving up; \
         finished jobs that wait on disk for the next worker with this --cache: {undelivered}"
    )]
    Silent {
        /// The address.
        url: String,
        /// How long.
        secs: u64,
        /// The last error.
        cause: String,
        /// Reports that were not delivered.
        undelivered: usize,
    },
    /// The coordinator wants nothing to do with this worker.
    #[error("the coordinator at {url} turned this worker away: {cause}")]
    TurnedAway {
        /// The address.
        url: String,
        /// What it said.
        cause: CallError,
    },
}

struct Agent {
    id: WorkerId,
    config: Config,
    client: Client,
    heartbeat: Arc<Heartbeat>,
    attempts: Attempts,
    deliverer: Deliverer,
    /// Set while a job computes: then the coordinator's silence is no reason to end.
    computing: Arc<AtomicBool>,
    drain: CancellationToken,
}

/// Works until there is a reason to end. `drain` asks for an end in good order.
///
/// # Errors
/// If the worker can't start or can't go on.
pub async fn run(
    config: Config,
    runner: Runner,
    drain: CancellationToken,
) -> Result<(), AgentError> {
    let dir_error = |cause| AgentError::Dir {
        dir: config.cache_dir.display().to_string(),
        cause,
    };
    let id = WorkerId::new();
    let device = device::open(config.device, &config.ops, config.threads)?;
    let client = Client::new(&config.server)?;
    let cache = Cache::open(&config.cache_dir, config.cache_bytes_max).map_err(dir_error)?;
    let (home, left) = Home::open(&config.cache_dir, id, client.url()).map_err(dir_error)?;
    let leases = Arc::new(Leases::default());
    let register = introduction(id, &config, &device);
    let heartbeat = Arc::new(Heartbeat::new(client.clone(), leases.clone(), register));
    let (deliverer, delivery) = deliverer(client.clone(), leases.clone());
    let computing = Arc::new(AtomicBool::new(false));
    let executor = Executor {
        client: client.clone(),
        cache: Arc::new(cache),
        // A home directory may be shared by machines whose bits differ.
        shared_dir: config.cache_dir.join("shared").join(device.machine()),
        shared_bytes_max: config.shared_bytes_max,
        device,
        policy: config.checkpoint,
        runner,
        computing: computing.clone(),
        drain: drain.clone(),
    };
    let agent = Agent {
        id,
        client: client.clone(),
        heartbeat,
        attempts: Attempts::new(id, executor, Arc::new(home), leases, deliverer.clone()),
        deliverer,
        computing,
        drain,
        config,
    };
    let delivery = AbortOnDropHandle::new(tokio::spawn(delivery.run()));
    tokio::select! {
        end = agent.work(left) => end,
        refused = delivery => Err(agent.turned_away(refused.expect("delivery does not panic"))),
        error = agent.silence() => Err(error),
    }
}

impl Agent {
    async fn work(&self, left: Vec<Entry>) -> Result<(), AgentError> {
        if !self.register().await? {
            return Ok(());
        }
        let heartbeat = self.heartbeat.clone();
        let id = self.id;
        let beat = tokio::spawn(async move { heartbeat.run(id).await });
        let beat = AbortOnDropHandle::new(beat);
        self.adopt(left);
        tokio::select! {
            end = self.pull() => end?,
            refused = beat => {
                return Err(self.turned_away(refused.expect("the heartbeat does not panic")));
            }
        }
        self.part().await;
        Ok(())
    }

    /// Makes the worker known, however long that takes; false if it was asked to
    /// end before.
    async fn register(&self) -> Result<bool, AgentError> {
        let register = self.client.until_answered(|| self.heartbeat.register());
        let answer = tokio::select! {
            answer = register => answer,
            () = self.drain.cancelled() => return Ok(false),
        };
        answer.map_err(|e| self.turned_away(e))?;
        let device = &self.attempts.executor().device;
        tracing::info!(
            "worker {} on {} with {} threads works for {}",
            self.id,
            device.name,
            device.threads,
            self.client.url()
        );
        Ok(true)
    }

    /// Takes over the reports of workers that are gone.
    fn adopt(&self, left: Vec<Entry>) {
        for entry in left {
            if let Some(held) = adopt(&entry) {
                tracing::info!(
                    "delivering job {} for a worker that is gone",
                    held.key.short()
                );
                self.attempts.leases().add(held.clone());
                self.deliverer.submit(Delivery { entry, held });
            }
        }
    }

    /// Pulls and runs jobs until there is a reason to end.
    async fn pull(&self) -> Result<(), AgentError> {
        let mut idle_since = Instant::now();
        let mut pauses = backoff().build();
        let mut answer_lost = false;
        loop {
            tokio::select! {
                () = self.deliverer.fewer_than(UNDELIVERED_MAX) => {}
                () = self.drain.cancelled() => {}
            }
            let idle = idle_since.elapsed();
            if self.drain.is_cancelled() {
                return Ok(());
            }
            if self.config.idle_exit.is_some_and(|most| idle >= most) {
                tracing::info!("no work for {} s, ending", idle.as_secs());
                return Ok(());
            }
            let request = self.acquire_request(idle, answer_lost);
            let answer = tokio::select! {
                answer = self.client.acquire(request) => answer,
                () = self.heartbeat.drained(), if self.config.exit_when_drained => {
                    tracing::info!("nothing left to do, ending");
                    return Ok(());
                }
                () = self.drain.cancelled() => return Ok(()),
            };
            answer_lost = matches!(answer, Err(CallError::Unavailable(_)));
            let pause = match answer {
                Ok(answer) => {
                    pauses = backoff().build();
                    let (some, drained) = (!answer.jobs.is_empty(), answer.drain);
                    for job in answer.jobs {
                        self.run_one(job).await?;
                        idle_since = Instant::now();
                    }
                    if drained && self.config.exit_when_drained {
                        tracing::info!("nothing left to do, ending");
                        return Ok(());
                    }
                    if some { Duration::ZERO } else { EMPTY_PAUSE }
                }
                Err(CallError::NotFound(_)) => match self.heartbeat.register().await {
                    Ok(()) | Err(CallError::Unavailable(_)) => EMPTY_PAUSE,
                    Err(error) => return Err(self.turned_away(error)),
                },
                Err(CallError::Unavailable(_)) => pauses.next().unwrap_or(EMPTY_PAUSE),
                Err(error) => return Err(self.turned_away(error)),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.drain.cancelled() => {}
            }
        }
    }

    async fn run_one(&self, job: v1::Assignment) -> Result<(), AgentError> {
        let held = match held(&job) {
            Ok(held) => Arc::new(held),
            Err(error) => {
                tracing::error!(%error, "the coordinator sent a job without a usable lease");
                return Ok(());
            }
        };
        let ended = self.attempts.run(job, held).await;
        ended.map_err(|e| self.turned_away(e))
    }

    fn acquire_request(&self, idle: Duration, answer_lost: bool) -> v1::AcquireRequest {
        let mut wait = ACQUIRE_WAIT;
        // An answer within half the patience: waiting for work is no silence.
        if let Some(give_up) = self.config.give_up {
            wait = wait.min(give_up / 2);
        }
        if let Some(idle_exit) = self.config.idle_exit {
            wait = wait.min(idle_exit.saturating_sub(idle));
        }
        let cached = self.attempts.executor().cache.large();
        v1::AcquireRequest {
            worker_id: self.id.to_string(),
            max_jobs: 1,
            wait_secs: wait.as_secs_f64(),
            free_memory_bytes: memory::available_bytes(),
            cached_digests: cached.iter().map(ToString::to_string).collect(),
            answer_lost,
            held_tokens: match answer_lost {
                true => self.attempts.leases().tokens(),
                false => vec![],
            },
        }
    }

    /// Delivers what is left before the worker ends.
    async fn part(&self) {
        tokio::select! {
            () = self.deliverer.fewer_than(1) => return,
            () = self.drain.cancelled() => {}
        }
        tokio::select! {
            () = self.deliverer.fewer_than(1) => {}
            () = self.client.contact().silent_for(PARTING_SILENCE) => {}
            () = tokio::time::sleep(PARTING_MAX) => {}
        }
        let open = self.deliverer.open();
        if open > 0 {
            tracing::warn!("{open} finished jobs wait on disk for the next worker");
        }
    }

    /// Waits until the coordinator has been silent for too long.
    async fn silence(&self) -> AgentError {
        let Some(give_up) = self.config.give_up else {
            return std::future::pending().await;
        };
        let mut computed = Instant::now();
        loop {
            let contact = self.client.contact();
            if self.computing.load(Ordering::Relaxed) {
                computed = Instant::now();
            }
            let silence = contact.silence().min(computed.elapsed());
            if silence >= give_up {
                let url = self.client.url().to_owned();
                let cause = contact.cause();
                return if contact.was_there() {
                    AgentError::Silent {
                        url,
                        secs: contact.silence().as_secs(),
                        cause,
                        undelivered: self.deliverer.open(),
                    }
                } else {
                    AgentError::NeverThere { url, cause }
                };
            }
            let left = give_up - silence;
            tokio::time::sleep(left.min(Duration::from_millis(500))).await;
        }
    }

    fn turned_away(&self, cause: CallError) -> AgentError {
        AgentError::TurnedAway {
            url: self.client.url().to_owned(),
            cause,
        }
    }
}

fn held(job: &v1::Assignment) -> Result<Held, seedbed_proto::convert::BadMessage> {
    let lease = required("lease", job.lease.clone())?;
    let key = id("lease.job_key", &lease.job_key)?;
    let token = id("lease.token", &lease.token)?;
    Ok(Held::new(key, token, lease))
}

fn introduction(id: WorkerId, config: &Config, device: &device::Opened) -> v1::RegisterRequest {
    v1::RegisterRequest {
        worker_id: id.to_string(),
        host: device::host_name(),
        pid: std::process::id(),
        version: crate::VERSION.to_owned(),
        spec_versions: vec![SPEC_VERSION],
        capability: Some(device.capability()),
        label: config.label.clone(),
    }
}

#[cfg(test)]
mod tests;
