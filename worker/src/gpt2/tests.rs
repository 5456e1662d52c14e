//! The network as a whole: its two implementations against each other, gradients
//! against differences, files, initial weights, threads.

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use seedbed_proto::job::{Dtype, Edge, Frozen, Init, Shape};

use super::{Config, Gpt2, LM_HEAD, ModelError, WPE, WTE, Weights, init, trainable, weights};
use crate::ops::Ops;

fn config() -> Config {
    let shape = Shape {
        layers: 3,
        heads: 2,
        width: 16,
        positions: 12,
    };
    Config::new(&shape, 40).expect("valid")
}

/// Weights with nothing at 0 or 1, so that no gradient vanishes by accident.
fn lively(config: &Config, seed: u64) -> Weights {
    let fresh = init::weights(config, Init::Scratch, None, seed, false).expect("scratch");
    let noise = init::weights(config, Init::Scratch, None, seed + 1000, false).expect("scratch");
    let bump = |(name, tensor): (String, Tensor)| {
        let count = tensor.elem_count();
        let moved = if tensor.rank() == 1 {
            let wave: Vec<f32> = (0..count).map(|i| 0.1 * (i as f32 * 1.7).sin()).collect();
            &tensor + Tensor::from_vec(wave, count, &Device::Cpu).expect("shape")
        } else {
            let share = if [WTE, WPE].contains(&name.as_str()) {
                30.0
            } else {
                10.0
            };
            &tensor + (&noise[&name] * share).expect("scale")
        };
        (name, moved.expect("add"))
    };
    fresh.into_iter().map(bump).collect()
}

fn network(config: &Config, weights: &Weights, frozen: &Frozen, ops: Ops) -> Gpt2 {
    let untie = weights.contains_key(LM_HEAD);
    let names = trainable(config, frozen, untie).expect("frozen set");
    Gpt2::new(config, weights, &names, ops, Dtype::F32, &Device::Cpu).expect("network")
}

const BATCH: usize = 5;
const LEN: usize = 9;

fn ids() -> Tensor {
    let ids: Vec<u32> = (0..BATCH * LEN)
        .map(|i| (i * i * 7 + 3 * i) as u32 % 40)
        .collect();
    Tensor::from_vec(ids, (BATCH, LEN), &Device::Cpu).expect("ids")
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Answer,
    TwoWay,
    Full,
}

const LOSSES: [Loss; 3] = [Loss::Answer, Loss::TwoWay, Loss::Full];

fn loss(net: &Gpt2, kind: Loss) -> Tensor {
    let cpu = &Device::Cpu;
    match kind {
        Loss::Answer => {
            let answers = Tensor::new(&[3u32, 39, 0, 3, 17], cpu).expect("answers");
            net.answer_loss(&ids(), &answers)
        }
        Loss::TwoWay => {
            let right = Tensor::new(&[0u32, 1, 1, 0, 1], cpu).expect("sides");
            net.two_way_loss(&ids(), &right, [5, 9])
        }
        Loss::Full => {
            let targets: Vec<u32> = (0..BATCH * LEN).map(|i| (i * 11 + 5) as u32 % 40).collect();
            let targets = Tensor::from_vec(targets, (BATCH, LEN), cpu).expect("targets");
            net.full_loss(&ids(), &targets)
        }
    }
    .expect("loss")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f32")
}

fn scalar(tensor: &Tensor) -> f32 {
    tensor.to_scalar().expect("scalar")
}

/// Largest difference as a share of the largest value.
fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (values(a), values(b));
    let scale = a.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    let most = a.iter().zip(&b).map(|(x, y)| (x - y).abs());
    most.fold(
        0.0f32,
        |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) },
    ) / scale
}

fn sets() -> Vec<(Frozen, bool)> {
    vec![
        (Frozen::None, false),
        (Frozen::None, true),
        (Frozen::Prefix(2), true),
        (Frozen::Suffix(1), false),
        (Frozen::AllBut(vec![1]), false),
    ]
}

fn untied(weights: &Weights, untie: bool) -> Weights {
    let mut weights = weights.clone();
    if untie {
        let head = (&weights[WTE] * 1.3).expect("scale");
        weights.insert(LM_HEAD.to_owned(), head);
    }
    weights
}

