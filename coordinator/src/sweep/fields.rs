//! The sweep language as one table: every key with its type, default and
//! meaning. The decoder, the JSON Schema and the suggestions all read it, so
//! that they cannot drift apart.
//!
//! One table, so one file, however long it grows.

use seedbed_proto::task::registry::NAMES;

use super::kinds::{Field, Kind, above, below, field, within};

/// Largest whole number that every JSON reader keeps exact.
pub const UINT_MAX: u64 = (1 << 53) - 1;

/// A template that stands in the sweep file.
pub const TEMPLATE: &[Field] = &[
    field(
        "text",
        Kind::Text,
        None,
        "The prompt, with each slot of the task once, in braces: `Rule: {cue}. Left: …`.",
    ),
    field(
        "answers",
        Kind::TwoTexts,
        None,
        "Left and right answer, without the space before them; the task's unless given.",
    ),
    field(
        "cues",
        Kind::TwoTexts,
        None,
        "What stands in the cue's slot; the task's words unless given.",
    ),
];

const SCHEDULES: Kind = Kind::Word(&["constant", "linear", "cosine"]);
/// Seeds.
pub const SEED: Kind = Kind::Uint(0, UINT_MAX);
/// Peak learning rates.
pub const LEARNING_RATE: Kind = above(0.0, 1.0);

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
        "inspect",
        Kind::Block(INSPECT),
        None,
        "What is asked of the trained networks, once the selection is on record.",
    ),
    field(
        "compare",
        Kind::Block(COMPARE),
        None,
        "What is compared with what.",
    ),
    field(
        "replicate",
        Kind::Block(REPLICATE),
        None,
        "Adds seeds, in whole blocks, until the comparison is precise enough.",
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
        "dropout",
        below(0.0, 1.0),
        Some("0.0"),
        "Share of activations that is dropped in training, at GPT-2's places; 0 for none.",
    ),
    field(
        "layer_decay",
        above(0.0, 1.0),
        Some("1.0"),
        "Factor of the learning rate from each layer to the one below it; 1 for one rate.",
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
        Kind::Word(&NAMES),
        Some("\"ctxdm\""),
        "Name in the task registry.",
    ),
    field(
        "template",
        Kind::Template,
        Some("\"T0\""),
        "Wording of the prompt: a template of the task, or one of your own.",
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
        "Trials of each evaluation split; a multiple of the task's cells (`ctxdm`: 8 × bins²).",
    ),
    field(
        "splits",
        Kind::Splits,
        Some(
            "[\"val\",\"test_iid\",\"test_pair\",\"test_number\",\"test_range_near\",\
             \"test_range_far\",\"test_template\",\"test_cueword\",\"control_no_cue\",\
             \"control_no_numbers\"]",
        ),
        "Where behaviour is measured; `val` and `test_iid` always. `test_pair` and `test_number` \
         keep their pairs and numbers from training.",
    ),
    field(
        "neutral",
        Kind::Bool,
        Some("false"),
        "Also trials without evidence on the irrelevant dimension.",
    ),
    field(
        "delay",
        Kind::Uint(1, 512),
        None,
        "Filler tokens between evidence and answer, for tasks with a delay; 8 unless given.",
    ),
    field(
        "test_template",
        Kind::Template,
        None,
        "Wording of `test_template`; the task's first other one unless given.",
    ),
    field(
        "test_cues",
        Kind::TwoTexts,
        None,
        "Cue words of `test_cueword`; the task's own unseen ones unless given.",
    ),
    field(
        "test_near",
        Kind::Pair,
        None,
        "Smallest and largest number of `test_range_near`; [100, 199] unless given.",
    ),
    field(
        "test_far",
        Kind::Pair,
        None,
        "Smallest and largest number of `test_range_far`; [200, 361] unless given.",
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
        "dropout",
        below(0.0, 1.0),
        Some("0.0"),
        "Share of activations that is dropped in training, at GPT-2's places; 0 for none.",
    ),
    field(
        "layer_decay",
        above(0.0, 1.0),
        Some("1.0"),
        "Factor of the learning rate from each layer to the one below it; 1 for one rate.",
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
        Kind::Auto(&Kind::Word(&["f32", "bf16", "tf32"])),
        Some("\"auto\""),
        "Compute type; auto is f32. tf32 is f32 with products that an NVIDIA GPU rounds.",
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
        Kind::Checkpoints,
        Some("\"final\""),
        "Which weights of a run: the last; also those at matched accuracy; also those along the way; \
         or the last and those of a list of steps.",
    ),
];

