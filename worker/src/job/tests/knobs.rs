//! What a spec's settings do to the weights of a whole job.

use candle_core::Tensor;
use seedbed_proto::job::{Component, Schedule};

use super::*;
use crate::gpt2::{Config, LM_HEAD, WPE, WTE, Weights, block_of, weights};
use crate::train::checkpoint::Checkpoint;

/// A job of a few steps that keeps its first weights.
fn short(steps: u64) -> JobSpec {
    let mut spec = train_spec();
    let train = train_mut(&mut spec);
    train.optim.steps = steps;
    train.task.eval_trials = 72;
    train.keep = Keep::Steps(vec![0]);
    spec
}

/// The weights before the first step, and after the last.
fn before_and_after(spec: &JobSpec, inputs: &Inputs) -> (Weights, Weights) {
    let attempt = attempt(spec, inputs, &std::env::temp_dir(), &[]);
    let Ok(Outcome::Finished(output)) = attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    let files: BTreeMap<_, _> = output.files.into_iter().collect();
    let config = Config::read(&files["config.json"]).expect("written by the job");
    let read = |name: &str| weights::read(&files[name], &config).expect("written by the job");
    (read("step_00000000.safetensors"), read("model.safetensors"))
}

fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f32")
}

fn bits_of(tensor: &Tensor) -> Vec<u32> {
    list(tensor).iter().map(|value| value.to_bits()).collect()
}

/// What each set freezes in a network of two blocks, said once more, apart from
/// the code that freezes.
fn is_frozen(set: &Frozen, name: &str) -> bool {
    let block = block_of(name);
    match set {
        Frozen::None => false,
        Frozen::Prefix(1) => name == WTE || name == WPE || block == Some(0),
        Frozen::Suffix(1) => block == Some(1) || name.starts_with("ln_f"),
        Frozen::Only(_) => block == Some(0),
        Frozen::AllBut(_) => block != Some(1),
        Frozen::Component(Component::Attn) => name.contains("attn"),
        Frozen::Component(Component::Mlp) => name.contains("mlp"),
        Frozen::Component(Component::Ln) => name.contains("ln_"),
        Frozen::Component(Component::Wte) => name == WTE,
        Frozen::Component(Component::Wpe) => name == WPE,
        other => panic!("{other} is not in the table"),
    }
}

#[test]
fn frozen_weights_keep_their_bits_and_all_others_move() {
    let (_dir, inputs) = base();
    let component = Frozen::Component;
    for set in [
        Frozen::None,
        Frozen::Prefix(1),
        Frozen::Suffix(1),
        Frozen::Only(vec![0]),
        Frozen::AllBut(vec![1]),
        component(Component::Attn),
        component(Component::Mlp),
        component(Component::Ln),
        component(Component::Wte),
        component(Component::Wpe),
    ] {
        for (untie, ops) in [
            (false, Ops::Fused),
            (true, Ops::Fused),
            (false, Ops::Composite),
            (true, Ops::Composite),
        ] {
            let mut spec = short(2);
            spec.engine.ops = ops;
            let train = train_mut(&mut spec);
            (train.frozen, train.untie) = (set.clone(), untie);
            let (before, after) = before_and_after(&spec, &inputs);
            assert_eq!(before.contains_key(LM_HEAD), untie);
            for (name, tensor) in &before {
                let stayed = bits_of(tensor) == bits_of(&after[name]);
                assert_eq!(
                    stayed,
                    is_frozen(&set, name),
                    "{set}, untied {untie}, {ops:?}: {name} stayed: {stayed}"
                );
            }
        }
    }
}

#[test]
fn lower_layers_learn_at_lower_rates() {
    let (_dir, inputs) = base();
    let mut spec = short(1);
    let train = train_mut(&mut spec);
    train.untie = true;
    let optim = &mut train.optim;
    (optim.schedule, optim.warmup) = (Schedule::Constant, 0);
    (optim.weight_decay, optim.clip) = (0.0, 0.0);
    (optim.learning_rate, optim.layer_decay) = (1e-3, 0.5);
    let (before, after) = before_and_after(&spec, &inputs);
    // AdamW's first update moves a weight by the rate, whatever its gradient is
    // (unless that is as small as epsilon): two blocks, so 1, 1/2, 1/4.
    for (name, tensor) in &before {
        let moved = list(tensor).into_iter().zip(list(&after[name]));
        let most = moved.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        let share = match (block_of(name), name.as_str()) {
            (Some(1), _) | (None, "ln_f.weight" | "ln_f.bias" | LM_HEAD) => 1.0,
            (Some(0), _) => 0.5,
            _ => 0.25,
        };
        let rate = 1e-3 * share;
        assert!(
            (most / rate - 1.0).abs() < 2e-3,
            "{name} moved by {most}, not {rate}"
        );
    }
}