#[test]
fn fused_and_composite_agree_in_losses_logits_and_every_gradient() {
    let config = config();
    for (frozen, untie) in sets() {
        let weights = untied(&lively(&config, 7), untie);
        let fused = network(&config, &weights, &frozen, Ops::Fused);
        let composite = network(&config, &weights, &frozen, Ops::Composite);
        let (a, b) = (fused.logits_last(&ids()), composite.logits_last(&ids()));
        assert!(distance(&a.expect("logits"), &b.expect("logits")) < 1e-5);
        for kind in LOSSES {
            let (a, b) = (loss(&fused, kind), loss(&composite, kind));
            assert!((scalar(&a) - scalar(&b)).abs() < 1e-5, "{kind:?}");
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
fn a_batch_equals_its_sequences_one_by_one() {
    for ops in [Ops::Fused, Ops::Composite] {
        let net = network(&config(), &lively(&config(), 2), &Frozen::None, ops);
        let together = net.logits_last(&ids()).expect("logits");
        for row in 0..BATCH {
            let one = ids().narrow(0, row, 1).expect("row");
            let one = net.logits_last(&one).expect("logits");
            let same = together.narrow(0, row, 1).expect("row");
            assert!(distance(&same, &one) < 1e-5, "{ops:?} row {row}");
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
                .and_then(|x| net.train.all((x, 0)))
                .expect("stream");
            let at = all
                .narrow(1, len - 1, 1)
                .and_then(|t| t.squeeze(1))
                .expect("row");
            let logits = crate::ops::logits(&at, &net.train.unembed).expect("logits");
            assert!(distance(&logits, &last) < 1e-5, "position {}", len - 1);
        }
    }
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
    let block = |name: &str| super::block_of(name);
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

fn equal(a: &Weights, b: &Weights, which: impl Fn(&str) -> bool) -> bool {
    assert!(a.keys().eq(b.keys()));
    a.iter()
        .filter(|(name, _)| which(name))
        .all(|(name, t)| values(t) == values(&b[name]))
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

#[test]
fn weights_survive_their_file() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    for untie in [false, true] {
        let config = if untie { config().untied() } else { config() };
        let base = untied(&lively(&super::tests::config(), 8), untie);
        weights::write(&path, &base).expect("written");
        let again = weights::read(&path, &config).expect("read");
        assert!(equal(&base, &again, |_| true));
        let bytes = std::fs::read(&path).expect("bytes");
        weights::write(&path, &again).expect("written");
        assert_eq!(
            std::fs::read(&path).expect("bytes"),
            bytes,
            "equal weights, equal bytes"
        );
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("listed").count(),
        1,
        "no temporary file"
    );
}

#[test]
fn half_precision_and_bare_names_are_read() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    let config = config();
    let base = lively(&config, 8);
    for dtype in [candle_core::DType::F16, candle_core::DType::BF16] {
        let mut half: std::collections::HashMap<String, Tensor> = base
            .iter()
            .map(|(name, t)| (name.clone(), t.to_dtype(dtype).expect("cast")))
            .collect();
        // The mask that the published GPT-2 files hold.
        half.insert("h.0.attn.bias".to_owned(), base[WPE].clone());
        candle_core::safetensors::save(&half, &path).expect("written");
        let read = weights::read(&path, &config).expect("read");
        assert_eq!(read.len(), base.len());
        assert!(distance(&base[WTE], &read[WTE]) < 1e-2);
    }
}

#[test]
fn broken_weights_are_named() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    let config = config();
    let good = lively(&config, 8);
    let check = |expect: &[&str]| {
        let error = weights::read(&path, &config)
            .expect_err("broken")
            .to_string();
        for part in ["model.safetensors", ": "].iter().chain(expect) {
            assert!(error.contains(part), "{error:?} has no {part:?}");
        }
    };
    check(&["No such file"]);

    weights::write(&path, &good).expect("written");
    let bytes = std::fs::read(&path).expect("bytes");
    for keep in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).expect("cut");
        check(&["not a complete safetensors file", "truncated"]);
    }
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").expect("written");
    check(&["git-lfs"]);

    let with = |name: &str, tensor: Option<Tensor>| {
        let mut weights = good.clone();
        weights.remove(name);
        if let Some(tensor) = tensor {
            weights.insert(name.to_owned(), tensor);
        }
        weights::write(&path, &weights).expect("written");
    };
    with("h.1.mlp.c_fc.weight", None);
    check(&["\"h.1.mlp.c_fc.weight\"", "[16, 64]", "missing"]);
    let transposed = good["h.1.mlp.c_fc.weight"]
        .t()
        .and_then(|t| t.contiguous())
        .expect("t");
    with("h.1.mlp.c_fc.weight", Some(transposed));
    check(&["\"h.1.mlp.c_fc.weight\"", "[64, 16]", "[16, 64]"]);
    let nan = (&good["ln_f.bias"] * f64::NAN).expect("scale");
    with("ln_f.bias", Some(nan));
    check(&["\"ln_f.bias\"", "[16]", "NaN at element 0"]);
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