/// The questions, in the order of `seedbed_proto::job::Question::ALL`.
pub const QUESTIONS: &[&str] = &[
    "patching",
    "reversion",
    "transplant",
    "probes",
    "similarity",
    "drift",
    "lens",
    "tdr",
];

/// `inspect:`.
pub const INSPECT: &[Field] = &[
    field(
        "for",
        Kind::Word(&["selected", "all"]),
        Some("\"selected\""),
        "Which runs: those that the selection chose, or all.",
    ),
    field(
        "ask",
        Kind::Words(QUESTIONS),
        Some(
            "[\"patching\",\"reversion\",\"transplant\",\"probes\",\"similarity\",\"drift\",\"lens\",\"tdr\"]",
        ),
        "The questions; each is a job for each network.",
    ),
    field(
        "at",
        Kind::Words(&["final", "matched"]),
        Some("[\"final\"]"),
        "Which weights of a run: those of the last step; those of the first evaluation at or above .95.",
    ),
    field(
        "pairs",
        Kind::Uint(1, 1_000_000),
        Some("256"),
        "Most pairs of a trial and its counterfactual.",
    ),
    field(
        "items",
        Kind::Uint(1, 10_000_000),
        None,
        "Most trials; unless given 4096 for probes, 2048 for similarity, and all for the others. \
         Never more than `task.eval_trials`.",
    ),
    field(
        "memory_mib",
        Kind::Uint(16, 1 << 20),
        Some("512"),
        "Most memory for activations of a job, in MiB.",
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

/// `replicate:`.
pub const REPLICATE: &[Field] = &[field(
    "until",
    Kind::Block(UNTIL),
    None,
    "When to stop adding seeds.",
)];

/// `replicate.until:`.
pub const UNTIL: &[Field] = &[
    field(
        "half_width",
        above(0.0, 1e6),
        None,
        "Half the width of the widest paired interval that is narrow enough.",
    ),
    field(
        "metric",
        Kind::Word(UNTIL_METRICS),
        Some("\"val.incongruent_accuracy\""),
        "The metric of that interval, on the val split: tests stay sealed meanwhile.",
    ),
    field(
        "max_seeds",
        Kind::Uint(3, 10_000),
        None,
        "Most seeds; those of `axes.seed` are the first.",
    ),
    field(
        "block",
        Kind::Uint(1, 1000),
        Some("5"),
        "Seeds that are added at a time. Every look at the data widens the intervals a little.",
    ),
];

/// Metrics that `replicate.until` may go by.
pub const UNTIL_METRICS: &[&str] = &[
    "val.incongruent_accuracy",
    "val.congruent_accuracy",
    "val.accuracy",
    "val.vocab_accuracy",
    "val.answer_mass",
    "val.nll",
    "val.congruency_cost",
    "val.logit_difference",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_its_word() {
        let names = seedbed_proto::job::Question::ALL.map(|question| question.name());
        assert_eq!(QUESTIONS, names);
    }

    #[test]
    fn defaults_are_json() {
        for block in [
            SWEEP, MODEL, PRETRAIN, TASK, TRAIN, ENGINE, KEEP, INSPECT, COMPARE, REPLICATE, UNTIL,
        ] {
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
