//! Similarity of networks: the same one, and unrelated ones.

use super::*;

#[track_caller]
fn at(answer: &Answer, name: &str, depth: u32, slot: &str) -> f64 {
    let found = (answer.metrics.iter())
        .find(|m| m.name == name && m.layer == Some(depth) && m.slot.as_deref() == Some(slot));
    found
        .unwrap_or_else(|| panic!("no {name} of {depth} {slot}"))
        .value
}

#[test]
fn a_network_is_like_itself_and_less_like_another() {
    let mut setting = Setting::new();
    setting.items = 288;
    let same = subject(
        "the same",
        setting.config(),
        setting.subject.weights.clone(),
    );
    let other = subject("another", setting.config(), lively(setting.config(), 9));
    setting.others = vec![("ft_ft".into(), same), ("ft_sc".into(), other)];
    let answer = setting.ask(Question::Similarity);
    for depth in 1..=LAYERS as u32 {
        for slot in ["cue", "color_left", "last"] {
            near("CKA", at(&answer, "cka.ft_ft", depth, slot), 1.0, 1e-9);
            near("RSA", at(&answer, "rsa.ft_ft", depth, slot), 1.0, 1e-9);
        }
        for name in ["cka.ft_sc", "rsa.ft_sc", "cka.pt_ft", "rsa.pt_ft"] {
            let value = at(&answer, name, depth, "last");
            assert!(value < 0.99, "{name} at depth {depth}: {value}");
        }
    }
    let rdm = &answer.arrays["rsa.rdm"];
    assert_eq!(rdm.shape, [LAYERS + 1, 6, 72 * 71 / 2]);
    assert_eq!(rdm.data.len(), rdm.shape.iter().product::<usize>());
    // From depth 1 on the last position tells all conditions apart.
    let last = &rdm.data[11 * 2556..12 * 2556];
    assert!(last.iter().all(|&d| d > 0.0 && d <= 2.0));
}

#[test]
fn what_never_varies_is_not_available_with_its_reason() {
    let answer = Setting::new().ask(Question::Similarity);
    // The embedding of the last token, which is the same in all prompts.
    for name in ["cka.pt_ft", "rsa.pt_ft"] {
        assert!(at(&answer, name, 0, "last").is_nan(), "{name}");
        let note = answer.notes.iter().find(|n| n.place == name);
        let reason = &note.unwrap_or_else(|| panic!("no note on {name}")).reason;
        assert!(reason.ends_with(": depth 0, slot last"), "{reason}");
    }
}

#[test]
fn several_networks_of_a_pairing_are_averaged() {
    let mut setting = Setting::new();
    let same = subject(
        "the same",
        setting.config(),
        setting.subject.weights.clone(),
    );
    let other = |seed| subject("another", setting.config(), lively(setting.config(), seed));
    setting.others = vec![("sc_sc".into(), same), ("sc_sc".into(), other(9))];
    let both = setting.ask(Question::Similarity);
    setting.others.remove(0);
    let one = setting.ask(Question::Similarity);
    for name in ["cka.sc_sc", "rsa.sc_sc"] {
        let expect = (1.0 + at(&one, name, 2, "last")) / 2.0;
        near(name, at(&both, name, 2, "last"), expect, 1e-9);
    }
}
