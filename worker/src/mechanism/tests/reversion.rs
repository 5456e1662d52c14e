//! Reversion and ablation: curves are those of networks that were really made.

use super::*;

fn layer_of(name: &str) -> Option<usize> {
    crate::gpt2::block_of(name)
}

#[test]
fn curves_and_parts_are_those_of_networks_that_were_made() {
    let mut setting = Setting::new().always_right();
    let (subject, origin) = (
        untied(&setting.subject.weights),
        untied(&setting.origin.weights),
    );
    let config = setting.config().clone().untied();
    setting.subject = super::subject("subject", &config, subject.clone());
    setting.origin = super::subject("origin", &config, origin.clone());
    let answer = setting.ask(Question::Reversion);
    let ld = setting.ld(&subject);
    near("LD", value(&answer, "reversion.ld", None, None), ld, 1e-5);
    assert!(
        value(&answer, "reversion.ld_lo", None, None) > 0.0,
        "LD is not about 0"
    );
    let check = |name: &str, layer, head, which: &dyn Fn(&str) -> bool| {
        let made = setting.ld(&with(&subject, &origin, which));
        let found = value(&answer, &format!("reversion.{name}"), layer, head);
        near(&format!("{name} {layer:?}"), found, (ld - made) / ld, 1e-4);
        made
    };
    for k in 0..=LAYERS {
        let above = |name: &str| match layer_of(name) {
            Some(layer) => layer >= k,
            None => name != WTE && name != WPE,
        };
        check("suffix", Some(k), None, &above);
        check("prefix", Some(k), None, &|name| match layer_of(name) {
            Some(layer) => layer < k,
            None => name == WTE || name == WPE,
        });
    }
    let all = check("suffix", Some(0), None, &|name| name != WTE && name != WPE);
    assert!((all - ld).abs() > 1e-3, "the networks do differ");
    check("embedding", None, None, &|name| name == WTE || name == WPE);
    check("unembedding", None, None, &|name| name == LM_HEAD);
    check("ln_f", None, None, &|name| name.starts_with("ln_f."));
    for layer in 0..LAYERS {
        let of = |part: &str| {
            let prefix = format!("h.{layer}.{part}");
            move |name: &str| name.starts_with(&prefix)
        };
        check("block", Some(layer), None, &of(""));
        check("attn", Some(layer), None, &of("attn."));
        check("mlp", Some(layer), None, &of("mlp."));
        check("ln", Some(layer), None, &of("ln_"));
    }
}

/// A copied block is as it was at the start: R = 0 with A > 0, so U = 1. An identity
/// block is not used: A = R = 0.
#[test]
fn copied_and_identity_blocks() {
    let mut setting = Setting::new();
    // Small random blocks hardly matter: this one does.
    for name in ["h.1.attn.c_proj.weight", "h.1.mlp.c_proj.weight"] {
        let weights = &mut setting.origin.weights;
        let strong = (&weights[name] * 20.0).expect("scaled");
        weights.insert(name.to_owned(), strong);
    }
    let copied = with(&setting.subject.weights, &setting.origin.weights, |name| {
        name.starts_with("h.1.")
    });
    setting.subject.weights = silenced(&copied, 2);
    setting.origin.weights = silenced(&setting.origin.weights, 2);
    let setting = setting.always_right();
    let answer = setting.ask(Question::Reversion);
    let of = |name: &str, layer| value(&answer, name, Some(layer), None);
    for part in ["block", "attn", "mlp", "ln"] {
        assert_eq!(
            of(&format!("reversion.{part}"), 1),
            0.0,
            "{part} of the copied block"
        );
    }
    for head in 0..HEADS {
        assert_eq!(value(&answer, "reversion.head", Some(1), Some(head)), 0.0);
    }
    let (r, a) = (of("reversion.block", 1), of("ablation.block", 1));
    assert!(a.abs() > 1e-3, "the copied block is used: A = {a}");
    assert_eq!(1.0 - (r / a).clamp(0.0, 1.0), 1.0, "U");
    assert_eq!(of("reversion.block", 2), 0.0);
    assert_eq!(of("ablation.block", 2), 0.0);
    assert!(of("reversion.block", 0) != 0.0 && of("ablation.block", 0) != 0.0);
}

#[test]
fn ratios_to_an_ld_about_zero_are_not_available_and_the_note_says_why() {
    let mut setting = Setting::new().always_right();
    // Half of the answers wrong by lot.
    for (i, right) in setting.split.right.iter_mut().enumerate() {
        *right ^= (i % 2) as u8;
    }
    let answer = setting.ask(Question::Reversion);
    assert!(value(&answer, "reversion.block", Some(0), None).is_nan());
    assert!(value(&answer, "ablation.block", Some(0), None).is_nan());
    assert!(value(&answer, "reversion.ld", None, None).is_finite());
    assert!(
        answer
            .notes
            .iter()
            .any(|n| n.place == "reversion" && n.reason.contains("includes 0"))
    );
}

#[test]
fn memory_does_not_change_the_answer() {
    let setting = Setting::new().always_right();
    let wide = setting.ask(Question::Reversion);
    let tight = setting
        .try_ask(Question::Reversion, 1 << 18)
        .expect("an answer");
    for (a, b) in wide.metrics.iter().zip(&tight.metrics) {
        assert_eq!((&a.name, a.layer, a.head), (&b.name, b.layer, b.head));
        near(&a.name, b.value, a.value, 1e-5);
    }
}