#[test]
fn the_weights_of_chosen_steps_are_results() {
    let (_dir, inputs) = base();
    let mut spec = short(6);
    train_mut(&mut spec).keep = Keep::Steps(vec![0, 2, 3, 6]);
    let attempt = attempt(&spec, &inputs, &std::env::temp_dir(), &[]);
    let Ok(Outcome::Finished(output)) = attempt.outcome else {
        panic!("{:?}", attempt.outcome);
    };
    let Bits(_, files) = bits(&output);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            "config.json",
            "curve.csv",
            "model.safetensors",
            "step_00000000.safetensors",
            "step_00000002.safetensors",
            "step_00000003.safetensors",
            "step_00000006.safetensors",
        ]
    );
    // Equal bytes, so one blob in the store.
    let last = &files["step_00000006.safetensors"];
    assert_eq!(last, &files["model.safetensors"]);
    let different: std::collections::BTreeSet<_> =
        files.values().map(|digest| digest.to_string()).collect();
    assert_eq!(different.len(), 6, "no step is another's");
    // A shorter run of the same course has the same weights at its end.
    let mut shorter = short(3);
    let optim = &mut train_mut(&mut shorter).optim;
    optim.schedule = Schedule::Constant;
    let mut longer = shorter.clone();
    let train = train_mut(&mut longer);
    (train.optim.steps, train.keep) = (6, Keep::Steps(vec![3]));
    let weights = |spec: &JobSpec, name: &str| straight(spec, &inputs).1[name];
    assert_eq!(
        weights(&longer, "step_00000003.safetensors"),
        weights(&shorter, "model.safetensors")
    );
}

/// Loss, and the gradient of every parameter, of the first update of 64
/// sequences: AdamW's first moment holds a tenth of it.
fn first_update(inputs: &Inputs, micro_batch: u32, dropout: f64, ops: Ops) -> Checkpoint<'static> {
    let mut spec = short(2);
    (spec.engine.micro_batch, spec.engine.ops) = (micro_batch, ops);
    let optim = &mut train_mut(&mut spec).optim;
    (optim.batch, optim.dropout) = (64, dropout);
    (optim.clip, optim.eval_every) = (0.0, 2);
    let keep = tempfile::tempdir().expect("a directory");
    let calm = attempt(&spec, inputs, keep.path(), &[]);
    let call = calm.seen.progress.iter().position(|p| p.step == 1);
    let script = [(
        call.expect("told of every step") as u64,
        Directive::CheckpointAndStop,
    )];
    let stopped = attempt(&spec, inputs, keep.path(), &script);
    let path = stopped.seen.checkpoint.expect("a checkpoint");
    // SAFETY: it is this test's alone.
    unsafe { Checkpoint::read(spec.key(), &path) }.expect("whole")
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let (_dir, inputs) = base();
    for (dropout, ops) in [
        (0.0, Ops::Fused),
        (0.0, Ops::Composite),
        (0.2, Ops::Fused),
        (0.2, Ops::Composite),
    ] {
        let whole = first_update(&inputs, 64, dropout, ops);
        // 3 does not divide 64: the last piece weighs less.
        for micro_batch in [1, 3] {
            let pieces = first_update(&inputs, micro_batch, dropout, ops);
            let what = format!("{micro_batch} at a time, dropout {dropout}, {ops:?}");
            let [a, b] = [&whole, &pieces].map(|c| c.record.curve[0]);
            assert!(
                (a.loss - b.loss).abs() < 1e-6 * a.loss,
                "{what}: {a:?} {b:?}"
            );
            assert!(
                (a.grad_norm - b.grad_norm).abs() < 1e-5 * a.grad_norm,
                "{what}"
            );
            for (name, moments) in &whole.moments {
                let other = &pieces.moments[name].first;
                let largest = moments.first.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
                for (a, b) in moments.first.iter().zip(other) {
                    assert!((a - b).abs() < 2e-5 * largest, "{what}: {name}: {a} {b}");
                }
            }
        }
    }
    // The same bits for the same micro-batch.
    let [a, b] = [0, 1].map(|_| first_update(&inputs, 3, 0.2, Ops::Fused));
    assert_eq!(a.moments, b.moments);
}
