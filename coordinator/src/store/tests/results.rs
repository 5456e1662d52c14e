//! What comes out: results, sealed test splits, selections, retention, garbage.

use std::sync::Arc;

use seedbed_proto::result::Artifact;
use serde_json::json;

use super::*;
use crate::artifacts::{Artifacts, Blobs};
use crate::results::{Choice, Quantities, Selection, SweepResults};

fn selection(mean: f64) -> Selection {
    Selection {
        version: 0,
        axis: "learning_rate".into(),
        by: "val.accuracy".into(),
        choices: vec![Choice {
            group: BTreeMap::new(),
            value: json!(0.5),
            mean,
            seeds: vec![1, 2],
            at_edge: false,
            without: Default::default(),
        }],
    }
}

#[tokio::test]
async fn test_splits_are_sealed_until_a_selection_is_on_record() {
    let mut world = World::new().await;
    for line in [
        "submit s: a b",
        "acquire w1 1",
        "complete a@1",
        "acquire w1 1",
    ] {
        world.run(line).await.expect(line);
    }
    let splits = |results: &SweepResults| {
        let metrics = results.runs.iter().flat_map(|run| &run.metrics);
        metrics.map(|m| m.split.clone()).collect::<Vec<_>>()
    };
    let before = world.store.results("s").await.expect("results");
    assert_eq!(splits(&before), ["val", "val"]);
    assert_eq!(before.runs.len(), 2);
    assert_eq!(before.runs[0].ordinal, 0);
    assert_eq!(before.yaml, "name: s # 2 jobs");
    world.run("fail b@1 invalid").await.expect("failed");

    let now = world.now();
    let read_at = world.revision("s").await;
    let recorded = (world.store)
        .record_selection("s", read_at, selection(0.1), now)
        .await;
    assert_eq!(recorded.expect("recorded").version, 1);
    let after = world.store.results("s").await.expect("results");
    assert_eq!(splits(&after), ["val", "val", "test_iid"]);
    let places = |results: &SweepResults| {
        let notes = results.runs[0].notes.iter();
        notes.map(|note| note.place.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        places(&before),
        ["val"],
        "a test split's notes are sealed too"
    );
    assert_eq!(places(&after), ["val", "test_range"]);

    // Bit by bit what was delivered, NaN included.
    let key = after.runs[0].key;
    let metrics = after.runs[0].metrics.iter().cloned();
    let back = JobResult {
        metrics: metrics.map(Metric::from).collect(),
        artifacts: vec![],
        notes: after.runs[0].notes.clone(),
    };
    assert_eq!(back.digest(), result(key, 0.0).digest());
    let outcomes: Vec<_> = after.attempts.iter().map(|a| a.outcome.as_str()).collect();
    assert_eq!(outcomes, ["done", "invalid"]);
    assert_eq!(after.attempts[0].worker, "w1");
}

#[tokio::test]
async fn results_are_the_same_however_many_runs_are_read_at_a_time() {
    let mut world = World::new().await;
    world.run("submit s: a b c d").await.expect("submitted");
    for job in ["a", "b", "c"] {
        for line in ["acquire w1 1".to_owned(), format!("complete {job}@1")] {
            world.run(&line).await.expect("goes on");
        }
    }
    let (now, read_at) = (world.now(), world.revision("s").await);
    let recorded = (world.store)
        .record_selection("s", read_at, selection(0.1), now)
        .await;
    recorded.expect("recorded");
    let whole = world.store.results("s").await.expect("results");

    // What the runs of all pages measured stands in memory once.
    let mut known = Quantities::default();
    let mut runs = vec![];
    for from in 0..4 {
        let page = world.store.runs("s", from, 1, &mut known).await;
        let page = page.expect("a page");
        assert_eq!(page.len(), 1);
        runs.extend(page);
    }
    // NaN is not equal to itself.
    assert_eq!(format!("{runs:?}"), format!("{:?}", whole.runs));
    assert_eq!(runs[3].metrics, []);
    for runs in [&runs, &whole.runs] {
        for run in &runs[1..3] {
            let pairs = run.metrics.iter().zip(&runs[0].metrics);
            assert!(pairs.into_iter().all(|(one, first)| one.shares(first)));
            assert!(!run.metrics.is_empty());
        }
    }
}

#[tokio::test]
async fn a_sweep_that_goes_on_is_sealed_again() {
    let mut world = World::new().await;
    for line in ["submit s: a", "acquire w1 1", "complete a@1"] {
        world.run(line).await.expect(line);
    }
    for (line, mean, version) in [
        ("submit s: a", 0.1, 1),
        ("submit s: a b", 0.1, 1),
        ("cancel s", 0.2, 2),
        ("retry s", 0.1, 3),
    ] {
        world.run(line).await.expect(line);
        assert!(
            !opened(&world, "s").await,
            "{line}: of all records none is current"
        );
        if line == "submit s: a b" {
            for line in ["acquire w1 1", "complete b@1"] {
                world.run(line).await.expect(line);
            }
        }
        let (now, read_at) = (world.now(), world.revision("s").await);
        let recorded = (world.store)
            .record_selection("s", read_at, selection(mean), now)
            .await;
        assert_eq!(recorded.expect("recorded").version, version);
        assert!(opened(&world, "s").await, "{line}");
    }
}

/// Whether tests are seen, after a look at whether the header says the same.
async fn opened(world: &World, sweep: &str) -> bool {
    let results = world.store.results(sweep).await.expect("results");
    let tests = results.runs.iter().flat_map(|run| &run.metrics);
    let seen = tests.filter(|m| m.is_test()).count() > 0;
    assert_eq!(seen, results.selection().is_some());
    seen
}

async fn select(world: &World, sweep: &str) {
    let (now, read_at) = (world.now(), world.revision(sweep).await);
    let recorded = (world.store)
        .record_selection(sweep, read_at, selection(0.1), now)
        .await;
    recorded.expect("recorded");
}

#[tokio::test]
async fn a_run_that_another_sweep_brings_back_seals_every_sweep_that_lists_it() {
    for (end, bring_back) in [
        ("cancel s", "submit other: b c"),
        ("fail b@1 invalid", "retry other"),
    ] {
        let mut world = World::new().await;
        for line in ["submit s: a b", "acquire w1 2", "complete a@1", end] {
            world.run(line).await.expect(line);
        }
        if bring_back == "retry other" {
            world.run("submit other: b c").await.expect("submitted");
        }
        select(&world, "s").await;
        assert!(opened(&world, "s").await);
        let read_at = world.revision("s").await;

        world.run(bring_back).await.expect(bring_back);
        assert!(!opened(&world, "s").await, "{bring_back}");
        let now = world.now();
        let old = (world.store)
            .record_selection("s", read_at, selection(0.1), now)
            .await;
        let moved = matches!(&old, Err(StoreError::SweepMoved(name)) if name == "s");
        assert!(moved, "{bring_back}: {old:?}");
        // It has settled, and what was chosen without it is still not current.
        for line in ["acquire w1 1", "complete b@2"] {
            world.run(line).await.expect(line);
        }
        assert!(!opened(&world, "s").await, "{bring_back}");
        select(&world, "s").await;
        assert!(opened(&world, "s").await);
    }
}

#[tokio::test]
async fn a_question_that_another_sweep_asks_again_seals_nothing() {
    let mut world = World::new().await;
    for line in [
        "study s: a",
        "study other: a",
        "acquire w1 1",
        "complete a@1",
        "ask s: q<a",
        "ask other: q<a",
        "acquire w1 1",
        "fail q@1 invalid",
    ] {
        world.run(line).await.expect(line);
    }
    select(&world, "s").await;
    assert_eq!(world.run("retry other").await.expect("retried"), "1");
    assert!(opened(&world, "s").await);
    // Its list is the same: only other's is due once more.
    for line in ["acquire w1 1", "complete q@2"] {
        world.run(line).await.expect(line);
    }
    assert_eq!(world.run("due").await.expect("asked"), "other");
}

#[tokio::test]
async fn no_selection_is_current_while_a_run_goes_on() {
    let mut world = World::new().await;
    for line in ["submit s: a b", "acquire w1 1", "complete a@1"] {
        world.run(line).await.expect(line);
    }
    select(&world, "s").await;
    assert!(!opened(&world, "s").await, "b has not ended");
    for line in ["acquire w1 1", "complete b@1"] {
        world.run(line).await.expect(line);
    }
    assert!(opened(&world, "s").await);
}

/// The header and every page are of one moment, whatever comes between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_of_one_moment() {
    let mut world = World::new().await;
    for line in ["submit s: a", "acquire w1 1", "complete a@1"] {
        world.run(line).await.expect(line);
    }
    let (writing, now) = (world.open().await, world.now());
    let turns = tokio::spawn(async move {
        for _ in 0..100 {
            writing.retry("s", now).await.expect("sealed");
            let read_at = writing.revision("s").await.expect("is there");
            let opened = writing.record_selection("s", read_at, selection(0.1), now);
            opened.await.expect("opened");
        }
    });
    while !turns.is_finished() {
        opened(&world, "s").await;
    }
    turns.await.expect("no panic");
}

