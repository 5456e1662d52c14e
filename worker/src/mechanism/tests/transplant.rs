//! Transplants: nothing is lost to oneself, and θ⁰ as a partner is reversion.

use super::super::swap::fired;
use super::super::transplant::ends_at;
use super::*;
use crate::gpt2::hooks::Part;

#[test]
fn a_network_has_nothing_to_lose_to_itself() {
    let mut setting = Setting::new().always_right();
    let twin = subject("twin", setting.config(), setting.subject.weights.clone());
    setting.others = vec![("ft_ft".to_owned(), twin)];
    let answer = setting.ask(Question::Transplant);
    for k in 0..=LAYERS {
        near(
            "suffix",
            value(&answer, "transplant.ft_ft.suffix", Some(k), None),
            0.0,
            1e-5,
        );
        near(
            "prefix",
            value(&answer, "transplant.ft_ft.prefix", Some(k), None),
            0.0,
            1e-5,
        );
    }
    for layer in 0..LAYERS {
        assert_eq!(
            value(&answer, "transplant.ft_ft.block", Some(layer), None),
            0.0
        );
    }
    near(
        "barrier",
        value(&answer, "interpolation.ft_ft.barrier", None, None),
        0.0,
        1e-5,
    );
    let barrier = value(&answer, "interpolation.pt_ft.barrier", None, None);
    assert!(barrier >= 0.0, "the ends are on the line: {barrier}");
}

#[test]
fn a_swap_that_did_not_take_place_is_a_bug_that_is_named() {
    let setting = Setting::new();
    let net = |subject| super::super::readout::hooked(subject, Ops::Fused, &Device::Cpu);
    let (ours, theirs) = (net(&setting.subject), net(&setting.origin));
    let (ours, theirs) = (ours.expect("a network"), theirs.expect("a network"));
    for part in [Part::Block(1), Part::Head(2, 1), Part::Unembedding] {
        let error = fired(&ours, part, &theirs).expect_err("not swapped");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{part:?} of another")), "{text}");
        assert_eq!(JobError::from(error).reason, FailureReason::Bug);
        let mixed = ours.with(part, &theirs).expect("of one shape");
        fired(&mixed, part, &theirs).expect("swapped");
    }
}

#[test]
fn an_end_of_the_line_is_a_network_in_all_its_parts() {
    let mut setting = Setting::new();
    // Vectors are the same in both otherwise.
    for tensor in setting.origin.weights.values_mut() {
        *tensor = (&*tensor * 1.5).expect("scaled");
    }
    let net = |subject| super::super::readout::hooked(subject, Ops::Fused, &Device::Cpu);
    let (ours, theirs) = (net(&setting.subject), net(&setting.origin));
    let (ours, theirs) = (ours.expect("a network"), theirs.expect("a network"));
    ends_at(&ours, &ours).expect("the network itself");
    let inside = (0..LAYERS).flat_map(|layer| {
        let head = (0..HEADS).map(move |head| Part::Head(layer, head));
        head.chain([Part::Norms(layer), Part::Mlp(layer), Part::Attention(layer)])
    });
    let ends = [Part::Embedding, Part::Unembedding, Part::FinalNorm];
    for part in ends.into_iter().chain(inside) {
        let other = ours.with(part, &theirs).expect("of one shape");
        let error = ends_at(&other, &ours).expect_err("another network");
        let text = error.to_string();
        assert!(
            text.ends_with("the swap did not take place"),
            "{part:?}: {text}"
        );
    }
}

#[test]
fn its_origin_as_a_partner_is_reversion() {
    let mut setting = Setting::new().always_right();
    let origin = subject("origin", setting.config(), setting.origin.weights.clone());
    setting.others = vec![("ft_sc".to_owned(), origin)];
    let (answer, reversion) = (
        setting.ask(Question::Transplant),
        setting.ask(Question::Reversion),
    );
    for (name, last) in [
        ("suffix", LAYERS + 1),
        ("prefix", LAYERS + 1),
        ("block", LAYERS),
    ] {
        for layer in 0..last {
            let found = value(
                &answer,
                &format!("transplant.ft_sc.{name}"),
                Some(layer),
                None,
            );
            let expect = value(&reversion, &format!("reversion.{name}"), Some(layer), None);
            assert_eq!(found, expect, "{name} {layer}");
        }
    }
    // The line's ends are the networks: here the subject first, there the base.
    let at = |name: &str, alpha: &str| {
        let found = answer
            .metrics
            .iter()
            .find(|m| m.name == name && m.slot.as_deref() == Some(alpha));
        found
            .unwrap_or_else(|| panic!("no {name} at {alpha}"))
            .value
    };
    for measure in ["loss", "accuracy"] {
        let (ours, base) = (
            format!("interpolation.ft_sc.{measure}"),
            format!("interpolation.pt_ft.{measure}"),
        );
        near(measure, at(&ours, "0.0"), at(&base, "1.0"), 1e-9);
        near(measure, at(&ours, "1.0"), at(&base, "0.0"), 1e-9);
    }
    near(
        "accuracy",
        at("interpolation.ft_sc.accuracy", "0.0"),
        1.0,
        0.0,
    );
}
