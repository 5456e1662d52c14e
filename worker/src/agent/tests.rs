//! A whole worker, with a job that is a closure, against a scripted coordinator.

mod stub;

use std::fs;
use std::path::Path;

use seedbed_proto::BlobDigest;
use seedbed_proto::job::{
    CorpusPretrain, DeviceKind, Dtype, Engine, JobSpec, Loss, Ops, Optim, Pretrain, Schedule,
    Shape, Work,
};
use seedbed_proto::result::{Metric, Note};
use tokio::task::JoinHandle;
use tonic::Status;

use super::*;
use crate::config::Server;
use crate::device::DeviceChoice;
use crate::host::CheckpointPolicy;
use crate::job::{Directive, Inputs, JobError, Outcome, Output, Progress, RunContext};
use stub::{State, Stub};

const CORPUS: &[u8] = b"In the beginning was the word.";

/// A job that reads one input.
fn assignment() -> v1::Assignment {
    let spec = JobSpec {
        version: SPEC_VERSION,
        engine: Engine {
            device: DeviceKind::Cpu,
            ops: Ops::Fused,
            dtype: Dtype::F32,
            micro_batch: 1,
        },
        work: Work::Pretrain(Pretrain::Corpus(Box::new(CorpusPretrain {
            corpus: vec![BlobDigest::of(CORPUS)],
            vocab: 512,
            shape: Shape {
                layers: 1,
                heads: 1,
                width: 8,
                positions: 8,
            },
            context: 8,
            optim: Optim {
                steps: 1000,
                batch: 1,
                learning_rate: 1e-3,
                schedule: Schedule::Constant,
                warmup: 0,
                clip: 0.0,
                weight_decay: 0.0,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                loss: Loss::Full,
                eval_every: 10,
                dropout: 0.0,
                layer_decay: 1.0,
            },
            seed: 1,
        }))),
    };
    v1::Assignment {
        lease: Some(v1::Lease {
            job_key: spec.key().to_string(),
            token: seedbed_proto::LeaseToken::new().to_string(),
            attempt: 1,
            expires_in_secs: 2.0,
        }),
        spec_json: spec.canonical_json(),
        inputs: vec![],
        resume: None,
        resume_before: None,
    }
}

fn with_job() -> State {
    let corpus = (BlobDigest::of(CORPUS).to_string(), CORPUS.to_vec());
    State {
        jobs: [assignment()].into(),
        blobs: [corpus].into(),
        ..State::default()
    }
}

