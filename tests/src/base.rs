//! Base models of random weights, and small sweeps that start from them.

use std::fs;
use std::path::Path;

use seedbed_proto::job::{Init, Shape};
use seedbed_worker::gpt2::{Config, init, weights};

use crate::repository;

/// Writes `config.json`, `model.safetensors` and `tokenizer.json` into `folder`:
/// GPT-2's random initialisation in this shape, and the tokenizer of the tiny
/// base. `vocab` may be larger than the tokenizer's.
pub fn random(folder: &Path, shape: Shape, vocab: u32) {
    fs::create_dir_all(folder).expect("the test's folder is writable");
    let config = Config::new(&shape, vocab).expect("a shape that runs");
    let drawn = init::weights(&config, Init::Scratch, None, 4711, false).expect("a fresh network");
    config
        .write(&folder.join("config.json"))
        .expect("the test's folder is writable");
    weights::write(&folder.join("model.safetensors"), &drawn).expect("room on the disk");
    let tokenizer = repository().join("sweeps/bases/tiny/tokenizer.json");
    fs::copy(tokenizer, folder.join("tokenizer.json")).expect("the tiny base is committed");
}

/// A network that trains in milliseconds a step.
pub const MINI: Shape = Shape {
    layers: 2,
    heads: 2,
    width: 32,
    positions: 64,
};

/// The tokenizer of the tiny base has this many entries.
pub const TINY_VOCAB: u32 = 4096;

/// A sweep of `seeds` × {pretrained, scratch} from the base in `base/`, to be
/// written as `mini.yaml` beside it.
pub fn mini_sweep(seeds: u32, steps: u32) -> String {
    format!(
        "name: mini
model: {{path: base}}
task: {{name: ctxdm, template: T0, range: [1, 10], bins: [[1, 2], [3, 5], [6, 9]], train: online, eval_trials: 144}}
train: {{steps: {steps}, batch: 16, warmup: 5, eval_every: 20}}
axes:
  seed: {{count: {seeds}}}
  init: [pretrained, scratch]
  learning_rate: [1.0e-3]
keep: {{weights: all}}
"
    )
}
