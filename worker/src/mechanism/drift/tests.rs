//! Drift against its formula, and of what did not move.

use candle_core::Tensor;

use super::*;
use crate::gpt2::tests::{config, lively};

fn of(all: &[Moved], name: &str, layer: Option<usize>) -> f64 {
    let found = all.iter().find(|m| m.name == name && m.layer == layer);
    found
        .unwrap_or_else(|| panic!("no {name} of {layer:?}"))
        .relative
}

#[test]
fn what_did_not_move_has_no_drift_and_what_grew_by_half_has_one_half() {
    let config = config();
    let before = lively(&config, 4);
    let mut after = before.clone();
    let mut grow = |name: &str| {
        let grown: Tensor = (&before[name] * 1.5).expect("scaled");
        after.insert(name.to_owned(), grown);
    };
    for name in [
        "h.1.attn.c_proj.weight",
        "h.1.attn.c_proj.bias",
        "h.2.ln_2.weight",
        "wpe.weight",
    ] {
        grow(name);
    }
    let all = drift(&config, &before, &after).expect("of one shape");
    assert_eq!(all.len(), 3 * 8 + 3);
    for moved in &all {
        let expect = match (moved.name, moved.layer) {
            ("o", Some(1)) | ("wpe", None) => 0.5,
            ("block", Some(1 | 2)) | ("ln", Some(2)) => {
                assert!((1e-3..0.5).contains(&moved.relative), "{moved:?}");
                continue;
            }
            _ => 0.0,
        };
        assert!((moved.relative - expect).abs() < 1e-6, "{moved:?}");
    }
}

#[test]
fn q_k_and_v_are_columns_of_one_tensor() {
    let config = config();
    let before = lively(&config, 4);
    let c = config.width;
    let mut after = before.clone();
    for (name, axis) in [("h.0.attn.c_attn.weight", 1), ("h.0.attn.c_attn.bias", 0)] {
        let part = |i: usize| before[name].narrow(axis, i * c, c).expect("a third");
        let parts = [part(0), (part(1) * -1.0).expect("scaled"), part(2)];
        after.insert(name.to_owned(), Tensor::cat(&parts, axis).expect("a whole"));
    }
    let all = drift(&config, &before, &after).expect("of one shape");
    assert_eq!(of(&all, "q", Some(0)), 0.0);
    assert!((of(&all, "k", Some(0)) - 2.0).abs() < 1e-6, "from k to −k");
    assert_eq!(of(&all, "v", Some(0)), 0.0);
}

#[test]
fn an_unembedding_of_its_own_began_as_the_embedding() {
    let config = config();
    let before = lively(&config, 4);
    let mut after = before.clone();
    after.insert(LM_HEAD.to_owned(), (&before[WTE] * 1.25).expect("scaled"));
    let all = drift(&config, &before, &after).expect("of one shape");
    assert!((of(&all, "lm_head", None) - 0.25).abs() < 1e-6);
    assert_eq!(of(&all, "wte", None), 0.0);
}
