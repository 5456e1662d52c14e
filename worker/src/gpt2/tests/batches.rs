//! A sequence by itself and among others, and a position by itself and among others.

use super::*;

#[test]
fn a_batch_equals_its_sequences_one_by_one() {
    for ops in [Ops::Fused, Ops::Composite] {
        let net = network(&config(), &lively(&config(), 2), &Frozen::None, ops);
        let together = net.logits_last(&ids()).expect("logits");
        for row in 0..BATCH {
            let one = ids().narrow(0, row, 1).expect("row");
            let one = net.logits_last(&one).expect("logits");
            let same = together.narrow(0, row, 1).expect("row");
            assert!(distance(&same, &one) < 2e-6, "{ops:?} row {row}");
        }
    }
}

#[test]
fn the_gradient_of_a_batch_is_the_mean_of_its_sequences() {
    let cpu = &Device::Cpu;
    let answers = Tensor::new(&ANSWERS, cpu).expect("answers");
    let targets = Tensor::from_vec(targets(), (BATCH, LEN), cpu).expect("targets");
    for ops in [Ops::Fused, Ops::Composite] {
        let net = network(&config(), &lively(&config(), 2), &Frozen::None, ops);
        let of = |from: usize, count: usize, kind: Loss| {
            let cut = |t: &Tensor| t.narrow(0, from, count).expect("rows");
            let loss = match kind {
                Loss::Answer => net.answer_loss(&cut(&ids()), &cut(&answers)),
                _ => net.full_loss(&cut(&ids()), &cut(&targets)),
            };
            net.gradients(&loss.expect("loss")).expect("gradients")
        };
        for kind in [Loss::Answer, Loss::Full] {
            let together = of(0, BATCH, kind);
            let alone: Vec<_> = (0..BATCH).map(|row| of(row, 1, kind)).collect();
            for (i, p) in net.params().iter().enumerate() {
                let parts: Vec<Tensor> = alone.iter().map(|grads| grads[i].clone()).collect();
                let mean = Tensor::stack(&parts, 0).and_then(|t| t.mean(0));
                let d = distance(&mean.expect("mean"), &together[i]);
                assert!(d < 5e-6, "{ops:?} {kind:?} {}: {d}", p.name);
            }
        }
    }
}

#[test]
fn reading_the_last_position_alone_is_exact_and_later_tokens_are_not_seen() {
    let net = network(&config(), &lively(&config(), 2), &Frozen::None, Ops::Fused);
    let composite = network(
        &config(),
        &lively(&config(), 2),
        &Frozen::None,
        Ops::Composite,
    );
    for len in 1..=LEN {
        // Logits at `len - 1`, from the prefix and from the whole sequence's stream.
        let prefix = ids()
            .narrow(1, 0, len)
            .and_then(|t| t.contiguous())
            .expect("prefix");
        let last = net.logits_last(&prefix).expect("logits");
        for net in [&net, &composite] {
            let all = net
                .train
                .embed(&ids())
                .and_then(|x| net.train.all((x, 0), None))
                .expect("stream");
            let at = all
                .narrow(1, len - 1, 1)
                .and_then(|t| t.squeeze(1)?.contiguous())
                .expect("row");
            let logits = crate::ops::logits(&at, &net.train.unembed).expect("logits");
            assert!(distance(&logits, &last) < 2e-6, "position {}", len - 1);
        }
    }
}
