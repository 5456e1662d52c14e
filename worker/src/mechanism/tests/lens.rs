//! The lens: parts add up to what they are parts of.

use super::*;

#[test]
fn parts_add_up_to_ld() {
    let setting = Setting::new().always_right();
    let answer = setting.ask(Question::Lens);
    let ld = setting.ld(&setting.subject.weights);
    assert!(ld > 0.1, "LD is not about 0");
    near("sum", value(&answer, "dla.sum", None, None), ld, 1e-3);
    near(
        "lens",
        value(&answer, "lens.logit_difference", Some(LAYERS), None),
        ld,
        1e-4,
    );
    let mut sum = value(&answer, "dla.embed", None, None) + value(&answer, "dla.bias", None, None);
    for layer in 0..LAYERS {
        let of = |name: &str| value(&answer, name, Some(layer), None);
        let head = |head| value(&answer, "dla.head", Some(layer), Some(head));
        let heads: f64 = (0..HEADS).map(head).sum();
        near(
            "heads and bias",
            heads + of("dla.bias"),
            of("dla.attn"),
            1e-5,
        );
        sum += of("dla.attn") + of("dla.mlp");
    }
    near("all parts", sum, ld, 1e-3);
    near(
        "accuracy",
        value(&answer, "lens.accuracy", Some(LAYERS), None),
        1.0,
        0.0,
    );
    let depth = value(&answer, "lens.decision_depth", None, None);
    assert!((0.0..=LAYERS as f64).contains(&depth));
    for layer in 0..LAYERS {
        for head in 0..HEADS {
            let of = |name: &str| {
                value(
                    &answer,
                    &format!("attention.{name}"),
                    Some(layer),
                    Some(head),
                )
            };
            near("gate", of("gate"), of("relevant") - of("irrelevant"), 1e-12);
            let most = (setting.split.prompt_len as f64).ln();
            assert!((0.0..=most).contains(&of("entropy")));
            assert!(of("relevant") > 0.0 && of("relevant") + of("irrelevant") < 1.0);
        }
    }
}

#[test]
fn a_silent_block_adds_nothing_and_a_network_in_doubt_never_decides() {
    let mut setting = Setting::new();
    setting.subject.weights = silenced(&setting.subject.weights, 1);
    let answer = setting.ask(Question::Lens);
    for name in ["dla.attn", "dla.mlp", "dla.bias"] {
        assert_eq!(value(&answer, name, Some(1), None), 0.0);
    }
    let lens = |depth| value(&answer, "lens.logit_difference", Some(depth), None);
    assert_eq!(lens(1), lens(2));
    // Never trained: right in about half of the trials.
    assert!(value(&answer, "lens.decision_depth", None, None).is_nan());
    assert!(
        answer
            .notes
            .iter()
            .any(|n| n.place == "lens.decision_depth")
    );
}
