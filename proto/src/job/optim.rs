//! How a network is trained.

use serde::{Deserialize, Serialize};

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optim {
    /// Optimizer steps.
    pub steps: u64,
    /// Sequences per step.
    pub batch: u32,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Shape of the rate after the warm-up.
    pub schedule: Schedule,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Largest gradient norm; 0 means no clipping.
    pub clip: f64,
    /// Decoupled weight decay, on matrices other than `wte` and `wpe`.
    pub weight_decay: f64,
    /// First moment's decay.
    pub beta1: f64,
    /// Second moment's decay.
    pub beta2: f64,
    /// AdamW's denominator constant.
    pub epsilon: f64,
    /// What the loss is over.
    pub loss: Loss,
    /// Steps between evaluations on `val`; the last step is always evaluated.
    pub eval_every: u64,
    /// Share of activations that is dropped in training; 0 means none. Left out
    /// of the text at 0, so that specs from before it keep their keys.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Factor of the learning rate from each layer to the one below it; 1 means
    /// one rate for all, and is left out of the text for the same reason.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub layer_decay: f64,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

fn one() -> f64 {
    1.0
}

fn is_one(x: &f64) -> bool {
    *x == 1.0
}

/// Shape of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Stays at its peak.
    Constant,
    /// Falls in a line to 0 at the last step.
    Linear,
    /// Falls along half a cosine to 0 at the last step.
    Cosine,
}

/// What the training loss is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy of the answer token over the whole vocabulary.
    Answer,
    /// Cross-entropy of every next token of prompt and answer.
    Full,
    /// Cross-entropy between the two answer tokens alone.
    TwoWay,
}
