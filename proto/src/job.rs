//! What a job is: its spec, the canonical form of the spec, and its key.
//!
//! A spec says everything that the result depends on, and nothing else. It
//! travels as canonical JSON, so that the key can be checked on both sides.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{BlobDigest, JobKey};

mod inspect;

pub use inspect::{Inspect, Moment, Network, Partner, Question, pairing};

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

/// The task of a run. Every choice of wording and range stands here, none in code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name in the task registry: "ctxdm".
    pub name: String,
    /// The wording.
    pub template: Template,
    /// Smallest and largest number of a trial, both included.
    pub range: [u32; 2],
    /// Bins of |x|, both ends included, ascending and apart; every difference in
    /// a bin must be possible within `range`.
    pub bins: Vec<[u32; 2]>,
    /// The training set.
    pub train: TrainSet,
    /// Put the tokenizer's beginning-of-sequence token before each prompt.
    pub bos: bool,
    /// Control: training labels drawn at random.
    pub random_labels: bool,
    /// Fixes the splits; the same for all runs of a sweep.
    pub split_seed: u64,
    /// Trials of each evaluation split; a multiple of the number of cells.
    pub eval_trials: u32,
    /// The splits that are evaluated. `test_pair` and `test_number` keep their
    /// pairs and numbers from training; the others change nothing in it. Left out
    /// of the text where they are the two that every spec had before there were
    /// others, so that those specs keep their keys and their meaning.
    #[serde(default = "first_splits", skip_serializing_if = "are_first_splits")]
    pub splits: Vec<Split>,
    /// Also trials without evidence on the irrelevant dimension.
    #[serde(default, skip_serializing_if = "is_false")]
    pub neutral: bool,
    /// Filler tokens between evidence and answer, for tasks that have a delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<u32>,
    /// The wording of `test_template`; the task's first other one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_template: Option<Template>,
    /// The words of `test_cueword`; the task's own unseen ones unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_cues: Option<[String; 2]>,
    /// The numbers of `test_range_near`; 100 to 199 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_near: Option<[u32; 2]>,
    /// The numbers of `test_range_far`; 200 to 361 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_far: Option<[u32; 2]>,
}

/// The wording of a task's prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Template {
    /// One of the task's own: "T0".
    Named(String),
    /// One that stands in the sweep file.
    Own(OwnTemplate),
}

/// A wording of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnTemplate {
    /// The prompt, with the task's slots in braces: see `task::wording`.
    pub text: String,
    /// Left and right answer; the task's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<[String; 2]>,
    /// What stands in the cue's slot; the task's words unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cues: Option<[String; 2]>,
}

/// A set of trials on which behaviour is measured.
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
pub enum Split {
    /// Measured along the way; everything is chosen on it.
    Val,
    /// Combinations of pairs that training never shows.
    TestIid,
    /// Pairs that training never shows, in whatever dimension and order.
    TestPair,
    /// Numbers that training never shows.
    TestNumber,
    /// Another range of numbers, near to that of training.
    TestRangeNear,
    /// Another range, farther away.
    TestRangeFar,
    /// The trials of `test_iid` in another wording.
    TestTemplate,
    /// The trials of `test_iid` with other cue words.
    TestCueword,
    /// The trials of `val` without their cue.
    ControlNoCue,
    /// The trials of `val` without their numbers.
    ControlNoNumbers,
}

impl Split {
    /// All of them, in the order in which they are evaluated.
    pub const ALL: [Self; 10] = [
        Self::Val,
        Self::TestIid,
        Self::TestPair,
        Self::TestNumber,
        Self::TestRangeNear,
        Self::TestRangeFar,
        Self::TestTemplate,
        Self::TestCueword,
        Self::ControlNoCue,
        Self::ControlNoNumbers,
    ];

    /// Their names.
    pub const NAMES: [&str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    /// The name in sweep files and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Val => "val",
            Self::TestIid => "test_iid",
            Self::TestPair => "test_pair",
            Self::TestNumber => "test_number",
            Self::TestRangeNear => "test_range_near",
            Self::TestRangeFar => "test_range_far",
            Self::TestTemplate => "test_template",
            Self::TestCueword => "test_cueword",
            Self::ControlNoCue => "control_no_cue",
            Self::ControlNoNumbers => "control_no_numbers",
        }
    }
}

/// The splits that every spec has.
pub fn first_splits() -> Vec<Split> {
    vec![Split::Val, Split::TestIid]
}

fn are_first_splits(splits: &[Split]) -> bool {
    splits == [Split::Val, Split::TestIid]
}

fn is_false(value: &bool) -> bool {
    !value
}

impl From<&str> for Template {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

/// The training set of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainSet {
    /// Fresh trials in each batch, none from an evaluation split.
    Online,
    /// This many trials, drawn once per `split_seed`, in an order by seed.
    Fixed(u32),
}

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

#[cfg(test)]
mod tests;
