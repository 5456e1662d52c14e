//! Every split, by what a reader sees: disjoint, balanced, and what it says it is.

use std::collections::BTreeSet;

use proptest::prelude::*;
use seedbed_proto::task::registry::TASKS;

use super::*;

fn named<'a>(prepared: &'a Prepared, name: &str) -> &'a EvalSplit {
    let found = prepared
        .eval_splits()
        .iter()
        .find(|split| split.name == name);
    found.unwrap_or_else(|| panic!("{name} is left out: {:?}", prepared.notes()))
}

fn seen(split: &EvalSplit) -> Vec<Seen> {
    read_rows("T0", &split.ids, split.prompt_len)
}

/// Unordered pairs of a quadruple.
fn pairs(seen: &Seen) -> [[u32; 2]; 2] {
    let [a, b, c, d] = seen.numbers;
    [[a.min(b), a.max(b)], [c.min(d), c.max(d)]]
}

#[test]
fn ctxdm_has_every_split() {
    let prepared = prepare(&every_split("ctxdm", 720));
    let names: Vec<_> = prepared
        .eval_splits()
        .iter()
        .map(|split| split.name)
        .collect();
    assert_eq!(names, Split::NAMES);
    assert_eq!(prepared.notes(), []);
}

#[test]
fn training_never_shows_a_held_out_pair_or_number() {
    let prepared = prepare(&every_split("ctxdm", 720));
    let held_pairs: BTreeSet<_> = seen(named(&prepared, "test_pair"))
        .iter()
        .flat_map(pairs)
        .collect();
    let numbers = prepared.kind().space().pairs.held_numbers();
    assert_eq!(numbers.len(), 10);
    let holds = |pair: &[u32; 2]| pair.iter().any(|n| numbers.contains(n));
    // Each trial of test_number shows such a number in both dimensions, and no
    // trial of any split that shares its numbers with training shows one.
    assert!(
        seen(named(&prepared, "test_number"))
            .iter()
            .all(|s| pairs(s).iter().all(holds))
    );
    for name in ["val", "test_iid", "test_pair"] {
        assert!(
            seen(named(&prepared, name))
                .iter()
                .all(|s| !pairs(s).iter().any(holds)),
            "{name}"
        );
    }
    let mut shown = BTreeSet::new();
    for step in 0..200 {
        let batch = prepared.train_batch(1, step, 72);
        shown.extend(
            read_rows("T0", &batch.ids, batch.len)
                .iter()
                .flat_map(pairs),
        );
    }
    assert!(!shown.iter().any(holds));
    assert!(shown.is_disjoint(&held_pairs));
    // 15 % of those that training could show are held out, whatever is evaluated.
    assert!(shown.len() > 2000, "{}", shown.len());
}

#[test]
fn ranges_words_and_templates_are_those_that_are_asked_for() {
    let prepared = prepare(&every_split("ctxdm", 720));
    for (name, range) in [
        ("test_range_near", 100..=199),
        ("test_range_far", 200..=361),
    ] {
        let rows = seen(named(&prepared, name));
        assert!(
            rows.iter()
                .flat_map(|s| s.numbers)
                .all(|n| range.contains(&n)),
            "{name}"
        );
    }
    let iid = named(&prepared, "test_iid");
    let (words, template) = (
        named(&prepared, "test_cueword"),
        named(&prepared, "test_template"),
    );
    assert_eq!(
        (&words.trials, &template.trials),
        (&iid.trials, &iid.trials)
    );
    let text = |split: &EvalSplit| {
        let row = &split.ids[..split.prompt_len];
        tokenizer().decode(row, false).expect("decodable")
    };
    let original = text(iid);
    let expect = original.replace("color", "size").replace("motion", "shape");
    assert_eq!(text(words), expect);
    assert!(text(template).starts_with("The left patch has color "));
    assert_eq!(
        read_rows("T1", &template.ids, template.prompt_len),
        seen(iid)
    );

    let mut spec = every_split("ctxdm", 72);
    spec.test_cues = Some(["speed", "weight"].map(str::to_owned));
    spec.test_template = Some("T2".into());
    spec.test_near = Some([150, 249]);
    spec.test_far = Some([250, 361]);
    let prepared = prepare(&spec);
    assert!(text(named(&prepared, "test_cueword")).contains("Left: speed "));
    assert!(text(named(&prepared, "test_template")).starts_with("Color: left "));
    let rows = seen(named(&prepared, "test_range_near"));
    assert!(
        rows.iter()
            .flat_map(|s| s.numbers)
            .all(|n| (150..=249).contains(&n))
    );
}

#[test]
fn controls_show_the_trials_of_val_without_what_they_need() {
    let prepared = prepare(&every_split("ctxdm", 720));
    let val = named(&prepared, "val");
    let changed = |name: &str| {
        let control = named(&prepared, name);
        assert_eq!((&control.trials, &control.right), (&val.trials, &val.right));
        let pairs = control.ids.iter().zip(&val.ids).enumerate();
        let places = pairs.filter(|(_, (a, b))| a != b);
        places
            .map(|(at, _)| at % val.prompt_len)
            .collect::<BTreeSet<_>>()
    };
    let at: BTreeMap<_, _> = prepared
        .slot_positions(&val.trials[0])
        .into_iter()
        .collect();
    assert_eq!(changed("control_no_cue"), BTreeSet::from([at["cue"]]));
    let numbers = ["rel_left", "rel_right", "irr_left", "irr_right"].map(|slot| at[slot]);
    assert_eq!(changed("control_no_numbers"), BTreeSet::from(numbers));
    // Nothing that could tell two trials of one cue apart is left.
    let control = named(&prepared, "control_no_numbers");
    let rows: BTreeSet<_> = control.ids.chunks_exact(control.prompt_len).collect();
    assert_eq!(rows.len(), 2);
    // So there is no evidence that could have moved an answer.
    assert!(control.evidence.is_none());
    assert!(named(&prepared, "control_no_cue").evidence.is_some());
}

