//! What a report states of its numbers: levels, methods, grids, and seeds that were
//! lost.

use super::*;
use crate::report::{answer, figure, methods, tables, tidy};

/// A sweep that looked at its seeds K times, so that each interval has 1 − .05/K.
fn growing() -> Compare {
    let until = crate::sweep::Until {
        half_width: 1e-9,
        metric: "val.incongruent_accuracy".to_owned(),
        initial: 3,
        block: 1,
        max_seeds: 6,
    };
    Compare {
        until: Some(until),
        ..Compare::default()
    }
}

#[test]
fn the_confidence_of_an_interval_stands_beside_it() {
    let results = several().selected();
    let table = |compare: &Compare| -> Vec<Vec<String>> {
        let mut bytes = Vec::new();
        let a = analyse(&results, compare);
        tidy::comparisons(&results, &a, &mut bytes).unwrap();
        let mut rows = csv::ReaderBuilder::new();
        let mut rows = rows.has_headers(false).from_reader(bytes.as_slice());
        let own = |row: csv::StringRecord| row.iter().map(str::to_owned).collect();
        rows.records().map(|row| own(row.unwrap())).collect()
    };
    for (compare, level) in [(Compare::default(), "0.95"), (growing(), "0.9875")] {
        let table = table(&compare);
        let column = |name: &str| table[0].iter().position(|head| head == name).unwrap();
        let (interval, confidence) = (column("interval"), column("confidence"));
        for row in &table[1..] {
            let expect = if row[interval].is_empty() { "" } else { level };
            assert_eq!(row[confidence], expect);
        }
        let a = analyse(&results, &compare);
        let words = format!("{} %", 100.0 * level.parse::<f64>().unwrap());
        let note = tables::differences(&a).note;
        assert!(note.contains(&format!("Interval: {words}, ")), "{note}");
        let styles = figure::Styles::new(&a.arms);
        for figure in [
            figure::paired_dots(&a, &styles),
            figure::forest(&a, &styles),
        ] {
            let caption = figure.unwrap().caption;
            assert!(
                caption.contains(&format!("its {words} interval"))
                    || caption.contains(&format!("and {words} interval")),
                "{caption}"
            );
        }
    }
}

#[test]
fn arms_that_never_differ_are_called_equal() {
    let mut results = Fixture::default().selected();
    for m in results.runs.iter_mut().flat_map(|r| &mut r.metrics) {
        if m.name == "incongruent_accuracy" {
            m.value = 1.0;
        }
    }
    let text = terminal(&analysed(&results));
    let want = "pretrained and scratch are equal in every seed";
    assert!(text.contains(want), "{text}");
}

#[test]
fn methods_follow_the_seeds_that_are_there() {
    let fixture = Fixture {
        seeds: 20,
        ..Fixture::default()
    };
    let mut results = fixture.results();
    let note = |results: &SweepResults| {
        let a = analysed(&unseal(results.clone()));
        (tables::surface(&a).note, methods::methods(&a, results))
    };
    let (table, text) = note(&results);
    assert!(table.contains("Interval: BCa bootstrap, 10,000 resamples."));
    assert!(!text.contains("Student"), "{text}");
    for seed in 1..=3 {
        fail(run_of(&mut results, "scratch", seed), FailureReason::Bug);
    }
    let (table, text) = note(&results);
    let both =
        "Interval: Student's t below 20 seeds, BCa bootstrap, 10,000 resamples from there on";
    assert!(table.contains(both), "{table}");
    let text = text.replace('\n', " ");
    assert!(text.contains("with its interval (Student's t)"), "{text}");
    assert!(text.contains("two-sided exact sign-flip test"), "{text}");
}

#[test]
fn methods_print_each_arm_s_grid_where_they_differ() {
    let fixture = Fixture {
        rates: vec![0.0002, 0.0005],
        ..Fixture::default()
    };
    let mut results = fixture.results();
    let text = |results: &SweepResults| {
        let a = analysed(&unseal(results.clone()));
        methods::methods(&a, results).replace('\n', " ")
    };
    let equal = text(&results);
    assert!(
        equal.contains("was chosen from 0.0002 and 0.0005 for each arm"),
        "{equal}"
    );
    results.runs.retain(|r| {
        r.point["init"] != json!("scratch") || r.point["learning_rate"] == json!(0.0005)
    });
    let differ = text(&results);
    let want = "The grids differ: pretrained (frozen none): 0.0002 and 0.0005; scratch (frozen \
                none): 0.0005.";
    assert!(differ.contains(want), "{differ}");
    assert!(!differ.contains("chosen from"), "{differ}");
}

