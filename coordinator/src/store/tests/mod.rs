//! A store in a folder of its own, with a clock that a test moves, and names for
//! what is in it.

mod faults;
mod interpret;
mod questions;
mod results;
mod scripts;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::job::{
    CorpusPretrain, DeviceKind, Dtype, Engine, JobSpec, Loss, Ops, Optim, Pretrain, SPEC_VERSION,
    Schedule, Shape, Work,
};
use seedbed_proto::result::{FailureReason, JobResult, Metric, Note, Provenance};
use seedbed_proto::{BlobDigest, JobKey, LeaseToken, WorkerId};
use tempfile::TempDir;

use super::sqlite::SqliteStore;
use super::*;
use crate::clock::{Clock, ManualClock, Micros};
use crate::lease::Capability;
use interpret::{check, show};

const LEASE_SECS: f64 = 8.0;

/// A store in a folder of its own, a clock, and names for what is in it.
struct World {
    folder: TempDir,
    store: SqliteStore,
    clock: ManualClock,
    workers: BTreeMap<String, WorkerId>,
    leases: BTreeMap<String, Lease>,
    names: BTreeMap<JobKey, String>,
    /// Whether sweeps that are submitted from here on ask questions.
    inspects: bool,
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
                dropout: 0.0,
                layer_decay: 1.0,
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
        notes: vec![
            Note::new("val", "too few trials for a fit"),
            Note::new("test_range", "no single tokens"),
        ],
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
            inspects: false,
        }
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    async fn revision(&self, sweep: &str) -> Revision {
        self.store
            .revision(sweep)
            .await
            .expect("the sweep is there")
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
            inspects: self.inspects,
        };
        let jobs = Box::new(jobs.into_iter());
        self.store.submit_sweep(sweep, jobs, self.now()).await
    }

    async fn acquire(&mut self, worker: &str, max_jobs: u32) -> Result<Vec<Leased>, StoreError> {
        let id = self.worker(worker).await;
        let now = self.now();
        let leased = self
            .store
            .acquire(id, max_jobs, None, now, LEASE_SECS)
            .await?;
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
}