struct Worker {
    drain: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

fn config(stub: &Stub, cache: &Path) -> Config {
    Config {
        server: Server {
            url: stub.url(),
            ca_pem: None,
            token: None,
        },
        device: DeviceChoice::Cpu,
        ops: vec![],
        threads: 1,
        cache_dir: cache.to_owned(),
        cache_bytes_max: 1 << 20,
        shared_bytes_max: 0,
        label: String::new(),
        checkpoint: CheckpointPolicy::default(),
        give_up: Some(Duration::from_secs(20)),
        idle_exit: None,
        exit_when_drained: false,
    }
}

fn work<F>(config: Config, job: F) -> Worker
where
    F: Fn(&Inputs, &RunContext<'_>) -> Result<Outcome, JobError> + Send + Sync + 'static,
{
    let drain = CancellationToken::new();
    let runner: Runner = Arc::new(move |_, inputs, context| job(inputs, context));
    let task = tokio::spawn(run(config, runner, drain.clone()));
    Worker { drain, task }
}

impl Worker {
    async fn ends(self) -> Result<(), AgentError> {
        self.drain.cancel();
        self.task.await.expect("no panic")
    }
}

fn progress(step: u64) -> Progress {
    Progress {
        step,
        steps_total: 1000,
        live: Some(("accuracy".into(), 0.5)),
    }
}

fn finish(context: &RunContext<'_>) -> Result<Outcome, JobError> {
    let file = context.work_dir.join("curve.csv");
    fs::write(&file, "step,loss\n").expect("written");
    Ok(Outcome::Finished(Output {
        metrics: vec![Metric::of("val", 1, "accuracy", 0.1 + 0.2)],
        files: vec![("curve.csv".into(), file)],
        notes: vec![Note::new("val", "too short for a fit")],
        resumed_from_step: 0,
    }))
}

/// Steps until the host says otherwise; hands over checkpoints.
fn train(context: &RunContext<'_>) -> Directive {
    for step in 0.. {
        let directive = context.host.step(&progress(step));
        if matches!(
            directive,
            Directive::Checkpoint | Directive::CheckpointAndStop
        ) {
            let file = context.work_dir.join("checkpoint");
            fs::write(&file, format!("step {step}")).expect("written");
            context.host.checkpoint(step, &file).expect("taken over");
        }
        if matches!(directive, Directive::CheckpointAndStop | Directive::Stop) {
            return directive;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    unreachable!("steps go on for ever")
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut files| files.next().is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_fetched_run_and_delivered() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(with_job());
    let worker = work(config(&stub, cache.path()), |inputs, context| {
        let corpus = fs::read(inputs.file("corpus/0")?).expect("an input");
        assert_eq!(corpus, CORPUS);
        finish(context)
    });
    stub.until("a result", |s| !s.completes.is_empty()).await;
    worker.ends().await.expect("in good order");
    let state = stub.state();
    let result = &state.completes[0];
    assert_eq!(result.metrics[0].value.to_bits(), (0.1_f64 + 0.2).to_bits());
    let note = &result.notes[0];
    assert_eq!(
        (note.place.as_str(), note.reason.as_str()),
        ("val", "too short for a fit")
    );
    assert_eq!(result.artifacts[0].name, "curve.csv");
    assert_eq!(state.blobs[&result.artifacts[0].digest], b"step,loss\n");
    let workers = fs::read_dir(cache.path().join("workers")).expect("there");
    assert_eq!(workers.count(), 1, "nothing but the guard's lock is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_told_with_the_next_question() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(State {
        acquire_errors: [Status::unavailable("gone")].into(),
        ..with_job()
    });
    let worker = work(config(&stub, cache.path()), |_, context| finish(context));
    stub.until("a question after the job", |s| {
        !s.completes.is_empty() && s.acquires.len() > 2
    })
    .await;
    worker.ends().await.expect("in good order");
    let state = stub.state();
    let lost: Vec<_> = state.acquires.iter().map(|a| a.answer_lost).collect();
    assert_eq!(lost[..3], [false, true, false]);
    // It holds nothing, and says so.
    assert!(state.acquires[1].held_tokens.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_fails_with_its_last_words() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(with_job());
    let worker = work(config(&stub, cache.path()), |_, _| panic!("out of cheese"));
    stub.until("a failure", |s| !s.fails.is_empty()).await;
    worker.ends().await.expect("the worker lives on");
    let state = stub.state();
    assert_eq!(state.fails[0].reason(), v1::FailureReason::Bug);
    assert!(state.fails[0].message.contains("out of cheese"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_is_not_its_keys_is_refused() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut state = with_job();
    let job = &mut state.jobs[0];
    job.spec_json = job.spec_json.replace("\"vocab\":512", "\"vocab\":513");
    let stub = Stub::start(state);
    let worker = work(config(&stub, cache.path()), |_, context| finish(context));
    stub.until("a failure", |s| !s.fails.is_empty()).await;
    worker.ends().await.expect("the worker lives on");
    let state = stub.state();
    assert_eq!(state.fails[0].reason(), v1::FailureReason::Invalid);
    assert!(
        state.fails[0].message.contains("hashes to"),
        "{}",
        state.fails[0].message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_input_fails_the_job_not_the_worker() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut state = with_job();
    let damaged = b"In the end was the word.".to_vec();
    state
        .blobs
        .insert(BlobDigest::of(CORPUS).to_string(), damaged);
    let stub = Stub::start(state);
    let worker = work(config(&stub, cache.path()), |_, context| finish(context));
    stub.until("a failure", |s| !s.fails.is_empty()).await;
    worker.ends().await.expect("the worker lives on");
    let state = stub.state();
    assert_eq!(state.fails[0].reason(), v1::FailureReason::Environment);
    assert!(
        state.fails[0].message.contains("corpus/0"),
        "{}",
        state.fails[0].message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_is_called_again_and_aborted_is_not() {
    for (errors, delivered) in [
        (
            vec![Status::unavailable("busy"), Status::unavailable("busy")],
            1,
        ),
        (vec![Status::aborted("gone")], 0),
    ] {
        let cache = tempfile::tempdir().expect("a directory");
        let stub = Stub::start(State {
            complete_errors: errors.into(),
            ..with_job()
        });
        let worker = work(config(&stub, cache.path()), |_, context| finish(context));
        stub.until("the errors", |s| {
            s.complete_errors.is_empty() && s.jobs.is_empty()
        })
        .await;
        worker.ends().await.expect("in good order");
        assert_eq!(stub.state().completes.len(), delivered);
        assert!(stub.state().fails.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_refused_ends_the_attempt() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(State {
        complete_errors: [Status::invalid_argument("nonsense")].into(),
        ..with_job()
    });
    let worker = work(config(&stub, cache.path()), |_, context| finish(context));
    stub.until("a failure", |s| !s.fails.is_empty()).await;
    worker.ends().await.expect("the worker lives on");
    assert!(stub.state().fails[0].message.contains("nonsense"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_taken_away_is_dropped_silently() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(with_job());
    let (tx, rx) = std::sync::mpsc::channel();
    let worker = work(config(&stub, cache.path()), move |_, context| {
        tx.send(context.host.step(&progress(0))).expect("awaited");
        tx.send(train(context)).expect("awaited");
        Ok(Outcome::Stopped)
    });
    let started = rx.recv().expect("the job starts");
    assert_eq!(started, Directive::Continue);
    stub.state().order = v1::OrderKind::Drop;
    assert_eq!(rx.recv().expect("the job stops"), Directive::Stop);
    worker.ends().await.expect("in good order");
    let state = stub.state();
    assert!(state.completes.is_empty() && state.fails.is_empty() && state.releases.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_must_go_gives_its_job_back_with_a_checkpoint() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(with_job());
    let worker = work(config(&stub, cache.path()), |_, context| {
        train(context);
        Ok(Outcome::Stopped)
    });
    stub.until("the job is taken", |s| s.jobs.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    worker.ends().await.expect("in good order");
    let state = stub.state();
    let given_back = state.releases[0].checkpoint.as_ref().expect("a checkpoint");
    let expect = format!("step {}", given_back.step);
    assert_eq!(state.blobs[&given_back.digest], expect.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_go_out_by_the_clock() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(with_job());
    let mut config = config(&stub, cache.path());
    config.checkpoint.every = Some(Duration::from_millis(100));
    let worker = work(config, |_, context| {
        train(context);
        Ok(Outcome::Stopped)
    });
    stub.until("three checkpoints are told", |s| s.checkpoints.len() >= 3)
        .await;
    stub.state().order = v1::OrderKind::Drop;
    worker.ends().await.expect("in good order");
    // A step takes 2 ms or more: there are at most fifty between two of them.
    let steps: Vec<_> = stub.state().checkpoints.iter().map(|c| c.step).collect();
    assert!(steps[0] > 0 && steps[0] <= 50, "{steps:?}");
    assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_go_out_while_training_goes_on_and_are_resumed_from() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(with_job());
    let mut config = config(&stub, cache.path());
    config.checkpoint.every_steps = 10;
    let worker = work(config, |inputs, context| {
        if let Some(resume) = inputs.resume.first() {
            let text = fs::read_to_string(resume).expect("fetched");
            assert!(text.starts_with("step "), "{text}");
            return finish(context);
        }
        train(context);
        Ok(Outcome::Stopped)
    });
    stub.until("two checkpoints are told", |s| s.checkpoints.len() >= 2)
        .await;
    // Taken away, then handed out again with the last checkpoint.
    stub.state().order = v1::OrderKind::Drop;
    tokio::time::sleep(Duration::from_millis(200)).await;
    {
        let mut state = stub.state();
        state.order = v1::OrderKind::Continue;
        let resume = state.checkpoints.last().cloned();
        state.jobs.push_back(v1::Assignment {
            resume,
            ..assignment()
        });
    }
    stub.until("a result", |s| !s.completes.is_empty()).await;
    worker.ends().await.expect("in good order");
    let steps: Vec<_> = stub.state().checkpoints.iter().map(|c| c.step).collect();
    assert!(steps.is_sorted(), "{steps:?}");
    assert!(steps.iter().all(|step| step % 10 == 0), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_both_checkpoints_and_goes_without_what_is_lost() {
    let cache = tempfile::tempdir().expect("a directory");
    let checkpoint = |step: u64| v1::Checkpoint {
        step,
        digest: BlobDigest::of(format!("step {step}").as_bytes()).to_string(),
        size_bytes: 6,
    };
    let job = |last: u64, before: u64| v1::Assignment {
        resume: Some(checkpoint(last)),
        resume_before: Some(checkpoint(before)),
        ..assignment()
    };
    let mut state = with_job();
    // 30 is lost; the bytes of 40 are others than were uploaded.
    state.jobs = [job(20, 10), job(30, 20), job(40, 20), job(40, 30)].into();
    for (step, text) in [(10, "step 10"), (20, "step 20"), (40, "damage!")] {
        state.blobs.insert(checkpoint(step).digest, text.into());
    }
    let stub = Stub::start(state);
    let (tx, rx) = std::sync::mpsc::channel();
    let worker = work(config(&stub, cache.path()), move |inputs, context| {
        let text = |path: &std::path::PathBuf| fs::read_to_string(path).expect("fetched");
        let texts: Vec<_> = inputs.resume.iter().map(text).collect();
        tx.send(texts.join(", ")).expect("awaited");
        finish(context)
    });
    stub.until("four results", |s| s.completes.len() == 4).await;
    worker.ends().await.expect("in good order");
    let given: Vec<_> = rx.iter().collect();
    assert_eq!(given, ["step 20, step 10", "step 20", "step 20", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_outlives_an_outage_of_the_coordinator() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut stub = Stub::start(with_job());
    let (start, started) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let worker = work(config(&stub, cache.path()), move |_, context| {
        start.send(()).expect("awaited");
        gone.lock().expect("free").recv().expect("told");
        finish(context)
    });
    started.recv().expect("the job starts");
    stub.kill();
    go.send(()).expect("the job waits");
    tokio::time::sleep(Duration::from_millis(300)).await;
    stub.state().forgetful = true;
    stub.restart();
    stub.until("a result", |s| !s.completes.is_empty()).await;
    stub.until("the worker is known again", |s| s.registered == 2)
        .await;
    worker.ends().await.expect("in good order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_outlives_the_outage_and_the_worker() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut stub = Stub::start(with_job());
    let mut config = config(&stub, cache.path());
    config.give_up = Some(Duration::from_millis(1500));
    let (start, started) = std::sync::mpsc::channel();
    let first = work(config.clone(), move |_, context| {
        start.send(()).expect("awaited");
        // Longer than the patience: a job that computes is no reason to give up.
        std::thread::sleep(Duration::from_secs(3));
        finish(context)
    });
    started.recv().expect("the job starts");
    stub.kill();
    let error = first.task.await.expect("no panic").expect_err("gives up");
    assert!(
        matches!(error, AgentError::Silent { undelivered: 1, .. }),
        "{error}"
    );
    stub.restart();
    let second = work(config, |_, _| panic!("there is no job for it"));
    stub.until("a result", |s| !s.completes.is_empty()).await;
    second.ends().await.expect("in good order");
    assert!(!is_empty(&cache.path().join("blobs")), "inputs stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_a_wrong_token_are_told_apart() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut stub = Stub::start(State {
        token: Some("right".into()),
        ..State::default()
    });
    let mut config = config(&stub, cache.path());
    config.server.token = Some("wrong".into());
    let worker = work(config.clone(), |_, _| panic!("there is no job"));
    let error = worker.task.await.expect("no panic").expect_err("refused");
    assert!(matches!(&error, AgentError::TurnedAway { .. }), "{error}");
    assert!(error.to_string().contains("--token-file"), "{error}");

    stub.kill();
    config.give_up = Some(Duration::from_millis(700));
    let worker = work(config, |_, _| panic!("there is no job"));
    let error = worker
        .task
        .await
        .expect("no panic")
        .expect_err("nobody there");
    assert!(matches!(error, AgentError::NeverThere { .. }), "{error}");
    for part in [stub.url().as_str(), "refused", "coordinator serve"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_when_it_is_drained_or_idle() {
    let cache = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(State {
        drain: true,
        ..with_job()
    });
    let mut drained = config(&stub, cache.path());
    drained.exit_when_drained = true;
    let worker = work(drained, |_, context| finish(context));
    worker.task.await.expect("no panic").expect("in good order");
    assert_eq!(
        stub.state().completes.len(),
        1,
        "the job in hand is finished first"
    );

    let mut idle = config(&stub, cache.path());
    idle.idle_exit = Some(Duration::from_millis(200));
    let worker = work(idle, |_, _| panic!("there is no job"));
    worker.task.await.expect("no panic").expect("in good order");
}
