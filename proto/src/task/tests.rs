//! Every task of the registry, judged by an observer who reads its prompts and
//! knows its rule, and nothing of the generator.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::generator::Item;
use super::pairs::{Class, Held};
use super::plan::plan;
use super::registry::{TASKS, Variant};
use super::setup;
use super::splits::Part;
use super::{TaskError, TaskKind, Trial};
use crate::job::{Split, Task, TrainSet};
use crate::result::Note;

/// The spec of a task with every option at its default and every split.
fn spec(name: &str, eval_trials: u32) -> Task {
    Task {
        name: name.into(),
        template: "T0".into(),
        range: [0, 99],
        bins: vec![[1, 4], [5, 16], [17, 50]],
        train: TrainSet::Online,
        bos: false,
        random_labels: false,
        split_seed: 0,
        eval_trials,
        splits: Split::ALL.to_vec(),
        neutral: false,
        delay: None,
        test_template: None,
        test_cues: None,
        test_near: None,
        test_far: None,
    }
}

/// A task of which nothing is held out.
fn kind(spec: &Task) -> Box<dyn TaskKind> {
    let built = setup::build(spec, &Variant::default(), Held::NOTHING);
    built.expect("a spec that can be run")
}

fn text(kind: &dyn TaskKind, trial: &Trial) -> String {
    let segments = kind.wording().segments(kind.slots(), trial);
    segments.iter().map(|segment| segment.text).collect()
}

/// The answer that the rule of a task gives to a prompt: whether it is "right".
fn judge(task: &str, text: &str) -> bool {
    let numbers: Vec<u32> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let after = |mark: &str| {
        let (_, rest) = text.rsplit_once(mark).expect("the wording");
        let word = rest
            .split(|c: char| !c.is_alphanumeric())
            .find(|w| !w.is_empty());
        word.expect("a word").to_owned()
    };
    match (task, &numbers[..]) {
        ("ctxdm" | "delaydm", &[color_l, motion_l, color_r, motion_r]) => {
            if after("Rule: ") == "color" {
                color_r > color_l
            } else {
                motion_r > motion_l
            }
        }
        ("multidm", &[color_l, motion_l, color_r, motion_r]) => {
            color_r + motion_r > color_l + motion_l
        }
        ("pdm", &[left, right]) => right > left,
        ("anti", &[left, right]) => (right > left) == (after("Rule: ") == "larger"),
        ("dms", &[sample, left, right]) => {
            assert!((sample == left) != (sample == right), "{text}");
            sample == right
        }
        ("dmc", &[sample, left, right]) => {
            assert!(
                (left < 50) != (right < 50) && sample != left && sample != right,
                "{text}"
            );
            (sample < 50) == (right < 50)
        }
        ("gonogo", &[sample, test]) => test > sample,
        ("taskswitch", &[before_l, before_r, left, right]) => {
            let rule = |cue: &str, left: u32, right: u32| {
                assert!(left % 2 != right % 2, "{text}");
                if cue == "A" {
                    right > left
                } else {
                    right.is_multiple_of(2)
                }
            };
            // The example is right too.
            let example = text.split("Task ").nth(1).expect("an example");
            let said = example.contains("Answer: right");
            assert_eq!(said, rule(&example[..1], before_l, before_r), "{text}");
            rule(&after("Task "), left, right)
        }
        _ => panic!("{task} {text}"),
    }
}

fn any_task() -> impl Strategy<Value = &'static str> {
    (0..TASKS.len()).prop_map(|at| TASKS[at].name)
}

