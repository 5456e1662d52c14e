//! Whole jobs on a tiny network, under a host that follows a script.

mod inputs;
mod inspect;
mod knobs;
mod precision;
mod resume;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use candle_core::Device;
use seedbed_proto::BlobDigest;
use seedbed_proto::job::{
    Base, BaseFiles, CorpusPretrain, DeviceKind, Dtype, Engine, Frozen, Init, JobSpec, Keep, Loss,
    Ops, Optim, Pretrain, SPEC_VERSION, Shape, Split, Task, Train, TrainSet, Work, first_splits,
};
use tempfile::TempDir;

use super::*;
use crate::cli::SampleArgs;
use crate::train::tests_support::{TEXT, optim};

/// Answers the n-th call with the n-th directive of a script, then with Continue.
struct Script {
    directives: BTreeMap<u64, Directive>,
    dir: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: u64,
    progress: Vec<Progress>,
    checkpoint: Option<PathBuf>,
}

impl Host for Script {
    fn step(&self, progress: &Progress) -> Directive {
        let mut seen = self.seen.lock().expect("no panic while held");
        let directive = self.directives.get(&seen.calls).copied();
        seen.calls += 1;
        seen.progress.push(progress.clone());
        directive.unwrap_or(Directive::Continue)
    }

    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError> {
        let mut seen = self.seen.lock().expect("no panic while held");
        let to = self.dir.join(format!("{step}-{}", seen.calls));
        fs::rename(file, &to).expect("same file system");
        seen.checkpoint = Some(to);
        Ok(())
    }
}

/// What became of an attempt.
struct Attempt {
    outcome: Result<Outcome, JobError>,
    seen: Seen,
    work_dir: TempDir,
}

fn attempt(spec: &JobSpec, inputs: &Inputs, keep: &Path, script: &[(u64, Directive)]) -> Attempt {
    attempt_sharing(spec, inputs, keep, script, 0)
}

/// What is shared lies in `keep`.
fn attempt_sharing(
    spec: &JobSpec,
    inputs: &Inputs,
    keep: &Path,
    script: &[(u64, Directive)],
    shared_bytes_max: u64,
) -> Attempt {
    let work_dir = tempfile::tempdir().expect("a directory");
    let host = Script {
        directives: script.iter().copied().collect(),
        dir: keep.to_owned(),
        seen: Mutex::default(),
    };
    let ctx = RunContext {
        device: Device::Cpu,
        free: Free::Together(0),
        work_dir: work_dir.path().to_owned(),
        shared_dir: keep.join("shared"),
        shared_bytes_max,
        host: &host,
    };
    let outcome = run(spec, inputs, &ctx);
    Attempt {
        outcome,
        seen: host.seen.into_inner().expect("no panic while held"),
        work_dir,
    }
}

/// Runs a job that can have so much memory; says also how often the host was told.
fn within(spec: &JobSpec, inputs: &Inputs, free: Free) -> (Result<Outcome, JobError>, usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let host = Script {
        directives: BTreeMap::new(),
        dir: dir.path().to_owned(),
        seen: Mutex::default(),
    };
    let ctx = RunContext {
        device: Device::Cpu,
        free,
        work_dir: dir.path().to_owned(),
        shared_dir: dir.path().join("shared"),
        shared_bytes_max: 0,
        host: &host,
    };
    let outcome = run(spec, inputs, &ctx);
    (
        outcome,
        host.seen.into_inner().expect("no panic while held").calls as usize,
    )
}

/// The result in full: metrics, and each file's hash.
#[derive(Debug, Clone, PartialEq)]
struct Bits(String, BTreeMap<String, BlobDigest>);

fn bits(output: &Output) -> Bits {
    let hash = |(name, path): &(String, PathBuf)| {
        (
            name.clone(),
            BlobDigest::of(&fs::read(path).expect("a file of the result")),
        )
    };
    // Debug text: it tells every f64, and NaN is equal to itself.
    Bits(
        format!("{:?}", output.metrics),
        output.files.iter().map(hash).collect(),
    )
}