#[test]
fn a_seed_of_unknown_steps_is_said() {
    let mut results = Fixture::default().results();
    fail(run_of(&mut results, "scratch", 2), FailureReason::NonFinite);
    fail(
        run_of(&mut results, "scratch", 5),
        FailureReason::OutOfMemory,
    );
    let a = analysed(&unseal(results));
    let lines = answer::answer(&a).join(" ");
    assert!(lines.contains("(4 of 6 seeds, 1 failed)"), "{lines}");
    let table = tables::reach(&a);
    let each = table.sections[0].last().unwrap().last().unwrap();
    assert!(
        each.contains("2: >300, ") && each.contains("5: failed, "),
        "{each}"
    );
}

#[test]
fn a_later_selection_does_not_say_that_tests_were_sealed() {
    let mut results = Fixture {
        rates: vec![0.0002, 0.0005, 0.001],
        ..Fixture::default()
    }
    .selected();
    let said = |results: &SweepResults| {
        let a = analysed(results);
        let page = String::from_utf8(files(results)["report.html"].clone()).unwrap();
        (methods::methods(&a, results).replace('\n', " "), page)
    };
    let (text, page) = said(&results);
    assert!(text.contains("before any test result was read"), "{text}");
    assert!(page.contains("Tests stay sealed until the choice is on record."));

    let mut second = results.selections[0].clone();
    second.version = 2;
    results.current = Some(2);
    results.selections.push(second);
    let (text, page) = said(&results);
    assert!(!text.contains("before any test result was read"), "{text}");
    let want = "This is version 2 of the choice: test results had been open under an earlier one.";
    assert!(text.contains(want), "{text}");
    assert!(page.contains(want));
    assert!(!page.contains("Tests stay sealed until the choice is on record."));
}

#[test]
fn notes_that_weigh_most_come_first_and_lost_seeds_are_folded() {
    let arms = ["pretrained", "scratch", "shuffled", "blocks_only"];
    let mut results = Fixture {
        arms: arms.map(|arm| json!(arm)).to_vec(),
        rates: vec![0.0002, 0.0005, 0.001],
        ..Fixture::default()
    }
    .results();
    results.runs.retain(|r| {
        r.point["init"] != json!("scratch") || r.point["learning_rate"] == json!(0.0005)
    });
    for run in &mut results.runs {
        if run.point["seed"] == json!(2) {
            fail(run, FailureReason::OutOfMemory);
        }
    }
    let text = terminal(&analysed(&unseal(results)));
    let (_, notes) = text.split_once("\nNotes\n").unwrap();
    let notes: Vec<&str> = notes.split("\n - ").collect();
    assert!(notes[0].contains("different grids"), "{notes:?}");
    assert!(
        notes[1..4]
            .iter()
            .all(|n| n.contains("paired over the 5 seeds"))
    );
    assert!(
        notes[4].contains("failed: 10 seeds in 10 of 10 cells"),
        "{notes:?}"
    );
    assert_eq!(notes.len(), 5, "{notes:?}");
}

#[test]
fn bands_of_learning_curves_are_shown_whole_or_said_to_be_cut() {
    let fixture = Fixture {
        seeds: 3,
        ..Fixture::default()
    };
    let a = analysed(&fixture.selected());
    let styles = figure::Styles::new(&a.arms);
    // Of three seeds a band is wider than they are apart, and a cost has no bounds.
    for (metric, cut) in [("congruency_cost", false), ("incongruent_accuracy", true)] {
        let figure = figure::learning_curves(&a, &styles, "val", metric).unwrap();
        let bands = figure.svg.split("<polygon points=\"").skip(1);
        let bands =
            bands.filter_map(|rest| rest.split_once('"').filter(|r| r.1.contains("fill-op")));
        let corners: Vec<&str> = bands.flat_map(|(area, _)| area.split(' ')).collect();
        assert!(corners.len() > 20, "{metric}: {corners:?}");
        let at_edge = corners
            .iter()
            .any(|c| c.ends_with(",34") || c.ends_with(",248"));
        assert_eq!(at_edge, cut, "{metric}: {corners:?}");
        let said = figure.caption.contains("goes on beyond it");
        assert_eq!(said, cut, "{}", figure.caption);
    }
}
