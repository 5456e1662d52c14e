//! Dropout: equal masks in both paths, and what they depend on.

use super::*;
use crate::gpt2::dropout::{Dropout, Place};
use crate::gpt2::model::Entry;

const RATE: f64 = 0.25;

fn dropout(step: u64, first_row: usize) -> Dropout {
    Dropout::new(RATE, 5, step, first_row).expect("a rate above 0")
}

/// The losses of `loss`, over some rows, with dropout.
fn dropping(net: &Gpt2, kind: Loss, rows: std::ops::Range<usize>, dropout: &Dropout) -> Tensor {
    let part = |t: Tensor| t.narrow(0, rows.start, rows.len()).expect("rows");
    let cpu = &Device::Cpu;
    let input = Entry::Dropping(part(ids()), *dropout);
    match kind {
        Loss::Answer => {
            let answers = part(Tensor::new(&[3u32, 39, 0, 3, 17], cpu).expect("answers"));
            net.answer_loss(input, &answers)
        }
        Loss::TwoWay => {
            let right = part(Tensor::new(&[0u32, 1, 1, 0, 1], cpu).expect("sides"));
            net.two_way_loss(input, &right, [5, 9])
        }
        Loss::Full => {
            let targets: Vec<u32> = (0..BATCH * LEN).map(|i| (i * 11 + 5) as u32 % 40).collect();
            let targets = Tensor::from_vec(targets, (BATCH, LEN), cpu).expect("targets");
            net.full_loss(input, &part(targets))
        }
    }
    .expect("loss")
}

#[test]
fn fused_and_composite_drop_the_same() {
    let config = config();
    for (frozen, untie) in sets() {
        let weights = untied(&lively(&config, 7), untie);
        let [fused, composite] =
            [Ops::Fused, Ops::Composite].map(|ops| network(&config, &weights, &frozen, ops));
        for kind in LOSSES {
            let [a, b] =
                [&fused, &composite].map(|net| dropping(net, kind, 0..BATCH, &dropout(3, 0)));
            assert!((scalar(&a) - scalar(&b)).abs() < 1e-5, "{frozen} {kind:?}");
            let plain = scalar(&loss(&fused, kind));
            assert!((scalar(&a) - plain).abs() > 1e-3, "something is dropped");
            let (a, b) = (fused.gradients(&a), composite.gradients(&b));
            let (a, b) = (a.expect("gradients"), b.expect("gradients"));
            let names = fused.params().iter().filter(|p| p.trainable());
            for (p, (a, b)) in names.zip(a.iter().zip(&b)) {
                let d = distance(b, a);
                assert!(d < 5e-5, "{frozen} {kind:?} {}: {d}", p.name);
            }
        }
    }
}

#[test]
fn gradients_under_dropout_are_the_slopes_of_the_loss() {
    let config = config();
    let base = lively(&config, 3);
    for ops in [Ops::Fused, Ops::Composite] {
        for kind in LOSSES {
            let at = |weights: &Weights| {
                let net = network(&config, weights, &Frozen::None, ops);
                let loss = dropping(&net, kind, 0..BATCH, &dropout(3, 0));
                (scalar(&loss), net.gradients(&loss).expect("gradients"))
            };
            // Along all gradients at once the slope is the sum of their squares.
            let (_, grads) = at(&base);
            let squares = grads.iter().flat_map(values).map(|g| f64::from(g * g));
            let expect: f64 = squares.sum();
            let step = 2e-3 / expect.sqrt();
            let moved = |sign: f64| {
                let shift = |((name, tensor), grad): ((&String, &Tensor), &Tensor)| {
                    let tensor = tensor + (grad * (sign * step)).expect("scale");
                    (name.clone(), tensor.expect("add"))
                };
                at(&base.iter().zip(&grads).map(shift).collect()).0
            };
            let slope = f64::from(moved(1.0) - moved(-1.0)) / (2.0 * step);
            assert!(
                (slope / expect - 1.0).abs() < 0.01,
                "{ops:?} {kind:?}: slope {slope}, gradient² {expect}"
            );
        }
    }
}