#[tokio::test]
async fn what_follows_from_old_results_is_refused() {
    let mut world = World::new().await;
    world.run("study s: a").await.expect("submitted");
    for line in ["study s: a", "cancel s", "retry s"] {
        let (now, read_at) = (world.now(), world.revision("s").await);
        world.run(line).await.expect(line);
        let store = &world.store;
        let refused = [
            (store
                .record_selection("s", read_at, selection(0.1), now)
                .await)
                .map(drop),
            (store.list_inspections("s", read_at, 1, vec![], now).await).map(drop),
            (store.retain_weights("s", read_at, BTreeSet::new()).await).map(drop),
            extend(&world, read_at).await.map(drop),
        ];
        for refused in refused {
            let moved = matches!(&refused, Err(StoreError::SweepMoved(name)) if name == "s");
            assert!(moved, "{line}: {refused:?}");
        }
    }
    let results = world.store.results("s").await.expect("results");
    assert!(results.selections.is_empty());
    for line in ["acquire w1 1", "complete a@1"] {
        world.run(line).await.expect(line);
    }
    // Not listed from what was read before.
    assert_eq!(world.run("due").await.expect("asked"), "s");
}

#[tokio::test]
async fn a_selection_gets_a_new_version_only_if_it_says_something_new() {
    let mut world = World::new().await;
    world.run("submit s: a").await.expect("submitted");
    let (now, read_at) = (world.now(), world.revision("s").await);
    for (mean, version) in [(0.1, 1), (0.1, 1), (0.2, 2), (0.2, 2), (0.1, 3)] {
        let recorded = world
            .store
            .record_selection("s", read_at, selection(mean), now)
            .await;
        assert_eq!(recorded.expect("recorded").version, version, "{mean}");
    }
    let results = world.store.results("s").await.expect("results");
    let means: Vec<_> = results
        .selections
        .iter()
        .map(|s| s.choices[0].mean)
        .collect();
    assert_eq!(means, [0.1, 0.2, 0.1]);
}

