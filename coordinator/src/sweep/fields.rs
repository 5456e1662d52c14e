//! The sweep language as one table: every key with its type, default and
//! meaning. The decoder, the JSON Schema and the suggestions all read it, so
//! that they cannot drift apart.

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, both ends included.
    Uint(u64, u64),
    /// A number.
    Float(Bounds),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text that is not empty.
    Text,
    /// A name that can stand in paths and URLs.
    Name,
    /// Path of a file or folder.
    Path,
    /// Paths of files.
    Paths,
    /// `auto`, or a value.
    Auto(&'static Kind),
    /// `[smallest, largest]`.
    Pair,
    /// Ascending, separate pairs.
    Bins,
    /// `online`, or a number of trials.
    TrainSet,
    /// How weights start.
    Init,
    /// Which weights stay.
    Frozen,
    /// A mapping with these keys.
    Block(&'static [Field]),
    /// A mapping that says where a base model comes from.
    Model,
    /// The name of an axis.
    AxisName,
    /// `none`, or axis → how its value is chosen.
    Select,
    /// Axis → values.
    Axes,
    /// Lists of axis → value.
    Patterns,
}

/// What a number may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Smallest.
    pub min: f64,
    /// Whether `min` itself is out.
    pub above: bool,
    /// Largest.
    pub max: f64,
    /// Whether `max` itself is out.
    pub below: bool,
}

/// A key of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// As it stands in the file.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default as JSON; none if the key has to be given, or may be absent.
    pub default: Option<&'static str>,
    /// One or two sentences for people.
    pub doc: &'static str,
}