/// Runs to the end, each attempt going on from the last one's checkpoint.
fn to_the_end(spec: &JobSpec, inputs: &Inputs, scripts: &[Vec<(u64, Directive)>]) -> (Bits, u64) {
    let keep = tempfile::tempdir().expect("a directory");
    let mut inputs = inputs.clone();
    for script in scripts.iter().chain([&vec![]]) {
        let attempt = attempt(spec, &inputs, keep.path(), script);
        if let Some(checkpoint) = attempt.seen.checkpoint {
            inputs.resume.insert(0, checkpoint);
        }
        match attempt.outcome.expect("no failure") {
            Outcome::Finished(output) => return (bits(&output), output.resumed_from_step),
            Outcome::Stopped => {}
        }
    }
    panic!("the last attempt has no script and must finish");
}

fn straight(spec: &JobSpec, inputs: &Inputs) -> Bits {
    to_the_end(spec, inputs, &[]).0
}

fn engine() -> Engine {
    Engine {
        device: DeviceKind::Cpu,
        ops: Ops::Fused,
        dtype: Dtype::F32,
        micro_batch: 8,
    }
}

fn pretrain_spec(steps: u64) -> JobSpec {
    JobSpec {
        version: SPEC_VERSION,
        engine: engine(),
        work: Work::Pretrain(Pretrain::Corpus(Box::new(CorpusPretrain {
            corpus: vec![BlobDigest::of(TEXT.as_bytes())],
            vocab: 1100,
            shape: Shape {
                layers: 2,
                heads: 2,
                width: 32,
                positions: 48,
            },
            context: 16,
            optim: Optim {
                steps,
                loss: Loss::Full,
                learning_rate: 3e-3,
                ..optim()
            },
            seed: 5,
        }))),
    }
}

fn train_spec() -> JobSpec {
    let digest = BlobDigest::of(b"the base is given by path here");
    JobSpec {
        version: SPEC_VERSION,
        engine: engine(),
        work: Work::Train(Box::new(Train {
            base: Base::Files(BaseFiles {
                config: digest,
                weights: digest,
                tokenizer: digest,
                shards: BTreeMap::new(),
            }),
            init: Init::Pretrained,
            frozen: Frozen::None,
            untie: false,
            task: Task {
                name: "ctxdm".into(),
                template: "T0".into(),
                range: [0, 60],
                bins: vec![[1, 4], [5, 16], [17, 50]],
                train: TrainSet::Online,
                bos: true,
                random_labels: false,
                split_seed: 1,
                eval_trials: 288,
                splits: first_splits(),
                neutral: false,
                delay: None,
                test_template: None,
                test_cues: None,
                test_near: None,
                test_far: None,
            },
            optim: Optim {
                steps: 12,
                ..optim()
            },
            keep: Keep::All,
            seed: 3,
        })),
    }
}

fn train_mut(spec: &mut JobSpec) -> &mut Train {
    match &mut spec.work {
        Work::Train(train) => train,
        Work::Pretrain(_) | Work::Inspect(_) => panic!("not a train job"),
    }
}

/// A base that was pretrained for a few steps, and the directory that holds it.
fn base() -> (TempDir, Inputs) {
    let keep = tempfile::tempdir().expect("a directory");
    let attempt = attempt(&pretrain_spec(3), &corpus(keep.path()), keep.path(), &[]);
    let Ok(Outcome::Finished(output)) = attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    let inputs = Inputs {
        files: output.files.into_iter().collect(),
        resume: vec![],
    };
    (attempt.work_dir, inputs)
}

fn corpus(dir: &Path) -> Inputs {
    let path = dir.join("corpus.txt");
    fs::write(&path, TEXT.repeat(4)).expect("written");
    Inputs {
        files: [("corpus/0".to_owned(), path)].into(),
        resume: vec![],
    }
}

fn values(output: &[Metric], split: &str, name: &str) -> Vec<(u64, f64)> {
    let chosen = output.iter().filter(|m| m.split == split && m.name == name);
    chosen.map(|m| (m.step, m.value)).collect()
}

