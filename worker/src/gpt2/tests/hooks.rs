//! The hooked network: it is the network, its edits do what they say, and what is
//! left out changes nothing.

use super::*;
use crate::gpt2::hooks::{Edit, End, HookError, Hooked, Part, Pass, Past, Point, Site, Start};

fn hooked(seed: u64, ops: Ops) -> Hooked {
    let config = config();
    Hooked::new(&config, &lively(&config, seed), ops, &Device::Cpu).expect("a network")
}

fn at(name: &str) -> Point {
    name.parse().expect("a hook point")
}

/// Every point of the small network.
fn points() -> Vec<Point> {
    let outside = [
        "hook_embed",
        "hook_pos_embed",
        "ln_final.hook_scale",
        "ln_final.hook_normalized",
    ];
    let sites = [
        "hook_resid_pre",
        "ln1.hook_scale",
        "ln1.hook_normalized",
        "attn.hook_q",
        "attn.hook_k",
        "attn.hook_v",
        "attn.hook_attn_scores",
        "attn.hook_pattern",
        "attn.hook_z",
        "hook_attn_out",
        "hook_resid_mid",
        "ln2.hook_scale",
        "ln2.hook_normalized",
        "mlp.hook_pre",
        "mlp.hook_post",
        "hook_mlp_out",
        "hook_resid_post",
    ];
    let inside = (0..3).flat_map(|l| sites.map(|site| at(&format!("blocks.{l}.{site}"))));
    outside.map(at).into_iter().chain(inside).collect()
}

fn from_ids<'a>(ids: &'a Tensor) -> Pass<'a> {
    Pass::new(Start::Ids(ids), End::Last)
}

fn dense(x: candle_core::Result<Tensor>) -> Tensor {
    x.and_then(|x| x.contiguous()).expect("a part")
}

#[test]
fn it_is_the_network() {
    let config = config();
    for untie in [false, true] {
        let weights = untied(&lively(&config, 3), untie);
        for ops in [Ops::Fused, Ops::Composite] {
            let plain = network(&config, &weights, &Frozen::None, ops);
            let shape = plain.config().clone();
            let hooked = Hooked::new(&shape, &weights, ops, &Device::Cpu).expect("a network");
            let out = hooked.run(&from_ids(&ids())).expect("a pass").out;
            let logits = hooked.logits(&out).expect("logits");
            let expect = plain.logits_last(&ids()).expect("logits");
            assert!(
                distance(&logits, &expect) < 2e-6,
                "{ops:?}, untied: {untie}"
            );

            let all = hooked
                .run(&Pass::new(Start::Ids(&ids()), End::All))
                .expect("a pass")
                .out;
            let last = dense(all.narrow(1, LEN - 1, 1).and_then(|x| x.squeeze(1)));
            assert!(distance(&last, &out) < 2e-6);
            let stream = hooked
                .run(&Pass::new(Start::Ids(&ids()), End::Block(2)))
                .expect("a pass")
                .out;
            let frozen = network(&config, &lively(&config, 3), &Frozen::Prefix(2), ops);
            assert!(distance(&stream, &frozen.stream(&ids(), 2).expect("a stream")) < 2e-6);
        }
    }
}

#[test]
fn reading_everything_changes_nothing_and_writing_it_back_neither() {
    for ops in [Ops::Fused, Ops::Composite] {
        let net = hooked(5, ops);
        let ids = ids();
        let points = points();
        let mut pass = from_ids(&ids);
        let plain = net.run(&pass).expect("a pass").out;
        pass = pass.reading(&points);
        let read = net.run(&pass).expect("a pass");
        assert!(
            distance(&read.out, &plain) < 2e-6,
            "explicit and fused paths"
        );
        for &point in &points {
            // The one edit alone, against the same path without it.
            let one = [point];
            let before = net.run(&from_ids(&ids).reading(&one)).expect("a pass");
            let value = before.get(point).expect("read").clone();
            // What comes after the blocks is there for the last position alone.
            let edit_to = |value: Tensor| match point.layer() {
                None if value.dims()[1] == 1 => Edit::new(point, value).position(LEN - 1),
                _ => Edit::new(point, value),
            };
            let edit = [edit_to(value.clone())];
            // In the last block a whole value is for all positions.
            let after = net
                .run(&from_ids(&ids).reading(&one).editing(&edit))
                .expect("a pass");
            assert_eq!(
                values(&after.out),
                values(&before.out),
                "{point}: a self-patch"
            );
            assert_eq!(
                values(after.get(point).expect("read")),
                values(&value),
                "{point}"
            );
            // And it matters: with something else the answer is another one.
            let wave = (0..value.elem_count()).map(|i| 0.7 * (i as f32 * 1.3).sin());
            let wave = Tensor::from_iter(wave, &Device::Cpu).and_then(|w| w.reshape(value.dims()));
            let other = (&value + wave.expect("a wave")).expect("a sum");
            let edit = [edit_to(other)];
            let after = net.run(&from_ids(&ids).editing(&edit)).expect("a pass");
            assert!(
                distance(&after.out, &plain) > 1e-4,
                "{point}: the edit does nothing"
            );
        }
    }
}