const fn field(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Field {
    Field {
        name,
        kind,
        default,
        doc,
    }
}

const fn within(min: f64, max: f64) -> Kind {
    Kind::Float(Bounds {
        min,
        above: false,
        max,
        below: false,
    })
}

const fn above(min: f64, max: f64) -> Kind {
    Kind::Float(Bounds {
        min,
        above: true,
        max,
        below: false,
    })
}

const fn below(min: f64, max: f64) -> Kind {
    Kind::Float(Bounds {
        min,
        above: false,
        max,
        below: true,
    })
}

/// Largest whole number that every JSON reader keeps exact.
pub const UINT_MAX: u64 = (1 << 53) - 1;

/// Tasks of the registry.
pub const TASKS: &[&str] = &["ctxdm"];
/// Templates of the `ctxdm` task.
pub const TEMPLATES: &[&str] = &["T0", "T1", "T2", "T3"];

const SCHEDULES: Kind = Kind::Word(&["constant", "linear", "cosine"]);
const SEED: Kind = Kind::Uint(0, UINT_MAX);
const LEARNING_RATE: Kind = above(0.0, 1.0);

/// A whole sweep document.
pub const SWEEP: &[Field] = &[
    field(
        "name",
        Kind::Name,
        None,
        "Name of the sweep, of its folder under `results/` too.",
    ),
    field(
        "model",
        Kind::Model,
        None,
        "Where the base model comes from.",
    ),
    field("task", Kind::Block(TASK), None, "What is learned."),
    field("train", Kind::Block(TRAIN), None, "How it is learned."),
    field(
        "engine",
        Kind::Block(ENGINE),
        None,
        "The numeric path. Results compare bit by bit only within one.",
    ),
    field(
        "axes",
        Kind::Axes,
        None,
        "What varies: axis → values. Without axes, the sweep only makes its base model.",
    ),
    field(
        "include",
        Kind::Patterns,
        None,
        "Further points: each entry is crossed with the axes that it does not mention.",
    ),
    field(
        "exclude",
        Kind::Patterns,
        None,
        "Points to leave out; an entry that matches nothing is an error.",
    ),
    field("keep", Kind::Block(KEEP), None, "Which weights are stored."),
    field(
        "compare",
        Kind::Block(COMPARE),
        None,
        "What is compared with what.",
    ),
];

/// `model:`; exactly one of `base`, `path`, `hub` and `pretrain`.
pub const MODEL: &[Field] = &[
    field(
        "base",
        Kind::Path,
        None,
        "Folder with config.json, model.safetensors and tokenizer.json, relative to the sweep file.",
    ),
    field(
        "path",
        Kind::Path,
        None,
        "The same, anywhere: absolute, or relative to the sweep file.",
    ),
    field(
        "hub",
        Kind::Text,
        None,
        "Repository of published weights: `openai-community/gpt2`.",
    ),
    field(
        "revision",
        Kind::Text,
        None,
        "Branch, tag or commit of `hub`; `main` unless given.",
    ),
    field(
        "pretrain",
        Kind::Block(PRETRAIN),
        None,
        "A base that is trained here, on text.",
    ),
];

/// `model.pretrain:`.
pub const PRETRAIN: &[Field] = &[
    field(
        "corpus",
        Kind::Paths,
        None,
        "UTF-8 text files, relative to the sweep file, in this order.",
    ),
    field(
        "vocab",
        Kind::Uint(512, 1_000_000),
        Some("4096"),
        "Entries of the byte-level BPE that is trained on the corpus, forced single tokens included.",
    ),
    field("layers", Kind::Uint(1, 256), None, "Blocks."),
    field(
        "heads",
        Kind::Uint(1, 256),
        None,
        "Attention heads of a block; divides `width`.",
    ),
    field(
        "width",
        Kind::Uint(1, 65_536),
        None,
        "Width of the residual stream.",
    ),
    field(
        "positions",
        Kind::Uint(8, 65_536),
        Some("128"),
        "Longest sequence.",
    ),
    field(
        "context",
        Kind::Uint(2, 65_536),
        Some("64"),
        "Tokens in one training window.",
    ),
    field(
        "steps",
        Kind::Uint(1, UINT_MAX),
        Some("3000"),
        "Optimizer steps.",
    ),
    field(
        "batch",
        Kind::Uint(1, 1 << 20),
        Some("32"),
        "Windows per step.",
    ),
    field(
        "learning_rate",
        LEARNING_RATE,
        Some("0.001"),
        "Peak learning rate.",
    ),
    field(
        "schedule",
        SCHEDULES,
        Some("\"cosine\""),
        "Shape of the rate after the warm-up.",
    ),
    field(
        "warmup",
        Kind::Uint(0, UINT_MAX),
        Some("100"),
        "Steps of linear warm-up; at most `steps`.",
    ),
    field(
        "clip",
        within(0.0, 1e6),
        Some("1.0"),
        "Largest gradient norm; 0 for no clipping.",
    ),
    field(
        "weight_decay",
        within(0.0, 10.0),
        Some("0.01"),
        "Decay of matrices other than wte and wpe.",
    ),
    field(
        "beta1",
        below(0.0, 1.0),
        Some("0.9"),
        "Decay of the first moment.",
    ),
    field(
        "beta2",
        below(0.0, 1.0),
        Some("0.999"),
        "Decay of the second moment.",
    ),
    field(
        "epsilon",
        above(0.0, 1.0),
        Some("1e-8"),
        "AdamW's denominator constant.",
    ),
    field(
        "eval_every",
        Kind::Uint(1, UINT_MAX),
        Some("100"),
        "Steps between evaluations.",
    ),
    field(
        "seed",
        SEED,
        Some("0"),
        "Seed of initial weights and windows.",
    ),
];

/// `task:`.
pub const TASK: &[Field] = &[
    field(
        "name",
        Kind::Word(TASKS),
        Some("\"ctxdm\""),
        "Name in the task registry.",
    ),
    field(
        "template",
        Kind::Word(TEMPLATES),
        Some("\"T0\""),
        "Wording of the prompt.",
    ),
    field(
        "range",
        Kind::Pair,
        Some("[0,99]"),
        "Smallest and largest number of a trial.",
    ),
    field(
        "bins",
        Kind::Bins,
        Some("[[1,4],[5,16],[17,50]]"),
        "Bins of the absolute difference, both ends included.",
    ),
    field(
        "train",
        Kind::TrainSet,
        Some("\"online\""),
        "`online` draws fresh trials for every batch; a number is a fixed training set of that size.",
    ),
    field(
        "bos",
        Kind::Bool,
        Some("false"),
        "Put the beginning-of-sequence token before each prompt.",
    ),
    field(
        "random_labels",
        Kind::Bool,
        Some("false"),
        "Control: training labels are drawn at random.",
    ),
    field(
        "split_seed",
        SEED,
        Some("0"),
        "Fixes the splits; one for the whole file, never the run's seed.",
    ),
    field(
        "eval_trials",
        Kind::Uint(1, 10_000_000),
        Some("3600"),
        "Trials of each evaluation split; a multiple of the number of cells (8 × bins²).",
    ),
];

/// `train:`.
pub const TRAIN: &[Field] = &[
    field(
        "steps",
        Kind::Uint(1, UINT_MAX),
        Some("3000"),
        "Optimizer steps.",
    ),
    field(
        "batch",
        Kind::Uint(1, 1 << 20),
        Some("64"),
        "Trials per step.",
    ),
    field(
        "learning_rate",
        LEARNING_RATE,
        None,
        "Peak learning rate, where it is not an axis. There is no default.",
    ),
    field(
        "schedule",
        SCHEDULES,
        Some("\"cosine\""),
        "Shape of the rate after the warm-up.",
    ),
    field(
        "warmup",
        Kind::Uint(0, UINT_MAX),
        Some("100"),
        "Steps of linear warm-up; at most `steps`.",
    ),
    field(
        "clip",
        within(0.0, 1e6),
        Some("1.0"),
        "Largest gradient norm; 0 for no clipping.",
    ),
    field(
        "weight_decay",
        within(0.0, 10.0),
        Some("0.01"),
        "Decay of matrices other than wte and wpe.",
    ),
    field(
        "beta1",
        below(0.0, 1.0),
        Some("0.9"),
        "Decay of the first moment.",
    ),
    field(
        "beta2",
        below(0.0, 1.0),
        Some("0.999"),
        "Decay of the second moment.",
    ),
    field(
        "epsilon",
        above(0.0, 1.0),
        Some("1e-8"),
        "AdamW's denominator constant.",
    ),
    field(
        "loss",
        Kind::Word(&["answer", "full", "two_way"]),
        Some("\"answer\""),
        "Cross-entropy of the answer over the vocabulary, of every token, or between the two answers.",
    ),
    field(
        "eval_every",
        Kind::Uint(1, UINT_MAX),
        Some("100"),
        "Steps between evaluations on `val`; the last step is always evaluated.",
    ),
    field(
        "untie",
        Kind::Bool,
        Some("false"),
        "Give the unembedding its own weights: a frozen `wte` then leaves it free.",
    ),
];

/// `engine:`.
pub const ENGINE: &[Field] = &[
    field(
        "device",
        Kind::Auto(&Kind::Word(&["cpu", "cuda", "metal"])),
        Some("\"auto\""),
        "Kind of device; auto is cpu.",
    ),
    field(
        "ops",
        Kind::Auto(&Kind::Word(&["fused", "composite"])),
        Some("\"auto\""),
        "Own CPU kernels, or the library's operations; auto is fused on a cpu, else composite.",
    ),
    field(
        "dtype",
        Kind::Auto(&Kind::Word(&["f32", "bf16"])),
        Some("\"auto\""),
        "Compute type; auto is f32.",
    ),
    field(
        "micro_batch",
        Kind::Auto(&Kind::Uint(1, 1 << 20)),
        Some("\"auto\""),
        "Most sequences in one pass, larger batches are accumulated; auto is the batch.",
    ),
];

/// `keep:`.
pub const KEEP: &[Field] = &[
    field(
        "weights",
        Kind::Word(&["all", "selected", "none"]),
        Some("\"none\""),
        "Whose weights are stored: of all runs, of those that the selection chose, of none.",
    ),
    field(
        "checkpoints",
        Kind::Word(&["final", "matched", "all"]),
        Some("\"final\""),
        "Which weights of a run: the last; also those at matched accuracy; also those along the way.",
    ),
];

/// `compare:`.
pub const COMPARE: &[Field] = &[
    field(
        "arms",
        Kind::AxisName,
        Some("\"init\""),
        "The axis whose values are compared.",
    ),
    field(
        "replicate",
        Kind::Word(&["seed"]),
        Some("\"seed\""),
        "The axis that is averaged over.",
    ),
    field(
        "select",
        Kind::Select,
        None,
        "How an axis's value is chosen on validation: `{learning_rate: {by: val.incongruent_accuracy}}` \
         unless given; with `none` every value stands for itself.",
    ),
];

/// Metrics that a selection may go by (on the `val` split).
pub const METRICS: &[&str] = &[
    "incongruent_accuracy",
    "congruent_accuracy",
    "accuracy",
    "vocab_accuracy",
    "answer_mass",
    "nll",
    "congruency_cost",
    "logit_difference",
];

/// An axis: a path into a document that may vary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AxisField {
    /// Its path: `seed`, `learning_rate`, `train.batch`.
    pub path: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// For people.
    pub doc: &'static str,
}

