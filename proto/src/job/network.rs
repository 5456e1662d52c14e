//! The network of a run: where its base comes from, how its weights start, and which
//! of them train.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{BlobDigest, JobKey};

/// Where a base model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Files in the blob store.
    Files(BaseFiles),
    /// The artifacts of a pretrain job.
    Job(JobKey),
}

/// The files of a base model in the Hugging Face layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseFiles {
    /// `config.json`.
    pub config: BlobDigest,
    /// `model.safetensors`; if there are shards, their index.
    pub weights: BlobDigest,
    /// `tokenizer.json`.
    pub tokenizer: BlobDigest,
    /// Weights in several files: name → content. Left out of the text if there are
    /// none, so that specs from before it keep their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shards: BTreeMap<String, BlobDigest>,
}

/// How the weights of a run start.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// The base's weights: the fine-tuned arm.
    Pretrained,
    /// GPT-2's random initialisation: the from-scratch arm.
    Scratch,
    /// The base's weights, permuted within each tensor: keeps the weight
    /// statistics, destroys the representation.
    Shuffled,
    /// Embeddings of the base, blocks from scratch.
    EmbeddingsOnly,
    /// Blocks and final LayerNorm of the base, embeddings from scratch.
    BlocksOnly,
    /// The base's weights with some blocks from scratch.
    Reinit(Edge),
}

/// Blocks at one end of the network.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// The first k blocks (the embeddings keep the base's weights).
    First(u32),
    /// The last k blocks (the final LayerNorm keeps the base's weights).
    Last(u32),
}

/// Which weights do not train.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Frozen {
    /// Everything trains.
    None,
    /// Embeddings and the first k blocks are frozen. A tied `wte` freezes the
    /// unembedding with it, unless `untie` is set.
    Prefix(u32),
    /// The last k blocks and the final LayerNorm are frozen.
    Suffix(u32),
    /// These blocks are frozen, all else trains.
    Only(Vec<u32>),
    /// These blocks train, all else is frozen (embeddings and final LayerNorm too).
    AllBut(Vec<u32>),
    /// One kind of component is frozen in every block (or the named embedding).
    Component(Component),
}

/// A kind of component.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Attention of every block.
    Attn,
    /// MLP of every block.
    Mlp,
    /// Every LayerNorm, the final one included.
    Ln,
    /// Token embedding (and the unembedding that is tied to it).
    Wte,
    /// Position embedding.
    Wpe,
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pretrained => f.write_str("pretrained"),
            Self::Scratch => f.write_str("scratch"),
            Self::Shuffled => f.write_str("shuffled"),
            Self::EmbeddingsOnly => f.write_str("embeddings_only"),
            Self::BlocksOnly => f.write_str("blocks_only"),
            Self::Reinit(Edge::First(k)) => write!(f, "reinit_first_{k}"),
            Self::Reinit(Edge::Last(k)) => write!(f, "reinit_last_{k}"),
        }
    }
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |layers: &[u32]| {
            let text: Vec<_> = layers.iter().map(u32::to_string).collect();
            text.join("_")
        };
        match self {
            Self::None => f.write_str("none"),
            Self::Prefix(k) => write!(f, "prefix_{k}"),
            Self::Suffix(k) => write!(f, "suffix_{k}"),
            Self::Only(layers) => write!(f, "only_{}", list(layers)),
            Self::AllBut(layers) => write!(f, "all_but_{}", list(layers)),
            Self::Component(c) => write!(f, "{}", format!("{c:?}").to_lowercase()),
        }
    }
}