#[test]
fn shapes_and_identities_of_what_is_read() {
    let net = hooked(5, Ops::Fused);
    let (ids, points) = (ids(), points());
    let trace = net
        .run(&Pass::new(Start::Ids(&ids), End::All).reading(&points))
        .expect("a pass");
    let get = |name: &str| trace.get(at(name)).expect("read").clone();
    let sum = |a: &str, b: &str| (get(a) + get(b)).expect("a sum");
    for (a, b, c) in [
        ("hook_embed", "hook_pos_embed", "blocks.0.hook_resid_pre"),
        (
            "blocks.1.hook_resid_pre",
            "blocks.1.hook_attn_out",
            "blocks.1.hook_resid_mid",
        ),
        (
            "blocks.2.hook_resid_mid",
            "blocks.2.hook_mlp_out",
            "blocks.2.hook_resid_post",
        ),
    ] {
        assert_eq!(values(&sum(a, b)), values(&get(c)), "{a} + {b} = {c}");
    }
    assert_eq!(get("blocks.0.attn.hook_z").dims(), [BATCH, LEN, 16]);
    assert_eq!(get("blocks.0.mlp.hook_post").dims(), [BATCH, LEN, 64]);
    assert_eq!(get("blocks.0.ln1.hook_scale").dims(), [BATCH, LEN, 1]);
    let pattern = get("blocks.1.attn.hook_pattern");
    assert_eq!(pattern.dims(), [BATCH, 2, LEN, LEN]);
    for (i, row) in values(&pattern).chunks(LEN).enumerate() {
        let query = i % LEN;
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "row {i}");
        assert!(
            row[query + 1..].iter().all(|&p| p == 0.0),
            "row {i} looks ahead"
        );
    }
    assert_eq!(values(&trace.out), values(&get("ln_final.hook_normalized")));
}

/// An edit of a part is the edit of the whole with that part changed.
#[test]
fn a_part_is_a_part_of_the_whole() {
    let net = hooked(5, Ops::Fused);
    let ids = ids();
    for name in [
        "blocks.0.hook_resid_pre",
        "blocks.1.attn.hook_z",
        "blocks.2.attn.hook_pattern",
        "blocks.1.attn.hook_k",
    ] {
        let point = at(name);
        let one = [point];
        let value = net
            .run(&from_ids(&ids).reading(&one))
            .expect("a pass")
            .take(point)
            .expect("read");
        let axis = if value.rank() == 4 { 2 } else { 1 };
        let with_heads = name.contains("attn.");
        let new = (value.narrow(axis, 0, 2).expect("two rows") * -2.0).expect("scaled");
        // Rows 0 and 1 of the new one go to positions 7 and 4.
        let mut whole = values(&value);
        let dims = value.dims().to_vec();
        let inner: usize = dims[axis + 1..].iter().product();
        let new_values = values(&new.contiguous().expect("dense"));
        let outer: usize = dims[..axis].iter().product();
        for o in 0..outer {
            for (row, position) in [7, 4].into_iter().enumerate() {
                for e in 0..inner {
                    let in_head = match (with_heads, axis) {
                        (false, _) => true,
                        (true, 2) => o % 2 == 1,
                        (true, _) => e >= 8,
                    };
                    if in_head {
                        whole[(o * LEN + position) * inner + e] =
                            new_values[(o * 2 + row) * inner + e];
                    }
                }
            }
        }
        let whole = Tensor::from_vec(whole, dims, &Device::Cpu).expect("shape");
        let part = match (with_heads, axis) {
            (false, _) => new,
            (true, 2) => dense(new.narrow(1, 1, 1)),
            (true, _) => dense(new.narrow(2, 8, 8)),
        };
        let mut edit = Edit::new(point, part).positions(&[7, 4]);
        if with_heads {
            edit = edit.head(1);
        }
        // Read as well, so that both take the same path.
        let run = |edit: Edit| {
            let edits = [edit];
            let mut trace = net
                .run(&from_ids(&ids).reading(&one).editing(&edits))
                .expect("a pass");
            (
                values(&trace.take(point).expect("read")),
                values(&trace.out),
            )
        };
        assert_eq!(run(edit), run(Edit::new(point, whole)), "{name}");
    }
}

