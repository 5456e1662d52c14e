//! Twenty steps of training: gradients, clipping, AdamW and the schedule together.

use seedbed_proto::job::{self, Optim, Schedule};

use super::*;
use crate::train::guards::Gradients;
use crate::train::optimizer::{AdamW, Target};
use crate::train::schedule::learning_rate;

/// A few times what is found. Losses and norms drift with the weights.
const LOSS: f64 = 1e-6;
const NORM: f64 = 2e-6;
const WEIGHTS: f64 = 1e-5;

fn optim(course: &serde_json::Value, batch: usize) -> Optim {
    let number = |name: &str| course[name].as_f64().expect("the script writes it");
    Optim {
        steps: number("steps") as u64,
        batch: batch as u32,
        learning_rate: number("learning_rate"),
        schedule: Schedule::Cosine,
        warmup: number("warmup") as u64,
        clip: number("clip"),
        weight_decay: number("weight_decay"),
        beta1: number("beta1"),
        beta2: number("beta2"),
        epsilon: number("epsilon"),
        loss: match course["loss"].as_str() {
            Some("answer") => job::Loss::Answer,
            _ => job::Loss::Full,
        },
        eval_every: 1,
        dropout: 0.0,
        layer_decay: 1.0,
    }
}

/// One course; the worst error of losses, norms and final weights.
fn check(reference: &Reference, kind: &str, ops: Ops) -> [f64; 3] {
    let list = |what: &str| doubles(reference.get(&format!("{kind}.course.{what}")));
    let tokens = reference.tokens(kind); // (S, B, T + 1)
    let optim = optim(&reference.made["course"], tokens.dim(1).expect("batches"));
    let net = reference.network(ops);
    let target = |p: &Param| Target {
        name: p.name.clone(),
        var: p.var.clone().expect("all train"),
        decay: p.decay,
        rate: 1.0,
    };
    let targets: Vec<Target> = net.params().iter().map(target).collect();
    let mut adamw = AdamW::new(&optim, &targets).expect("an optimizer");
    let (mut losses, mut norms) = (vec![], vec![]);
    for (step, rate) in (0..optim.steps).zip(list("rates")) {
        assert!((learning_rate(&optim, step) - rate).abs() < 1e-12, "{step}");
        let (ids, next, last) = split(&tokens.get(step as usize).expect("a batch"));
        let loss = match optim.loss {
            job::Loss::Answer => net.answer_loss(&ids, &last),
            _ => net.full_loss(&ids, &next),
        };
        let loss = loss.expect("a loss");
        let grads = Gradients::of(&net, &loss).expect("gradients");
        let norm = grads.norm().expect("a norm");
        adamw
            .update(&targets, &grads, &norm, rate)
            .expect("an update");
        losses.push(scalar(&loss));
        norms.push(norm.total as f32);
    }
    let mut worst = 0.0_f64;
    for p in net.params() {
        let expect = doubles(reference.get(&format!("{kind}.course.final.{}", p.name)));
        let what = format!("{kind} course, {}", p.name);
        let found = values(&p.tensor);
        let Some(third) = p.name.ends_with("c_attn.bias").then_some(expect.len() / 3) else {
            worst = worst.max(near(&what, &found, &expect, WEIGHTS));
            continue;
        };
        // Of k's bias the softmax sees nothing: its gradient is rounding alone, of
        // which AdamW makes steps, none of them longer than the rate.
        let reach: f64 = list("rates").iter().sum();
        for at in 0..3 {
            let part = at * third..(at + 1) * third;
            let (found, expect) = (&found[part.clone()], &expect[part]);
            if at == 1 {
                let moved = found.iter().zip(expect);
                let most = moved.fold(0.0_f64, |m, (f, e)| m.max((f64::from(*f) - e).abs()));
                assert!(most <= reach, "{what}: k has gone astray by {most}");
            } else {
                worst = worst.max(near(&what, found, expect, WEIGHTS));
            }
        }
    }
    [
        near(
            &format!("{kind} course, losses"),
            &losses,
            &list("losses"),
            LOSS,
        ),
        near(
            &format!("{kind} course, norms"),
            &norms,
            &list("norms"),
            NORM,
        ),
        worst,
    ]
}

#[test]
fn twenty_steps_of_training_are_those_of_torch() {
    println!("| shape | loss | operations | losses | norms | final weights |");
    println!("|---|---|---|---|---|---|");
    let mut clipped = [0, 0];
    for (shape, kind) in [("two-layers", "answer"), ("untied", "full")] {
        let reference = Reference::read(shape);
        let clip = reference.made["course"]["clip"].as_f64().expect("a norm");
        for norm in doubles(reference.get(&format!("{kind}.course.norms"))) {
            clipped[usize::from(norm > clip)] += 1;
        }
        for ops in [Ops::Fused, Ops::Composite] {
            let [losses, norms, weights] = check(&reference, kind, ops);
            println!("| {shape} | {kind} | {ops:?} | {losses:.1e} | {norms:.1e} | {weights:.1e} |");
        }
    }
    assert!(
        clipped[0] > 3 && clipped[1] > 3,
        "of both kinds: {clipped:?}"
    );
}