#[test]
fn micro_batches_drop_what_the_batch_drops() {
    let config = config();
    for ops in [Ops::Fused, Ops::Composite] {
        let net = network(&config, &lively(&config, 2), &Frozen::None, ops);
        for kind in LOSSES {
            let whole = scalar(&dropping(&net, kind, 0..BATCH, &dropout(9, 0)));
            let one = |row: usize| scalar(&dropping(&net, kind, row..row + 1, &dropout(9, row)));
            let rows: f32 = (0..BATCH).map(one).sum();
            assert!(
                (whole - rows / BATCH as f32).abs() < 1e-5,
                "{ops:?} {kind:?}"
            );
        }
    }
}

#[test]
fn the_last_position_alone_drops_what_it_drops_among_all() {
    let config = config();
    for ops in [Ops::Fused, Ops::Composite] {
        let net = network(&config, &lively(&config, 2), &Frozen::None, ops);
        let dropout = dropout(1, 0);
        let x = net.train.embed(&ids()).expect("stream");
        let x = dropout.all(Place::Embedding, &x).expect("dropped");
        let all = net.train.all((x, 0), Some(&dropout)).expect("stream"); // (B, T, C)
        let of_all = all.narrow(1, LEN - 1, 1).and_then(|t| t.squeeze(1));
        let input = Entry::Dropping(ids(), dropout);
        let last = net.train_last(input.clone()).expect("stream"); // (B, C)
        assert!(distance(&of_all.expect("row"), &last) < 1e-5, "{ops:?}");
        net.logits_last(input)
            .expect_err("an evaluation never drops");
    }
}

#[test]
fn masks_depend_on_seed_step_row_and_place_alone() {
    let ones = Tensor::ones((3, 8, 64), candle_core::DType::F32, &Device::Cpu).expect("ones");
    let mask = |seed: u64, step: u64, row: usize, place: Place| {
        let dropout = Dropout::new(RATE, seed, step, row).expect("a rate above 0");
        values(&dropout.all(place, &ones).expect("dropped"))
    };
    let first = mask(1, 2, 0, Place::AttentionOut(0));
    assert_eq!(first, mask(1, 2, 0, Place::AttentionOut(0)));
    for other in [
        mask(2, 2, 0, Place::AttentionOut(0)),
        mask(1, 3, 0, Place::AttentionOut(0)),
        mask(1, 2, 3, Place::AttentionOut(0)),
        mask(1, 2, 0, Place::AttentionOut(1)),
        mask(1, 2, 0, Place::MlpOut(0)),
        mask(1, 2, 0, Place::Embedding),
    ] {
        let same = first.iter().zip(&other).filter(|(a, b)| a == b).count();
        // Two independent masks agree in .75² + .25² of their elements.
        let share = same as f64 / first.len() as f64;
        assert!((share - 0.625).abs() < 0.05, "{share}");
    }
    // Row 1 of a batch is row 0 of a micro-batch that begins there.
    let row = 8 * 64;
    assert_eq!(
        mask(1, 2, 1, Place::Embedding)[..row],
        mask(1, 2, 0, Place::Embedding)[row..2 * row]
    );
    // What is kept is scaled, so that the mean stays.
    let scale = (1.0 / (1.0 - RATE)) as f32;
    assert!(first.iter().all(|v| *v == 0.0 || *v == scale));
    let kept = first.iter().filter(|v| **v > 0.0).count() as f64 / first.len() as f64;
    assert!((kept - (1.0 - RATE)).abs() < 0.03, "{kept}");
    assert_eq!(Dropout::new(0.0, 1, 2, 3), None, "no rate, no mask");

    // A mask that changes with a version of a library would change every resumed run.
    let bits: Vec<u8> = first.iter().map(|v| u8::from(*v > 0.0)).collect();
    let digest = seedbed_proto::BlobDigest::of(&bits).to_string();
    assert_eq!(digest[..16], *"d5d3dac1fa6b0559");
}

#[test]
fn threads_do_not_change_masks() {
    let ones = Tensor::ones((33, 17, 24), candle_core::DType::F32, &Device::Cpu).expect("ones");
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let draw = || values(&dropout(4, 2).all(Place::MlpOut(1), &ones).expect("dropped"));
        pool.expect("a pool").install(draw)
    };
    assert_eq!(bits(1), bits(3));
}