/// A task, and a trial of it.
fn drawn(name: &str, seed: u64) -> (Box<dyn TaskKind>, Trial) {
    let kind = kind(&spec(name, 1));
    let cell = (seed % kind.cells() as u64) as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let trial = kind.sample(&mut rng, cell, Class::Seen);
    (kind, trial)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn labels_are_what_the_rule_says(name in any_task(), seed in any::<u64>()) {
        let (kind, trial) = drawn(name, seed);
        let text = text(kind.as_ref(), &trial);
        prop_assert_eq!(judge(name, &text), trial.right, "{}", text);
        let variables: BTreeMap<_, _> = kind.variables(&trial).into_iter().collect();
        prop_assert_eq!(variables["answer"], f64::from(u8::from(trial.right)));
        prop_assert_eq!(kind.roles(&trial).len(), kind.slots().len());
        prop_assert_eq!(kind.shortcut_hits(&trial).len(), kind.shortcuts().len());
    }

    #[test]
    fn a_counterfactual_does_what_it_says_and_nothing_else(
        name in any_task(), seed in any::<u64>(),
    ) {
        let (kind, trial) = drawn(name, seed);
        for which in kind.counterfactuals() {
            let Some(other) = kind.counterfactual(&trial, which.name) else {
                prop_assert!(which.name == "cue" && trial.congruent == Some(true));
                continue;
            };
            let read = text(kind.as_ref(), &other);
            prop_assert_eq!(other.right != trial.right, which.flips, "{}", which.name);
            prop_assert_eq!(judge(name, &read), other.right, "{}", read);
            // Only the slots that are named differ, and something does.
            let roles = kind.roles(&trial);
            let changed: Vec<_> = (0..roles.len())
                .filter(|&slot| trial.fills[slot] != other.fills[slot])
                .map(|slot| roles[slot])
                .collect();
            let named = changed.iter().all(|role| which.slots.contains(role));
            prop_assert!(!changed.is_empty() && named, "{}: {:?}", which.name, changed);
            // It is a trial of the design, of the cell that it says.
            let item = kind.item(&other).expect("an item");
            prop_assert!(kind.groups_of(other.cell).contains(&item.group));
            prop_assert!(item.index < kind.groups(Class::Seen)[item.group]);
            // Doing it twice undoes it.
            prop_assert_eq!(kind.counterfactual(&other, which.name), Some(trial.clone()));
        }
    }

    #[test]
    fn items_lie_in_the_groups_of_their_cell(name in any_task(), seed in any::<u64>()) {
        let (kind, trial) = drawn(name, seed);
        let item = kind.item(&trial).expect("nothing is held out");
        prop_assert!(kind.groups_of(trial.cell).contains(&item.group));
        prop_assert!(item.index < kind.groups(Class::Seen)[item.group]);
    }
}

/// In a short range all items can be gone through: none shares its number with
/// another, and together they fill the groups.
#[test]
fn items_are_numbered_without_gap() {
    for name in ["ctxdm", "multidm", "taskswitch", "pdm", "dms"] {
        let mut spec = spec(name, 1);
        (spec.range, spec.bins) = ([1, 6], vec![[1, 2], [3, 5]]);
        let kind = kind(&spec);
        let mut found: BTreeMap<Item, [[u32; 2]; 2]> = BTreeMap::new();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for cell in (0..kind.cells()).cycle().take(60_000) {
            let trial = kind.sample(&mut rng, cell, Class::Seen);
            let item = kind.item(&trial).expect("nothing is held out");
            let ordered = kind.ordered(&trial);
            assert_eq!(*found.entry(item).or_insert(ordered), ordered, "{name}");
        }
        let reached: BTreeSet<_> = (0..kind.cells())
            .flat_map(|cell| kind.groups_of(cell))
            .collect();
        let sizes = kind.groups(Class::Seen);
        let total: u64 = reached.iter().map(|&group| sizes[group]).sum();
        assert_eq!(found.len() as u64, total, "{name}");
    }
}

/// The most evaluation trials of a task, up to 3,600, with which everything that
/// can be held out is.
fn most(name: &str) -> u32 {
    let cells = kind(&spec(name, 1)).cells() as u32;
    let holds_out = |trials: &u32| {
        let plan = plan(&spec(name, *trials));
        let dropped = |note: &Note| note.reason.contains("held out from training");
        plan.is_ok_and(|plan| !plan.notes.iter().any(dropped))
    };
    let mut multiples = (1..=3600 / cells).rev().map(|each| each * cells);
    multiples.find(holds_out).expect("one of each cell")
}

#[test]
fn tasks_of_one_pair_have_few_trials() {
    // As sweeps/README.md prints them.
    let found = TASKS.iter().map(|task| (task.name, most(task.name)));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            ("ctxdm", 3600),
            ("pdm", 240),
            ("multidm", 3600),
            ("anti", 480),
            ("delaydm", 3600),
            ("dms", 480),
            ("dmc", 952),
            ("gonogo", 240),
            ("taskswitch", 3600),
        ]
    );
}

