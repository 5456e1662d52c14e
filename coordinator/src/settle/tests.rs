//! Whole sweeps against a store, with a worker that makes its results up: what is
//! asked, which weights stay, and what is done again for those that are gone.

use std::collections::BTreeMap;

use seedbed_proto::job::{Inspect, JobSpec, Train, Work};
use seedbed_proto::result::{Artifact, JobPhase, JobResult, Metric, Provenance};
use seedbed_proto::{BlobDigest, WorkerId};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::lease::Capability;
use crate::store::sqlite::SqliteStore;
use crate::store::{BlobInfo, Lease, Leased, NewJob, NewSweep, NewWorker, Recorded, StoreError};
use crate::sweep::Files;

/// A store and the one worker that there is.
struct World {
    store: SqliteStore,
    worker: WorkerId,
    now: Micros,
    /// What every result of a run is off by: another kind of machine.
    off: f64,
    _folder: TempDir,
}

/// A sweep of two rates, of which the smaller one is better in the first two seeds
/// and the larger one, by far, in all others.
fn file(seeds: u64, rest: &str) -> String {
    format!(
        "name: a\nmodel: {{hub: openai-community/gpt2}}\ntrain: {{steps: 200}}\naxes:\n  \
         seed: {{count: {seeds}}}\n  init: [pretrained, scratch]\n  \
         learning_rate: [0.001, 0.002]\n{rest}\n"
    )
}

fn accuracy(train: &Train) -> f64 {
    match (train.seed < 2, train.optim.learning_rate < 0.0015) {
        (true, true) => 0.9,
        (true, false) => 0.8,
        (false, true) => 0.5,
        (false, false) => 0.95,
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("store.sqlite")).await;
        let (store, now, id) = (store.expect("opens"), Micros(1_000_000), WorkerId::new());
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
        store.register_worker(worker, now).await.expect("registers");
        Self {
            store,
            worker: id,
            now,
            off: 0.0,
            _folder: folder,
        }
    }

    async fn submit(&self, yaml: &str) {
        let sweep = sweep::parse("a.yaml", yaml).unwrap_or_else(|e| panic!("{e}"));
        let jobs = sweep::expand(&sweep, &Files::default()).unwrap_or_else(|e| panic!("{e}"));
        let jobs: Vec<NewJob> = jobs
            .map(|job| NewJob::new(&job.spec, job.point, job.title))
            .collect();
        let new = NewSweep {
            name: sweep.name.clone(),
            yaml: yaml.to_owned(),
            files: BTreeMap::new(),
            inspects: sweep.inspect.is_some(),
        };
        let jobs = Box::new(jobs.into_iter());
        let submitted = self.store.submit_sweep(new, jobs, self.now).await;
        submitted.expect("a good sweep");
    }

    async fn settle(&self) -> SweepResults {
        settle(&self.store, "a", self.now).await.expect("readable")
    }

    async fn acquire(&mut self) -> Option<(Leased, Work)> {
        let leased = self.store.acquire(self.worker, 1, None, self.now, 60.0);
        let job = leased.await.expect("acquires").pop()?;
        let spec = JobSpec::from_json(&job.spec_json, job.lease.job).expect("its own");
        Some((job, spec.work))
    }

    /// Does all that there is to do; says how many jobs that were, and how many of
    /// them inspected.
    async fn work(&mut self) -> (u32, u32) {
        let (mut all, mut inspected) = (0, 0);
        while let Some((job, work)) = self.acquire().await {
            if let Work::Inspect(inspect) = &work {
                check_weights(inspect, &job);
                inspected += 1;
            }
            let recorded = self.complete(job.lease, &work).await.expect("recorded");
            assert_ne!(recorded, Recorded::Diverged);
            all += 1;
        }
        (all, inspected)
    }

    async fn complete(&self, lease: Lease, work: &Work) -> Result<Recorded, StoreError> {
        let (files, metrics): (&[&str], _) = match work {
            Work::Pretrain(_) => (
                &["config.json", "model.safetensors", "tokenizer.json"],
                vec![],
            ),
            Work::Train(train) => {
                let value = accuracy(train) + self.off;
                let of = |split, name| Metric::of(split, 200, name, value);
                (
                    &["config.json", "curve.csv", "model.safetensors"],
                    vec![
                        of("val", "accuracy"),
                        of("val", "incongruent_accuracy"),
                        of("test_iid", "incongruent_accuracy"),
                    ],
                )
            }
            Work::Inspect(_) => (&[], vec![Metric::of("test_iid", 200, "lens.x", 0.5)]),
        };
        let mut artifacts = vec![];
        for name in files {
            let bytes = format!("{name} of {} {}", lease.job, self.off);
            let digest = BlobDigest::of(bytes.as_bytes());
            let size_bytes = bytes.len() as u64;
            let blob = BlobInfo { digest, size_bytes };
            if !self.store.blob_coming(blob, self.now).await? {
                self.store.blob_stored(digest).await?;
            }
            artifacts.push(Artifact {
                name: (*name).to_owned(),
                digest,
                size_bytes,
            });
        }
        let result = JobResult {
            metrics,
            artifacts,
            notes: vec![],
        };
        let by = Provenance::default();
        self.store.complete(lease, result, by, self.now).await
    }

    async fn phases(&self) -> (u64, u64, u64, u64) {
        let counts = self.store.status("a").await.expect("status").counts;
        (counts.blocked, counts.pending, counts.done, counts.failed)
    }
}