#[test]
fn pretraining_learns_its_text_and_yields_a_base() {
    let keep = tempfile::tempdir().expect("a directory");
    let attempt = attempt(&pretrain_spec(40), &corpus(keep.path()), keep.path(), &[]);
    let Ok(Outcome::Finished(output)) = attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    let train = values(&output.metrics, "train", "loss");
    let val = values(&output.metrics, "val", "loss");
    assert_eq!(
        val.iter().map(|v| v.0).collect::<Vec<_>>(),
        [0, 5, 10, 15, 20, 25, 30, 35, 40]
    );
    assert_eq!(train.len(), val.len() - 1, "no training before step 0");
    let (first, last) = (train[0].1, train[train.len() - 1].1);
    assert!(last < 0.8 * first, "{train:?}");
    assert!(val[val.len() - 1].1 < val[0].1, "{val:?}");

    let names: Vec<_> = output.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "config.json",
            "curve.csv",
            "model.safetensors",
            "tokenizer.json"
        ]
    );
    let curve = fs::read_to_string(&output.files[1].1).expect("a curve");
    assert_eq!(curve.lines().count(), 41);
    assert!(curve.starts_with("step,loss,lr,grad_norm\n0,"), "{curve}");
}

#[test]
fn training_measures_and_keeps_what_the_spec_says() {
    let (_dir, inputs) = base();
    let attempt = attempt(&train_spec(), &inputs, &std::env::temp_dir(), &[]);
    let Ok(Outcome::Finished(output)) = attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    let steps = |split, name| -> Vec<u64> {
        values(&output.metrics, split, name)
            .iter()
            .map(|v| v.0)
            .collect()
    };
    assert_eq!(steps("val", "incongruent_accuracy"), [0, 5, 10, 12]);
    assert_eq!(steps("test_iid", "incongruent_accuracy"), [12]);
    assert_eq!(steps("train", "loss"), [5, 10, 12]);
    assert_eq!(steps("train", "learning_rate"), [5, 10, 12]);
    assert_eq!(
        steps("weights", "drift.wte"),
        [10, 12],
        "milestones and the end"
    );
    let drift = values(&output.metrics, "weights", "drift.wte");
    assert!(0.0 < drift[0].1 && drift[0].1 < drift[1].1, "{drift:?}");
    let floor = "floor.one_dimension.incongruent_accuracy";
    assert_eq!(steps("val", floor), [0]);
    assert_eq!(steps("test_iid", floor), [0], "floors belong to no step");

    let names: Vec<_> = output.files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "config.json",
        "curve.csv",
        "model.safetensors",
        "step_00000000.safetensors",
        "step_00000010.safetensors",
    ];
    assert_eq!(names, expected);
    let progress = attempt.seen.progress.last().expect("told of steps");
    assert_eq!((progress.step, progress.steps_total), (12, 12));
    let (name, _) = progress.live.as_ref().expect("a live metric");
    assert_eq!(name, "val.incongruent_accuracy");
}

#[test]
fn every_split_is_measured_once_and_what_is_left_out_is_said() {
    let (_dir, inputs) = base();
    let mut spec = train_spec();
    let job = train_mut(&mut spec);
    job.keep = Keep::None;
    job.task.splits = Split::ALL.to_vec();
    // A frozen prefix has its streams kept for some of the splits only.
    job.frozen = Frozen::Prefix(1);
    job.task.test_far = Some([40, 80]);
    let attempt = attempt(&spec, &inputs, &std::env::temp_dir(), &[]);
    let Ok(Outcome::Finished(output)) = attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    for name in Split::NAMES {
        let measured = values(&output.metrics, name, "incongruent_accuracy");
        let steps: Vec<u64> = measured.iter().map(|v| v.0).collect();
        match name {
            "val" => assert_eq!(steps, [0, 5, 10, 12]),
            "test_range_far" => assert!(steps.is_empty()),
            _ => assert_eq!(steps, [12], "{name}"),
        }
    }
    // Prompts without their numbers are all alike: chance, whatever is learnt.
    let blank = values(&output.metrics, "control_no_numbers", "accuracy");
    assert!((blank[0].1 - 0.5).abs() < 1e-12, "{blank:?}");
    let note = output
        .notes
        .iter()
        .find(|note| note.place == "test_range_far");
    assert!(note.expect("a note").reason.contains("task.range [0, 60]"));
}

