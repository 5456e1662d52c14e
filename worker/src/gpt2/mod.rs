//! GPT-2: configuration, initial weights, freezing, the network, its files.
//!
//! Everything speaks the Hugging Face layout and its tensor names (without the
//! prefix `transformer.`): `wte.weight`, `h.0.attn.c_attn.weight`, …
//! `ln_f.bias`, and `lm_head.weight` when the unembedding is not tied to `wte`.
//! Its Conv1D weights are `[in, out]`.

mod config;
mod dropout;
mod error;
mod freeze;
pub mod hooks;
pub mod init;
mod model;
pub mod shards;
pub mod weights;

#[cfg(test)]
pub(crate) mod tests;

pub use config::Config;
pub use dropout::Dropout;
pub use error::{ModelError, TensorProblem, tensor_failure};
pub use freeze::trainable;
pub use model::{Entry, Gpt2, Param};
pub use weights::Weights;

/// The token embedding, which is also the unembedding unless that is untied.
pub const WTE: &str = "wte.weight";
/// The position embedding.
pub const WPE: &str = "wpe.weight";
/// The unembedding, where it has its own weights.
pub const LM_HEAD: &str = "lm_head.weight";

/// The block that a tensor belongs to: `h.3.mlp.c_fc.weight` is of block 3.
pub fn block_of(name: &str) -> Option<usize> {
    name.strip_prefix("h.")?.split('.').next()?.parse().ok()
}
