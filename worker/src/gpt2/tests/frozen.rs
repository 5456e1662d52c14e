//! Every frozen set, tied and untied: what trains gets a gradient, and nothing is
//! computed for what does not.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::job::Component;

use super::*;

/// Every set for a network of three blocks, each with how many tensors of a tied
/// network it freezes (of 40: 12 in a block, two embeddings, two of the last
/// LayerNorm).
fn all_sets() -> Vec<(Frozen, usize)> {
    let part = Frozen::Component;
    vec![
        (Frozen::None, 0),
        (Frozen::Prefix(0), 2),
        (Frozen::Prefix(2), 26),
        (Frozen::Prefix(3), 38),
        (Frozen::Suffix(1), 14),
        (Frozen::Suffix(3), 38),
        (Frozen::Only(vec![0, 2]), 24),
        (Frozen::AllBut(vec![1]), 28),
        (part(Component::Attn), 12),
        (part(Component::Mlp), 12),
        (part(Component::Ln), 14),
        (part(Component::Wte), 1),
        (part(Component::Wpe), 1),
    ]
}

#[test]
fn what_trains_gets_a_gradient_and_nothing_else_does() {
    let config = config();
    let sets = all_sets();
    let mut tried = BTreeMap::new();
    for (frozen, count) in &sets {
        for untie in [false, true] {
            let weights = untied(&lively(&config, 7), untie);
            // A free unembedding is frozen by `all_but` alone.
            let free_head = untie && !matches!(frozen, Frozen::AllBut(_));
            let train = 40 - count + usize::from(free_head);
            for ops in [Ops::Fused, Ops::Composite] {
                let net = network(&config, &weights, frozen, ops);
                assert_eq!(
                    net.params().iter().filter(|p| p.trainable()).count(),
                    train,
                    "{frozen}, untied {untie}"
                );
                for kind in LOSSES {
                    let what = format!("{frozen}, untied {untie}, {ops:?}, {kind:?}");
                    gradients_are_those_of_what_trains(&net, kind, &what);
                    *tried.entry(format!("{ops:?}")).or_insert(0) += 1;
                }
            }
        }
    }
    let each = sets.len() * 2 * LOSSES.len();
    assert!(tried.values().all(|n| *n == each), "{tried:?}");
}

fn gradients_are_those_of_what_trains(net: &Gpt2, kind: Loss, what: &str) {
    let graph = loss(net, kind);
    let params: Vec<&Tensor> = net.params().iter().map(|p| &p.tensor).collect();
    let (grads, collected) = crate::ops::collecting(&params, || graph.backward());
    let grads = grads.expect("backward");
    let mut trained = BTreeSet::new();
    for (p, collected) in net.params().iter().zip(collected) {
        let of_library = grads.get(&p.tensor).map(values);
        let mut found = collected.into_iter().chain(of_library).peekable();
        assert_eq!(
            found.peek().is_some(),
            p.trainable(),
            "{what}: {} trains, and has a gradient",
            p.name
        );
        if p.trainable() {
            let largest = found.flatten().fold(0.0f32, |m, g| m.max(g.abs()));
            assert!(largest > 0.0, "{what}: the gradient of {} is 0", p.name);
            trained.insert(format!("{:?}", p.tensor.id()));
        }
    }
    // What is left beside them was computed for nobody. The library leaves sums
    // over activations behind; a matrix is the gradient of a weight, or of a part
    // or the transpose of one: the costly thing.
    for id in grads.get_ids() {
        let grad = grads.get_id(*id).expect("listed");
        let of_rows = [BATCH, BATCH * LEN].contains(&grad.dim(0).unwrap_or(0));
        assert!(
            trained.contains(&format!("{id:?}")) || grad.rank() != 2 || of_rows,
            "{what}: a gradient of shape {:?} was computed for nobody",
            grad.dims()
        );
    }
}

/// Fused operations: the number of matrix products of a step is that of a forward
/// pass, one for each matrix that trains, and one for the input of each layer above
/// something that trains. Not one more.
#[test]
fn no_product_is_computed_for_nobody() {
    let config = config();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.expect("a pool of one thread, which makes all products");
    for (frozen, _) in all_sets() {
        for untie in [false, true] {
            let weights = untied(&lively(&config, 7), untie);
            let net = network(&config, &weights, &frozen, Ops::Fused);
            for kind in LOSSES {
                let made = one.install(|| {
                    let before = crate::ops::products_of_this_thread();
                    net.gradients(&loss(&net, kind)).expect("gradients");
                    crate::ops::products_of_this_thread() - before
                });
                let needed = products_needed(&net, kind);
                assert_eq!(made, needed, "{frozen}, untied {untie}, {kind:?}");
            }
        }
    }
}

/// See [`no_product_is_computed_for_nobody`].
fn products_needed(net: &Gpt2, kind: Loss) -> usize {
    // From the bottom to the top.
    let mut order = vec![vec![WTE.to_owned(), WPE.to_owned()]];
    for layer in 0..net.config().layers {
        let parts = [
            "ln_1",
            "attn.c_attn",
            "attn.c_proj",
            "ln_2",
            "mlp.c_fc",
            "mlp.c_proj",
        ];
        for part in parts {
            order.push(
                ["weight", "bias"]
                    .map(|end| format!("h.{layer}.{part}.{end}"))
                    .into(),
            );
        }
    }
    order.push(vec!["ln_f.weight".to_owned(), "ln_f.bias".to_owned()]);
    let head = if net.config().tied { WTE } else { LM_HEAD };
    order.push(vec![head.to_owned()]);
    let trains = |name: &String| {
        net.params()
            .iter()
            .any(|p| p.name == *name && p.trainable())
    };

    let last = format!("h.{}.attn.c_attn.weight", net.config().layers - 1);
    let (mut products, mut below) = (0, false);
    for names in &order {
        let matrix = names[0].contains(".c_") || names[0] == *head && names.len() == 1;
        // For the last position alone, q is apart from k and v.
        let parts = 1 + usize::from(names[0] == last && kind != Loss::Full);
        if matrix {
            products += parts * (1 + usize::from(below) + usize::from(trains(&names[0])));
        }
        below |= names.iter().any(trains);
    }
    products
}

#[test]
fn the_products_of_the_composite_path_are_the_library_s() {
    let a = lively(&config(), 1)["h.0.mlp.c_fc.weight"].clone(); // (16, 64)
    let b = lively(&config(), 2)["h.0.mlp.c_proj.weight"].clone(); // (64, 16)
    let var = |t: &Tensor| candle_core::Var::from_tensor(t).expect("a variable");
    let (a, b, zero) = (
        var(&a),
        var(&b),
        Tensor::zeros(16, candle_core::DType::F32, &Device::Cpu),
    );
    let zero = zero.expect("zeros");
    let own = crate::ops::linear(Ops::Composite, &a, &b, &zero).expect("product");
    let theirs = a.matmul(&b).expect("product");
    let bits = |t: &Tensor| values(t).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&own), bits(&theirs));
    let grads = |out: &Tensor| {
        let loss = out.sqr().and_then(|t| t.sum_all()).expect("loss");
        let grads = loss.backward().expect("backward");
        [&a, &b].map(|v| bits(grads.get(v).expect("trains")))
    };
    assert_eq!(grads(&own), grads(&theirs));
}
