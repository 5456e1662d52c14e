//! Leases that this worker holds, and the heartbeat that keeps them.
//!
//! A lease is lost only when the coordinator says so (DROP, ABORTED). While the
//! coordinator can't be reached the worker goes on: a coordinator that comes back
//! extends the leases it finds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use seedbed_proto::{JobKey, LeaseToken, WorkerId, v1};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::client::{CallError, Client};
use crate::job::Progress;

/// One job that this worker holds, from Acquire to the delivered report.
#[derive(Debug)]
pub struct Held {
    /// The job.
    pub key: JobKey,
    /// The attempt.
    pub token: LeaseToken,
    /// As it came; named in every write.
    pub lease: v1::Lease,
    /// Cancelled when the coordinator takes the job away.
    pub dropped: CancellationToken,
    checkpoint_wanted: AtomicBool,
    step: AtomicU64,
    steps_total: AtomicU64,
    /// Bits of an f64.
    steps_per_sec: AtomicU64,
    live: Mutex<Option<(String, f64)>>,
    /// Uploaded, but the coordinator has not been told.
    untold: Mutex<Option<v1::Checkpoint>>,
}

impl Held {
    /// A job that was just leased.
    pub fn new(key: JobKey, token: LeaseToken, lease: v1::Lease) -> Self {
        Self {
            key,
            token,
            lease,
            dropped: CancellationToken::new(),
            checkpoint_wanted: AtomicBool::new(false),
            step: AtomicU64::new(0),
            steps_total: AtomicU64::new(0),
            steps_per_sec: AtomicU64::new(0),
            live: Mutex::default(),
            untold: Mutex::default(),
        }
    }

    /// Notes how far the job is; cheap.
    pub fn progressed(&self, progress: &Progress, steps_per_sec: f64) {
        self.step.store(progress.step, Ordering::Relaxed);
        let total = progress.steps_total;
        self.steps_total.store(total, Ordering::Relaxed);
        self.set_speed(steps_per_sec);
        let mut live = self.live.lock().expect("no panic while held");
        if *live != progress.live {
            live.clone_from(&progress.live);
        }
    }

    /// The job is past its steps (upload, delivery): it has no speed, so that a
    /// step which does not move is not taken for a hang.
    pub fn stands_still(&self) {
        self.set_speed(0.0);
    }

    fn set_speed(&self, steps_per_sec: f64) {
        let bits = steps_per_sec.to_bits();
        self.steps_per_sec.store(bits, Ordering::Relaxed);
    }

    /// Whether the coordinator asked for a checkpoint since the last call.
    pub fn take_checkpoint_wish(&self) -> bool {
        self.checkpoint_wanted.swap(false, Ordering::Relaxed)
    }

    /// Notes an uploaded checkpoint; the next heartbeat tells it.
    pub fn uploaded(&self, checkpoint: v1::Checkpoint) {
        *self.untold.lock().expect("no panic while held") = Some(checkpoint);
    }

    fn progress(&self) -> v1::JobProgress {
        let live = self.live.lock().expect("no panic while held").clone();
        let (live_metric, live_value) = live.unwrap_or_default();
        v1::JobProgress {
            job_key: self.key.to_string(),
            token: self.token.to_string(),
            step: self.step.load(Ordering::Relaxed),
            steps_total: self.steps_total.load(Ordering::Relaxed),
            steps_per_sec: f64::from_bits(self.steps_per_sec.load(Ordering::Relaxed)),
            live_metric,
            live_value,
            checkpoint: self.untold.lock().expect("no panic while held").clone(),
        }
    }

    fn told(&self, checkpoint: Option<&v1::Checkpoint>) {
        let mut untold = self.untold.lock().expect("no panic while held");
        // A newer one may have come while the call was on its way.
        if untold.as_ref() == checkpoint {
            *untold = None;
        }
    }
}

/// All jobs that this worker holds.
#[derive(Debug, Default)]
pub struct Leases {
    held: Mutex<BTreeMap<LeaseToken, Arc<Held>>>,
}

impl Leases {
    /// Adds a job; from now on it is renewed.
    pub fn add(&self, held: Arc<Held>) {
        let mut all = self.held.lock().expect("no panic while held");
        all.insert(held.token, held);
    }

    /// Forgets a job.
    pub fn remove(&self, token: LeaseToken) {
        self.held
            .lock()
            .expect("no panic while held")
            .remove(&token);
    }

    /// The tokens of all of them, as they go over the wire.
    pub fn tokens(&self) -> Vec<String> {
        let all = self.held.lock().expect("no panic while held");
        all.keys().map(ToString::to_string).collect()
    }

    fn all(&self) -> Vec<Arc<Held>> {
        let all = self.held.lock().expect("no panic while held");
        all.values().cloned().collect()
    }

    fn obey(&self, order: &v1::Order) {
        let Ok(token) = order.token.parse::<LeaseToken>() else {
            return;
        };
        let held = {
            let all = self.held.lock().expect("no panic while held");
            all.get(&token).cloned()
        };
        let Some(held) = held else { return };
        match order.kind() {
            v1::OrderKind::Continue | v1::OrderKind::Unspecified => {}
            v1::OrderKind::Checkpoint => held.checkpoint_wanted.store(true, Ordering::Relaxed),
            v1::OrderKind::Drop => {
                held.dropped.cancel();
                self.remove(token);
            }
        }
    }
}

