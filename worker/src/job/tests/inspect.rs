//! Questions about networks that were trained a moment before.

use seedbed_proto::JobKey;
use seedbed_proto::job::{Inspect, Moment, Partner, Question};

use super::inputs::in_shards;
use super::*;
#[cfg(target_os = "linux")]
use crate::gpt2::{Config, init, weights};
#[cfg(target_os = "linux")]
use crate::job::inspect::tests::counted;
use crate::job::inspect::tests::question;
use crate::job::inspect::{other_role, subject_role};
#[cfg(target_os = "linux")]
use crate::memory::{Taken, peak::peaks, words};

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

/// The inputs with no weights: whoever reads them fails.
fn without_weights(inputs: &Inputs) -> Inputs {
    let mut inputs = inputs.clone();
    inputs
        .files
        .retain(|role, _| !role.ends_with(".safetensors"));
    inputs
}

#[test]
fn networks_that_do_not_fit_fail_before_they_are_read() {
    let trained = trained();
    let unread = without_weights(&trained.inputs);
    let refused = |spec: &JobSpec, bytes: u64| {
        let (outcome, _) = within(spec, &unread, Free::Together(bytes));
        let error = outcome.expect_err("too little, or no weights");
        assert_eq!(error.reason, FailureReason::OutOfMemory, "{error}");
        error.message
    };
    let fits = |spec: &JobSpec, bytes: u64| {
        let (outcome, _) = within(spec, &trained.inputs, Free::Together(bytes));
        outcome.is_ok()
    };
    // 64 MiB for activations, which are the most.
    let mut lens = spec(Question::Lens);
    let text = refused(&lens, 64 << 20);
    assert!(text.starts_with("lens takes about 6"), "{text}");
    assert!(
        text.contains(", 64 MiB of them for activations, and 64 MiB are free; "),
        "{text}"
    );
    let said = text.split("lower `inspect.memory_mib` to ").nth(1);
    let said = said
        .and_then(|rest| rest.split(',').next())
        .expect("a way out");
    let said: u32 = said.parse().expect("a number");
    inspect_mut(&mut lens).memory_mib = said;
    assert!(fits(&lens, 64 << 20), "{said} MiB suffice");
    inspect_mut(&mut lens).memory_mib = said + 1;
    refused(&lens, 64 << 20);
    // Where the networks alone are too much, less for activations is no way out.
    let mut probes = spec(Question::Probes);
    inspect_mut(&mut probes).memory_mib = 1;
    let text = refused(&probes, 1 << 20);
    assert!(
        text.ends_with("1 MiB are free; take a machine with more memory"),
        "{text}"
    );
    // Drift has no activations.
    let text = refused(&spec(Question::Drift), 1 << 16);
    assert!(
        !text.contains("activations") && !text.contains("memory_mib"),
        "{text}"
    );
    assert!(fits(&spec(Question::Drift), 1 << 20));
}

#[test]
fn the_base_is_read_where_a_question_needs_it() {
    let trained = trained();
    let mut unread = trained.inputs.clone();
    unread.files.remove(WEIGHTS);
    for asked in Question::ALL {
        let scratch = {
            let mut spec = spec(asked);
            inspect_mut(&mut spec).subject.init = Init::Scratch;
            spec
        };
        let outcome = |spec: &JobSpec| ask(spec, &unread, &[]).outcome;
        let begins = asked.needs_origin();
        assert_eq!(
            outcome(&scratch).is_ok(),
            !asked.needs_base(),
            "{asked} of a scratch run"
        );
        let fine = !asked.needs_base() && !begins;
        assert_eq!(
            outcome(&spec(asked)).is_ok(),
            fine,
            "{asked} of a pretrained run"
        );
    }
}

/// For activations, where counts are measured.
#[cfg(target_os = "linux")]
const MEASURED_MIB: u32 = 32;

/// Width and words of networks that are large beside all else, and of small ones.
#[cfg(target_os = "linux")]
const LARGE: (u32, u32) = (256, 16_000);
#[cfg(target_os = "linux")]
const SMALL: (u32, u32) = (16, 500);