#[test]
fn a_window_over_a_past_is_the_whole() {
    for ops in [Ops::Fused, Ops::Composite] {
        let net = hooked(9, ops);
        let ids = ids();
        let reads: Vec<_> = points()
            .into_iter()
            .filter(|p| matches!(p, Point::Block(_, Site::K | Site::V | Site::ResidPre)))
            .collect();
        let trace = net.run(&from_ids(&ids).reading(&reads)).expect("a pass");
        let get = |layer, site| trace.get(Point::Block(layer, site)).expect("read");
        for (from, layer) in [(0, 1), (3, 0), (5, 1), (LEN - 1, 2), (4, 3)] {
            let mut past = Past::default();
            for l in layer..3 {
                let before = |site| dense(get(l, site).narrow(1, 0, from));
                past.insert(l, before(Site::K), before(Site::V));
            }
            let stream = match layer {
                3 => {
                    net.run(&Pass::new(Start::Ids(&ids), End::Block(3)))
                        .expect("a pass")
                        .out
                }
                _ => get(layer, Site::ResidPre).clone(),
            };
            let window = dense(stream.narrow(1, from, LEN - from));
            let pass = Pass::new(Start::Stream(&window, layer), End::Last).window(from, &past);
            let out = net.run(&pass).expect("a pass").out;
            assert!(
                distance(&out, &trace.out) < 2e-6,
                "from {from}, layer {layer}"
            );
        }
        let window = dense(ids.narrow(1, 4, LEN - 4));
        let mut past = Past::default();
        for l in 0..3 {
            let before = |site| dense(get(l, site).narrow(1, 0, 4));
            past.insert(l, before(Site::K), before(Site::V));
        }
        let out = net
            .run(&Pass::new(Start::Ids(&window), End::Last).window(4, &past))
            .expect("a pass")
            .out;
        assert!(distance(&out, &trace.out) < 2e-6);
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let net = hooked(9, Ops::Fused);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| values(&net.run(&from_ids(&ids())).expect("a pass").out))
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn what_does_not_fit_or_fire_is_named() {
    let net = hooked(5, Ops::Fused);
    let ids = ids();
    let zeros = |shape: &[usize]| {
        Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).expect("zeros")
    };
    let check = |edit: Edit, expect: &str| {
        let edits = [edit];
        let error = net
            .run(&from_ids(&ids).editing(&edits))
            .expect_err("an error")
            .to_string();
        assert!(error.contains(expect), "{error}\n  has no: {expect}");
    };
    let z = at("blocks.1.attn.hook_z");
    let resid = at("blocks.1.hook_resid_pre");
    check(
        Edit::new(at("blocks.3.hook_mlp_out"), zeros(&[BATCH, LEN, 16])),
        "blocks.3.hook_mlp_out: no layer 3 in a network of 3",
    );
    check(
        Edit::new(z, zeros(&[BATCH, LEN, 8])).head(2),
        "blocks.1.attn.hook_z: no head 2; there are 2",
    );
    check(
        Edit::new(resid, zeros(&[BATCH, LEN, 8])).head(0),
        "blocks.1.hook_resid_pre: no head 0; this place has none",
    );
    check(
        Edit::new(resid, zeros(&[BATCH, 1, 16])).position(9),
        "position 9 is not among those of this pass, 0 to 9",
    );
    check(
        Edit::new(z, zeros(&[BATCH, 1, 16])).head(1).position(2),
        "blocks.1.attn.hook_z: shape [5, 1, 16] where [5, 1, 8] is needed",
    );
    check(
        Edit::new(resid, zeros(&[BATCH, LEN, 15])),
        "shape [5, 9, 15] where [5, 9, 16]",
    );

    // Never reached, skipped by another edit, and nothing to read.
    let stream = zeros(&[BATCH, LEN, 16]);
    let entered = Pass::new(Start::Stream(&stream, 2), End::Last);
    let late = [Edit::new(resid, stream.clone())];
    let error = net
        .run(&entered.clone().editing(&late))
        .expect_err("not fired");
    assert!(
        matches!(&error, HookError::NotFired { point } if point == "blocks.1.hook_resid_pre"),
        "{error}"
    );
    let both = [
        Edit::new(at("blocks.1.attn.hook_q"), stream.clone()),
        Edit::new(z, stream.clone()),
    ];
    let error = net
        .run(&from_ids(&ids).editing(&both))
        .expect_err("not fired");
    assert!(
        matches!(&error, HookError::NotFired { point } if point == "blocks.1.attn.hook_q"),
        "{error}"
    );
    let reads = [resid];
    let error = net.run(&entered.reading(&reads)).expect_err("not read");
    assert!(matches!(error, HookError::NotRead { .. }), "{error}");

    // A window without its past.
    let past = Past::default();
    let window = Pass::new(Start::Stream(&stream, 1), End::Last).window(2, &past);
    let error = net.run(&window).expect_err("no past").to_string();
    assert!(
        error.contains("keys and values of layer 1 before position 2"),
        "{error}"
    );
    let long = zeros(&[BATCH, 13, 16]);
    let error = net
        .run(&Pass::new(Start::Stream(&long, 1), End::Last))
        .expect_err("too long")
        .to_string();
    assert!(
        error.contains("positions 0..13 of a network of 12"),
        "{error}"
    );
}

