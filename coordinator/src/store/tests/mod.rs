//! Scripts against the store: one operation a line, with what it must answer.
//!
//! ```text
//! submit s: a b<a        => jobs=2 new=2 done=0
//! acquire w1 5           => a@1
//! complete a@1           => new
//! ```
//! `b<a` is a job that needs the result of `a`; `a@1` is the lease of the first
//! attempt at `a`; `complete a@1 7` brings another result than `complete a@1`. A
//! line without `=>` must succeed.

mod faults;
mod results;
mod scripts;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use seedbed_proto::job::{
    CorpusPretrain, DeviceKind, Dtype, Engine, JobSpec, Loss, Ops, Optim, Pretrain, SPEC_VERSION,
    Schedule, Shape, Work,
};
use seedbed_proto::result::{FailureReason, JobResult, Metric, Provenance};
use seedbed_proto::{BlobDigest, JobKey, LeaseToken, WorkerId};
use tempfile::TempDir;

use super::sqlite::SqliteStore;
use super::*;
use crate::clock::{Clock, ManualClock, Micros};
use crate::lease::Capability;

const LEASE_SECS: f64 = 8.0;

/// A store in a folder of its own, a clock, and names for what is in it.
struct World {
    folder: TempDir,
    store: SqliteStore,
    clock: ManualClock,
    workers: BTreeMap<String, WorkerId>,
    leases: BTreeMap<String, Lease>,
    names: BTreeMap<JobKey, String>,
}

/// A job of this name. Its spec differs from those of other names, no more.
fn job(name: &str, inputs: &[&str]) -> NewJob {
    let seed = name
        .bytes()
        .fold(0, |seed, byte| seed * 256 + u64::from(byte));
    let spec = JobSpec {
        version: SPEC_VERSION,
        engine: Engine {
            device: DeviceKind::Cpu,
            ops: Ops::Fused,
            dtype: Dtype::F32,
            micro_batch: 1,
        },
        work: Work::Pretrain(Pretrain::Corpus(Box::new(CorpusPretrain {
            corpus: vec![],
            vocab: 300,
            shape: Shape {
                layers: 1,
                heads: 1,
                width: 8,
                positions: 8,
            },
            context: 8,
            optim: Optim {
                steps: 100,
                batch: 1,
                learning_rate: 0.5,
                schedule: Schedule::Constant,
                warmup: 0,
                clip: 0.0,
                weight_decay: 0.0,
                beta1: 0.5,
                beta2: 0.5,
                epsilon: 0.5,
                loss: Loss::Full,
                eval_every: 10,
            },
            seed,
        }))),
    };
    let point = BTreeMap::from([("seed".to_owned(), seed.into())]);
    NewJob {
        inputs: inputs.iter().map(|name| job(name, &[]).key).collect(),
        ..NewJob::new(&spec, Some(point), format!("job {name}"))
    }
}