/// Gives the sweep s the jobs a and b.
async fn extend(world: &World, read_at: Revision) -> Result<Submitted, StoreError> {
    let sweep = NewSweep {
        name: "s".into(),
        yaml: "name: s # it has grown".into(),
        files: BTreeMap::new(),
        inspects: false,
    };
    let jobs = Box::new([job("a", &[]), job("b", &[])].into_iter());
    let now = world.now();
    world.store.extend_sweep(sweep, read_at, jobs, now).await
}

#[tokio::test]
async fn a_sweep_goes_on_by_itself_unless_a_person_has_ended_it() {
    let mut world = World::new().await;
    for line in ["submit s: a", "acquire w1 1", "complete a@1", "cancel s"] {
        world.run(line).await.expect(line);
    }
    let refused = extend(&world, world.revision("s").await).await;
    let ended = matches!(&refused, Err(StoreError::SweepCancelled(name)) if name == "s");
    assert!(ended, "{refused:?}");
    assert_eq!(world.run("status s").await.expect("status"), "done=1");
    assert!(world.store.is_cancelled("s").await.expect("asked"));

    world.run("retry s").await.expect("retried");
    assert!(!world.store.is_cancelled("s").await.expect("asked"));
    let extended = extend(&world, world.revision("s").await).await;
    assert_eq!(extended.expect("extended").jobs_new, 1);
}

