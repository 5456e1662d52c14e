//! The task by its properties, seen from outside: prompts are decoded to text and
//! judged by an observer who knows the rule and nothing of the generator.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use seedbed_proto::job::{Task, TrainSet};
use serde_json::json;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use super::*;

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
    }
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

#[test]
fn the_wordings_are_those_of_the_templates() {
    let check = |template: &str, expect: &str| {
        let prepared = prepare(&spec(template, [0, 99], &DEFAULT_BINS));
        let kind = prepared.kind();
        let trial = Trial {
            cell: 0,
            fills: vec![0, 11, 22, 33, 44],
            right: true,
            congruent: Some(true),
        };
        let segments = kind.template().segments(kind.slots(), &trial);
        let text: String = segments.iter().map(|segment| segment.text).collect();
        assert_eq!(text, expect);
    };
    check(
        "T0",
        "Rule: color. Left: color 11, motion 33. Right: color 22, motion 44. Answer:",
    );
    check(
        "T1",
        "The left patch has color 11 and motion 33. The right patch has color 22 and motion 44. \
         The side with more color is the",
    );
    check(
        "T2",
        "Color: left 11, right 22. Motion: left 33, right 44. Compare color. Answer:",
    );
    check(
        "T3",
        "On the right, motion is 44 and color is 22. On the left, motion is 33 and color is 11. \
         Which side has more color? The",
    );
}

#[test]
fn the_vocabulary_holds_every_word_of_every_template() {
    let (tokenizer, words) = (tokenizer(), vocabulary());
    for template in ["T0", "T1", "T2", "T3"] {
        let prepared = prepare(&spec(template, [0, 361], &DEFAULT_BINS));
        for &id in &prepared.train_batch(0, 0, 72).ids {
            let text = tokenizer.decode(&[id], false).expect("decodable");
            let mark = text.chars().all(|c| c.is_ascii_punctuation());
            assert!(mark || words.contains(&text), "{template}: {text:?}");
        }
    }
}

#[test]
fn slots_stand_where_they_are_said_to() {
    let tokenizer = tokenizer();
    for template in ["T0", "T1", "T2", "T3"] {
        for bos in [false, true] {
            let mut spec = spec(template, [0, 99], &DEFAULT_BINS);
            spec.bos = bos;
            let mut with_bos = tokenizer.clone();
            with_bos
                .add_special_tokens([AddedToken::from("<|endoftext|>", true)])
                .expect("a new token");
            let prepared = Prepared::new(&spec, &with_bos, 64).expect("a spec that can be run");
            let split = &prepared.eval_splits()[0];
            let rows = split.ids.chunks_exact(split.prompt_len);
            for (row, trial) in rows.zip(&split.trials) {
                let word = |id: u32| with_bos.decode(&[id], false).expect("decodable");
                let at: BTreeMap<_, _> = prepared
                    .slot_positions(trial)
                    .into_iter()
                    .map(|(slot, position)| (slot, word(row[position])))
                    .collect();
                let skip = usize::from(bos);
                let text = with_bos.decode(&row[skip..], false).expect("decodable");
                let seen = Seen::read(template, &text);
                let [a, b, c, d] = seen.numbers;
                let (rel, irr) = if seen.cue == "color" {
                    ([a, b], [c, d])
                } else {
                    ([c, d], [a, b])
                };
                assert_eq!(at["cue"], format!(" {}", seen.cue));
                assert_eq!(
                    [&at["rel_left"], &at["rel_right"]],
                    rel.map(|n| format!(" {n}")).each_ref()
                );
                assert_eq!(
                    [&at["irr_left"], &at["irr_right"]],
                    irr.map(|n| format!(" {n}")).each_ref()
                );
                assert_eq!(at["last"], word(row[row.len() - 1]));
            }
        }
    }
}

