//! The two implementations against each other, gradients against differences,
//! threads, engines.

use std::collections::BTreeSet;

use super::*;
use crate::gpt2::ModelError;

#[test]
fn fused_and_composite_agree_in_losses_logits_and_every_gradient() {
    let config = config();
    for (frozen, untie) in sets() {
        let weights = untied(&lively(&config, 7), untie);
        let fused = network(&config, &weights, &frozen, Ops::Fused);
        let composite = network(&config, &weights, &frozen, Ops::Composite);
        let (a, b) = (fused.logits_last(&ids()), composite.logits_last(&ids()));
        assert!(distance(&a.expect("logits"), &b.expect("logits")) < 2e-6);
        for kind in LOSSES {
            let (a, b) = (loss(&fused, kind), loss(&composite, kind));
            assert!((scalar(&a) - scalar(&b)).abs() < 4e-6, "{kind:?}");
            let (a, b) = (fused.gradients(&a), composite.gradients(&b));
            let (a, b) = (a.expect("gradients"), b.expect("gradients"));
            let names = fused.params().iter().filter(|p| p.trainable());
            for (p, (a, b)) in names.zip(a.iter().zip(&b)) {
                let d = distance(b, a);
                assert!(d < 1e-5, "{frozen} {kind:?} {}: {d}", p.name);
            }
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let config = config();
    for ops in [Ops::Fused, Ops::Composite] {
        for kind in LOSSES {
            let base = lively(&config, 3);
            let net = network(&config, &base, &Frozen::None, ops);
            let grads = net.gradients(&loss(&net, kind)).expect("gradients");
            for (p, grad) in net.params().iter().zip(&grads) {
                // Along the gradient itself the slope is its norm: the largest signal.
                let norm = values(grad).iter().map(|g| g * g).sum::<f32>().sqrt();
                let step = 1e-2 / norm.max(1e-3);
                let at = |sign: f32| {
                    let mut moved = base.clone();
                    let delta = (grad * f64::from(sign * step)).expect("scale");
                    moved.insert(p.name.clone(), (&base[&p.name] + delta).expect("add"));
                    scalar(&loss(&network(&config, &moved, &Frozen::None, ops), kind))
                };
                let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
                let expect = norm * norm;
                // Of k's bias the softmax sees nothing, hence the absolute part.
                let within = 0.02 * expect + 4e-7 / step;
                assert!(
                    (slope - expect).abs() < within,
                    "{ops:?} {kind:?} {}: slope {slope}, gradient² {expect}",
                    p.name
                );
            }
        }
    }
}

#[test]
fn every_trainable_parameter_gets_a_gradient_and_no_frozen_one_is_a_variable() {
    let config = config();
    for (frozen, untie) in sets() {
        let weights = untied(&lively(&config, 7), untie);
        let names = trainable(&config, &frozen, untie).expect("frozen set");
        for ops in [Ops::Fused, Ops::Composite] {
            let net = network(&config, &weights, &frozen, ops);
            for kind in LOSSES {
                let grads = net.gradients(&loss(&net, kind)).expect("all");
                assert_eq!(grads.len(), names.len());
                let trained = net.params().iter().filter(|p| p.trainable());
                for (p, grad) in trained.zip(&grads) {
                    assert!(names.contains(&p.name));
                    let largest = values(grad).iter().fold(0.0f32, |m, g| m.max(g.abs()));
                    assert!(largest > 0.0, "{frozen} {ops:?} {kind:?} {}", p.name);
                }
            }
        }
    }
}

#[test]
fn a_loss_that_does_not_reach_a_parameter_is_an_error_with_its_name() {
    let net = network(&config(), &lively(&config(), 1), &Frozen::None, Ops::Fused);
    let stray = net.params()[0].tensor.sum_all().expect("sum");
    let error = net.gradients(&stray).expect_err("unreached");
    assert!(matches!(error, ModelError::NoGradient(_)), "{error}");
}

#[test]
fn threads_and_repeats_give_the_same_bits() {
    // Large enough for every operation to be split.
    let shape = Shape {
        layers: 2,
        heads: 4,
        width: 128,
        positions: 32,
    };
    let config = Config::new(&shape, 1000).expect("valid");
    let base = lively(&config, 5);
    let ids: Vec<u32> = (0..16 * 32).map(|i| i * i % 1000).collect();
    let ids = Tensor::from_vec(ids, (16, 32), &Device::Cpu).expect("ids");
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("pool");
        pool.install(|| {
            let net = network(&config, &base, &Frozen::None, Ops::Fused);
            let loss = net.full_loss(&ids, &ids).expect("loss");
            let mut out = vec![scalar(&loss).to_bits()];
            let last = ids
                .narrow(1, 31, 1)
                .and_then(|t| t.flatten_all())
                .expect("column");
            let answer = net.answer_loss(&ids, &last).expect("loss");
            for loss in [loss, answer] {
                for grad in net.gradients(&loss).expect("gradients") {
                    out.extend(values(&grad).iter().map(|g| g.to_bits()));
                }
            }
            out
        })
    };
    let one = bits(1);
    for threads in [1, 2, 3] {
        assert!(bits(threads) == one, "{threads} threads");
    }
}

#[test]
fn training_reaches_the_losses_but_not_the_given_weights() {
    let config = config();
    let base = lively(&config, 4);
    let before = values(&base[WTE]);
    let net = network(&config, &base, &Frozen::None, Ops::Fused);
    let first = scalar(&loss(&net, Loss::Answer));
    let logits = net.logits_last(&ids()).expect("logits");
    let grads = net.gradients(&loss(&net, Loss::Answer)).expect("gradients");
    for (p, grad) in net.params().iter().zip(&grads) {
        let var = p.var.as_ref().expect("all train");
        let next = (p.tensor.detach() - (grad * 0.1).expect("scale")).expect("step");
        var.set(&next).expect("same shape");
    }
    assert!(scalar(&loss(&net, Loss::Answer)) < first);
    let moved = net.logits_last(&ids()).expect("logits");
    assert!(distance(&logits, &moved) > 1e-3, "evaluation sees the step");
    assert_eq!(values(&base[WTE]), before);
    assert_ne!(values(&net.weights().expect("weights")[WTE]), before);
}

#[test]
fn an_engine_or_a_batch_that_does_not_fit_is_refused() {
    let config = config();
    let base = lively(&config, 1);
    let new = |weights: &Weights, ops, dtype| {
        Gpt2::new(&config, weights, &BTreeSet::new(), ops, dtype, &Device::Cpu)
    };
    let error = |result: Result<Gpt2, ModelError>| match result {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    assert!(error(new(&base, Ops::Fused, Dtype::Bf16)).contains("`ops: composite`"));
    let mut holed = base.clone();
    holed.remove(WPE);
    assert!(error(new(&holed, Ops::Fused, Dtype::F32)).contains("\"wpe.weight\""));

    let net = new(&base, Ops::Fused, Dtype::F32).expect("network");
    let long = Tensor::zeros((1, 13), candle_core::DType::U32, &Device::Cpu).expect("ids");
    let message = net.logits_last(&long).expect_err("too long").to_string();
    assert!(
        message.contains("13 tokens") && message.contains("12 positions"),
        "{message}"
    );
    let outside = Tensor::new(&[[40u32]], &Device::Cpu).expect("ids");
    assert!(
        net.logits_last(&outside).is_err(),
        "no token 40 in a vocabulary of 40"
    );
}

#[test]
fn bf16_follows_f32() {
    let config = config();
    let base = lively(&config, 6);
    let names = trainable(&config, &Frozen::None, false).expect("all");
    let net = |dtype| {
        Gpt2::new(&config, &base, &names, Ops::Composite, dtype, &Device::Cpu).expect("network")
    };
    let (exact, half) = (net(Dtype::F32), net(Dtype::Bf16));
    let (a, b) = (loss(&exact, Loss::Full), loss(&half, Loss::Full));
    assert!((scalar(&a) - scalar(&b)).abs() < 0.02);
    let (a, b) = (
        exact.gradients(&a).expect("all"),
        half.gradients(&b).expect("all"),
    );
    let dot = |a: &[Tensor], b: &[Tensor]| -> f64 {
        let pairs = a
            .iter()
            .zip(b)
            .flat_map(|(a, b)| values(a).into_iter().zip(values(b)));
        pairs.map(|(x, y)| f64::from(x * y)).sum()
    };
    assert!(dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt() > 0.99);
}
