//! Logits, losses and every gradient, by both implementations of the operations.

use super::*;

/// A few times what is found (see README.md of the references), which is what
/// f32 allows: the library's own f32 is as far from its f64.
const LOGITS: f64 = 1e-6;
const LOSS: f64 = 5e-7;
const GRADIENT: f64 = 3e-6;

/// Every loss of the training task with its gradients.
fn check_loss(reference: &Reference, net: &Gpt2, place: &str, kind: &str) -> (f64, f64, String) {
    let (ids, next, last) = split(&reference.tokens(place));
    let loss = match kind {
        "answer" => net.answer_loss(&ids, &last),
        _ => net.full_loss(&ids, &next),
    };
    let loss = loss.expect("a loss");
    let expect = doubles(reference.get(&format!("{place}.{kind}.loss")));
    let what = format!("{place} {kind} loss");
    let loss_error = near(&what, &[scalar(&loss)], &expect, LOSS);

    let grads = net.gradients(&loss).expect("gradients");
    assert_eq!(grads.len(), net.params().len(), "all train");
    let mut worst = (0.0, String::new());
    for (p, grad) in net.params().iter().zip(&grads) {
        let expect = reference.get(&format!("{place}.{kind}.grad.{}", p.name));
        let what = format!("{place} {kind} gradient of {}", p.name);
        let error = close(&what, grad, expect, GRADIENT);
        if error > worst.0 {
            worst = (error, p.name.clone());
        }
    }
    (loss_error, worst.0, worst.1)
}

#[test]
fn logits_losses_and_every_gradient_are_those_of_transformers() {
    println!(
        "| shape | B×T | operations | logits | loss | gradient | its worst | full loss | gradient | its worst |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for shape in SHAPES {
        let reference = Reference::read(shape);
        for place in reference.batches() {
            let tokens = reference.tokens(place);
            let expect = reference.get(&format!("{place}.logits"));
            for ops in [Ops::Fused, Ops::Composite] {
                let net = reference.network(ops);
                let (b, t) = tokens.dims2().expect("(B, T + 1)");
                let stream = net.train.embed(&tokens).expect("stream");
                let all = net.train.all((stream, 0), None).expect("stream"); // (B, T + 1, C)
                let flat = all.flatten_to(1).expect("(B·(T + 1), C)");
                let logits = crate::ops::logits(&flat, &net.train.unembed).expect("logits");
                let logits = logits.reshape((b, t, ())).expect("(B, T + 1, V)");
                let what = format!("{shape} {place} {ops:?} logits");
                let everywhere = close(&what, &logits, expect, LOGITS);
                let last = expect.narrow(1, t - 1, 1).and_then(|l| l.squeeze(1));
                let found = net.logits_last(&tokens).expect("logits"); // (B, V)
                let at_last = close(&what, &found, &last.expect("(B, V)"), LOGITS);

                let (answer, by, of) = check_loss(&reference, &net, place, "answer");
                let (full, full_by, full_of) = check_loss(&reference, &net, place, "full");
                println!(
                    "| {shape} | {place} | {ops:?} | {:.1e} | {answer:.1e} | {by:.1e} | {of} | \
                     {full:.1e} | {full_by:.1e} | {full_of} |",
                    everywhere.max(at_last)
                );
            }
        }
    }
}

#[test]
fn the_references_name_every_tensor_and_what_made_them() {
    for shape in SHAPES {
        let reference = Reference::read(shape);
        assert!(!reference.batches().is_empty(), "{shape}");
        for tool in ["torch", "transformers"] {
            let version = reference.made[tool].as_str().expect("a version");
            assert!(version.contains('.'), "{shape}: {tool} {version}");
        }
        // Nothing at its trivial default, or a wrong bias would not be seen.
        for (name, tensor) in &reference.weights {
            let plain = values(tensor)
                .into_iter()
                .filter(|v| [0.0, 1.0].contains(v));
            assert_eq!(plain.count(), 0, "{shape}: {name}");
        }
    }
}