#[test]
fn every_number_of_bins_makes_a_balanced_design() {
    for (range, bins) in [
        ([0, 99], vec![[1, 99]]),
        ([1, 20], vec![[1, 9], [10, 19]]),
        ([0, 99], DEFAULT_BINS.to_vec()),
        ([0, 199], vec![[1, 1], [2, 3], [5, 9], [17, 50], [100, 150]]),
    ] {
        let mut spec = spec("T0", range, &bins);
        spec.eval_trials = 8 * (bins.len() * bins.len()) as u32 * 3;
        let prepared = prepare(&spec);
        let cells = prepared.kind().cells();
        assert_eq!(cells, 8 * bins.len() * bins.len());
        let split = &prepared.eval_splits()[1];
        for round in split.trials.chunks_exact(cells) {
            let seen: BTreeSet<_> = round.iter().map(|trial| trial.cell).collect();
            assert_eq!(seen.len(), cells);
        }
        // The cells are what the reader would call them.
        let level = |a: u32, b: u32| {
            let holds = |bin: &[u32; 2]| (bin[0]..=bin[1]).contains(&a.abs_diff(b));
            bins.iter()
                .position(holds)
                .expect("a difference within a bin")
        };
        let rows = read_rows("T0", &split.ids, split.prompt_len);
        let mut counts = BTreeMap::new();
        for (seen, trial) in rows.iter().zip(&split.trials) {
            let [a, b, c, d] = seen.numbers;
            let congruent = (b > a) == (d > c);
            assert_eq!(trial.congruent, Some(congruent));
            assert!(
                seen.numbers
                    .iter()
                    .all(|n| (range[0]..=range[1]).contains(n))
            );
            let cell = (
                &seen.cue,
                seen.is_right(),
                congruent,
                level(a, b),
                level(c, d),
            );
            *counts.entry(cell).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), cells);
        assert!(counts.values().all(|&n| n == 3), "{counts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn splits_are_disjoint_and_labels_true(
        seed in any::<u64>(),
        split_seed in any::<u64>(),
        fixed in prop::option::of(1_u32..1500),
        short in any::<bool>(),
        template in prop::sample::select(vec!["T0", "T1", "T2", "T3"]),
    ) {
        let mut spec = if short {
            spec(template, [1, 10], &SHORT_BINS)
        } else {
            spec(template, [0, 99], &DEFAULT_BINS)
        };
        spec.split_seed = split_seed;
        spec.train = fixed.map_or(TrainSet::Online, TrainSet::Fixed);
        let prepared = prepare(&spec);
        let len = prepared.prompt_len();

        let mut parts = Vec::new();
        for split in prepared.eval_splits() {
            let rows = read_rows(template, &split.ids, len);
            prop_assert!(rows.iter().zip(&split.right).all(|(row, &r)| row.is_right() == (r == 1)));
            // No trial twice within a split.
            prop_assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
            parts.push(rows);
        }
        let mut trained = Vec::new();
        for step in 0..20 {
            let batch = prepared.train_batch(seed, step, 64);
            let rows = read_rows(template, &batch.ids, len);
            prop_assert!(rows.iter().zip(&batch.right).all(|(row, &r)| row.is_right() == (r == 1)));
            trained.extend(rows);
        }
        parts.push(trained);
        let mut owner = BTreeMap::new();
        for (part, rows) in parts.iter().enumerate() {
            for row in rows {
                prop_assert_eq!(*owner.entry(row.numbers).or_insert(part), part);
            }
        }
    }

    #[test]
    fn swapping_the_sides_turns_the_answer_and_nothing_else(
        seed in any::<u64>(), cell in 0_usize..72,
    ) {
        let kind = registry::build(&spec("T0", [0, 99], &DEFAULT_BINS)).expect("a spec that can be run");
        let trial = kind.sample(&mut ChaCha8Rng::seed_from_u64(seed), cell);
        let [cue, a, b, c, d] = trial.fills[..] else { panic!("five slots") };
        let swapped = Trial { fills: vec![cue, b, a, d, c], right: !trial.right, ..trial.clone() };
        // The mirror image lies in the mirrored cell: cue × answer × …
        let mirrored = if cell % 36 < 18 { cell + 18 } else { cell - 18 };
        prop_assert_eq!(kind.item(&swapped).group, kind.group_of(mirrored));
        prop_assert_eq!(kind.item(&trial).group, kind.group_of(cell));
        prop_assert_eq!(kind.shortcut_hits(&trial), kind.shortcut_hits(&swapped));
    }
}

