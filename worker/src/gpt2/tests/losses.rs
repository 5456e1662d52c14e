//! The three losses against their definitions, from the network's own logits.

use super::*;

/// ln Σ exp of a row.
fn log_sum(row: &[f64]) -> f64 {
    row.iter().map(|x| x.exp()).sum::<f64>().ln()
}

#[test]
fn losses_are_what_they_say() {
    let config = config();
    let weights = lively(&config, 11);
    for ops in [Ops::Fused, Ops::Composite] {
        let net = network(&config, &weights, &Frozen::None, ops);
        // The whole stream is another path than that of the last position.
        let stream = net.train.embed(&ids());
        let stream = stream
            .and_then(|x| net.train.all((x, 0), None))
            .expect("stream"); // (B, T, C)
        let stream = stream.flatten_to(1).expect("rows"); // (B·T, C)
        let logits = crate::ops::logits(&stream, &net.train.unembed).expect("logits");
        let logits: Vec<f64> = values(&logits).into_iter().map(f64::from).collect();
        let row = |b: usize, t: usize| &logits[(b * LEN + t) * 40..][..40];
        let mean = |of: &dyn Fn(usize) -> f64, n: usize| (0..n).map(of).sum::<f64>() / n as f64;

        // As `loss` asks for them.
        let answers = [3usize, 39, 0, 3, 17];
        let answer = mean(
            &|b| log_sum(row(b, LEN - 1)) - row(b, LEN - 1)[answers[b]],
            BATCH,
        );
        let right = [0usize, 1, 1, 0, 1];
        let two_way = mean(
            &|b| {
                let pair = [5, 9].map(|token| row(b, LEN - 1)[token]);
                log_sum(&pair) - pair[right[b]]
            },
            BATCH,
        );
        let full = mean(
            &|i| {
                let row = row(i / LEN, i % LEN);
                log_sum(row) - row[(i * 11 + 5) % 40]
            },
            BATCH * LEN,
        );
        for (kind, expected) in [
            (Loss::Answer, answer),
            (Loss::TwoWay, two_way),
            (Loss::Full, full),
        ] {
            let actual = f64::from(scalar(&loss(&net, kind)));
            assert!(
                (actual - expected).abs() < 1e-5,
                "{ops:?} {kind:?}: {actual}, by hand {expected}"
            );
        }
    }
}
