//! Initial weights: what the arms of a seed share.

use seedbed_proto::job::Edge;

use super::*;
use crate::gpt2::{block_of, init};

#[test]
fn init_types_share_what_they_say_they_share() {
    let config = config();
    let base = lively(&config, 99);
    let make = |kind, seed| init::weights(&config, kind, Some(&base), seed, false).expect("init");
    let scratch = make(Init::Scratch, 1);
    assert!(equal(&make(Init::Pretrained, 1), &base, |_| true));
    assert!(
        equal(&make(Init::Scratch, 1), &scratch, |_| true),
        "same seed, same bits"
    );
    let other = make(Init::Scratch, 2);
    assert_ne!(values(&other[WTE]), values(&scratch[WTE]), "another seed");
    assert_ne!(
        values(&scratch["h.0.mlp.c_fc.weight"]),
        values(&scratch["h.1.mlp.c_fc.weight"]),
        "each tensor has its own stream"
    );
    let embedding = |name: &str| name == WTE || name == WPE;
    let block = |name: &str| block_of(name);
    let check = |kind: Init, fresh: &dyn Fn(&str) -> bool| {
        let made = make(kind, 1);
        assert!(equal(&made, &scratch, fresh), "{kind}: from scratch");
        assert!(
            equal(&made, &base, |name| !fresh(name)),
            "{kind}: from the base"
        );
    };
    check(Init::EmbeddingsOnly, &|name| !embedding(name));
    check(Init::BlocksOnly, &embedding);
    check(Init::Reinit(Edge::First(2)), &|name| {
        block(name).is_some_and(|l| l < 2)
    });
    check(Init::Reinit(Edge::Last(1)), &|name| block(name) == Some(2));

    let shuffled = make(Init::Shuffled, 1);
    for (name, tensor) in &shuffled {
        let sorted = |tensor: &Tensor| {
            let mut values = values(tensor);
            values.sort_by(f32::total_cmp);
            values
        };
        assert_eq!(sorted(tensor), sorted(&base[name]), "{name}: same values");
        assert_ne!(values(tensor), values(&base[name]), "{name}: another order");
    }
}

#[test]
fn scratch_weights_have_their_scales() {
    let shape = Shape {
        layers: 8,
        heads: 4,
        width: 64,
        positions: 64,
    };
    let config = Config::new(&shape, 512).expect("valid");
    let scratch = init::weights(&config, Init::Scratch, None, 5, true).expect("scratch");
    let check = |name: &str, std: f32| {
        let values = values(&scratch[name]);
        let n = values.len() as f32;
        let found = (values.iter().map(|v| v * v).sum::<f32>() / n).sqrt();
        assert!(
            (found - std).abs() <= 0.05 * std,
            "{name}: {found}, not {std}"
        );
    };
    check(WTE, 0.02);
    check(WPE, 0.02);
    check(LM_HEAD, 0.02);
    check("h.3.attn.c_attn.weight", 0.02);
    check("h.3.attn.c_proj.weight", 0.02 / 4.0);
    check("h.3.mlp.c_proj.weight", 0.02 / 4.0);
    check("h.3.mlp.c_fc.bias", 0.0);
    check("h.3.ln_1.weight", 1.0);
    check("ln_f.bias", 0.0);
}

#[test]
fn an_init_that_does_not_fit_is_refused() {
    let config = config();
    let mut holed = lively(&config, 1);
    holed.remove("h.1.ln_1.bias");
    let check = |kind, base: Option<&Weights>, expect: &str| {
        let error = init::weights(&config, kind, base, 1, false).expect_err("invalid");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(
        Init::Reinit(Edge::First(4)),
        None,
        "4 blocks are asked for, the model has 3",
    );
    check(Init::Pretrained, None, "init pretrained takes tensor");
    check(
        Init::Shuffled,
        Some(&holed),
        "\"h.1.ln_1.bias\" from the base model",
    );
}