#[test]
fn the_parts_of_every_task_are_balanced_and_disjoint() {
    for task in TASKS {
        let plan = plan(&spec(task.name, most(task.name))).expect("it was tried");
        let (kind, partition) = (plan.kind.as_ref(), &plan.partition);
        let cells = kind.cells();
        let mut owners: BTreeMap<Item, &str> = BTreeMap::new();
        for planned in &plan.splits {
            let split = planned.split;
            if !matches!(
                split,
                Split::Val | Split::TestIid | Split::TestPair | Split::TestNumber
            ) {
                continue;
            }
            let trials = partition.evaluation(kind, split, planned.trials);
            let trials = trials.expect("it was planned");
            assert!(trials.len() >= cells, "{} {split:?}", task.name);
            for round in trials.chunks(cells) {
                let seen: Vec<_> = round.iter().map(|trial| trial.cell).collect();
                assert_eq!(seen, (0..cells).collect::<Vec<_>>(), "{split:?}");
            }
            for trial in &trials {
                let item = kind.item(trial).expect("an item");
                assert_eq!(partition.part(item), Part::Eval(split));
                assert_eq!(judge(task.name, &text(kind, trial)), trial.right);
                let owner = *owners.entry(item).or_insert(split.name());
                assert_eq!(owner, split.name(), "{}: {item:?}", task.name);
            }
        }
        let owned: BTreeSet<_> = owners.values().copied().collect();
        assert_eq!(owned.len(), 4, "{}: {owned:?}", task.name);
        let held = kind.space().pairs.held_numbers();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for cell in (0..cells).cycle().take(2000) {
            let trial = partition.sample(kind, &mut rng, cell);
            let item = kind.item(&trial).expect("an item");
            assert!(!owners.contains_key(&item), "{}: {item:?}", task.name);
            // Nothing that training shows is a number that it must not show.
            let text = text(kind, &trial);
            let numbers = text.split(|c: char| !c.is_ascii_digit());
            let mut numbers = numbers.filter_map(|digits| digits.parse().ok());
            assert!(
                numbers.all(|n: u32| !held.contains(&n)),
                "{}: {text}",
                task.name
            );
        }
    }
}

/// What each shortcut reaches, as sweeps/README.md prints it: accuracy, and over
/// incongruent trials.
const FLOORS: &[(&str, &str, f64, Option<f64>)] = &[
    ("ctxdm", "one_dimension", 0.750, Some(0.500)),
    ("ctxdm", "sum", 0.750, Some(0.500)),
    ("ctxdm", "global_maximum", 0.751, Some(0.502)),
    ("ctxdm", "tens_digit", 0.850, Some(0.850)),
    ("pdm", "one_side", 0.615, None),
    ("pdm", "tens_digit", 0.850, None),
    ("multidm", "one_dimension", 0.750, Some(0.500)),
    ("multidm", "cued_dimension", 0.750, Some(0.500)),
    ("multidm", "global_maximum", 0.792, Some(0.582)),
    ("multidm", "tens_digit", 0.907, Some(0.860)),
    ("anti", "always_larger", 0.500, None),
    ("anti", "one_side", 0.614, None),
    ("anti", "tens_digit", 0.850, None),
    ("delaydm", "one_dimension", 0.750, Some(0.500)),
    ("delaydm", "sum", 0.750, Some(0.500)),
    ("delaydm", "global_maximum", 0.751, Some(0.502)),
    ("delaydm", "tens_digit", 0.850, Some(0.850)),
    ("dms", "larger", 0.500, None),
    ("dms", "tens_digit", 0.850, None),
    ("dmc", "nearest", 0.500, Some(0.000)),
    ("dmc", "larger", 0.500, Some(0.500)),
    ("gonogo", "test_alone", 0.614, None),
    ("gonogo", "tens_digit", 0.850, None),
    ("taskswitch", "always_a", 0.750, Some(0.500)),
    ("taskswitch", "as_before", 0.750, Some(0.500)),
    ("taskswitch", "same_answer", 0.500, Some(0.500)),
];

