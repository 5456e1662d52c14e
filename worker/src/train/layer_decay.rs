//! Layer-wise decay of the learning rate: the lower a layer, the slower it learns.

use crate::gpt2::{WPE, WTE, block_of};

/// The share of the learning rate that a parameter trains at: with `layers` blocks
/// and a decay of d, block l has d^(layers - 1 - l), the embeddings d^layers, the
/// final LayerNorm and an unembedding of its own 1. A tied `wte` is an embedding,
/// and takes the unembedding with it.
///
/// Discriminative fine-tuning of Howard & Ruder 2018 (arXiv 1801.06146, section
/// 3.1: a factor of 1/2.6 from layer to layer), in the form that is usual for
/// transformers (Clark et al. 2020, arXiv 2003.10555, with d from .65 to .9).
pub fn share(name: &str, layers: usize, decay: f64) -> f64 {
    let below_the_top = match block_of(name) {
        Some(layer) => layers - 1 - layer,
        None if name == WTE || name == WPE => layers,
        None => 0,
    };
    decay.powi(below_the_top as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (name, expected) in [
            ("wte.weight", 0.125),
            ("wpe.weight", 0.125),
            ("h.0.ln_1.weight", 0.25),
            ("h.1.attn.c_attn.bias", 0.5),
            ("h.2.mlp.c_fc.weight", 1.0),
            ("ln_f.bias", 1.0),
            ("lm_head.weight", 1.0),
        ] {
            assert_eq!(share(name, 3, 0.5), expected, "{name}");
            assert_eq!(share(name, 3, 1.0), 1.0, "{name}: off");
        }
    }
}
