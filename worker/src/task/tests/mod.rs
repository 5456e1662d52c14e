//! The task by its properties, seen from outside: prompts are decoded to text and
//! judged by an observer who knows the rule and nothing of the generator.

use std::collections::BTreeMap;

use seedbed_proto::job::{Split, Task, TrainSet, first_splits};
use seedbed_proto::task::generator::Item;
use seedbed_proto::task::pairs::{Class, Held};
use seedbed_proto::task::registry::Variant;
use seedbed_proto::task::setup;
use seedbed_proto::task::splits::Part;
use serde_json::json;
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::*;

mod gpt2;
mod prompts;
mod splits;
mod tasks;
mod trials;

const DEFAULT_BINS: [[u32; 2]; 3] = [[1, 4], [5, 16], [17, 50]];
const SHORT_BINS: [[u32; 2]; 3] = [[1, 2], [3, 5], [6, 9]];

/// A tokenizer of these tokens that knows no merges: a piece of text that is not
/// a token falls apart into characters.
fn tokenizer_of(tokens: impl Iterator<Item = String>, byte_level: bool) -> Tokenizer {
    let split = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let split = if byte_level { split } else { json!(null) };
    let vocab: BTreeMap<_, _> = tokens.zip(0..).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": split, "post_processor": null, "decoder": split,
        "model": {"type": "BPE", "ignore_merges": true, "vocab": vocab, "merges": []},
    });
    Tokenizer::from_bytes(file.to_string()).expect("a tokenizer file")
}

/// A byte-level tokenizer in which these words are single tokens.
fn byte_level(words: &[String]) -> Tokenizer {
    let mut alphabet: Vec<_> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let visible = words.iter().map(|word| word.replace(' ', "Ġ"));
    tokenizer_of(alphabet.into_iter().map(String::from).chain(visible), true)
}

pub(crate) fn tokenizer() -> Tokenizer {
    byte_level(&vocabulary())
}

pub(crate) fn spec(template: &str, range: [u32; 2], bins: &[[u32; 2]]) -> Task {
    Task {
        name: "ctxdm".into(),
        template: template.into(),
        range,
        bins: bins.to_vec(),
        train: TrainSet::Online,
        bos: false,
        random_labels: false,
        split_seed: 11,
        eval_trials: 720,
        splits: first_splits(),
        neutral: false,
        delay: None,
        test_template: None,
        test_cues: None,
        test_near: None,
        test_far: None,
    }
}

/// The spec of a task with every option at its default and every split.
fn every_split(name: &str, eval_trials: u32) -> Task {
    Task {
        name: name.into(),
        eval_trials,
        splits: Split::ALL.to_vec(),
        ..spec("T0", [0, 99], &DEFAULT_BINS)
    }
}

/// A task of which nothing is held out.
fn kind(spec: &Task) -> Box<dyn TaskKind> {
    let built = setup::build(spec, &Variant::default(), Held::NOTHING);
    built.expect("a spec that can be run")
}

fn prepare(spec: &Task) -> Prepared {
    Prepared::new(spec, &tokenizer(), 64).expect("a spec that can be run")
}

/// A prompt as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    cue: String,
    /// color left, color right, motion left, motion right.
    numbers: [u32; 4],
}

impl Seen {
    /// Reads a prompt: the numbers in the order of the template, the cue where
    /// its wording says.
    fn read(template: &str, text: &str) -> Self {
        let found: Vec<u32> = text
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect();
        let [a, b, c, d] = found[..] else {
            panic!("four numbers in {text:?}");
        };
        let (before, numbers) = match template {
            "T0" => ("Rule: ", [a, c, b, d]),
            "T1" => ("side with more ", [a, c, b, d]),
            "T2" => ("Compare ", [a, b, c, d]),
            _ => ("side has more ", [d, b, c, a]),
        };
        let (_, rest) = text.split_once(before).expect("the cue's place");
        let cue = rest.split(|c: char| !c.is_alphabetic()).next();
        Self {
            cue: cue.expect("a word").to_owned(),
            numbers,
        }
    }

    fn is_right(&self) -> bool {
        let [a, b, c, d] = self.numbers;
        if self.cue == "color" { b > a } else { d > c }
    }
}

fn read_rows(template: &str, ids: &[u32], len: usize) -> Vec<Seen> {
    let tokenizer = tokenizer();
    let text = |row: &[u32]| tokenizer.decode(row, false).expect("decodable");
    ids.chunks_exact(len)
        .map(|row| Seen::read(template, &text(row)))
        .collect()
}
