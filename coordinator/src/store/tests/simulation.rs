//! Random histories: workers and coordinators die, answers get lost, leases run
//! out, zombies write. Whatever happens, N jobs give exactly N results.
//!
//! A history that broke is replayed by its seed.

use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use std::sync::Arc;

const JOBS: usize = 12;

/// Jobs of a small DAG: every third one serves the two after it.
fn jobs() -> Vec<NewJob> {
    let name = |i: usize| format!("j{i:02}");
    (0..JOBS)
        .map(|i| match i % 3 {
            0 => job(&name(i), &[]),
            after => job(&name(i), &[&name(i - after)]),
        })
        .collect()
}

/// One history. Leases are never forgotten: a lease of the past is a zombie's.
async fn simulate(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new().await;
    world.submit("s", jobs()).await.expect("submitted");
    let mut other = world.open().await;
    let mut recorded: BTreeMap<JobKey, u32> = BTreeMap::new();
    let mut running: BTreeMap<JobKey, Lease> = BTreeMap::new();

    for step in 0.. {
        assert!(step < 20_000, "seed {seed}: the history has no end");
        // Two coordinators on one file take turns at random.
        std::mem::swap(&mut world.store, &mut other);
        let now = world.now();
        let any = |leases: &BTreeMap<String, Lease>, rng: &mut ChaCha8Rng| {
            leases.values().choose(rng).copied()
        };
        match rng.random_range(0..100) {
            0..30 => {
                let worker = format!("w{}", rng.random_range(0..4));
                let leased = world.acquire(&worker, rng.random_range(1..3)).await;
                for job in leased.expect("acquires") {
                    assert!(
                        !recorded.contains_key(&job.lease.job),
                        "seed {seed}: done again"
                    );
                    let before = running.insert(job.lease.job, job.lease);
                    assert_eq!(before, None, "seed {seed}: handed out twice");
                }
            }
            30..55 => {
                let Some(lease) = any(&world.leases, &mut rng) else {
                    continue;
                };
                let result = result(lease.job, 0.0);
                let outcome = world
                    .store
                    .complete(lease, result, Provenance::default(), now);
                let holds = running.get(&lease.job) == Some(&lease);
                match outcome.await {
                    Ok(Recorded::New) => {
                        assert!(holds, "seed {seed}: a zombie wrote");
                        running.remove(&lease.job);
                        *recorded.entry(lease.job).or_default() += 1;
                    }
                    Ok(Recorded::Same) => assert!(recorded.contains_key(&lease.job)),
                    Err(StoreError::LeaseLost(_)) => assert!(!holds, "seed {seed}"),
                    outcome => panic!("seed {seed}: {outcome:?}"),
                }
            }
            55..65 => {
                let Some(lease) = any(&world.leases, &mut rng) else {
                    continue;
                };
                let by = Provenance::default();
                let outcome = match rng.random_bool(0.5) {
                    true => world.store.release(lease, None, now).await,
                    false => {
                        let reason = FailureReason::ALL.into_iter().choose(&mut rng);
                        let reason = reason.expect("there are reasons");
                        world
                            .store
                            .fail(lease, reason, "x".into(), by, now)
                            .await
                            .map(drop)
                    }
                };
                let held = running.get(&lease.job) == Some(&lease);
                assert_eq!(outcome.is_ok(), held, "seed {seed}: {outcome:?}");
                if held {
                    running.remove(&lease.job);
                }
            }
            65..80 => {
                let Some(lease) = any(&world.leases, &mut rng) else {
                    continue;
                };
                let Lease { job, token, .. } = lease;
                let (live, checkpoint) = (None, None);
                let beat = Progress {
                    job,
                    token,
                    step: 3,
                    steps_per_sec: 1.0,
                    live,
                    checkpoint,
                };
                let worker = world.worker("w0").await;
                let answer = world.store.renew(worker, vec![beat], now, LEASE_SECS).await;
                let held = running.get(&job) == Some(&lease);
                let expect = if held {
                    Renewal::Continue
                } else {
                    Renewal::Drop
                };
                assert_eq!(answer.expect("renews"), [expect], "seed {seed}");
            }
            80..90 => {
                world.clock.advance_secs(rng.random_range(0.0..6.0));
                for expired in world.store.expire_due(world.now()).await.expect("expires") {
                    let lease = running.remove(&expired.job).expect("it was running");
                    assert_eq!(lease.attempt, expired.attempt);
                }
            }
            90..94 => world.reopen().await,
            94..97 => {
                world.store.retry("s", now).await.expect("retries");
            }
            97..99 => {
                let submitted = world.submit("s", jobs()).await.expect("submitted");
                assert_eq!(submitted.jobs_new, 0);
            }
            _ => {
                world.store.cancel("s", now).await.expect("cancels");
                running.clear();
            }
        }
        if recorded.len() == JOBS {
            break;
        }
    }
    assert!(recorded.values().all(|count| *count == 1), "seed {seed}");
    world.reopen().await;
    let status = world.store.status("s").await.expect("status");
    assert_eq!(show(&status), format!("done={JOBS}"), "seed {seed}");
    for run in world.store.results("s").await.expect("results").runs {
        let expect = result(run.key, 0.0).metrics;
        let found = Metric::from(run.metrics[0].clone());
        assert_eq!(found, expect[0], "seed {seed}: one row per metric");
        assert_eq!(run.metrics.len(), 2, "seed {seed}: val alone, once");
    }
}

#[tokio::test]
async fn n_jobs_give_exactly_n_results() {
    for seed in 0..8 {
        simulate(seed).await;
    }
}

/// Many workers at once, two coordinators on one file: group commit under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_workers_of_two_coordinators_share_the_work() {
    const MANY: usize = 300;
    let mut world = World::new().await;
    let jobs = (0..MANY).map(|i| job(&format!("m{i}"), &[])).collect();
    world.submit("s", jobs).await.expect("submitted");
    let mut ids = vec![];
    for i in 0..16 {
        ids.push(world.worker(&format!("w{i}")).await);
    }
    let stores = [Arc::new(world.open().await), Arc::new(world.open().await)];
    let now = world.now();
    let mut tasks = tokio::task::JoinSet::new();
    for (i, worker) in ids.into_iter().enumerate() {
        let store = stores[i % 2].clone();
        tasks.spawn(async move {
            let mut recorded = 0;
            loop {
                let leased = store
                    .acquire(worker, 3, None, now, LEASE_SECS)
                    .await
                    .expect("acquires");
                if leased.is_empty() {
                    return recorded;
                }
                for job in leased {
                    let (lease, by) = (job.lease, Provenance::default());
                    let stale = Lease {
                        token: LeaseToken::new(),
                        ..lease
                    };
                    let wrong = store.complete(stale, result(lease.job, 1.0), by.clone(), now);
                    let right = store.complete(lease, result(lease.job, 0.0), by.clone(), now);
                    let (wrong, right) = tokio::join!(wrong, right);
                    assert!(matches!(wrong, Err(StoreError::LeaseLost(_))), "{wrong:?}");
                    assert_eq!(right.expect("recorded"), Recorded::New);
                    recorded += 1;
                }
            }
        });
    }
    let recorded: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(recorded, MANY);
    let status = world.store.status("s").await.expect("status");
    assert_eq!(show(&status), format!("done={MANY}"));
}
