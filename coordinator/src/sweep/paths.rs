//! What may vary: the axes, and the paths that settings and points are keyed by.

use super::fields::{ENGINE, LEARNING_RATE, SEED, TASK, TRAIN};
use super::kinds::{Field, Kind};

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
        "eval_trials", "splits", "neutral", "delay", "test_template", "test_cues", "test_near",
        "test_far"],
    "train": ["steps", "batch", "schedule", "warmup", "clip", "weight_decay", "beta1", "beta2",
        "epsilon", "dropout", "layer_decay", "loss", "eval_every", "untie"],
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
        .filter(|(_, _, path)| !matches!(*path, "task.split_seed" | "task.splits"))
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
}