#[test]
fn parts_make_the_other_network() {
    let (one, other) = (hooked(1, Ops::Fused), hooked(2, Ops::Fused));
    let out = |net: &Hooked| {
        values(
            &net.logits(&net.run(&from_ids(&ids())).expect("a pass").out)
                .expect("logits"),
        )
    };
    let take = |net: &Hooked, parts: &[Part]| {
        let taken = parts
            .iter()
            .try_fold(net.clone(), |net, &part| net.with(part, &other));
        taken.expect("of one shape")
    };
    let ends = [Part::Embedding, Part::FinalNorm, Part::Unembedding];
    let blocks = [0, 1, 2].map(Part::Block);
    let mut all = take(&one, &ends);
    assert_ne!(out(&take(&all, &blocks)), out(&one));
    assert_eq!(out(&take(&all, &blocks)), out(&other), "ends and blocks");
    for layer in 0..3 {
        all = take(
            &all,
            &[Part::Attention(layer), Part::Mlp(layer), Part::Norms(layer)],
        );
    }
    assert_eq!(out(&all), out(&other), "ends and all components");

    // A network has what it was given, and nothing else.
    let parts = [
        Part::Embedding,
        Part::Unembedding,
        Part::FinalNorm,
        Part::Block(1),
        Part::Attention(1),
        Part::Mlp(1),
        Part::Norms(1),
        Part::Head(1, 1),
    ];
    for part in parts {
        let has = |net: &Hooked| net.has(part, &other).expect("of one shape");
        // Gains and biases are the same in both.
        let alike = matches!(part, Part::FinalNorm | Part::Norms(_));
        assert_eq!(has(&one), alike, "{part:?}");
        assert!(has(&take(&one, &[part])), "{part:?}");
    }
    let attention = take(&one, &[Part::Attention(1)]);
    let of = |part| attention.has(part, &other).expect("of one shape");
    assert!(of(Part::Head(1, 0)) && !of(Part::Block(1)) && !of(Part::Head(0, 0)));

    // Heads have all of the attention but the output's bias.
    let heads = take(&one, &[Part::Head(1, 0), Part::Head(1, 1)]);
    let mut weights = lively(&config(), 1);
    let theirs = lively(&config(), 2);
    for name in ["c_attn.weight", "c_attn.bias", "c_proj.weight"] {
        let name = format!("h.1.attn.{name}");
        weights.insert(name.clone(), theirs[&name].clone());
    }
    let expect = Hooked::new(&config(), &weights, Ops::Fused, &Device::Cpu).expect("a network");
    assert_eq!(out(&heads), out(&expect));

    let error = one
        .with(Part::Head(1, 2), &other)
        .err()
        .expect("no such head")
        .to_string();
    assert!(error.contains("no head 2; there are 2"), "{error}");
    let error = one
        .with(Part::Block(3), &other)
        .err()
        .expect("no such block")
        .to_string();
    assert!(error.contains("no layer 3 in a network of 3"), "{error}");
    let shape = Shape {
        layers: 3,
        heads: 4,
        width: 16,
        positions: 12,
    };
    let config = Config::new(&shape, 40).expect("valid");
    let four =
        Hooked::new(&config, &lively(&config, 1), Ops::Fused, &Device::Cpu).expect("a network");
    let error = one
        .with(Part::Block(0), &four)
        .err()
        .expect("another shape")
        .to_string();
    assert_eq!(
        error,
        "networks of different shape: the number of heads is 2 in one and 4 in the other"
    );
}
