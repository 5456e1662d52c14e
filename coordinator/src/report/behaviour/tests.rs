//! Golden tables of behaviour, and pages to look at.

use std::path::Path;

use seedbed_proto::JobKey;
use seedbed_proto::result::FailureReason;
use serde_json::{Value, json};

use crate::aggregate::analyse;
use crate::aggregate::behaviour::TRAIN_SET;
use crate::aggregate::fixture::{Fixture, fail, unseal};
use crate::report::figure::Styles;
use crate::report::tests::check_golden;
use crate::report::{markdown, write};
use crate::results::{Measured, Run, SweepResults};
use crate::sweep::Compare;

const SPLITS: [(&str, f64); 6] = [
    ("test_cueword", 0.30),
    ("test_number", 0.05),
    ("test_pair", 0.02),
    ("test_range_far", 0.38),
    ("test_range_near", 0.20),
    ("test_template", 0.25),
];

/// What a run of this accuracy would have measured of its behaviour.
fn behave(run: &mut Run) {
    let found = |m: &&Measured| m.split == "test_iid" && m.name == "incongruent_accuracy";
    let accuracy = run.metrics.iter().find(found).expect("measured").value;
    // From 0 at chance to 1.
    let skill = 2.0 * accuracy - 1.0;
    let mut push = |split: &str, name: &str, slot: Option<String>, value: f64| {
        let mut m = Measured::of(split, 300, name, value);
        m.slot = slot;
        run.metrics.push(m);
    };
    for (split, harder) in SPLITS {
        push(
            split,
            "incongruent_accuracy",
            None,
            accuracy - harder * skill,
        );
        for (shortcut, value) in [("one_dimension", 0.5), ("tens_digit", 0.62)] {
            let name = format!("floor.{shortcut}.incongruent_accuracy");
            push(split, &name, None, value);
        }
    }
    let (rel, irr) = (9.0 * skill + 0.2, 3.0 * (1.0 - skill));
    for (cue, shift) in [("color", 0.3), ("motion", -0.2)] {
        let mut of = |name: &str, value: f64| {
            push("test_iid", name, Some(cue.to_owned()), value);
        };
        of("psychometric.slope_rel", rel + shift);
        of("psychometric.slope_irr", irr);
        of("psychometric.bias", shift);
        of("psychometric.lapse_left", 0.0);
        of("psychometric.lapse_right", 0.02 * (1.0 - skill));
        // A weak network has neither.
        let weak = rel < 1.0;
        let threshold = if weak { f64::NAN } else { 8.0 / rel };
        of("psychometric.threshold_75", threshold);
        of(
            "intrusion",
            if weak { f64::NAN } else { irr / (rel + shift) },
        );
        of("psychometric.separated", f64::from(skill > 0.95));
        for (bin, z) in [("1-4", 0.3), ("5-16", 0.6), ("17-50", 0.9)] {
            for (sign, z) in [("-", -z), ("+", z)] {
                for (dimension, slope) in [("rel", rel), ("irr", irr)] {
                    let p = 1.0 / (1.0 + (-(shift + slope * z)).exp());
                    let slot = format!("{cue}.{dimension}.{sign}{bin}");
                    push("test_iid", "psychometric.p_right", Some(slot), p);
                }
            }
        }
    }
    for (w, value) in [("w11", rel), ("w12", irr), ("w21", irr), ("w22", rel)] {
        push("test_iid", &format!("gating.{w}"), None, value);
    }
    push("test_iid", "gating_index", None, (rel - irr) / (rel + irr));
}

/// Three sizes of the training set; small ones make weak networks.
fn made_up(arms: Vec<Value>) -> SweepResults {
    let mut all: Option<SweepResults> = None;
    for (size, share) in [
        (json!(720), 0.05),
        (json!(7200), 0.6),
        (json!("online"), 1.0),
    ] {
        let mut results = Fixture {
            arms: arms.clone(),
            ..Fixture::default()
        }
        .results();
        for run in &mut results.runs {
            run.point.insert(TRAIN_SET.to_owned(), size.clone());
            run.key = JobKey::of(format!("{:?}", run.point).as_bytes());
            for m in &mut run.metrics {
                if m.name == "incongruent_accuracy" {
                    m.value = 0.5 + share * (m.value - 0.5);
                }
            }
            behave(run);
        }
        match &mut all {
            Some(all) => all.runs.extend(results.runs),
            None => all = Some(results),
        }
    }
    unseal(all.expect("there are sizes"))
}

