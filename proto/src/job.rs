//! What a job is: its spec, the canonical form of the spec, and its key.
//!
//! A spec says everything that the result depends on, and nothing else. It
//! travels as canonical JSON, so that the key can be checked on both sides.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{BlobDigest, JobKey};

mod inspect;
mod network;
mod optim;
mod task;

pub use inspect::{Inspect, Moment, Network, Partner, Question, pairing};
pub use network::{Base, BaseFiles, Component, Edge, Frozen, Init};
pub use optim::{Loss, Optim, Schedule};
pub use task::{OwnTemplate, Split, Task, Template, TrainSet, first_splits};

/// Version of the job spec. A worker refuses versions that it does not know.
pub const SPEC_VERSION: u32 = 1;

/// One unit of work, complete: equal specs give equal results on equal engines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// [`SPEC_VERSION`] of the program that made it.
    pub version: u32,
    /// The numeric path.
    pub engine: Engine,
    /// What to do.
    pub work: Work,
}

/// The three kinds of work form a DAG: pretrain → train → inspect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Yields a base model: trained on text, or fetched from a hub.
    Pretrain(Pretrain),
    /// Trains one network on the task and measures its behaviour.
    Train(Box<Train>),
    /// Asks one question about finished networks.
    Inspect(Box<Inspect>),
}

/// The numeric path; results are comparable bit by bit only within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Kind of device.
    pub device: DeviceKind,
    /// Fused CPU kernels, or their composite twins (which GPUs need).
    pub ops: Ops,
    /// Compute type; weights and moments are always f32.
    pub dtype: Dtype,
    /// Most sequences in one forward and backward pass; larger batches are
    /// accumulated.
    pub micro_batch: u32,
}

/// Kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum DeviceKind {
    Cpu,
    Cuda,
    Metal,
}

/// Which implementation of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ops {
    /// Own CPU kernels with their own backward.
    Fused,
    /// Built from the tensor library's operations; runs on every device.
    Composite,
}

/// Compute type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// f32 throughout.
    F32,
    /// Activations and products in bf16; LayerNorm, softmax and loss in f32.
    Bf16,
    /// f32, but the factors of products are rounded to TF32 (10 bits of mantissa):
    /// NVIDIA GPUs from Ampere on alone.
    Tf32,
}

/// How to come by a base model. The result has the artifacts `config.json`,
/// `model.safetensors` and `tokenizer.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pretrain {
    /// Published weights: downloaded once, then kept in the blob store.
    Hub(HubModel),
    /// Trained here, on text.
    Corpus(Box<CorpusPretrain>),
}

/// A model repository in the Hugging Face layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubModel {
    /// "openai-community/gpt2".
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// Language-model pretraining on text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusPretrain {
    /// UTF-8 text files, in this order.
    pub corpus: Vec<BlobDigest>,
    /// Entries of the byte-level BPE, the forced single tokens included.
    pub vocab: u32,
    /// Shape of the network.
    pub shape: Shape,
    /// Tokens in one training window.
    pub context: u32,
    /// How it is trained.
    pub optim: Optim,
    /// Seed of initial weights and windows.
    pub seed: u64,
}

/// Shape of a GPT-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Blocks.
    pub layers: u32,
    /// Attention heads per block; divides `width`.
    pub heads: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Longest sequence.
    pub positions: u32,
}

/// Training of one network on the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Shape, tokenizer and (but for `scratch`) weights.
    pub base: Base,
    /// How the weights start.
    pub init: Init,
    /// Which weights stay as they start.
    pub frozen: Frozen,
    /// Give the unembedding its own weights, so that freezing `wte` leaves it free.
    pub untie: bool,
    /// What it learns.
    pub task: Task,
    /// How it learns.
    pub optim: Optim,
    /// Which weights the result holds.
    pub keep: Keep,
    /// The run's seed: initial weights and data order, never the split.
    pub seed: u64,
}

/// Which weights a training result holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// None: the measures alone.
    None,
    /// Those of the last step.
    Final,
    /// Also those of the first evaluation at or above .95 validation accuracy.
    Matched,
    /// Also those of steps 0, 10, 30, 100, 300, 1000 …
    All,
    /// Those of the last step, and of these steps; ascending.
    Steps(Vec<u64>),
}

/// A job spec in text that this program cannot take.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not JSON, or not of this shape.
    #[error("job spec is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// Made by another version of the program.
    #[error("job spec has version {found}, this program knows {SPEC_VERSION}")]
    Version {
        /// The version that stood in the spec.
        found: u32,
    },
    /// The text does not hash to the key that came with it.
    #[error("job spec hashes to {actual}, its key says {claimed}")]
    Key {
        /// The key that came with the text.
        claimed: JobKey,
        /// The key of the text.
        actual: JobKey,
    },
    /// A number out of its range.
    #[error("job spec says {what} = {value}, which is out of range")]
    Value {
        /// Which one.
        what: &'static str,
        /// The number.
        value: f64,
    },
}

