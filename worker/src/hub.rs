//! Published weights: downloaded once, through the cache that other Hugging Face
//! tools use.
//!
//! The environment decides as it does for them: `HF_HOME` and `HF_HUB_CACHE` (where
//! downloads are kept), `HF_ENDPOINT` (a mirror), `HF_TOKEN`, and `HF_HUB_OFFLINE`
//! or `TRANSFORMERS_OFFLINE` (only what is in the cache).

use std::path::{Path, PathBuf};

use seedbed_proto::job::HubModel;

use crate::job::JobError;

/// The files of a base model, in the order in which [`fetch`] returns them.
pub const FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// Brings the three files of a model into `dir`, and returns their paths. Where the
/// weights are in shards, the second is their index, and they lie beside it.
///
/// # Errors
/// If they can't be had; the message says how to provide them.
pub fn fetch(model: &HubModel, dir: &Path) -> Result<[PathBuf; 3], JobError> {
    #[cfg(feature = "hub")]
    return download::fetch(model, dir, &download::Settings::from_env());
    #[cfg(not(feature = "hub"))]
    {
        let _ = dir;
        Err(JobError::invalid(format!(
            "can't get {} from a hub: this worker was built without the feature \"hub\"; \
             {WAY_OUT}",
            model.repo
        )))
    }
}

#[cfg(not(feature = "hub"))]
const WAY_OUT: &str = "build it with its default features, or put config.json, \
    model.safetensors and tokenizer.json into a directory and name it in the sweep as \
    `model: {path: DIR}`";

#[cfg(feature = "hub")]
mod download;
