//! What can be wrong with a model's files, and how a job reports it.

use std::path::{Path, PathBuf};

use seedbed_proto::result::FailureReason;

use crate::job::JobError;

/// A model that can't be read, made or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `config.json` is not JSON, or a field has the wrong type.
    #[error("{}: not a GPT-2 configuration: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A field of `config.json` has a value that this program can't run.
    #[error("{}: {field}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field as it is written there.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The weights file as a whole is unreadable.
    #[error(
        "{}: not a complete safetensors file ({problem}); is it truncated, or a pointer file \
         of git-lfs? fetch it again",
        path.display()
    )]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// One tensor of a weights file is missing or wrong.
    #[error("{}: tensor {tensor:?} {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong, and the way out.
        problem: String,
    },
    /// A request that doesn't fit the model: an init type, a frozen set, an engine.
    #[error("{0}")]
    Request(String),
    /// A parameter that ought to train got no gradient.
    #[error("parameter {0:?} got no gradient: the backward pass doesn't reach it")]
    NoGradient(String),
    /// The tensor library failed.
    #[error("tensor library: {0}")]
    Tensors(#[from] candle_core::Error),
}

impl ModelError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor {
            path: path.to_path_buf(),
            tensor: tensor.to_owned(),
            problem: problem.into(),
        }
    }
}

impl From<ModelError> for JobError {
    fn from(error: ModelError) -> Self {
        let message = error.to_string();
        let reason = match error {
            ModelError::Io { .. } => FailureReason::Environment,
            ModelError::Json { .. }
            | ModelError::Config { .. }
            | ModelError::Weights { .. }
            | ModelError::Tensor { .. }
            | ModelError::Request(_) => FailureReason::Invalid,
            ModelError::NoGradient(_) => FailureReason::Bug,
            // The library has no variant for it; CUDA's own text is all there is.
            ModelError::Tensors(_) if message.to_lowercase().contains("out of memory") => {
                FailureReason::OutOfMemory
            }
            ModelError::Tensors(_) => FailureReason::Bug,
        };
        Self::new(reason, message)
    }
}