/// A question about networks so wide, of so many words: the base is tied, the subject
/// is not, and so is one that it is compared with.
#[cfg(target_os = "linux")]
fn sized(
    (width, vocab): (u32, u32),
    (asked, init): (Question, Init),
    dir: &Path,
) -> (JobSpec, Inputs) {
    let shape = Shape {
        layers: 2,
        heads: 4,
        width,
        positions: 64,
    };
    let tied = Config::new(&shape, vocab).expect("valid");
    let untied = tied.clone().untied();
    let mut spec = spec(asked);
    let inspect = inspect_mut(&mut spec);
    inspect.task.bos = false;
    (
        inspect.memory_mib,
        inspect.subject.untie,
        inspect.subject.init,
    ) = (MEASURED_MIB, true, init);
    let mut inputs = Inputs::default();
    let tokenizer = dir.join("tokenizer.json");
    crate::task::tests::tokenizer()
        .save(&tokenizer, false)
        .expect("written");
    inputs.files.insert("tokenizer.json".to_owned(), tokenizer);
    let mut network = |config: &Config, seed, role: &dyn Fn(&str) -> String| {
        let weights = init::weights(config, Init::Scratch, None, seed, false).expect("fresh");
        let paths = ["config.json", WEIGHTS].map(|name| dir.join(format!("{seed}-{name}")));
        config.write(&paths[0]).expect("written");
        weights::write(&paths[1], &weights).expect("written");
        for (name, path) in ["config.json", WEIGHTS].into_iter().zip(paths) {
            inputs.files.insert(role(name), path);
        }
    };
    network(&tied, 1, &str::to_owned);
    network(&untied, 2, &subject_role);
    if asked.compares() {
        network(&untied, 3, &|name| other_role(0, name));
        let network = inspect.subject.clone();
        let pairing = "ft_ft".to_owned();
        inspect.others = vec![Partner { pairing, network }];
    }
    (spec, inputs)
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_question_takes_is_near_its_measured_peak() {
    let name = "job::tests::inspect::what_a_question_takes_is_near_its_measured_peak";
    let mut cases: Vec<_> = Question::ALL.map(|asked| (asked, Init::Pretrained)).into();
    cases.extend([Question::Drift, Question::Reversion].map(|asked| (asked, Init::Scratch)));
    let Some(peaks) = peaks(name, cases.len(), |at| {
        let answered = |spec: &JobSpec, inputs: &Inputs| {
            let (outcome, _) = within(spec, inputs, Free::Together(0));
            outcome.unwrap_or_else(|error| panic!("{error}"));
        };
        let small = tempfile::tempdir().expect("a directory");
        let (spec, inputs) = sized(SMALL, cases[at], small.path());
        // The program's own pages are there then.
        answered(&spec, &inputs);
        let dir = tempfile::tempdir().expect("a directory");
        let (spec, inputs) = sized(LARGE, cases[at], dir.path());
        move || {
            let _dir = dir;
            answered(&spec, &inputs);
        }
    }) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let mut report = String::new();
    let mut all_near = true;
    for (&(asked, init), measured) in cases.iter().zip(peaks) {
        let (spec, inputs) = sized(LARGE, (asked, init), dir.path());
        let count = |mib| counted(&spec, &inputs, mib, Free::Together(0));
        let sum = |taken: Taken| taken.device + taken.host;
        // Few of the activations are here: what is taken is between none and all.
        let (least, most) = (sum(count(0)), sum(count(MEASURED_MIB)));
        let ratio = |count: u64| count as f64 / measured as f64;
        let near = ratio(least) <= 1.15 && ratio(most) >= 0.85;
        all_near &= near;
        let [least, most, measured] = [least, most, measured].map(words);
        report += &format!("{asked} {init}: {least} to {most} counted, {measured} measured\n");
    }
    println!("{report}");
    assert!(all_near, "{report}");
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
