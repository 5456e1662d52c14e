//! Patching as a question: its cells, denominators and what is not available.

use super::*;

fn named<'a>(answer: &'a Answer, start: &'a str) -> impl Iterator<Item = &'a Metric> {
    answer
        .metrics
        .iter()
        .filter(move |m| m.name.starts_with(start))
}

#[test]
fn every_counterfactual_has_its_maps() {
    let answer = Setting::new().centred().ask(Question::Patching);
    // Four sites by six slots and five by two heads, in three layers, both ways.
    let cells = 2 * LAYERS * (4 * 6 + 5 * HEADS);
    for cf in ["cue", "rel", "irr"] {
        let fraction = value(
            &answer,
            &format!("patching.{cf}.solved_fraction"),
            None,
            None,
        );
        assert!(fraction > 0.0 && fraction < 1.0, "{cf}: {fraction}");
        assert_eq!(
            named(&answer, &format!("patching.{cf}.")).count(),
            cells + 1,
            "{cf}"
        );
    }
    let at = |name: &str, layer: u32, slot: &str| {
        let metric = answer
            .metrics
            .iter()
            .find(|m| m.name == name && m.layer == Some(layer) && m.slot.as_deref() == Some(slot));
        metric
            .unwrap_or_else(|| panic!("no {name} at {slot}"))
            .value
    };
    // By the first block's entrance nothing but the changed tokens differs.
    assert_eq!(at("patching.rel.denoising.resid_pre", 0, "irr_left"), 0.0);
    assert_eq!(at("patching.rel.denoising.resid_pre", 0, "last"), 0.0);
    assert_eq!(at("patching.irr.noising.resid_pre", 0, "rel_left"), 0.0);
    assert!(at("patching.rel.denoising.resid_pre", 0, "rel_left") != 0.0);
    // What leaves the last block decides at the last position and nowhere else.
    let last = LAYERS as u32 - 1;
    assert_eq!(at("patching.rel.denoising.mlp_out", last, "rel_left"), 0.0);
    assert!(at("patching.rel.denoising.mlp_out", last, "last") != 0.0);
}

#[test]
fn a_network_that_solves_nothing_has_no_maps_and_says_why() {
    let mut setting = Setting::new();
    // Every logit is 0: no answer.
    let weights = &mut setting.subject.weights;
    let zeros = weights[WTE].zeros_like().expect("zeros");
    weights.insert(WTE.to_owned(), zeros);
    let answer = setting.ask(Question::Patching);
    assert_eq!(
        value(&answer, "patching.cue.solved_fraction", None, None),
        0.0
    );
    let cells = 2 * LAYERS * (4 * 6 + 5 * HEADS);
    for cf in ["cue", "rel", "irr"] {
        let prefix = format!("patching.{cf}.");
        assert_eq!(
            named(&answer, &prefix).filter(|m| m.value.is_nan()).count(),
            cells,
            "{cf}"
        );
        let note = answer
            .notes
            .iter()
            .find(|n| n.place == format!("patching.{cf}"));
        assert_eq!(note.expect("a note").reason, "no pair is solved both ways");
    }
}