/// The result of a job: a function of the job alone, unless it diverges.
fn result(key: JobKey, variant: f64) -> JobResult {
    let measured = f64::from(key.as_bytes()[0]) + variant;
    JobResult {
        metrics: vec![
            Metric::of("val", 100, "accuracy", measured),
            Metric::of("val", 100, "nll", f64::NAN),
            Metric::of("test_iid", 100, "accuracy", measured / 2.0),
        ],
        artifacts: vec![],
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("store.sqlite"))
            .await
            .expect("opens");
        Self {
            folder,
            store,
            clock: ManualClock::at(Micros(1_700_000_000_000_000)),
            workers: BTreeMap::new(),
            leases: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    /// Another store on the same file.
    async fn open(&self) -> SqliteStore {
        let file = self.folder.path().join("store.sqlite");
        SqliteStore::open(&file).await.expect("opens again")
    }

    /// Leaves the store as a killed process would, and opens it again.
    async fn reopen(&mut self) {
        self.store = self.open().await;
    }

    /// Makes a blob known, as if it had been uploaded.
    async fn upload(&self, name: &str) -> BlobDigest {
        let blob = BlobInfo {
            digest: BlobDigest::of(name.as_bytes()),
            size_bytes: name.len() as u64,
        };
        let now = self.now();
        if !self.store.blob_coming(blob, now).await.expect("announced") {
            self.store.blob_stored(blob.digest).await.expect("stored");
        }
        blob.digest
    }

    async fn worker(&mut self, name: &str) -> WorkerId {
        if let Some(id) = self.workers.get(name) {
            return *id;
        }
        let id = WorkerId::new();
        let worker = NewWorker {
            id,
            host: "host".into(),
            pid: 1,
            version: "1".into(),
            label: name.into(),
            capability: Capability {
                device: if name.starts_with("gpu") {
                    "cuda"
                } else {
                    "cpu"
                }
                .into(),
                ops: vec!["fused".into(), "composite".into()],
                dtypes: vec!["f32".into()],
                ..Capability::default()
            },
        };
        let now = self.now();
        self.store
            .register_worker(worker, now)
            .await
            .expect("registers");
        self.workers.insert(name.to_owned(), id);
        id
    }

    async fn submit(&mut self, sweep: &str, jobs: Vec<NewJob>) -> Result<Submitted, StoreError> {
        for job in &jobs {
            let name = job.title.trim_start_matches("job ").to_owned();
            self.names.insert(job.key, name);
        }
        let sweep = NewSweep {
            name: sweep.to_owned(),
            yaml: format!("name: {sweep} # {} jobs", jobs.len()),
            files: BTreeMap::new(),
        };
        let jobs = Box::new(jobs.into_iter());
        self.store.submit_sweep(sweep, jobs, self.now()).await
    }

    async fn acquire(&mut self, worker: &str, max_jobs: u32) -> Result<Vec<Leased>, StoreError> {
        let id = self.worker(worker).await;
        let now = self.now();
        let leased = self.store.acquire(id, max_jobs, now, LEASE_SECS).await?;
        for job in &leased {
            assert_eq!(JobKey::of(job.spec_json.as_bytes()), job.lease.job);
            self.leases.insert(self.name(job.lease), job.lease);
        }
        Ok(leased)
    }

    /// "a@1".
    fn name(&self, lease: Lease) -> String {
        format!("{}@{}", self.names[&lease.job], lease.attempt)
    }

    fn lease(&self, name: &str) -> Lease {
        *self
            .leases
            .get(name)
            .unwrap_or_else(|| panic!("the script has no lease {name}"))
    }

    /// Runs one line and says what came of it, in the script's words.
    async fn run(&mut self, line: &str) -> Result<String, StoreError> {
        let now = self.now();
        let mut words = line.split_whitespace();
        let operation = words.next().unwrap_or_default();
        let args: Vec<&str> = words.collect();
        let secs = |text: &str| text.parse::<f64>().expect("seconds");
        Ok(match operation {
            "submit" => {
                let jobs = args[1..].iter().map(|text| {
                    let (name, inputs) = text.split_once('<').unwrap_or((text, ""));
                    let inputs: Vec<_> = inputs.split(',').filter(|i| !i.is_empty()).collect();
                    job(name, &inputs)
                });
                let submitted = self
                    .submit(args[0].trim_end_matches(':'), jobs.collect())
                    .await?;
                let Submitted {
                    jobs,
                    jobs_new,
                    jobs_done,
                    ..
                } = submitted;
                format!("jobs={jobs} new={jobs_new} done={jobs_done}")
            }
            "acquire" => {
                let leased = self
                    .acquire(args[0], args[1].parse().expect("a number"))
                    .await?;
                let show = |job: &Leased| match job.resume {
                    Some(checkpoint) => format!("{}+{}", self.name(job.lease), checkpoint.step),
                    None => self.name(job.lease),
                };
                leased.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            "renew" => {
                let worker = self.worker(args[0]).await;
                let mut jobs = vec![];
                for text in &args[1..] {
                    let (text, checkpoint) = text.split_once('+').unwrap_or((text, ""));
                    let Lease { job, token, .. } = self.lease(text);
                    let checkpoint = self.checkpoint(checkpoint).await;
                    let step = checkpoint.map_or(7, |c| c.step + 1);
                    let live = Some(("val.accuracy".to_owned(), 0.5));
                    jobs.push(Progress {
                        job,
                        token,
                        step,
                        steps_per_sec: 2.0,
                        live,
                        checkpoint,
                    });
                }
                let answers = self.store.renew(worker, jobs, now, LEASE_SECS).await?;
                let show = |a: &Renewal| format!("{a:?}").to_lowercase();
                answers.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            "complete" => {
                let lease = self.lease(args[0]);
                let variant = args.get(1).map_or(0.0, |text| secs(text));
                let result = result(lease.job, variant);
                let by = Provenance::default();
                let recorded = self.store.complete(lease, result, by, now).await?;
                format!("{recorded:?}").to_lowercase()
            }
            "fail" => {
                let reason = FailureReason::from_name(args[1]).expect("a reason");
                let (lease, by) = (self.lease(args[0]), Provenance::default());
                match self
                    .store
                    .fail(lease, reason, "it broke".into(), by, now)
                    .await?
                {
                    true => "retry".to_owned(),
                    false => "failed".to_owned(),
                }
            }
            "release" => {
                let checkpoint = self.checkpoint(args.get(1).unwrap_or(&"")).await;
                self.store
                    .release(self.lease(args[0]), checkpoint, now)
                    .await?;
                String::new()
            }
            "wait" => {
                self.clock.advance_secs(secs(args[0]));
                String::new()
            }
            "expire" => {
                let expired = self.store.expire_due(now).await?;
                let show = |e: &Expired| {
                    let end = if e.will_retry { "" } else { "!" };
                    format!("{}@{}{end}", self.names[&e.job], e.attempt)
                };
                expired.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            "extend" => {
                let until = now.plus_secs(secs(args[0]));
                self.store.extend_running(until).await?.to_string()
            }
            "cancel" => self.store.cancel(args[0], now).await?.to_string(),
            "retry" => self.store.retry(args[0], now).await?.to_string(),
            "reopen" => {
                self.reopen().await;
                String::new()
            }
            "status" => show(&self.store.status(args[0]).await?),
            "failures" => {
                let status = self.store.status(args[0]).await?;
                let show =
                    |f: &FailedJob| format!("{} {} {}", self.names[&f.job], f.reason, f.message);
                status
                    .failed
                    .iter()
                    .map(show)
                    .collect::<Vec<_>>()
                    .join("; ")
            }
            other => panic!("the script says {other:?}"),
        })
    }

    async fn checkpoint(&self, step: &str) -> Option<Checkpoint> {
        let digest = self.upload(&format!("checkpoint {step}")).await;
        let step = step.parse().ok()?;
        Some(Checkpoint {
            step,
            digest,
            size_bytes: 3,
        })
    }
}

/// "pending=1 done=2 left=100", without zeros.
fn show(status: &SweepStatus) -> String {
    let Counts {
        blocked,
        pending,
        running,
        done,
        failed,
        cancelled,
    } = status.counts;
    let mut text = String::new();
    for (name, count) in [
        ("blocked", blocked),
        ("pending", pending),
        ("running", running),
        ("done", done),
        ("failed", failed),
        ("cancelled", cancelled),
        ("diverged", status.diverged),
        ("left", status.steps_left),
    ] {
        if count > 0 {
            write!(text, "{name}={count} ").expect("to a string");
        }
    }
    text.trim_end().to_owned()
}

/// Runs a script; errors are answers too.
async fn check(script: &str) {
    let mut world = World::new().await;
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (operation, expect) = line.split_once("=>").unwrap_or((line, ""));
        let actual = match world.run(operation).await {
            Ok(answer) => answer,
            Err(error) => format!("error: {error}"),
        };
        let expect = expect.trim();
        // An error's text is long; a script may quote its beginning.
        let as_expected = match expect.strip_suffix('…') {
            Some(start) => actual.starts_with(start),
            None => actual == expect,
        };
        assert!(
            as_expected,
            "{operation}\n  expected {expect}\n  but got  {actual}"
        );
    }
}