#[test]
fn a_resumed_pretraining_ends_with_the_same_bits() {
    let keep = tempfile::tempdir().expect("a directory");
    let inputs = corpus(keep.path());
    let spec = pretrain_spec(12);
    let (actual, resumed) = to_the_end(&spec, &inputs, &[vec![(9, Directive::CheckpointAndStop)]]);
    assert_eq!(actual, straight(&spec, &inputs));
    assert!(resumed > 0);
}

#[test]
fn threads_do_not_change_bits() {
    const OUT: &str = "SEEDBED_TEST_BITS";
    let name = "job::tests::threads_do_not_change_bits";
    if let Some(out) = std::env::var_os(OUT) {
        let (_dir, inputs) = base();
        let mut noisy = train_spec();
        train_mut(&mut noisy).optim.dropout = 0.1;
        let bits = [train_spec(), noisy].map(|spec| straight(&spec, &inputs));
        fs::write(out, format!("{bits:?}")).expect("written");
        return;
    }
    // The number of threads is fixed when a process starts: so two processes.
    let dir = tempfile::tempdir().expect("a directory");
    let bits = |threads: &str| {
        let out = dir.path().join(threads);
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", name])
            .env(OUT, &out)
            .env("RAYON_NUM_THREADS", threads)
            .env("CANDLE_NUM_THREADS", threads)
            .output()
            .expect("this test runs");
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
        fs::read_to_string(out).expect("written")
    };
    assert_eq!(bits("1"), bits("2"));
}

#[test]
fn every_loss_and_every_label_option_trains() {
    let (_dir, inputs) = base();
    for loss in [Loss::Answer, Loss::TwoWay, Loss::Full] {
        let mut spec = train_spec();
        let train = train_mut(&mut spec);
        train.optim.loss = loss;
        train.init = Init::Scratch;
        train.keep = Keep::None;
        let Bits(metrics, files) = straight(&spec, &inputs);
        assert!(!metrics.contains("NaN, name: \"loss\""), "{loss:?}");
        assert_eq!(files.keys().collect::<Vec<_>>(), ["curve.csv"], "{loss:?}");
    }
}

#[test]
fn failures_are_typed() {
    let (dir, inputs) = base();
    let keep = tempfile::tempdir().expect("a directory");
    let check = |spec: &JobSpec, inputs: &Inputs, reason: FailureReason, words: &str| {
        let error = attempt(spec, inputs, keep.path(), &[])
            .outcome
            .expect_err("a failure");
        assert_eq!(error.reason, reason, "{error}");
        assert!(error.message.contains(words), "{error}");
    };
    let mut wild = train_spec();
    let optim = &mut train_mut(&mut wild).optim;
    (optim.learning_rate, optim.clip, optim.warmup) = (1e30, 0.0, 0);
    check(&wild, &inputs, FailureReason::NonFinite, "at step 1");

    let spec = train_spec();
    let mut missing = inputs.clone();
    missing.files.remove("tokenizer.json");
    check(&spec, &missing, FailureReason::Bug, "tokenizer.json");

    let mut truncated = inputs.clone();
    let cut = dir.path().join("cut.safetensors");
    let bytes = fs::read(&inputs.files["model.safetensors"]).expect("bytes");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("written");
    truncated.files.insert("model.safetensors".to_owned(), cut);
    check(&spec, &truncated, FailureReason::Invalid, "cut.safetensors");

    let mut other = inputs.clone();
    other.files.insert(
        "tokenizer.json".to_owned(),
        inputs.files["config.json"].clone(),
    );
    check(
        &spec,
        &other,
        FailureReason::Invalid,
        "not a tokenizer.json",
    );

    let binary = keep.path().join("binary");
    fs::write(&binary, b"text \xff").expect("written");
    let mut corpus = corpus(keep.path());
    corpus.files.insert("corpus/0".to_owned(), binary);
    check(
        &pretrain_spec(2),
        &corpus,
        FailureReason::Invalid,
        "corpus/0 is not UTF-8 from byte 5",
    );
}