#[test]
fn floors_are_those_of_the_table() {
    let mut table = FLOORS.to_vec();
    let mut found = String::new();
    for task in TASKS {
        let kind = kind(&spec(task.name, 1));
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let names = kind.shortcuts();
        let mut sums = vec![[0.0_f64; 2]; names.len()];
        let mut counts = [0.0_f64; 2];
        let trials = 100_000 / kind.cells() * kind.cells();
        for cell in (0..kind.cells()).cycle().take(trials) {
            let trial = kind.sample(&mut rng, cell, Class::Seen);
            let incongruent = f64::from(u8::from(trial.congruent == Some(false)));
            counts[0] += 1.0;
            counts[1] += incongruent;
            for (sum, hit) in sums.iter_mut().zip(kind.shortcut_hits(&trial)) {
                sum[0] += f64::from(hit);
                sum[1] += f64::from(hit) * incongruent;
            }
        }
        assert_eq!(counts[1] > 0.0, task.has_congruency, "{}", task.name);
        for (name, sum) in names.iter().zip(sums) {
            let accuracy = sum[0] / counts[0];
            let incongruent = (counts[1] > 0.0).then(|| sum[1] / counts[1]);
            found.push_str(&format!(
                "(\"{}\", \"{name}\", {accuracy:.3}, {incongruent:.3?}),\n",
                task.name
            ));
            let at = table
                .iter()
                .position(|row| (row.0, row.1) == (task.name, *name));
            let Some(at) = at else { continue };
            let row = table.remove(at);
            // Four standard errors over 50,000 trials are .009.
            let near = |a: f64, b: f64| (a - b).abs() < 0.009;
            assert!(near(row.2, accuracy), "{row:?}: {accuracy:.3}");
            assert_eq!(row.3.is_some(), incongruent.is_some(), "{row:?}");
            let both = row.3.zip(incongruent);
            assert!(
                both.is_none_or(|(a, b)| near(a, b)),
                "{row:?}: {incongruent:.3?}"
            );
        }
    }
    assert_eq!(
        found.lines().count(),
        FLOORS.len(),
        "the table should be\n{found}"
    );
    assert!(table.is_empty(), "no such shortcut: {table:?}");
}

#[test]
fn cued_shortcuts_are_those_that_another_cue_changes() {
    for task in TASKS {
        let kind = kind(&spec(task.name, 1));
        let cues = task.cue_slots.iter().map(|cue| {
            let at = task.slots.iter().position(|slot| slot == cue);
            at.expect("a slot of the task")
        });
        let cues: Vec<_> = cues.collect();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut changed = BTreeSet::new();
        for cell in (0..kind.cells()).cycle().take(2000) {
            let trial = kind.sample(&mut rng, cell, Class::Seen);
            // The same answer, so that only what a shortcut reads is another.
            let mut recued = trial.clone();
            for &cue in &cues {
                recued.fills[cue] = 1 - recued.fills[cue];
            }
            let hits = [&trial, &recued].map(|trial| kind.shortcut_hits(trial));
            let names = kind.shortcuts().iter().enumerate();
            changed.extend(
                names
                    .filter(|(i, _)| hits[0][*i] != hits[1][*i])
                    .map(|(_, &name)| name),
            );
        }
        let listed: BTreeSet<_> = task.cued_shortcuts.iter().copied().collect();
        assert_eq!(changed, listed, "{}", task.name);
    }
}

#[test]
fn options_belong_to_tasks_that_have_them() {
    let refused = |name: &str, change: fn(&mut Task)| {
        let mut spec = spec(name, 72);
        change(&mut spec);
        let error: TaskError = plan(&spec).err().expect("must be refused");
        error.to_string()
    };
    assert!(refused("pdm", |s| s.neutral = true).contains("task.neutral: the task pdm"));
    assert!(refused("ctxdm", |s| s.delay = Some(3)).contains("task.delay: the task ctxdm"));
    assert!(refused("ctxdm", |s| s.splits = vec![Split::Val]).contains("task.splits"));
    let short = refused("taskswitch", |s| s.bins = vec![[2, 2], [4, 4]]);
    assert!(short.contains("an even and an odd number"), "{short}");
    let short = refused("dmc", |s| s.range = [1, 4]);
    assert!(
        short.contains("task.range: [1, 4] is too short for the task dmc"),
        "{short}"
    );
}
