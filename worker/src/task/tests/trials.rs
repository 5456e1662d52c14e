//! Balance, splits, training batches and labels.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

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
        let kind = kind(&spec("T0", [0, 99], &DEFAULT_BINS));
        let trial = kind.sample(&mut ChaCha8Rng::seed_from_u64(seed), cell, Class::Seen);
        let [cue, a, b, c, d] = trial.fills[..] else { panic!("five slots") };
        let swapped = Trial { fills: vec![cue, b, a, d, c], right: !trial.right, ..trial.clone() };
        // The mirror image lies in the mirrored cell: cue × answer × …
        let mirrored = if cell % 36 < 18 { cell + 18 } else { cell - 18 };
        let group = |trial| kind.item(trial).expect("nothing is held out").group;
        prop_assert_eq!(vec![group(&swapped)], kind.groups_of(mirrored));
        prop_assert_eq!(vec![group(&trial)], kind.groups_of(cell));
        prop_assert_eq!(kind.shortcut_hits(&trial), kind.shortcut_hits(&swapped));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn variables_and_evidence_are_what_a_reader_sees(seed in any::<u64>(), cell in 0_usize..72) {
        let prepared = prepare(&spec("T0", [0, 99], &DEFAULT_BINS));
        let trial = prepared.kind().sample(&mut ChaCha8Rng::seed_from_u64(seed), cell, Class::Seen);
        let ids = prepared.prompt(&trial);
        let seen = &read_rows("T0", &ids, ids.len())[0];
        let [a, b, c, d] = seen.numbers.map(f64::from);
        let (color, motion) = ((b - a).signum(), (d - c).signum());
        let truth = |value: bool| f64::from(u8::from(value));
        prop_assert_eq!(prepared.kind().variables(&trial), vec![
            ("cue", truth(seen.cue == "motion")),
            ("answer", truth(seen.is_right())),
            ("sign_color", color),
            ("sign_motion", motion),
            ("congruent", truth(color == motion)),
            ("color_left", a),
            ("color_right", b),
            ("motion_left", c),
            ("motion_right", d),
        ]);
        let evidence = if seen.cue == "color" { [b - a, d - c] } else { [d - c, b - a] };
        prop_assert_eq!(prepared.kind().evidence(&trial), Some(evidence));
    }
}

#[test]
fn every_item_has_one_part_and_every_group_its_exact_shares() {
    let kind = kind(&spec("T0", [1, 10], &SHORT_BINS));
    let partition = Partition::new(kind.as_ref(), 5);
    for (group, &size) in kind.groups(Class::Seen).iter().enumerate() {
        let mut counts = BTreeMap::new();
        for index in 0..size {
            *counts
                .entry(partition.part(Item {
                    class: Class::Seen,
                    group,
                    index,
                }))
                .or_insert(0) += 1;
        }
        let held_out = size * 15 / 100;
        assert_eq!(counts[&Part::Eval(Split::Val)], held_out);
        assert_eq!(counts[&Part::Eval(Split::TestIid)], held_out);
        assert_eq!(counts[&Part::Train], size - 2 * held_out);
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
