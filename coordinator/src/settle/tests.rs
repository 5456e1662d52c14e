//! Whole sweeps against a store, with a worker that makes its results up: what is
//! asked, which weights stay, and what is done again for those that are gone.

use std::collections::BTreeMap;

use seedbed_proto::job::{Inspect, JobSpec, Train, Work};
use seedbed_proto::result::{Artifact, FailureReason, JobPhase, JobResult, Metric, Provenance};
use seedbed_proto::{BlobDigest, WorkerId};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::lease::Capability;
use crate::results::Measured;
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

    /// An attempt that is not repeated.
    async fn fail(&self, lease: Lease) {
        let (why, by) = ("loss is not finite".to_owned(), Provenance::default());
        let reason = FailureReason::NonFinite;
        let again = self.store.fail(lease, reason, why, by, self.now).await;
        assert!(!again.expect("it holds the job"));
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

/// The same runs as those of a sweep that asks: they store their weights.
const NO_QUESTION: &str = "keep: {weights: selected}";
const FURTHER: &str = "inspect: {ask: [lens, drift]}";

/// A sweep whose four chosen runs are to be trained again, because each of them is
/// asked a further question.
async fn asked_further(further: &str) -> (World, SweepResults) {
    let mut world = World::new().await;
    world.submit(&file(2, "inspect: {ask: [lens]}")).await;
    world.work().await;
    world.settle().await;
    world.work().await;
    world.settle().await;
    world.submit(&file(2, further)).await;
    let results = world.settle().await;
    assert_eq!(world.phases().await, (4, 4, 1 + 4 + 4, 0));
    (world, results)
}

#[tokio::test]
async fn a_cancelled_run_that_is_done_again_has_its_result_still() {
    let (mut world, before) = asked_further(FURTHER).await;
    let (job, work) = world.acquire().await.expect("there is work");
    let ended = world.store.cancel("a", world.now).await;
    assert_eq!(ended.expect("cancels"), 4, "the questions");
    // What was on record before is as it was.
    assert_eq!(world.phases().await, (0, 0, 1 + 8 + 4, 0));
    let counts = world.store.status("a").await.expect("status").counts;
    assert_eq!((counts.cancelled, counts.unsettled()), (4, 0));
    let cancelled = world.settle().await;
    assert_eq!(cancelled.runs, before.runs);
    assert_eq!(cancelled.selections, before.selections);
    let outcomes = cancelled.attempts.iter().filter(|a| a.attempt == 2);
    let outcomes: Vec<_> = outcomes.map(|a| a.outcome.as_str()).collect();
    assert_eq!(outcomes, ["cancelled"]);
    // Whoever did not hear of it brings what is known.
    let late = world.complete(job.lease, &work).await;
    assert_eq!(late.expect("taken"), Recorded::Same);

    assert_eq!(world.store.retry("a", world.now).await.expect("retries"), 4);
    assert_eq!(world.phases().await, (4, 4, 1 + 4 + 4, 0));
    assert_eq!(world.work().await, (8, 4));
}

#[tokio::test]
async fn what_nothing_asks_for_is_not_trained_again() {
    let without = file(2, NO_QUESTION);
    let reduced = file(2, "inspect: {ask: [lens]}");
    let larger = file(4, FURTHER);
    // A file, whether the sweep is cancelled before, and how many jobs follow.
    for (yaml, cancels, jobs) in [
        (&without, true, 0),
        (&without, false, 0),
        (&reduced, true, 0),
        (&reduced, false, 0),
        (&larger, false, 8),
    ] {
        let (mut world, before) = asked_further(FURTHER).await;
        let (job, _) = world.acquire().await.expect("there is work");
        if cancels {
            world.store.cancel("a", world.now).await.expect("cancels");
        }
        world.submit(yaml).await;
        let after = world.settle().await;
        let (blocked, pending, _, failed) = world.phases().await;
        assert_eq!((blocked + pending, failed), (jobs, 0), "{yaml}");
        let counts = world.store.status("a").await.expect("status").counts;
        assert_eq!((counts.running, counts.cancelled), (0, 0), "{yaml}");
        assert_eq!(after.runs.len() as u64, 8 + jobs);
        if jobs == 0 {
            assert_eq!(after.runs, before.runs, "{yaml}");
        }
        let heard = world.store.release(job.lease, None, world.now).await;
        assert!(matches!(heard, Err(StoreError::LeaseLost(_))), "{heard:?}");
    }
}

#[tokio::test]
async fn the_same_file_again_goes_on_with_what_is_done_again() {
    let (mut world, _) = asked_further(FURTHER).await;
    let (job, work) = world.acquire().await.expect("there is work");
    world.submit(&file(2, FURTHER)).await;
    world.settle().await;
    let recorded = world.complete(job.lease, &work).await;
    assert_eq!(recorded.expect("it holds the job"), Recorded::Same);
    assert_eq!(world.work().await, (3 + 4, 4));
    assert_eq!(world.phases().await, (0, 0, 1 + 8 + 8, 0));
}

#[tokio::test]
async fn a_run_that_fails_when_it_is_done_again_fails_its_question_alone() {
    let (mut world, before) = asked_further(FURTHER).await;
    let (job, _) = world.acquire().await.expect("there is work");
    world.fail(job.lease).await;
    assert_eq!(world.work().await, (3 + 3, 3));
    assert_eq!(world.phases().await, (0, 0, 1 + 8 + 7, 1));
    let status = world.store.status("a").await.expect("status");
    let [failed] = status.failed.as_slice() else {
        panic!("{:?}", status.failed);
    };
    assert!(failed.title.starts_with("drift of "), "{}", failed.title);
    let why = &failed.message;
    let expect = "were dropped, and training it again failed: loss is not finite";
    assert!(why.contains(expect), "{why}");
    let after = world.settle().await;
    let told = |results: &SweepResults| -> Vec<(JobPhase, Vec<Measured>)> {
        let runs = results.runs.iter();
        runs.map(|run| (run.phase, run.metrics.clone())).collect()
    };
    assert_eq!(told(&after), told(&before));
    let failed = after.inspections.iter().filter(|i| i.failure.is_some());
    assert_eq!(failed.count(), 1);

    // Whoever wants the runs alone has them.
    let other = file(2, NO_QUESTION).replace("name: a", "name: b");
    world.submit(&other).await;
    let counts = world.store.status("b").await.expect("status").counts;
    assert_eq!((counts.done, counts.total()), (9, 9));
    assert_eq!(world.work().await, (0, 0));

    assert_eq!(world.store.retry("a", world.now).await.expect("retries"), 1);
    assert_eq!(world.work().await, (2, 1));
    assert_eq!(world.phases().await, (0, 0, 1 + 8 + 8, 0));
}

#[tokio::test]
async fn a_question_that_lacks_one_run_does_not_wait_for_the_others() {
    let (mut world, _) = asked_further("inspect: {ask: [lens, similarity]}").await;
    let mut leases = BTreeMap::new();
    for _ in 0..4 {
        let (job, work) = world.acquire().await.expect("there is work");
        let Work::Train(train) = work else {
            panic!("questions wait");
        };
        leases.insert((train.init.to_string(), train.seed), job.lease);
    }
    // Its own question, and those of its twin and of the seed before it.
    world.fail(leases[&("scratch".to_owned(), 1)]).await;
    assert_eq!(world.phases().await, (1, 0, 1 + 5 + 4, 3));
    // The last question: the two other runs that it waits for are as they were.
    world.fail(leases[&("pretrained".to_owned(), 0)]).await;
    assert_eq!(world.phases().await, (0, 0, 1 + 8 + 4, 4));
    assert_eq!(world.work().await, (0, 0));
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

#[tokio::test]
async fn a_sweep_whose_runs_another_one_goes_on_with_waits_for_its_selection() {
    let mut world = World::new().await;
    world.submit(&file(2, "")).await;
    for _ in 0..5 {
        let (job, work) = world.acquire().await.expect("there is work");
        world.complete(job.lease, &work).await.expect("recorded");
    }
    world.store.cancel("a", world.now).await.expect("cancels");
    let halfway = world.settle().await;
    assert_eq!((halfway.current, tests_of(&halfway)), (Some(1), 4));

    let other = file(2, "").replace("name: a", "name: b");
    world.submit(&other).await;
    let (job, work) = world.acquire().await.expect("there is work");
    world.complete(job.lease, &work).await.expect("recorded");
    let growing = world.settle().await;
    assert_eq!((growing.current, tests_of(&growing)), (None, 0));
    assert_eq!(world.phases().await, (0, 3, 6, 0));
    world.work().await;
    let last = world.settle().await;
    assert_eq!((last.current, tests_of(&last)), (Some(2), 8));
}
