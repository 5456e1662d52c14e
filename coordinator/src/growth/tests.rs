//! Sweeps that grow, against a store, with a worker that makes its results up.

use std::time::Duration;

use seedbed_proto::WorkerId;
use seedbed_proto::job::{Init, JobSpec, Work};
use seedbed_proto::result::{Artifact, JobResult, Metric, Provenance};
use tempfile::TempDir;

use super::*;
use crate::artifacts::Blobs;
use crate::lease::Capability;
use crate::settle::settle;
use crate::store::NewWorker;
use crate::store::sqlite::SqliteStore;

const NOW: Micros = Micros(1_000_000);

/// Two seeds, and up to four, one at a time.
const GROWING: &str = "
name: growing
model: {hub: openai-community/gpt2}
train: {steps: 200}
axes:
  seed: {count: 2}
  init: [pretrained, scratch]
  learning_rate: [0.001]
replicate: {until: {half_width: 1.0e-9, max_seeds: 4, block: 1}}
";

/// The same runs, and no more.
fn plain() -> String {
    let (text, _) = GROWING.split_once("replicate:").expect("it grows");
    text.replace("name: growing", "name: plain")
}

/// What a coordinator has, and the one worker that there is.
struct World {
    growth: Growth,
    store: Arc<dyn Store>,
    artifacts: Artifacts,
    worker: WorkerId,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("store.sqlite")).await;
        let store: Arc<dyn Store> = Arc::new(store.expect("opens"));
        let blobs = Blobs::open(&folder.path().join("blobs")).expect("opens");
        let id = WorkerId::new();
        let worker = NewWorker {
            id,
            host: "host".into(),
            pid: 1,
            version: "1".into(),
            label: "w".into(),
            capability: Capability {
                device: "cpu".into(),
                ops: vec!["fused".into()],
                dtypes: vec!["f32".into()],
                hub: true,
                ..Capability::default()
            },
        };
        store.register_worker(worker, NOW).await.expect("registers");
        Self {
            growth: Growth::default(),
            artifacts: Artifacts::new(Arc::clone(&store), blobs),
            store,
            worker: id,
            _folder: folder,
        }
    }

    async fn submit(&self, yaml: &str) -> SweepId {
        let submission = Submission {
            file_name: "a.yaml".into(),
            yaml: yaml.to_owned(),
            files: BTreeMap::new(),
        };
        let submitted = (self.growth)
            .submit(&self.store, &self.artifacts, submission, NOW)
            .await;
        submitted.expect("a good sweep").1.sweep
    }

    /// Does up to `most` jobs; says how many there were.
    async fn work(&self, most: usize) -> usize {
        let mut done = 0;
        while done < most {
            let lease_secs = Duration::from_secs(60).as_secs_f64();
            let leased = (self.store).acquire(self.worker, 1, None, NOW, lease_secs);
            let Some(job) = leased.await.expect("acquires").pop() else {
                break;
            };
            let spec = JobSpec::from_json(&job.spec_json, job.lease.job).expect("its own");
            let (mut metrics, mut artifacts) = (vec![], vec![]);
            match spec.work {
                Work::Train(train) => {
                    let ahead = match train.init {
                        Init::Pretrained => 0.1 * (1 + train.seed) as f64,
                        _ => 0.0,
                    };
                    for split in ["val", "test_iid"] {
                        let name = "incongruent_accuracy";
                        metrics.push(Metric::of(split, 200, name, 0.3 + ahead));
                    }
                }
                _ => {
                    let file = self.artifacts.put_bytes("weights".into(), NOW).await;
                    let file = file.expect("stored");
                    artifacts.push(Artifact {
                        name: "model.safetensors".into(),
                        digest: file.digest,
                        size_bytes: file.size_bytes,
                    });
                }
            }
            let result = JobResult {
                metrics,
                artifacts,
                notes: vec![],
            };
            let by = Provenance::default();
            let recorded = self.store.complete(job.lease, result, by, NOW).await;
            recorded.expect("recorded");
            done += 1;
        }
        done
    }

    /// Whether a look adds seeds.
    async fn grows(&self, id: SweepId) -> bool {
        let before = self.store.status(&id.to_string()).await.expect("status");
        let after = self.status(id).await.0;
        after.counts.total() > before.counts.total()
    }

    async fn cancel(&self, sweep: &str) -> u64 {
        let ended = self.growth.cancel(&*self.store, sweep, NOW).await;
        ended.expect("cancelled")
    }

    /// Where a sweep stands, after a look.
    async fn status(&self, id: SweepId) -> (SweepStatus, Option<v1::Replication>) {
        let (growth, sweep) = (&self.growth, id.to_string());
        let status = growth.status(&self.store, &self.artifacts, &sweep, NOW);
        status.await.expect("readable")
    }

    /// Seeds of the rule's state, jobs done, jobs in all.
    async fn standing(&self, id: SweepId) -> (u64, u64, u64) {
        let (status, state) = self.status(id).await;
        let seeds = state.expect("it grows").seeds;
        (seeds, status.counts.done, status.counts.total())
    }

    /// Whether its selection is current, and with it the tests open.
    async fn opened(&self, id: SweepId) -> bool {
        let results = settle(&*self.store, &id.to_string(), NOW).await;
        let results = results.expect("readable");
        let seen = |run: &crate::results::Run| run.metrics.iter().any(|m| m.is_test());
        let opened = results.selection().is_some();
        assert!(results.runs.iter().all(|run| seen(run) == opened));
        opened
    }
}

#[tokio::test]
async fn a_sweep_grows_where_nobody_has_cancelled_it() {
    let world = World::new().await;
    let id = world.submit(GROWING).await;
    assert!(!world.grows(id).await, "its runs have not ended");
    assert_eq!(world.work(99).await, 5);
    assert!(!world.opened(id).await, "seeds are still to come");
    assert!(world.grows(id).await);
    assert_eq!(world.standing(id).await, (3, 5, 7));
}

#[tokio::test]
async fn a_cancelled_sweep_whose_runs_another_one_ends_does_not_grow() {
    let world = World::new().await;
    let id = world.submit(GROWING).await;
    assert_eq!(world.work(2).await, 2);
    world.submit(&plain()).await;
    assert_eq!(world.cancel("growing").await, 0, "the other wants them all");
    assert_eq!(world.work(99).await, 3);
    assert!(!world.grows(id).await);
    assert_eq!(world.standing(id).await, (2, 5, 5));
    assert_eq!(world.work(99).await, 0);
    // It has what it will have: nothing is waited for.
    assert!(world.opened(id).await);
}

#[tokio::test]
async fn a_sweep_that_is_cancelled_before_its_look_grows_once_it_is_retried() {
    let world = World::new().await;
    let id = world.submit(GROWING).await;
    assert_eq!(world.work(99).await, 5);
    assert_eq!(world.cancel("growing").await, 0, "all have ended");
    assert!(!world.grows(id).await);
    assert_eq!(world.standing(id).await, (2, 5, 5));
    assert!(world.opened(id).await);

    let retried = world.growth.retry(&*world.store, "growing", NOW).await;
    assert_eq!(retried.expect("retried"), 0);
    assert!(!world.opened(id).await);
    assert!(world.grows(id).await);
    assert_eq!(world.standing(id).await, (3, 5, 7));
}