#[test]
fn controls_have_no_floor_of_what_they_do_not_show() {
    for (name, cue_free) in [
        ("ctxdm", &["one_dimension", "sum", "global_maximum"][..]),
        (
            "multidm",
            &["one_dimension", "global_maximum", "tens_digit"],
        ),
        ("anti", &["always_larger"]),
        ("taskswitch", &["always_a", "as_before", "same_answer"]),
    ] {
        let cells = kind(&every_split(name, 1)).cells() as u32;
        let prepared = prepare(&every_split(name, cells));
        let shortcuts = |split: &str| -> Vec<_> {
            let shortcuts = &named(&prepared, split).shortcuts;
            shortcuts.iter().map(|(name, _)| *name).collect()
        };
        assert_eq!(shortcuts("val"), prepared.kind().shortcuts(), "{name}");
        assert_eq!(shortcuts("control_no_cue"), cue_free, "{name}");
        assert_eq!(shortcuts("control_no_numbers"), [""; 0], "{name}");
    }
}

#[test]
fn what_a_short_range_cannot_hold_out_is_said() {
    // The range and bins of the quickstart, and half its trials: all is held out.
    let mut spec = every_split("ctxdm", 360);
    (spec.range, spec.bins) = ([1, 10], vec![[1, 2], [3, 4], [5, 9]]);
    let prepared = prepare(&spec);
    for name in ["test_pair", "test_number"] {
        let trials = named(&prepared, name).trials.len();
        let note = prepared.notes().iter().find(|note| note.place == name);
        let note = note.expect("it is smaller than asked for");
        assert!((72..360).contains(&trials), "{name} has {trials}");
        let expect = format!("has {trials} trials, not 360");
        assert!(note.reason.contains(&expect), "{note:?}");
    }
    // More trials, and longer last bins: no number can be spared.
    spec.eval_trials = 720;
    spec.bins = SHORT_BINS.to_vec();
    let prepared = prepare(&spec);
    let [pairs, numbers] = prepared.notes() else {
        panic!("{:?}", prepared.notes());
    };
    assert_eq!(
        (pairs.place.as_str(), numbers.place.as_str()),
        ("test_pair", "test_number")
    );
    assert!(pairs.reason.contains("has 72 trials, not 720"), "{pairs:?}");
    assert!(
        numbers.reason.contains("no numbers are held out"),
        "{numbers:?}"
    );
    // A range that training covers is no other range.
    spec.range = [0, 120];
    let prepared = prepare(&spec);
    let near = prepared
        .notes()
        .iter()
        .find(|note| note.place == "test_range_near");
    assert!(
        near.expect("left out")
            .reason
            .contains("task.range [0, 120]")
    );
}

#[test]
fn tasks_without_a_split_say_why() {
    for (name, place, expect) in [
        ("pdm", "control_no_cue", "has no cue"),
        ("pdm", "test_cueword", "has no cue"),
        ("taskswitch", "test_cueword", "arbitrary labels"),
        ("dmc", "test_range_near", "hangs on its range"),
    ] {
        let prepared = prepare(&every_split(
            name,
            kind(&every_split(name, 1)).cells() as u32,
        ));
        let note = prepared.notes().iter().find(|note| note.place == place);
        let note = note.unwrap_or_else(|| panic!("{name}: {:?}", prepared.notes()));
        assert!(note.reason.contains(expect), "{name}: {note:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn both_arms_meet_the_same_splits_and_seeds_other_ones(
        split_seed in any::<u64>(), index in 0..TASKS.len(),
    ) {
        let name = TASKS[index].name;
        let mut spec = every_split(name, kind(&every_split(name, 1)).cells() as u32);
        spec.split_seed = split_seed;
        let (first, second) = (prepare(&spec), prepare(&spec));
        prop_assert_eq!(first.eval_splits(), second.eval_splits());
        prop_assert_eq!(first.notes(), second.notes());
        spec.split_seed = split_seed.wrapping_add(1);
        let other = prepare(&spec);
        prop_assert_ne!(first.eval_splits(), other.eval_splits());
    }

    #[test]
    fn neutral_trials_have_equal_irrelevant_numbers(split_seed in any::<u64>()) {
        let mut spec = every_split("ctxdm", 84);
        (spec.neutral, spec.split_seed) = (true, split_seed);
        let prepared = prepare(&spec);
        for split in prepared.eval_splits().iter().take(4) {
            let mut neutral = 0;
            for (seen, trial) in seen(split).iter().zip(&split.trials) {
                prop_assert_eq!(seen.is_right(), trial.right);
                let [a, b, c, d] = seen.numbers;
                let irrelevant = if seen.cue == "color" { (c, d) } else { (a, b) };
                prop_assert_eq!(trial.congruent.is_none(), irrelevant.0 == irrelevant.1);
                neutral += usize::from(trial.congruent.is_none());
            }
            prop_assert_eq!(neutral, 12, "{}", split.name);
        }
    }
}