/// Registers the worker and keeps its leases.
pub struct Heartbeat {
    /// The coordinator.
    pub client: Client,
    /// What is renewed.
    pub leases: Arc<Leases>,
    /// Who renews.
    pub register: v1::RegisterRequest,
    /// The coordinator's latest terms.
    terms: RwLock<v1::RegisterResponse>,
    /// Whether the last answer asked the worker to end.
    drain: watch::Sender<bool>,
}

impl Heartbeat {
    /// A heartbeat that has not begun.
    pub fn new(client: Client, leases: Arc<Leases>, register: v1::RegisterRequest) -> Self {
        Self {
            client,
            leases,
            register,
            terms: RwLock::default(),
            drain: watch::Sender::new(false),
        }
    }

    /// Makes the worker known, again after a coordinator lost its memory of it.
    ///
    /// # Errors
    /// By the retry rule.
    pub async fn register(&self) -> Result<(), CallError> {
        let terms = self.client.register(&self.register).await?;
        *self.terms.write().expect("no panic while held") = terms;
        Ok(())
    }

    /// Waits until the coordinator has asked the worker to end.
    pub async fn drained(&self) {
        let mut drain = self.drain.subscribe();
        let asked = drain.wait_for(|drain| *drain).await;
        assert!(asked.is_ok(), "its sender is held by self");
    }

    /// Beats for ever.
    ///
    /// # Errors
    /// If the coordinator refuses the worker for good.
    pub async fn run(&self, id: WorkerId) -> CallError {
        loop {
            tokio::time::sleep(self.pause()).await;
            if let Err(error) = self.beat(id).await {
                return error;
            }
        }
    }

    async fn beat(&self, id: WorkerId) -> Result<(), CallError> {
        let held = self.leases.all();
        let jobs: Vec<_> = held.iter().map(|h| h.progress()).collect();
        let request = v1::RenewRequest {
            worker_id: id.to_string(),
            jobs: jobs.clone(),
        };
        match self.client.renew(request, self.answer_max()).await {
            Ok(answer) => {
                for (held, told) in held.iter().zip(&jobs) {
                    held.told(told.checkpoint.as_ref());
                }
                answer.orders.iter().for_each(|o| self.leases.obey(o));
                self.drain.send_replace(answer.drain);
                Ok(())
            }
            Err(CallError::NotFound(_)) => match self.register().await {
                Ok(()) | Err(CallError::Unavailable(_)) => Ok(()),
                Err(error) => Err(error),
            },
            // The next beat is the retry.
            Err(CallError::Unavailable(_)) => Ok(()),
            Err(error @ (CallError::Unauthorised(_) | CallError::Refused { .. })) => Err(error),
            Err(error) => {
                tracing::error!(%error, "unexpected answer to a heartbeat");
                Ok(())
            }
        }
    }

    fn pause(&self) -> Duration {
        let terms = self.terms.read().expect("no panic while held");
        bounded(terms.heartbeat_secs, 0.05, 60.0)
    }

    /// Two attempts must fit into a lease.
    fn answer_max(&self) -> Duration {
        let terms = self.terms.read().expect("no panic while held");
        bounded(terms.lease_secs / 2.0, 1.0, 30.0)
    }
}

/// What the coordinator asks for, within reason.
fn bounded(secs: f64, least: f64, most: f64) -> Duration {
    let secs = secs.clamp(least, most);
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Arc<Held> {
        let (key, token) = (JobKey::of(b"job"), LeaseToken::new());
        Arc::new(Held::new(key, token, v1::Lease::default()))
    }

    fn order(held: &Held, kind: v1::OrderKind) -> v1::Order {
        v1::Order {
            job_key: held.key.to_string(),
            token: held.token.to_string(),
            kind: kind.into(),
        }
    }

    #[test]
    fn orders_reach_their_job() {
        let leases = Leases::default();
        let (one, other) = (held(), held());
        leases.add(one.clone());
        leases.add(other.clone());

        leases.obey(&order(&one, v1::OrderKind::Continue));
        assert!(!one.take_checkpoint_wish());
        leases.obey(&order(&one, v1::OrderKind::Checkpoint));
        assert!(one.take_checkpoint_wish());
        assert!(!one.take_checkpoint_wish(), "once");
        leases.obey(&order(&one, v1::OrderKind::Drop));
        assert!(one.dropped.is_cancelled());
        assert!(!other.dropped.is_cancelled());
        assert_eq!(leases.all().len(), 1);
    }

    #[test]
    fn a_checkpoint_is_told_until_it_was_heard() {
        let held = held();
        let first = v1::Checkpoint {
            step: 1,
            ..Default::default()
        };
        held.uploaded(first.clone());
        assert_eq!(held.progress().checkpoint, Some(first.clone()));
        assert_eq!(held.progress().checkpoint, Some(first.clone()));

        let second = v1::Checkpoint {
            step: 2,
            ..Default::default()
        };
        held.uploaded(second.clone());
        held.told(Some(&first));
        assert_eq!(held.progress().checkpoint, Some(second.clone()));
        held.told(Some(&second));
        assert_eq!(held.progress().checkpoint, None);
    }
}