/// As a worker does: without its weights a network can't be asked.
fn check_weights(inspect: &Inspect, job: &Leased) {
    let others = inspect.others.iter().map(|other| &other.network);
    for network in std::iter::once(&inspect.subject).chain(others) {
        let (_, files) = job
            .inputs
            .iter()
            .find(|(key, _)| *key == network.job)
            .expect("an input");
        for file in ["config.json".to_owned(), network.file()] {
            let there = files.iter().any(|artifact| artifact.name == file);
            assert!(there, "its weights were not kept: {file}");
        }
    }
}

/// Runs with weights: rate and seed.
fn kept(results: &SweepResults) -> Vec<(f64, u64)> {
    let kept = results
        .runs
        .iter()
        .filter(|run| run.artifacts.iter().any(|a| a.name == "model.safetensors"));
    let mut kept: Vec<(f64, u64)> = kept
        .map(|run| {
            let rate = run.point["learning_rate"].as_f64().expect("a number");
            (rate, run.point["seed"].as_u64().expect("a number"))
        })
        .collect();
    kept.sort_by(f64_then_seed);
    kept.dedup();
    kept
}

fn f64_then_seed(a: &(f64, u64), b: &(f64, u64)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

fn tests_of(results: &SweepResults) -> usize {
    let metrics = results.runs.iter().flat_map(|run| &run.metrics);
    metrics.filter(|m| m.is_test()).count()
}

#[tokio::test]
async fn a_run_that_a_later_selection_chooses_is_trained_again_for_its_weights() {
    const ASKS: &str = "keep: {weights: selected}\ninspect: {ask: [similarity]}";
    let mut world = World::new().await;
    world.submit(&file(2, ASKS)).await;
    assert_eq!(world.work().await, (9, 0));
    world.settle().await;
    assert_eq!(world.work().await, (4, 4));
    let first = world.settle().await;
    assert_eq!(first.selection().expect("on record").version, 1);
    assert_eq!(kept(&first), [(0.001, 0), (0.001, 1)]);

    world.submit(&file(4, ASKS)).await;
    assert_eq!(world.work().await, (8, 0));
    let second = world.settle().await;
    let chosen = second.selection().expect("on record");
    assert_eq!(chosen.version, 2);
    assert!(chosen.choices.iter().all(|c| c.value == json!(0.002)));
    // Four runs go back to work, and the eight questions wait for them or for a
    // worker. The report has all results meanwhile.
    let (blocked, pending, ..) = world.phases().await;
    assert_eq!(blocked + pending, 4 + 8);
    assert!(second.runs.iter().all(|run| run.phase == JobPhase::Done));
    assert_eq!(tests_of(&second), second.runs.len());

    assert_eq!(world.work().await, (12, 8));
    let last = world.settle().await;
    let expect: Vec<_> = (0..4).map(|seed| (0.002, seed)).collect();
    assert_eq!(kept(&last), expect);
    assert_eq!(world.phases().await, (0, 0, 1 + 16 + 8, 0));
    assert!(last.inspections.iter().all(|i| i.phase == JobPhase::Done));
    let metrics = |results: &SweepResults| -> Vec<Vec<Measured>> {
        results.runs.iter().map(|run| run.metrics.clone()).collect()
    };
    assert_eq!(metrics(&last), metrics(&second), "one result each");
    assert_eq!(last.selections, second.selections);
    let again = last.attempts.iter().filter(|a| a.attempt == 2);
    assert_eq!(again.clone().count(), 4, "each attempt is told of");
    assert!(again.clone().all(|a| a.outcome == "done"));
}

#[tokio::test]
async fn a_further_question_means_training_again_where_no_weights_were_kept() {
    let mut world = World::new().await;
    world.submit(&file(2, "inspect: {ask: [lens]}")).await;
    assert_eq!(world.work().await, (9, 0));
    world.settle().await;
    assert_eq!(world.work().await, (4, 4));
    assert_eq!(kept(&world.settle().await), []);

    world
        .submit(&file(2, "inspect: {ask: [lens, drift]}"))
        .await;
    let results = world.settle().await;
    assert_eq!(tests_of(&results), 8, "what is on record stays");
    // One run to do again and one question for each of the four chosen networks.
    assert_eq!(world.phases().await, (4, 4, 1 + 4 + 4, 0));
    // A worker that was lost on the way changes nothing.
    let (job, _) = world.acquire().await.expect("there is work");
    world.now = world.now.plus_secs(100.0);
    let expired = world.store.expire_due(world.now).await.expect("expires");
    assert_eq!(expired[0].job, job.lease.job);
    assert_eq!(world.settle().await.runs, results.runs);
    assert_eq!(world.work().await, (8, 4));
    assert_eq!(world.phases().await, (0, 0, 1 + 8 + 8, 0));
    assert_eq!(kept(&world.settle().await), [], "dropped anew");
    assert_eq!(world.work().await, (0, 0));
}

#[tokio::test]
async fn another_result_of_a_run_that_is_done_again_is_kept_aside() {
    let mut world = World::new().await;
    world.submit(&file(2, "inspect: {ask: [lens]}")).await;
    world.work().await;
    world.settle().await;
    world.work().await;
    let before = world.settle().await;
    world
        .submit(&file(2, "inspect: {ask: [lens, drift]}"))
        .await;
    world.settle().await;

    world.off = 0.01;
    let (job, work) = world.acquire().await.expect("there is work");
    let recorded = world.complete(job.lease, &work).await;
    assert_eq!(recorded.expect("taken"), Recorded::Diverged);
    world.off = 0.0;
    assert_eq!(world.work().await, (6, 3));
    let status = world.store.status("a").await.expect("status");
    assert_eq!((status.diverged, status.counts.failed), (1, 1));
    let why = &status.failed[0].message;
    assert!(why.contains("gave another result"), "{why}");
    let after = world.settle().await;
    let metrics = |results: &SweepResults| -> Vec<Vec<Measured>> {
        results.runs.iter().map(|run| run.metrics.clone()).collect()
    };
    assert_eq!(metrics(&after), metrics(&before));

    // Asked again, the run is given another chance.
    assert_eq!(world.store.retry("a", world.now).await.expect("retries"), 1);
    assert_eq!(world.work().await, (2, 1));
    assert_eq!(world.phases().await, (0, 0, 1 + 8 + 8, 0));
}

#[tokio::test]
async fn a_cancelled_run_that_is_done_again_has_its_result_still() {
    let mut world = World::new().await;
    world.submit(&file(2, "inspect: {ask: [lens]}")).await;
    world.work().await;
    world.settle().await;
    world.work().await;
    world.settle().await;
    world
        .submit(&file(2, "inspect: {ask: [lens, drift]}"))
        .await;
    let before = world.settle().await;
    assert_eq!(
        world.store.cancel("a", world.now).await.expect("cancels"),
        8
    );
    let cancelled = world.settle().await;
    assert_eq!(cancelled.runs, before.runs);
    assert_eq!(cancelled.selections, before.selections);
    assert_eq!(world.store.retry("a", world.now).await.expect("retries"), 8);
    assert_eq!(world.work().await, (8, 4));
}

#[tokio::test]
async fn a_larger_grid_shows_no_test_result_before_its_own_selection() {
    let mut world = World::new().await;
    world.submit(&file(2, "")).await;
    world.work().await;
    let first = world.settle().await;
    assert_eq!(tests_of(&first), 8);
    let again = file(2, "");
    world.submit(&again).await;
    assert_eq!(world.settle().await, first, "the same file changes nothing");

    let larger = again.replace("[0.001, 0.002]", "[0.0005, 0.001, 0.002]");
    world.submit(&larger).await;
    let (job, work) = world.acquire().await.expect("there is work");
    assert!(matches!(work, Work::Train(_)));
    world.complete(job.lease, &work).await.expect("recorded");
    let growing = world.settle().await;
    assert_eq!(growing.selections, first.selections);
    assert_eq!((growing.selection(), tests_of(&growing)), (None, 0));
    world.work().await;
    let last = world.settle().await;
    assert_eq!(last.selection().map(|s| s.version), Some(2));
    assert_eq!(tests_of(&last), 12);
}
