//! Questions about networks that were trained a moment before.

use seedbed_proto::JobKey;
use seedbed_proto::job::{Inspect, Moment, Partner, Question};

use super::inputs::in_shards;
use super::*;
use crate::job::inspect::tests::question;
use crate::job::inspect::{other_role, subject_role};

fn inspect_mut(spec: &mut JobSpec) -> &mut Inspect {
    match &mut spec.work {
        Work::Inspect(inspect) => inspect,
        _ => panic!("not a question"),
    }
}

/// A base, a network that was trained from it for a few steps, and the files of
/// both by role.
struct Trained {
    _base: TempDir,
    _run: Attempt,
    inputs: Inputs,
}

fn trained() -> Trained {
    let (base, mut inputs) = base();
    let mut run = attempt(&train_spec(), &inputs, base.path(), &[]);
    let Ok(Outcome::Finished(output)) = &mut run.outcome else {
        panic!("{:?}", run.outcome);
    };
    for (name, path) in &output.files {
        inputs.files.insert(subject_role(name), path.clone());
    }
    Trained {
        _base: base,
        _run: run,
        inputs,
    }
}

fn spec(asked: Question) -> JobSpec {
    question(asked, JobKey::of(b"the run"))
}

fn ask(spec: &JobSpec, inputs: &Inputs, script: &[(u64, Directive)]) -> Attempt {
    let keep = tempfile::tempdir().expect("a directory");
    attempt(spec, inputs, keep.path(), script)
}

fn answer(spec: &JobSpec, inputs: &Inputs) -> (Output, Bits) {
    let attempt = ask(spec, inputs, &[]);
    match attempt.outcome {
        Ok(Outcome::Finished(output)) => {
            let bits = bits(&output);
            (output, bits)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn drift_is_measured_from_the_weights_with_which_the_run_started() {
    let trained = trained();
    let mut asked = spec(Question::Drift);
    let (moved, _) = answer(&asked, &trained.inputs);
    let blocks = |output: &Output| -> Vec<f64> {
        let found = output.metrics.iter().filter(|m| m.name == "drift.block");
        found.map(|m| m.value).collect()
    };
    assert_eq!(blocks(&moved).len(), 2);
    assert!(blocks(&moved).iter().all(|d| *d > 0.0), "{moved:?}");
    assert!(moved.metrics.iter().all(|m| m.step == 12));

    // Against the weights at step 0 there is none: θ⁰ is made anew, to the bit.
    let mut inputs = trained.inputs.clone();
    let start = inputs.files[&subject_role("step_00000000.safetensors")].clone();
    inputs
        .files
        .insert(subject_role("model.safetensors"), start);
    inspect_mut(&mut asked).subject.weights = Moment::Step;
    inspect_mut(&mut asked).subject.step = 0;
    let (still, _) = answer(&asked, &inputs);
    assert_eq!(blocks(&still), [0.0, 0.0]);
}

#[test]
fn every_question_is_answered_and_twice_the_same() {
    let trained = trained();
    for asked in Question::ALL {
        let mut spec = spec(asked);
        let mut inputs = trained.inputs.clone();
        if asked.compares() {
            let network = inspect_mut(&mut spec).subject.clone();
            let pairing = "ft_ft".to_owned();
            inspect_mut(&mut spec).others = vec![Partner { pairing, network }];
            for file in ["config.json", "model.safetensors"] {
                let path = inputs.files[&subject_role(file)].clone();
                inputs.files.insert(other_role(0, file), path);
            }
        }
        let (output, once) = answer(&spec, &inputs);
        assert!(!output.metrics.is_empty(), "{asked}");
        let named = |m: &Metric| !m.name.is_empty() && m.step == 12;
        assert!(output.metrics.iter().all(named), "{asked}");
        assert_eq!(once, answer(&spec, &inputs).1, "{asked}");
    }
}

#[test]
fn a_base_in_shards_answers_as_one_in_one_file() {
    let trained = trained();
    let dir = tempfile::tempdir().expect("a directory");
    let shards = in_shards(&trained.inputs, dir.path());
    for asked in [Question::Drift, Question::Similarity] {
        let spec = spec(asked);
        let (_, expect) = answer(&spec, &trained.inputs);
        assert_eq!(answer(&spec, &shards).1, expect, "{asked}");
    }
}

#[test]
fn a_question_stops_when_it_is_told_to() {
    let trained = trained();
    for call in [0, 1] {
        let script = [(call, Directive::CheckpointAndStop)];
        let attempt = ask(&spec(Question::Lens), &trained.inputs, &script);
        assert!(
            matches!(attempt.outcome, Ok(Outcome::Stopped)),
            "{:?}",
            attempt.outcome
        );
    }
}

#[test]
fn networks_that_do_not_fit_fail_before_they_are_read() {
    let trained = trained();
    let keep = tempfile::tempdir().expect("a directory");
    let host = Script {
        directives: BTreeMap::new(),
        dir: keep.path().to_owned(),
        seen: Mutex::default(),
    };
    let within = |memory_bytes| {
        let ctx = RunContext {
            device: Device::Cpu,
            memory_bytes,
            work_dir: keep.path().to_owned(),
            shared_dir: keep.path().join("shared"),
            shared_bytes_max: 0,
            host: &host,
        };
        run(&spec(Question::Drift), &trained.inputs, &ctx)
    };
    // 64 MiB for activations, and three networks.
    let error = within(64 << 20).expect_err("nothing for the networks");
    assert_eq!(error.reason, FailureReason::OutOfMemory, "{error}");
    assert!(
        error.message.starts_with("drift looks at 3 networks")
            && error.message.contains("lower `inspect.memory_mib`"),
        "{error}"
    );
    assert!(within(80 << 20).is_ok());
}

#[test]
fn what_does_not_go_together_is_refused() {
    let trained = trained();
    let check = |spec: &JobSpec, inputs: &Inputs, expect: &str| {
        let error = ask(spec, inputs, &[]).outcome.expect_err("refused");
        assert_eq!(error.reason, FailureReason::Invalid, "{error}");
        assert!(error.message.contains(expect), "{error}");
    };
    let mut other_split = spec(Question::Lens);
    inspect_mut(&mut other_split).split = "test_iid_".into();
    check(
        &other_split,
        &trained.inputs,
        "no split \"test_iid_\"; there are val",
    );

    let mut inputs = trained.inputs.clone();
    let config = fs::read_to_string(inputs.file(&subject_role("config.json")).expect("there"));
    let changed = config
        .expect("readable")
        .replace("\"n_head\": 2", "\"n_head\": 4");
    let keep = tempfile::tempdir().expect("a directory");
    let path = keep.path().join("config.json");
    fs::write(&path, changed).expect("written");
    inputs.files.insert(subject_role("config.json"), path);
    check(&spec(Question::Lens), &inputs, "4 heads");
}