/// Finishes a job with weights and a curve; answers their digests.
async fn finish(world: &mut World, name: &str) -> [BlobDigest; 2] {
    let lease = world.lease(name);
    let mut artifacts = vec![];
    for file in ["model.safetensors", "curve.csv"] {
        let digest = world.upload(&format!("{file} of {name}")).await;
        artifacts.push(Artifact {
            name: file.into(),
            digest,
            size_bytes: 3,
        });
    }
    let digests = [artifacts[0].digest, artifacts[1].digest];
    let result = JobResult {
        artifacts,
        ..result(lease.job, 0.0)
    };
    let by = Provenance::default();
    let recorded = world.store.complete(lease, result, by, world.now()).await;
    assert_eq!(recorded.expect("recorded"), Recorded::New);
    digests
}

#[tokio::test]
async fn weights_go_when_no_sweep_wants_them() {
    let mut world = World::new().await;
    for line in ["submit s: a b c", "submit other: b", "acquire w1 3"] {
        world.run(line).await.expect(line);
    }
    let [a, _] = finish(&mut world, "a@1").await;
    let [b, _] = finish(&mut world, "b@1").await;
    let [c, curve] = finish(&mut world, "c@1").await;

    let keep = BTreeSet::from([job("a", &[]).key]);
    let read_at = world.revision("s").await;
    let dropped = world
        .store
        .retain_weights("s", read_at, keep)
        .await
        .expect("retained");
    assert_eq!(dropped, 1, "c's: other may still want b's");
    let far = world.now().plus_secs(1e6);
    let doomed = world.store.doom_blobs(far).await.expect("doomed");
    assert_eq!(doomed.iter().map(|d| d.digest).collect::<Vec<_>>(), [c]);
    let missing = world.store.missing_blobs(vec![a, b, c, curve], far).await;
    assert_eq!(missing.expect("asked"), [c]);

    let read_at = world.revision("other").await;
    let dropped = world
        .store
        .retain_weights("other", read_at, BTreeSet::new());
    let dropped = dropped.await;
    assert_eq!(dropped.expect("retained"), 1, "now nobody wants b's");
    // Delivering the result again is no divergence: what it was is on record.
    assert_eq!(
        world.run("submit s: a b c").await.expect("again"),
        "jobs=3 new=0 done=3"
    );
}

#[tokio::test]
async fn a_result_needs_its_blobs_and_must_not_contradict_itself() {
    let mut world = World::new().await;
    for line in ["submit s: a", "acquire w1 1"] {
        world.run(line).await.expect(line);
    }
    let lease = world.lease("a@1");
    let check = async |result: JobResult, expect: &str| {
        let by = Provenance::default();
        let error = world.store.complete(lease, result, by, world.now()).await;
        let error = error.expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
        let status = world.store.status("s").await.expect("status");
        assert_eq!(show(&status), "running=1 left=100");
    };
    let artifact = Artifact {
        name: "curve.csv".into(),
        digest: BlobDigest::of(b"never uploaded"),
        size_bytes: 3,
    };
    let good = result(lease.job, 0.0);
    let artifacts = vec![artifact.clone()];
    check(
        JobResult {
            artifacts,
            ..good.clone()
        },
        "not uploaded",
    )
    .await;
    let artifacts = vec![artifact.clone(), artifact];
    check(
        JobResult {
            artifacts,
            ..good.clone()
        },
        "twice",
    )
    .await;
    let metrics = [good.metrics.clone(), good.metrics.clone()].concat();
    check(
        JobResult { metrics, ..good },
        "val.accuracy at step 100 stands there twice",
    )
    .await;
}