fn pair() -> SweepResults {
    made_up(vec![json!("pretrained"), json!("scratch")])
}

#[test]
fn the_tables_are_as_they_were() {
    let a = analyse(&pair(), &Compare::default());
    let tables: String = super::tables(&a).iter().map(markdown::table).collect();
    check_golden("behaviour.md", &tables);
}

#[test]
fn a_sweep_without_such_measures_has_no_such_part() {
    let a = analyse(&Fixture::default().selected(), &Compare::default());
    assert!(super::tables(&a).iter().all(|t| t.is_empty()));
    assert!(super::figures(&a, &Styles::new(&a.arms)).is_empty());
}

#[test]
fn nothing_of_a_test_is_drawn_while_it_is_sealed() {
    let mut results = pair();
    results.selections.clear();
    let a = analyse(&results, &Compare::default());
    for (name, figure) in super::figures(&a, &Styles::new(&a.arms)) {
        assert!(!figure.svg.contains("test"), "{name}");
    }
}

/// Every curve of every seed and arm is drawn, in the arm's colour, and each mean
/// has its tip.
#[test]
fn the_figures_show_every_seed_and_arm() {
    let a = analyse(&pair(), &Compare::default());
    let styles = Styles::new(&a.arms);
    let figures = super::figures(&a, &styles);
    let names: Vec<_> = figures.iter().map(|f| f.0).collect();
    assert_eq!(names, ["splits", "psychometric", "sample_efficiency"]);
    let check = |name: &str, element: &str, expect: usize| {
        let found = figures.iter().find(|f| f.0 == name).expect("drawn");
        for arm in &a.arms {
            let colour = styles.of(arm).colour;
            let of = |line: &&str| line.starts_with(element) && line.contains(colour);
            let drawn = found.1.svg.lines().filter(of).count();
            assert_eq!(drawn, expect, "{name}, {arm}: {element}");
        }
    };
    // 3 sizes × 2 cues × 2 dimensions × (6 seeds, the mean, the label's line but for
    // the left column).
    check("psychometric", "<polyline", 3 * 2 * (2 * 7 + 1));
    // The lines to the labels.
    check("splits", "<polyline", 3);
    check("sample_efficiency", "<polyline", 2);
}

/// Writes pages of made-up sweeps for people to look at:
/// `SEEDBED_SHOW=DIR cargo test -- behaviour::tests::show`.
#[test]
fn show() {
    if let Some(dir) = std::env::var_os("SEEDBED_SHOW") {
        let many = [
            "pretrained",
            "scratch",
            "shuffled",
            "embeddings_only",
            "blocks_only",
        ];
        let mut arms: Vec<Value> = many.iter().map(|a| json!(a)).collect();
        arms.push(json!({"reinit": {"last": 1}}));
        for (name, results) in [("behaviour", pair()), ("behaviour-arms", made_up(arms))] {
            let a = analyse(&results, &Compare::default());
            write(&a, &results, &Path::new(&dir).join(name)).expect("writable");
        }
    }
}

#[test]
fn a_size_at_which_every_seed_was_lost_has_its_row() {
    let mut results = pair();
    for run in &mut results.runs {
        if run.point["init"] == json!("pretrained") && run.point[TRAIN_SET] == json!(720) {
            fail(run, FailureReason::OutOfMemory);
        }
    }
    results.selections.clear();
    let a = analyse(&unseal(results), &Compare::default());
    let table = &super::tables(&a)[3];
    let here = |row: &&Vec<String>| row[0] == "pretrained" && row[1] == "720";
    let row = table.sections.iter().flatten().find(here).expect("a row");
    assert_eq!(row[2..], ["NA", "NA", "NA", "0/6", "0/6"], "{row:?}");
    let unknown = "pretrained () unknown, as no seed is done at 720;";
    assert!(table.note.contains(unknown), "{}", table.note);
}