#[test]
fn every_item_has_one_part_and_every_group_its_exact_shares() {
    let kind = registry::build(&spec("T0", [1, 10], &SHORT_BINS)).expect("a spec that can be run");
    let partition = Partition::new(kind.as_ref(), 5);
    for (group, &size) in kind.groups().iter().enumerate() {
        let mut counts = BTreeMap::new();
        for index in 0..size {
            *counts
                .entry(partition.part(generator::Item { group, index }))
                .or_insert(0) += 1;
        }
        let held_out = size * 15 / 100;
        assert_eq!(counts[&splits::Part::Eval(0)], held_out);
        assert_eq!(counts[&splits::Part::Eval(1)], held_out);
        assert_eq!(counts[&splits::Part::Train], size - 2 * held_out);
    }
}

#[test]
fn a_batch_is_a_function_of_seed_and_step() {
    let prepared = prepare(&spec("T0", [0, 99], &DEFAULT_BINS));
    let batch = prepared.train_batch(3, 7, 64);
    assert_eq!(
        batch,
        prepare(&spec("T0", [0, 99], &DEFAULT_BINS)).train_batch(3, 7, 64)
    );
    assert_ne!(batch, prepared.train_batch(3, 8, 64));
    assert_ne!(batch, prepared.train_batch(4, 7, 64));

    // 9 batches of 64 are 8 rounds of the 72 cells.
    let mut counts = BTreeMap::new();
    for step in 0..9 {
        let batch = prepared.train_batch(3, step, 64);
        for seen in read_rows("T0", &batch.ids, batch.len) {
            let [a, b, c, d] = seen.numbers;
            let bin = |x: u32| (x > 4) as u8 + (x > 16) as u8;
            let cell = (
                seen.cue,
                b > a,
                d > c,
                bin(a.abs_diff(b)),
                bin(c.abs_diff(d)),
            );
            *counts.entry(cell).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len(), 72);
    assert!(counts.values().all(|&n| n == 8), "{counts:?}");
}

#[test]
fn a_fixed_set_is_gone_through_once_an_epoch_in_each_runs_own_order() {
    let prepared = |n| {
        let mut spec = spec("T0", [0, 99], &DEFAULT_BINS);
        spec.train = TrainSet::Fixed(n);
        prepare(&spec)
    };
    let hundred = prepared(100);
    let epoch = |seed, epoch: u64| {
        let steps = epoch * 4..epoch * 4 + 4;
        let batches: Vec<_> = steps
            .map(|step| hundred.train_batch(seed, step, 25))
            .collect();
        let ids: Vec<u32> = batches.iter().flat_map(|batch| batch.ids.clone()).collect();
        read_rows("T0", &ids, hundred.prompt_len())
    };
    let set = |rows: &[Seen]| rows.iter().cloned().collect::<BTreeSet<_>>();
    let first = epoch(1, 0);
    assert_eq!(set(&first).len(), 100);
    for (seed, index) in [(1, 1), (2, 0), (2, 5)] {
        let other = epoch(seed, index);
        assert_eq!(set(&other), set(&first));
        assert_ne!(other, first);
    }
    let larger = prepared(1000).train_batch(1, 0, 1000);
    assert!(set(&first).is_subset(&set(&read_rows("T0", &larger.ids, larger.len))));
}

#[test]
fn random_labels_can_be_memorised_and_say_nothing() {
    let mut spec = spec("T0", [1, 10], &SHORT_BINS);
    spec.random_labels = true;
    let prepared = prepare(&spec);
    let mut labels = BTreeMap::new();
    let (mut total, mut true_labels) = (0_u32, 0_u32);
    for (seed, step) in (0..2).flat_map(|seed| (0..50).map(move |step| (seed, step))) {
        let batch = prepared.train_batch(seed, step, 72);
        for (seen, right) in read_rows("T0", &batch.ids, batch.len)
            .into_iter()
            .zip(batch.right)
        {
            total += 1;
            true_labels += u32::from(seen.is_right() == (right == 1));
            assert_eq!(*labels.entry(seen).or_insert(right), right);
        }
    }
    assert!(labels.len() < total as usize, "no trial came twice");
    let share = f64::from(true_labels) / f64::from(total);
    assert!((0.45..0.55).contains(&share), "{share}");
    // Evaluation keeps the true ones.
    let split = &prepared.eval_splits()[0];
    let rows = read_rows("T0", &split.ids, split.prompt_len);
    assert!(
        rows.iter()
            .zip(&split.right)
            .all(|(row, &r)| row.is_right() == (r == 1))
    );
}

#[test]
fn what_cannot_be_run_is_named() {
    let good = spec("T0", [0, 99], &DEFAULT_BINS);
    let refused = |tokenizer: &Tokenizer, positions: usize, change: fn(&mut Task)| {
        let mut spec = good.clone();
        change(&mut spec);
        match Prepared::new(&spec, tokenizer, positions) {
            Ok(_) => panic!("must be refused: {spec:?}"),
            Err(error) => error.to_string(),
        }
    };
    let full = tokenizer();
    let check = |change: fn(&mut Task), expect: &[&str]| {
        let error = refused(&full, 64, change);
        assert!(expect.iter().all(|part| error.contains(part)), "{error}");
    };
    check(|s| s.name = "mante".into(), &["\"mante\"", "known: ctxdm"]);
    check(|s| s.template = "T9".into(), &["\"T9\"", "T0, T1, T2, T3"]);
    check(
        |s| s.range = [0, 20],
        &["task.bins[2]", "[0, 20]", "largest is 20"],
    );
    check(
        |s| s.eval_trials = 100,
        &["100 must be a multiple of the 72 cells", "144"],
    );
    check(|s| s.eval_trials = 0, &["task.eval_trials", "72"]);
    check(|s| s.train = TrainSet::Fixed(0), &["task.train"]);
    check(
        |s| {
            s.range = [1, 10];
            s.bins = SHORT_BINS.to_vec();
            s.eval_trials = 3600;
        },
        &[
            "val",
            "|x_rel| 6-9, |x_irr| 6-9",
            "has 15 distinct",
            "50 are wanted",
            "1080 trials",
            "task.eval_trials",
        ],
    );
    check(
        |s| {
            s.range = [1, 10];
            s.bins = SHORT_BINS.to_vec();
            s.train = TrainSet::Fixed(72 * 71);
        },
        &[
            "train",
            "has 70 distinct",
            "71 are wanted",
            "5040 trials",
            "task.train",
        ],
    );
    check(
        |s| {
            s.range = [1, 2];
            s.bins = vec![[1, 1]];
            s.eval_trials = 8;
        },
        &["has 0 distinct trials"],
    );
    check(
        |s| s.range = [0, 400],
        &["T0", "slot \"color_left\"", "\" 362\"", "4 tokens", "BPE, "],
    );
    check(|s| s.bos = true, &["task.bos", "<|endoftext|>"]);

    let error = refused(&full, 21, |_| {});
    assert!(
        error.contains("22 tokens") && error.contains("21 positions"),
        "{error}"
    );
    let without = |gone: &str| {
        let kept: Vec<_> = vocabulary()
            .into_iter()
            .filter(|word| word != gone)
            .collect();
        refused(&byte_level(&kept), 64, |_| {})
    };
    assert!(without(" motion").contains("\" motion\" in slot \"cue\" is 7 tokens"));
    assert!(without(" left").contains("\" left\" in slot \"answer\""));
    // The wording around the slots may be as many tokens as it likes.
    let kept: Vec<_> = vocabulary()
        .into_iter()
        .filter(|word| word != " Answer")
        .collect();
    let longer = Prepared::new(&good, &byte_level(&kept), 64).expect("a longer prompt");
    assert_eq!(longer.prompt_len(), 28);
}

#[test]
fn a_tokenizer_that_reads_over_the_ends_of_segments_is_refused() {
    // Without a pre-tokenizer " color" alone is one token, but not within a text.
    let characters = (b' '..=b'~').map(|c| char::from(c).to_string());
    let tokenizer = tokenizer_of(characters.chain(vocabulary()), false);
    let spec = spec("T0", [0, 99], &DEFAULT_BINS);
    let error = match Prepared::new(&spec, &tokenizer, 256) {
        Ok(_) => panic!("must be refused"),
        Err(error) => error,
    };
    assert!(
        matches!(error, TaskError::Boundary { template: "T0", .. }),
        "{error}"
    );
}