impl JobSpec {
    /// JSON with sorted keys and no spaces: one text for one spec.
    pub fn canonical_json(&self) -> String {
        let value = serde_json::to_value(self)
            .expect("a spec has string keys and finite numbers, checked when it was made");
        canonical(&value)
    }

    /// The key: BLAKE3 of [`Self::canonical_json`].
    pub fn key(&self) -> JobKey {
        JobKey::of(self.canonical_json().as_bytes())
    }

    /// Reads a spec that came with its key, and verifies both.
    ///
    /// # Errors
    /// If the text is not a spec of this version, its key differs, or a number is
    /// out of its range.
    pub fn from_json(text: &str, claimed: JobKey) -> Result<Self, SpecError> {
        let value: Value = serde_json::from_str(text)?;
        // The version first: another version's fields would only confuse.
        if let Some(found) = value.get("version").and_then(Value::as_u64)
            && found != u64::from(SPEC_VERSION)
        {
            let found = found.try_into().unwrap_or(u32::MAX);
            return Err(SpecError::Version { found });
        }
        // Of the text as it came: numbers need not survive a reading to the bit.
        let actual = JobKey::of(text.as_bytes());
        if actual != claimed {
            return Err(SpecError::Key { claimed, actual });
        }
        let spec = serde_json::from_value(value)?;
        checked(&spec)?;
        Ok(spec)
    }

    /// The jobs whose results this one needs, each once.
    pub fn inputs(&self) -> Vec<JobKey> {
        let mut keys = vec![];
        if let Some(Base::Job(key)) = self.base() {
            keys.push(*key);
        }
        if let Work::Inspect(inspect) = &self.work {
            let others = inspect.others.iter().map(|other| other.network.job);
            for key in std::iter::once(inspect.subject.job).chain(others) {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// The base model that the job reads, if it reads one.
    pub fn base(&self) -> Option<&Base> {
        match &self.work {
            Work::Pretrain(_) => None,
            Work::Train(train) => Some(&train.base),
            Work::Inspect(inspect) => Some(&inspect.base),
        }
    }

    /// The blobs, not made by a job, that this one needs.
    pub fn blobs(&self) -> Vec<BlobDigest> {
        match &self.work {
            Work::Pretrain(Pretrain::Hub(_)) => vec![],
            Work::Pretrain(Pretrain::Corpus(corpus)) => corpus.corpus.clone(),
            Work::Train(_) | Work::Inspect(_) => match self.base() {
                Some(Base::Files(f)) => [f.config, f.weights, f.tokenizer]
                    .into_iter()
                    .chain(f.shards.values().copied())
                    .collect(),
                Some(Base::Job(_)) | None => vec![],
            },
        }
    }

    /// Whether it fetches a model and computes nothing.
    pub fn is_download(&self) -> bool {
        matches!(self.work, Work::Pretrain(Pretrain::Hub(_)))
    }

    /// "pretrain", "train" or "inspect".
    pub fn kind(&self) -> &'static str {
        match self.work {
            Work::Pretrain(_) => "pretrain",
            Work::Train(_) => "train",
            Work::Inspect(_) => "inspect",
        }
    }

    /// Optimizer steps that the job takes; 0 for a download. A question is told of
    /// in percent.
    pub fn steps(&self) -> u64 {
        match &self.work {
            Work::Pretrain(Pretrain::Hub(_)) => 0,
            Work::Pretrain(Pretrain::Corpus(corpus)) => corpus.optim.steps,
            Work::Train(train) => train.optim.steps,
            Work::Inspect(_) => 100,
        }
    }
}

/// Refuses numbers that no sweep file can give, and that would train nonsense.
fn checked(spec: &JobSpec) -> Result<(), SpecError> {
    let outside = |what: &'static str, value: f64| Err(SpecError::Value { what, value });
    let (optim, keep) = match &spec.work {
        Work::Pretrain(Pretrain::Hub(_)) => return Ok(()),
        Work::Pretrain(Pretrain::Corpus(corpus)) => (&corpus.optim, &Keep::None),
        Work::Train(train) => (&train.optim, &train.keep),
        Work::Inspect(inspect) => {
            for (what, value) in [
                ("inspect.pairs", inspect.pairs),
                ("inspect.items", inspect.items),
                ("inspect.memory_mib", inspect.memory_mib),
            ] {
                if value == 0 {
                    return outside(what, 0.0);
                }
            }
            return Ok(());
        }
    };
    if !(0.0..1.0).contains(&optim.dropout) {
        return outside("dropout", optim.dropout);
    }
    if !(optim.layer_decay > 0.0 && optim.layer_decay <= 1.0) {
        return outside("layer_decay", optim.layer_decay);
    }
    if let Keep::Steps(steps) = keep
        && let Some(late) = steps.iter().find(|step| **step > optim.steps)
    {
        return outside("keep.steps", *late as f64);
    }
    Ok(())
}

/// JSON text with object keys sorted by their bytes and no white space.
///
/// Not left to `serde_json`'s map: its order depends on a feature that any
/// dependency may switch on, and a key must not.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| name.as_bytes());
            out.push('{');
            for (i, (name, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(name.clone()).to_string());
                out.push(':');
                write_canonical(item, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests;