/// Axes that are not keys of a block.
const BARE_AXES: &[AxisField] = &[
    AxisField {
        path: "seed",
        kind: SEED,
        doc: "The replicate: initial weights and data order.",
    },
    AxisField {
        path: "init",
        kind: Kind::Init,
        doc: "How the weights start; `pretrained` unless given.",
    },
    AxisField {
        path: "frozen",
        kind: Kind::Frozen,
        doc: "Which weights stay; `none` unless given.",
    },
    AxisField {
        path: "learning_rate",
        kind: LEARNING_RATE,
        doc: "Peak learning rate.",
    },
    AxisField {
        path: "model",
        kind: Kind::Model,
        doc: "The base model.",
    },
];

/// Paths in blocks, in the table's order, under names that live as long as the
/// program: settings and points are keyed by them.
macro_rules! axis_paths {
    ($($block:literal: [$($key:literal),* $(,)?]),* $(,)?) => {
        &[$($(($block, $key, concat!($block, ".", $key))),*),*]
    };
}

const PATHS: &[(&str, &str, &str)] = axis_paths! {
    "task": ["name", "template", "range", "bins", "train", "bos", "random_labels", "split_seed",
        "eval_trials"],
    "train": ["steps", "batch", "schedule", "warmup", "clip", "weight_decay", "beta1", "beta2",
        "epsilon", "loss", "eval_every", "untie"],
    "engine": ["device", "ops", "dtype", "micro_batch"],
};

