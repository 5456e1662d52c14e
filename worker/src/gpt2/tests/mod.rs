//! The network as a whole, by subject: the helpers that they share.

mod batches;
mod broken;
mod dropout;
mod files;
mod frozen;
mod hooks;
mod init;
mod losses;
mod network;
mod oracle;
mod parity;
mod sizes;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use seedbed_proto::job::{Dtype, Frozen, Init, Shape};

use super::{Config, Gpt2, LM_HEAD, Param, WPE, WTE, Weights, trainable};
use crate::ops::Ops;

pub(crate) fn config() -> Config {
    let shape = Shape {
        layers: 3,
        heads: 2,
        width: 16,
        positions: 12,
    };
    Config::new(&shape, 40).expect("valid")
}

/// Weights with nothing at 0 or 1, so that no gradient vanishes by accident.
pub(crate) fn lively(config: &Config, seed: u64) -> Weights {
    let fresh = super::init::weights(config, Init::Scratch, None, seed, false).expect("scratch");
    let noise =
        super::init::weights(config, Init::Scratch, None, seed + 1000, false).expect("scratch");
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

/// What each sequence is to be answered with, of all tokens and of a pair.
const ANSWERS: [u32; BATCH] = [3, 39, 0, 3, 17];
const SIDES: [u32; BATCH] = [0, 1, 1, 0, 1];
const PAIR: [u32; 2] = [5, 9];

fn targets() -> Vec<u32> {
    (0..BATCH * LEN).map(|i| (i * 11 + 5) as u32 % 40).collect()
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
            let answers = Tensor::new(&ANSWERS, cpu).expect("answers");
            net.answer_loss(&ids(), &answers)
        }
        Loss::TwoWay => {
            let right = Tensor::new(&SIDES, cpu).expect("sides");
            net.two_way_loss(&ids(), &right, PAIR)
        }
        Loss::Full => {
            let targets = Tensor::from_vec(targets(), (BATCH, LEN), cpu).expect("targets");
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

fn equal(a: &Weights, b: &Weights, which: impl Fn(&str) -> bool) -> bool {
    assert!(a.keys().eq(b.keys()));
    a.iter()
        .filter(|(name, _)| which(name))
        .all(|(name, t)| values(t) == values(&b[name]))
}
