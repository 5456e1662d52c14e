//! Patching as a question: its cells, denominators and what is not available.

use super::*;

/// Four sites by six slots and five by two heads, in three layers, both ways.
const CELLS: usize = 2 * LAYERS * (4 * 6 + 5 * HEADS);

/// One of each site, both ways.
const CENTRES: usize = 2 * 9;

fn named<'a>(answer: &'a Answer, start: &'a str) -> impl Iterator<Item = &'a Metric> {
    answer
        .metrics
        .iter()
        .filter(move |m| m.name.starts_with(start))
}

#[test]
fn every_counterfactual_has_its_maps() {
    let answer = Setting::new().centred().ask(Question::Patching);
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
            CELLS + CENTRES + 1,
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
    for cf in ["cue", "rel", "irr"] {
        let prefix = format!("patching.{cf}.");
        assert_eq!(
            named(&answer, &prefix).filter(|m| m.value.is_nan()).count(),
            CELLS + CENTRES,
            "{cf}"
        );
        let note = answer
            .notes
            .iter()
            .find(|n| n.place == format!("patching.{cf}"));
        assert_eq!(note.expect("a note").reason, "no pair is solved both ways");
    }
}

#[test]
fn what_keeps_the_answer_stands_over_the_task_s_own_reference() {
    // `multidm` has no `rel`; `both` turns the answer, and the cue does not.
    let answer = Setting::of("multidm").centred().ask(Question::Patching);
    for cf in ["cue", "both"] {
        let prefix = format!("patching.{cf}.");
        assert_eq!(named(&answer, &prefix).count(), CELLS + CENTRES + 1, "{cf}");
        let values: Vec<f64> = named(&answer, &prefix)
            .filter(|m| !m.name.ends_with("centre"))
            .map(|m| m.value)
            .collect();
        assert!(values.iter().all(|v| v.is_finite()), "{cf}");
        // More than the fraction of solved pairs alone.
        assert!(values.iter().filter(|v| v.abs() > 1e-3).count() > 1, "{cf}");
    }

    // Right whatever is shown: no answer ever turns.
    let answer = Setting::of("multidm").leaning(1e3).ask(Question::Patching);
    let solved = |cf: &str| {
        let name = format!("patching.{cf}.solved_fraction");
        value(&answer, &name, None, None)
    };
    assert!(solved("cue") > 0.0);
    assert_eq!(solved("both"), 0.0);
    let reason = |place: &str| {
        let note = answer.notes.iter().find(|note| note.place == place);
        note.expect("a note").reason.as_str()
    };
    assert_eq!(
        reason("patching.cue"),
        "no pair of both is solved both ways: no denominator"
    );
    assert_eq!(reason("patching.both"), "no pair is solved both ways");
}

#[test]
fn a_map_s_centre_is_that_of_its_cells() {
    let answer = Setting::new().centred().ask(Question::Patching);
    for map in [
        "rel.denoising.resid_mid",
        "irr.noising.mlp_out",
        "cue.denoising.z",
    ] {
        let name = format!("patching.{map}");
        let (mut moment, mut weight) = (0.0, 0.0);
        for cell in answer.metrics.iter().filter(|m| m.name == name) {
            let layer = f64::from(cell.layer.expect("a cell has a layer"));
            moment += layer * cell.value.abs();
            weight += cell.value.abs();
        }
        let centre = value(&answer, &format!("{name}.centre"), None, None);
        assert!(
            centre > 0.0 && centre < (LAYERS - 1) as f64,
            "{map}: {centre}"
        );
        near(map, centre, moment / weight, 1e-12);
    }
}
