//! The numeric paths of whole jobs against each other: what a GPU would compute is
//! the composite operations, in f32 or bf16, and must follow the fused ones.

use candle_core::{DType, Tensor};
use seedbed_proto::job::Schedule;

use super::*;
use crate::gpt2::{Config, Weights, weights};

/// Twenty steps that keep their first and last weights.
fn twenty(ops: Ops, dtype: Dtype) -> JobSpec {
    let mut spec = train_spec();
    (spec.engine.ops, spec.engine.dtype) = (ops, dtype);
    spec.engine.micro_batch = 16;
    let train = train_mut(&mut spec);
    (train.optim.steps, train.optim.batch) = (20, 16);
    train.task.eval_trials = 72;
    train.keep = Keep::Steps(vec![0]);
    spec
}

/// What a run did.
struct Course {
    /// Of each step.
    losses: Vec<f64>,
    /// What its weights became, and what they were.
    after: Weights,
    before: Weights,
}

fn course(spec: &JobSpec, inputs: &Inputs) -> Course {
    let attempt = attempt(spec, inputs, &std::env::temp_dir(), &[]);
    let Ok(Outcome::Finished(output)) = attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    let files: BTreeMap<_, _> = output.files.into_iter().collect();
    let curve = fs::read_to_string(&files["curve.csv"]).expect("a curve");
    let loss = |line: &str| line.split(',').nth(1)?.parse().ok();
    let losses = curve
        .lines()
        .skip(1)
        .map(|line| loss(line).expect("a loss"));
    let config = Config::read(&files["config.json"]).expect("written by the job");
    let read = |name: &str| weights::read(&files[name], &config).expect("f32, finite");
    Course {
        losses: losses.collect(),
        after: read("model.safetensors"),
        before: read("step_00000000.safetensors"),
    }
}

impl Course {
    /// How far all weights moved, as one vector.
    fn path(&self) -> Vec<f64> {
        let moved = |(name, after): (&String, &Tensor)| {
            let before = list(&self.before[name]);
            let pairs = list(after).into_iter().zip(before);
            pairs.map(|(a, b)| f64::from(a - b)).collect::<Vec<_>>()
        };
        self.after.iter().flat_map(moved).collect()
    }
}

fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f32")
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Largest difference of two runs' losses at one step, as a share of the loss.
fn apart(a: &Course, b: &Course) -> f64 {
    assert_eq!((a.losses.len(), b.losses.len()), (20, 20));
    let pairs = a.losses.iter().zip(&b.losses);
    pairs.fold(0.0, |most, (a, b)| most.max((a - b).abs() / a))
}

#[test]
fn other_numeric_paths_follow_the_fused_one_for_twenty_steps() {
    let (_dir, inputs) = base();
    let fused = course(&twenty(Ops::Fused, Dtype::F32), &inputs);
    let path = fused.path();
    assert!(
        fused.losses[19] < 0.95 * fused.losses[0],
        "{:?}",
        fused.losses
    );
    // (dtype, losses apart at most, cosine of the ways that the weights went at least)
    for (dtype, losses, ways) in [(Dtype::F32, 1e-5, 0.9999), (Dtype::Bf16, 0.01, 0.95)] {
        let other = course(&twenty(Ops::Composite, dtype), &inputs);
        let apart = apart(&fused, &other);
        let cosine = cosine(&path, &other.path());
        println!("{dtype:?}: losses apart by {apart:.1e}, cosine of the ways {cosine:.6}");
        assert!(apart < losses, "{dtype:?}: {apart}");
        assert!(cosine > ways, "{dtype:?}: {cosine}");
    }
}

#[test]
fn bf16_keeps_what_is_less_than_its_own_rounding() {
    let (_dir, inputs) = base();
    let mut spec = twenty(Ops::Composite, Dtype::Bf16);
    let optim = &mut train_mut(&mut spec).optim;
    // AdamW's first updates move each weight by the rate: a thousandth of the gap
    // between two bf16 numbers at the usual size of a weight.
    (optim.learning_rate, optim.schedule) = (1e-7, Schedule::Constant);
    (optim.warmup, optim.weight_decay) = (0, 0.0);
    let run = course(&spec, &inputs);
    let name = "h.1.mlp.c_fc.weight";
    let [before, after] = [&run.before, &run.after].map(|weights| &weights[name]);
    let share = |a: &Tensor, b: &Tensor| {
        let pairs = list(a).into_iter().zip(list(b));
        pairs.filter(|(a, b)| a != b).count() as f64 / a.elem_count() as f64
    };
    let short = |t: &Tensor| t.to_dtype(DType::BF16).and_then(|t| t.to_dtype(DType::F32));
    let rounded = [before, after].map(|t| short(t).expect("cast"));
    assert!(
        share(before, after) > 0.99,
        "the f32 weights take every step"
    );
    let crossed = share(&rounded[0], &rounded[1]);
    assert!(crossed < 0.2, "bf16 ones would lose it: {crossed}");
}

#[test]
fn a_path_that_this_device_does_not_have_is_refused() {
    let (_dir, inputs) = base();
    for (ops, dtype, words) in [
        (
            Ops::Composite,
            Dtype::Tf32,
            "only an NVIDIA GPU rounds products to TF32",
        ),
        (Ops::Fused, Dtype::Bf16, "use `ops: composite`"),
    ] {
        let attempt = attempt(&twenty(ops, dtype), &inputs, &std::env::temp_dir(), &[]);
        let error = attempt.outcome.expect_err("refused");
        assert_eq!(error.reason, FailureReason::Invalid, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}