#[test]
fn text_is_drawn_from_a_base() {
    let (dir, _) = base();
    let draw = |prompt: &str, temperature: f64, seed: u64| {
        let args = SampleArgs {
            model: dir.path().to_owned(),
            prompt: prompt.to_owned(),
            // More than the network has positions.
            tokens: 60,
            temperature,
            top_p: 0.9,
            seed,
        };
        crate::sample::run(&args).expect("a continuation")
    };
    let text = draw("And God said", 1.0, 1);
    assert_eq!(text, draw("And God said", 1.0, 1));
    assert_ne!(text, draw("And God said", 1.0, 2));
    let greedy = draw("And God said", 0.0, 1);
    assert_eq!(greedy, draw("And God said", 0.0, 2), "no chance in it");
    draw("", 1.0, 1);
}

#[test]
fn kept_activations_change_no_bit() {
    let (_base, inputs) = base();
    let keep = tempfile::tempdir().expect("a directory");
    let shelf = keep.path().join("shared/streams");
    for ops in [Ops::Fused, Ops::Composite] {
        let mut spec = train_spec();
        spec.engine.ops = ops;
        // Not the size of the batches in which streams are computed.
        spec.engine.micro_batch = 3;
        let train = train_mut(&mut spec);
        train.frozen = Frozen::Prefix(1);
        train.task.train = TrainSet::Fixed(150);
        let finished = |bytes_max, script: &[(u64, Directive)]| {
            let attempt = attempt_sharing(&spec, &inputs, keep.path(), script, bytes_max);
            match attempt.outcome.expect("no failure") {
                Outcome::Finished(output) => Some(bits(&output)),
                Outcome::Stopped => None,
            }
        };
        let plain = finished(0, &[]).expect("the end");
        assert!(!shelf.exists() || fs::read_dir(&shelf).expect("a directory").count() == 3);

        // Stopped while they are computed: nothing is left half made.
        assert_eq!(finished(16 << 20, &[(1, Directive::Stop)]), None);
        assert_eq!(
            finished(16 << 20, &[]).as_ref(),
            Some(&plain),
            "made: {ops:?}"
        );
        assert_eq!(
            finished(16 << 20, &[]).as_ref(),
            Some(&plain),
            "found: {ops:?}"
        );
        // Damaged files are made anew.
        for file in fs::read_dir(&shelf).expect("a directory") {
            let path = file.expect("readable").path();
            let mut bytes = fs::read(&path).expect("readable");
            bytes[7] ^= 1;
            fs::write(&path, bytes).expect("writable");
        }
        assert_eq!(
            finished(16 << 20, &[]).as_ref(),
            Some(&plain),
            "mended: {ops:?}"
        );
    }
    // Training set, validation and test of each path, and no leavings.
    assert_eq!(fs::read_dir(&shelf).expect("a directory").count(), 6);
    // Where not all fits, the oldest go.
    let sizes = || {
        fs::read_dir(&shelf)
            .expect("a directory")
            .map(|f| f.expect("readable").metadata().expect("readable").len())
    };
    let (most, all): (u64, u64) = (sizes().max().expect("six"), sizes().sum());
    let mut spec = train_spec();
    let train = train_mut(&mut spec);
    train.frozen = Frozen::Prefix(1);
    train.task.split_seed = 2;
    let limit = all - most;
    attempt_sharing(&spec, &inputs, keep.path(), &[], limit)
        .outcome
        .expect("no failure");
    let left: u64 = sizes().sum();
    assert!(left <= limit && left > 0, "{left} of {limit}");
}
