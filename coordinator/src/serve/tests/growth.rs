//! Sweeps that add seeds by themselves, as a worker and those who ask see them.

use seedbed_proto::job::{JobSpec, Work};

use super::{Bench, Worker, submit};
use crate::serve::Server;

/// Two seeds, and up to five, one at a time.
const GROWING: &str = "
name: growing
model: {base: base}
task: {name: ctxdm, template: T0, range: [0, 99]}
train: {steps: 20, batch: 16}
axes:
  seed: {count: 2}
  init: [pretrained, scratch]
  learning_rate: [5.0e-4]
replicate: {until: {half_width: 0.1, max_seeds: 5, block: 1}}
";

/// Does up to `most` jobs, as long as there are any; `difference` is what the
/// fine-tuned twin of a seed is ahead. Answers with how many there were.
async fn work(worker: &mut Worker, most: u64, difference: impl Fn(u64) -> f64) -> u64 {
    let mut done = 0;
    while done < most
        && let Some(job) = worker.acquire(2.5).await.jobs.pop()
    {
        let lease = job.lease.expect("a job comes with a lease");
        let key = lease.job_key.parse().expect("a key");
        let spec = JobSpec::from_json(&job.spec_json, key).expect("the spec is the key's");
        let Work::Train(train) = spec.work else {
            panic!("only training jobs are here");
        };
        let ahead = match train.init {
            seedbed_proto::job::Init::Pretrained => difference(train.seed),
            _ => 0.0,
        };
        assert_eq!(worker.complete(lease, 0.5 + ahead).await, Ok(false));
        done += 1;
    }
    done
}

/// Of all seeds the second one differs.
fn one_differs(seed: u64) -> f64 {
    if seed == 1 { 0.2 } else { 0.1 }
}

/// Jobs done and pending, seeds, looks, and whether they are enough.
type State = (u64, u64, u64, u32, bool);

async fn state(bench: &Bench) -> State {
    let status = bench.server.coordinator().status("growing").await;
    let status = status.expect("the sweep is there");
    let r = status.replication.expect("it grows");
    (status.done, status.pending, r.seeds, r.looks, r.enough)
}

#[tokio::test]
async fn a_sweep_grows_until_its_interval_is_narrow_enough() {
    let bench = Bench::start().await;
    let mut worker = bench.worker().await;
    let submitted = submit(&bench, &mut worker, GROWING).await;
    assert_eq!(submitted.jobs, 4);
    assert_eq!(state(&bench).await, (0, 4, 2, 0, false));

    assert_eq!(work(&mut worker, 4, one_differs).await, 4);
    // Whoever asks first sees it grown, never settled; and no test result.
    assert_eq!(state(&bench).await, (4, 2, 3, 1, false));
    assert_eq!(state(&bench).await, (4, 2, 3, 1, false), "once");
    let results = bench
        .server
        .coordinator()
        .results("growing")
        .await
        .expect("readable");
    assert!(results.selections.is_empty());

    // The same file again changes nothing, and neither does a restart.
    let again = submit(&bench, &mut worker, GROWING).await;
    assert_eq!((again.jobs, again.jobs_new), (6, 0));
    let Bench {
        server,
        options,
        _dir,
    } = bench;
    server.stop().await;
    let server = Server::start(&options).await.expect("the same state");
    let bench = Bench {
        server,
        options,
        _dir,
    };
    assert_eq!(state(&bench).await, (4, 2, 3, 1, false));

    // Nobody asks: the coordinator looks by itself.
    let mut worker = bench.worker().await;
    assert_eq!(work(&mut worker, 100, one_differs).await, 2 + 2 + 2);
    assert_eq!(state(&bench).await, (10, 0, 5, 4, true));
    let results = bench
        .server
        .coordinator()
        .results("growing")
        .await
        .expect("readable");
    assert_eq!((results.selections.len(), results.runs.len()), (1, 10));
    assert!(results.runs[0].metrics.iter().any(|m| m.is_test()));

    // The same file again leaves the tests open; one that goes on seals them, until
    // its last seed is in.
    submit(&bench, &mut worker, GROWING).await;
    let coordinator = bench.server.coordinator();
    let again = coordinator.results("growing").await.expect("readable");
    assert_eq!(again, results);
    let more = GROWING.replace("0.1, max_seeds: 5", "1.0e-9, max_seeds: 6");
    submit(&bench, &mut worker, &more).await;
    assert_eq!(state(&bench).await, (10, 2, 6, 4, false), "by one block");
    let growing = coordinator.results("growing").await.expect("readable");
    assert_eq!((growing.selections.len(), growing.selection()), (1, None));
    let mut metrics = growing.runs.iter().flat_map(|run| &run.metrics);
    assert!(metrics.all(|m| !m.is_test()));
    bench.server.stop().await;
}

#[tokio::test]
async fn all_who_ask_at_once_see_the_jobs_of_the_seeds_that_they_are_told_of() {
    let bench = Bench::start().await;
    let mut worker = bench.worker().await;
    submit(&bench, &mut worker, GROWING).await;
    assert_eq!(work(&mut worker, 4, one_differs).await, 4);
    // One of them finds it settled and adds a block; the others must not tell of a
    // sweep at rest that has these seeds.
    let all = futures::future::join_all((0..8).map(|_| state(&bench))).await;
    assert_eq!(all, vec![(4, 2, 3, 1, false); 8]);
    bench.server.stop().await;
}