#[tokio::test]
async fn garbage_is_collected_once_it_is_old_and_nothing_refers_to_it() {
    let mut world = World::new().await;
    for line in ["submit s: a b", "acquire w1 2"] {
        world.run(line).await.expect(line);
    }
    let blobs = Blobs::open(&world.folder.path().join("blobs")).expect("opens");
    let store = Arc::new(world.open().await);
    let artifacts = Artifacts::new(store.clone(), blobs.clone());
    let now = world.now();
    let put = async |text: &'static str| {
        let blob = artifacts.put_bytes(text.as_bytes().into(), now).await;
        blob.expect("stored")
    };
    let (kept, loose) = (put("kept").await, put("loose").await);
    let (early, checkpoint) = (put("early").await, put("mid").await);
    let lease = world.lease("a@1");
    let file = Artifact {
        name: "f".into(),
        digest: kept.digest,
        size_bytes: kept.size_bytes,
    };
    let result = JobResult {
        artifacts: vec![file],
        ..result(lease.job, 0.0)
    };
    store
        .complete(lease, result, Provenance::default(), now)
        .await
        .expect("recorded");
    // The last checkpoint and the one before it are both referred to.
    for (attempt, step, blob) in [("b@1", 2, &early), ("b@2", 5, &checkpoint)] {
        let resume = Checkpoint {
            step,
            digest: blob.digest,
            size_bytes: blob.size_bytes,
        };
        store
            .release(world.lease(attempt), Some(resume), now)
            .await
            .expect("released");
        if attempt == "b@1" {
            world.run("acquire w1 1").await.expect("acquired");
        }
    }
    let digest = checkpoint.digest;

    let young = artifacts
        .collect(now.plus_secs(10.0), 60.0)
        .await
        .expect("collects");
    assert_eq!(young.blobs, 0, "a worker may still name it");
    let old = artifacts
        .collect(now.plus_secs(61.0), 60.0)
        .await
        .expect("collects");
    assert_eq!((old.blobs, old.bytes), (1, loose.size_bytes));
    assert!(!blobs.has(loose.digest).await.expect("asks"));
    assert_eq!(
        artifacts.get_bytes(kept.digest).await.expect("is there"),
        b"kept"
    );
    let missing = artifacts
        .missing(vec![loose.digest, digest], now)
        .await
        .expect("asks");
    assert_eq!(missing, [loose.digest]);

    // It may come back, and a checkpoint is garbage once its job is done.
    assert!(
        !artifacts
            .put(loose, chunks("loose"), now)
            .await
            .expect("stored again")
    );
    assert!(
        artifacts
            .put(loose, chunks("loose"), now)
            .await
            .expect("was there")
    );
    world.run("acquire w1 1").await.expect("acquired");
    world.run("complete b@3").await.expect("recorded");
    let last = artifacts
        .collect(now.plus_secs(1e4), 60.0)
        .await
        .expect("collects");
    assert_eq!(last.blobs, 3);
}

#[tokio::test]
async fn a_file_that_was_deleted_by_hand_is_asked_for_again() {
    let world = World::new().await;
    let blobs = Blobs::open(&world.folder.path().join("blobs")).expect("opens");
    let artifacts = Artifacts::new(Arc::new(world.open().await), blobs.clone());
    let now = world.now();
    let blob = artifacts
        .put_bytes("text".into(), now)
        .await
        .expect("stored");
    assert!(
        artifacts
            .put(blob, chunks("text"), now)
            .await
            .expect("was there")
    );
    blobs.delete(blob.digest).await.expect("deleted");
    let missing = artifacts.missing(vec![blob.digest], now).await;
    assert_eq!(missing.expect("asks"), [blob.digest]);
    assert!(
        !artifacts
            .put(blob, chunks("text"), now)
            .await
            .expect("taken anew")
    );
    assert_eq!(
        artifacts.get_bytes(blob.digest).await.expect("is there"),
        b"text"
    );
}

fn chunks(
    text: &'static str,
) -> impl futures::Stream<Item = Result<bytes::Bytes, std::convert::Infallible>> {
    futures::stream::iter([Ok(bytes::Bytes::from_static(text.as_bytes()))])
}
