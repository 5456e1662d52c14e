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
        /// The file; for a tensor that no shard holds, the index.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong, and the way out.
        problem: TensorProblem,
    },
    /// The index of weights in shards is unreadable.
    #[error("{}: not an index of weights in shards: {problem}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A shard is not where its index is.
    #[error(
        "{}: shard {shard:?} with tensor {tensor:?} is not in the same folder; fetch every file \
         that the index names",
        index.display()
    )]
    Shard {
        /// The index.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
        /// A tensor in it.
        tensor: String,
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

/// What is wrong with a tensor of a weights file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TensorProblem {
    /// No file has it.
    #[error(
        "of shape {expected:?} is missing; does config.json belong to these weights, and are \
         they a GPT-2's?"
    )]
    Missing {
        /// The shape that it ought to have.
        expected: Vec<usize>,
    },
    /// The unembedding is to have weights of its own, and has none.
    #[error(
        "of shape {expected:?} is missing, but config.json says that it is not tied \
         (tie_word_embeddings)"
    )]
    MissingHead {
        /// The shape that it ought to have.
        expected: Vec<usize>,
    },
    /// The unembedding has weights of its own, and is to have none.
    #[error(
        "of shape {shape:?} is not the token embedding, but config.json says that the two are \
         tied; if it is right, say `\"tie_word_embeddings\": false` there"
    )]
    NotTied {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// It has another shape.
    #[error("has shape {found:?}, config.json asks for {expected:?}")]
    Shape {
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that it ought to have.
        expected: Vec<usize>,
    },
    /// It has a type that weights don't have.
    #[error("of shape {shape:?} is of type {found}, not F32, F16 or BF16")]
    Type {
        /// Its shape.
        shape: Vec<usize>,
        /// The type in the file.
        found: String,
    },
    /// A value is infinite or no number.
    #[error(
        "of shape {shape:?} holds {value} at element {at}; the weights are damaged, or come from \
         a training that diverged"
    )]
    NotFinite {
        /// Its shape.
        shape: Vec<usize>,
        /// The first such element, in the file's order.
        at: usize,
        /// What it is.
        value: f32,
    },
}

impl ModelError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn tensor(path: &Path, tensor: &str, problem: TensorProblem) -> Self {
        Self::Tensor {
            path: path.to_path_buf(),
            tensor: tensor.to_owned(),
            problem,
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
            | ModelError::Index { .. }
            | ModelError::Shard { .. }
            | ModelError::Request(_) => FailureReason::Invalid,
            ModelError::NoGradient(_) => FailureReason::Bug,
            ModelError::Tensors(error) => tensor_failure(&error),
        };
        Self::new(reason, message)
    }
}

/// The kind of failure of a tensor operation. The library has no variant for memory
/// that ran out: what drivers say is all there is.
pub fn tensor_failure(error: &candle_core::Error) -> FailureReason {
    let text = error.to_string().to_lowercase();
    let words = [
        // CUDA: by its text and by its name.
        "out of memory",
        "out_of_memory",
        // cuBLAS, for its workspace.
        "cublas_status_alloc_failed",
        // Metal, which has no other reason to refuse a buffer.
        "failed to create metal resource: buffer",
    ];
    match words.iter().any(|words| text.contains(words)) {
        true => FailureReason::OutOfMemory,
        false => FailureReason::Bug,
    }
}
