//! Questions about networks: due when a sweep has nothing left to do, listed all or
//! nothing, as often as anybody asks.

use seedbed_proto::result::Artifact;

use super::*;

#[tokio::test]
async fn questions_are_due_once_the_runs_have_ended_and_survive_a_kill() {
    check(
        "study s: a b         => jobs=2 new=2 done=0
         submit other: c      => jobs=1 new=1 done=0
         due                  =>
         acquire w1 3         => a@1 b@1 c@1
         complete a@1         => new
         complete c@1         => new
         due                  =>
         fail b@1 non_finite  => failed
         due                  => s
         reopen
         due                  => s
         ask s: q<a r<a       => listed
         due                  =>
         status s             => pending=2 done=1 failed=1 left=200
         reopen
         ask s: q<a r<a       => as before
         acquire w1 1         => q@1
         complete q@1         => new
         status s             => pending=1 done=2 failed=1 left=100
         acquire w1 1         => r@1
         complete r@1         => new
         due                  =>
         status s             => done=3 failed=1",
    )
    .await;
}

#[tokio::test]
async fn a_submission_or_a_retry_makes_them_due_again_and_nothing_is_asked_twice() {
    check(
        "study s: a b         => jobs=2 new=2 done=0
         acquire w1 2         => a@1 b@1
         complete a@1         => new
         fail b@1 invalid     => failed
         ask s: q<a           => listed
         acquire w1 1         => q@1
         complete q@1         => new
         study s: a b         => jobs=2 new=0 done=1
         due                  => s
         ask s: q<a           => listed
         status s             => done=2 failed=1
         retry s              => 1
         due                  =>
         acquire w1 1         => b@2
         complete b@2         => new
         due                  => s
         ask s: q<a p<a,b     => listed
         status s             => pending=1 done=3 left=100",
    )
    .await;
}

#[tokio::test]
async fn a_cancelled_sweep_asks_nothing() {
    check(
        "study s: a b         => jobs=2 new=2 done=0
         acquire w1 1         => a@1
         complete a@1         => new
         cancel s             => 1
         due                  =>
         ask s: q<a           => as before
         status s             => done=1 cancelled=1
         retry s              => 1
         acquire w1 1         => b@1
         complete b@1         => new
         due                  => s",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_longer_asked_leaves_the_queue() {
    check(
        "study s: a           => jobs=1 new=1 done=0
         acquire w1 1         => a@1
         complete a@1         => new
         ask s: q<a r<a       => listed
         ask s: r<a           => listed
         acquire w1 2         => r@1
         status s             => running=1 done=1 left=100",
    )
    .await;
}

#[tokio::test]
async fn inspections_are_told_apart_from_runs() {
    let mut world = World::new().await;
    for line in [
        "study s: a",
        "acquire w1 1",
        "complete a@1",
        "ask s: q<a",
        "acquire w1 1",
        "complete q@1",
    ] {
        world.run(line).await.expect(line);
    }
    let results = world.store.results("s").await.expect("results");
    let names = |runs: &[Run]| -> Vec<String> {
        runs.iter()
            .map(|run| world.names[&run.key].clone())
            .collect()
    };
    assert_eq!(names(&results.runs), ["a"]);
    assert_eq!(names(&results.inspections), ["q"]);
    let status = world.store.status("s").await.expect("status");
    assert_eq!(
        (status.inspections.total(), status.inspections.done),
        (1, 1)
    );
}

#[tokio::test]
async fn weights_stay_until_the_questions_about_them_are_answered() {
    let mut world = World::new().await;
    for line in ["study s: a b", "acquire w1 2"] {
        world.run(line).await.expect(line);
    }
    for name in ["a@1", "b@1"] {
        let digest = world.upload(name).await;
        let weights = Artifact {
            name: "model.safetensors".into(),
            digest,
            size_bytes: name.len() as u64,
        };
        let lease = world.lease(name);
        let result = JobResult {
            artifacts: vec![weights],
            ..JobResult::default()
        };
        let now = world.now();
        let by = Provenance::default();
        let recorded = world.store.complete(lease, result, by, now).await;
        assert_eq!(recorded.expect("recorded"), Recorded::New);
    }
    world.run("ask s: q<a").await.expect("listed");
    let retain = async |world: &World| {
        let read_at = world.revision("s").await;
        let dropped = world.store.retain_weights("s", read_at, BTreeSet::new());
        dropped.await.expect("dropped")
    };
    assert_eq!(retain(&world).await, 1, "those of b alone");
    // A question that failed may be asked again.
    for line in ["acquire w1 1", "fail q@1 invalid"] {
        world.run(line).await.expect(line);
    }
    assert_eq!(retain(&world).await, 0);
    for line in ["retry s", "acquire w1 1", "complete q@2"] {
        world.run(line).await.expect(line);
    }
    assert_eq!(retain(&world).await, 1);
}
