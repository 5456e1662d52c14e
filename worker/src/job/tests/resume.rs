//! Runs that are stopped anywhere and resumed, from checkpoints whole and broken.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_proto::job::Component;

use super::*;
use crate::train::checkpoint::Checkpoint;

/// What a resumed run must not depend on: each with what the others have not.
fn specs() -> Vec<(&'static str, JobSpec)> {
    let spec = |change: &dyn Fn(&mut Engine, &mut Train)| {
        let mut spec = train_spec();
        let mut engine = spec.engine;
        let train = train_mut(&mut spec);
        (train.optim.steps, train.task.eval_trials) = (9, 144);
        change(&mut engine, train);
        spec.engine = engine;
        spec
    };
    vec![
        (
            "a frozen prefix",
            spec(&|_, train| train.frozen = Frozen::Prefix(1)),
        ),
        ("dropout", spec(&|_, train| train.optim.dropout = 0.1)),
        (
            "dropout in micro-batches, every token, embeddings frozen",
            spec(&|engine, train| {
                engine.micro_batch = 3;
                train.optim.dropout = 0.2;
                train.optim.loss = Loss::Full;
                train.frozen = Frozen::Component(Component::Wte);
            }),
        ),
        (
            "dropout in the composite path, untied, a frozen suffix",
            spec(&|engine, train| {
                engine.ops = Ops::Composite;
                engine.micro_batch = 5;
                train.optim.dropout = 0.1;
                train.untie = true;
                train.frozen = Frozen::Suffix(1);
            }),
        ),
        (
            "layers at their own rates, chosen steps kept",
            spec(&|_, train| {
                train.optim.layer_decay = 0.7;
                train.optim.loss = Loss::TwoWay;
                train.init = Init::Shuffled;
                train.keep = Keep::Steps(vec![0, 1, 4, 9]);
            }),
        ),
        (
            "a fixed training set, one block alone",
            spec(&|engine, train| {
                engine.micro_batch = 1;
                train.task.train = TrainSet::Fixed(72);
                train.frozen = Frozen::AllBut(vec![0]);
                train.keep = Keep::Matched;
            }),
        ),
    ]
}

/// Stops at random: at any call of the host, so also within an evaluation, once
/// or several times in a row, with a checkpoint at the stop, or one some steps
/// before it, or none at all.
fn stops(rng: &mut ChaCha8Rng, calls: u64) -> Vec<Vec<(u64, Directive)>> {
    let attempt = |rng: &mut ChaCha8Rng| {
        let at = rng.random_range(0..calls);
        match rng.random_range(0..5) {
            0 => vec![(at, Directive::Stop)],
            1 => vec![(at, Directive::Checkpoint), (at + 3, Directive::Stop)],
            _ => vec![(at, Directive::CheckpointAndStop)],
        }
    };
    let attempts = rng.random_range(1..5);
    (0..attempts).map(|_| attempt(rng)).collect()
}

#[test]
fn a_run_that_is_stopped_anywhere_ends_with_the_same_bits() {
    let (_dir, inputs) = base();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (name, spec) in specs() {
        let keep = tempfile::tempdir().expect("a directory");
        let calm = attempt(&spec, &inputs, keep.path(), &[]);
        let calls = calm.seen.calls;
        let Ok(Outcome::Finished(expected)) = calm.outcome else {
            panic!("{name}: {:?}", calm.outcome);
        };
        let expected = bits(&expected);
        assert!(calls > 10, "{name}: an evaluation asks in between: {calls}");
        let mut stopped = 0;
        for round in 0..8 {
            let scripts = stops(&mut rng, calls);
            let (actual, _) = to_the_end(&spec, &inputs, &scripts);
            assert_eq!(actual, expected, "{name}, round {round}: {scripts:?}");
            stopped += scripts.len();
        }
        println!("{name}: 8 runs with {stopped} stops at any of {calls} calls, the same bits");
    }
}

/// A straight run's bits, and two checkpoints of it: after 3 steps and after 7.
struct Broken {
    _base: TempDir,
    keep: TempDir,
    spec: JobSpec,
    inputs: Inputs,
    expected: Bits,
    at_3: PathBuf,
    at_7: PathBuf,
}

fn broken() -> Broken {
    let (base, inputs) = base();
    let mut spec = train_spec();
    train_mut(&mut spec).optim.dropout = 0.1;
    let keep = tempfile::tempdir().expect("a directory");
    let calm = attempt(&spec, &inputs, keep.path(), &[]);
    let Ok(Outcome::Finished(expected)) = &calm.outcome else {
        panic!("{:?}", calm.outcome);
    };
    // The call after which a step is done: evaluations call with the step before.
    let call = |step: u64| {
        let found = calm.seen.progress.iter().position(|p| p.step == step);
        found.expect("told of every step") as u64
    };
    let checkpoint = |step: u64| {
        let script = [(call(step), Directive::CheckpointAndStop)];
        let stopped = attempt(&spec, &inputs, keep.path(), &script);
        stopped.seen.checkpoint.expect("a checkpoint")
    };
    Broken {
        expected: bits(expected),
        at_3: checkpoint(3),
        at_7: checkpoint(7),
        _base: base,
        keep,
        spec,
        inputs,
    }
}

impl Broken {
    /// Resumes from these, the furthest first; the step that it went on from.
    fn from(&self, resume: &[&Path]) -> u64 {
        let inputs = Inputs {
            resume: resume.iter().map(|path| (*path).to_owned()).collect(),
            ..self.inputs.clone()
        };
        let (actual, resumed) = to_the_end(&self.spec, &inputs, &[]);
        assert_eq!(actual, self.expected, "from {resume:?}");
        resumed
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.keep.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    }
}

#[test]
fn a_broken_checkpoint_is_refused_and_the_one_before_it_used() {
    let broken = broken();
    let (at_3, at_7) = (&broken.at_3, &broken.at_7);
    assert_eq!(broken.from(&[at_7, at_3]), 7, "both are whole");
    let bytes = fs::read(at_7).expect("bytes");
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    for (name, bytes) in [
        ("empty", &[][..]),
        ("header", &bytes[..bytes.len().min(200)]),
        ("half", &bytes[..bytes.len() / 2]),
        ("one short", &bytes[..bytes.len() - 1]),
        ("flipped", &flipped),
    ] {
        let bad = broken.file(name, bytes);
        // SAFETY: it is this test's alone.
        let error = unsafe { Checkpoint::read(broken.spec.key(), &bad) };
        let text = error.expect_err("refused").to_string();
        assert!(text.contains(&format!("{}", bad.display())), "{text}");
        assert_eq!(broken.from(&[&bad, at_3]), 3, "{name}");
        assert_eq!(broken.from(&[&bad]), 0, "{name}, and none before it");
    }
    assert_eq!(broken.from(&[&broken.keep.path().join("nowhere"), at_3]), 3);
}

#[test]
fn the_checkpoint_of_another_job_is_left_aside() {
    let broken = broken();
    let mut other = broken.spec.clone();
    train_mut(&mut other).seed = 4;
    let script = [(5, Directive::CheckpointAndStop)];
    let keep = tempfile::tempdir().expect("a directory");
    let foreign = attempt(&other, &broken.inputs, keep.path(), &script);
    let foreign = foreign.seen.checkpoint.expect("a checkpoint");
    assert_eq!(broken.from(&[&foreign, &broken.at_3]), 3);
    assert_eq!(broken.from(&[&foreign]), 0);
}