/// The fields of a block whose keys may be axes.
pub fn block(name: &str) -> &'static [Field] {
    match name {
        "task" => TASK,
        "train" => TRAIN,
        "engine" => ENGINE,
        _ => &[],
    }
}

/// The path of a block's key. `train.learning_rate` goes by its short name.
pub fn path_of(block: &str, key: &str) -> Option<&'static str> {
    if (block, key) == ("train", "learning_rate") {
        return Some("learning_rate");
    }
    PATHS
        .iter()
        .find(|(b, k, _)| (*b, *k) == (block, key))
        .map(|(_, _, path)| *path)
}

/// Everything that may vary.
pub fn axes() -> impl Iterator<Item = AxisField> {
    let nested = PATHS
        .iter()
        // The splits are one for a whole sweep: else arms would not compare.
        .filter(|(_, _, path)| *path != "task.split_seed")
        .map(|(name, key, path)| {
            let field = block(name)
                .iter()
                .find(|f| f.name == *key)
                .expect("every path of the list names a field, see the test");
            AxisField {
                path,
                kind: field.kind,
                doc: field.doc,
            }
        });
    BARE_AXES.iter().copied().chain(nested)
}

/// The axis of this name, under either of its names.
pub fn axis(name: &str) -> Option<AxisField> {
    let name = if name == "train.learning_rate" {
        "learning_rate"
    } else {
        name
    };
    axes().find(|axis| axis.path == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_block_has_a_path_and_every_path_a_field() {
        let mut fields = 0;
        for name in ["task", "train", "engine"] {
            for field in block(name) {
                assert!(path_of(name, field.name).is_some(), "{name}.{}", field.name);
                fields += 1;
            }
        }
        // learning_rate goes by a name of its own.
        assert_eq!(fields, PATHS.len() + 1);
        assert!(axes().count() >= PATHS.len());
    }

    #[test]
    fn defaults_are_json() {
        for block in [SWEEP, MODEL, PRETRAIN, TASK, TRAIN, ENGINE, KEEP, COMPARE] {
            for field in block {
                if let Some(text) = field.default {
                    assert!(
                        serde_json::from_str::<serde_json::Value>(text).is_ok(),
                        "{text}"
                    );
                }
            }
        }
    }
}
