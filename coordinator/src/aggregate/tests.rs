//! Cells, pairs and selection on made-up results.

mod fairness;

use seedbed_proto::result::{FailureReason, JobPhase};
use serde_json::json;

use super::fixture::{Fixture, fail, run_of, unseal};
use super::{Analysis, Family, MetricId, Steps, analyse, select};
use crate::results::{Measured, SweepResults};
use crate::sweep::Compare;

fn analysed(results: &SweepResults) -> Analysis {
    analyse(results, &Compare::default())
}

/// Sets a metric of a run wherever it was measured.
fn set(results: &mut SweepResults, at: usize, split: &str, name: &str, value: f64) {
    for m in &mut results.runs[at].metrics {
        if m.split == split && m.name == name {
            m.value = value;
        }
    }
}

#[test]
fn a_cell_holds_every_seed() {
    let a = analysed(&Fixture::default().selected());
    assert_eq!(a.arms, ["pretrained", "scratch"]);
    assert_eq!(a.baseline.as_deref(), Some("scratch"));
    assert_eq!(a.seeds, [1, 2, 3, 4, 5, 6]);
    assert_eq!(a.headline_split, "test_iid");
    assert_eq!(a.cells.len(), 2);
    for cell in &a.cells {
        let summary = cell.summary("test_iid", "incongruent_accuracy").unwrap();
        assert_eq!((summary.step, summary.values.len()), (Some(300), 6));
        assert!(cell.chosen && !cell.at_edge);
        assert!(
            cell.summaries
                .keys()
                .all(|id| !id.name.starts_with("floor."))
        );
    }
    assert!(a.notes.is_empty(), "{:?}", a.notes);
}

#[test]
fn arms_are_compared_within_seeds() {
    let a = analysed(&Fixture::default().selected());
    let c = a.headline().next().unwrap();
    assert_eq!(
        (c.arm.as_str(), c.baseline.as_str()),
        ("pretrained", "scratch")
    );
    assert_eq!(c.pairs.len(), 6);
    let mean = c.pairs.iter().map(|p| p.arm - p.baseline).sum::<f64>() / 6.0;
    let result = c.result.as_ref().unwrap();
    assert!((result.difference.mean - mean).abs() < 1e-12);
    // One member: Holm changes nothing.
    assert_eq!(c.p_adjusted, Some(result.p));
}

#[test]
fn holm_is_over_the_confirmatory_family_alone() {
    let fixture = Fixture {
        arms: vec![json!("scratch"), json!("pretrained"), json!("shuffled")],
        frozen: vec![json!("none"), json!({"prefix": 2})],
        ..Fixture::default()
    };
    let a = analysed(&fixture.selected());
    let family: Vec<_> = a.headline().collect();
    assert_eq!(family.len(), 4);
    let least = family
        .iter()
        .min_by(|a, b| {
            let p = |c: &super::Comparison| c.result.as_ref().unwrap().p;
            p(a).total_cmp(&p(b))
        })
        .unwrap();
    let p = least.result.as_ref().unwrap().p;
    assert!((least.p_adjusted.unwrap() - 4.0 * p).abs() < 1e-12);
    let others = a
        .comparisons
        .iter()
        .filter(|c| c.family == Family::Exploratory);
    assert!(others.count() > 4);
}

#[test]
fn seeds_that_fail_are_counted_and_noted() {
    let mut results = Fixture::default().results();
    fail(run_of(&mut results, "scratch", 3), FailureReason::NonFinite);
    let a = analysed(&unseal(results));
    let cell = a.cells.iter().find(|c| c.arm == "scratch").unwrap();
    assert_eq!(cell.seeds.failed, [(3, FailureReason::NonFinite)]);
    assert_eq!((cell.seeds.success().hits, cell.seeds.success().of), (5, 6));
    let c = a.headline().next().unwrap();
    assert_eq!(c.pairs.len(), 5);
    assert_eq!(c.left_out[0].seed, 3);
    assert_eq!(c.left_out[0].missing_in, "scratch");
    assert_eq!(a.notes.len(), 2, "{:?}", a.notes);
    assert!(a.notes[0].contains("left out: seed 3 (no value in scratch)"));
    let lost = "failed: 1 seed in 1 of 2 cells (scratch, frozen none, learning_rate 0.0005: seed 3 \
                (non_finite))";
    assert_eq!(a.notes[1], lost);
}

#[test]
fn one_pair_is_refused() {
    let mut results = Fixture {
        seeds: 2,
        ..Fixture::default()
    }
    .results();
    fail(run_of(&mut results, "pretrained", 2), FailureReason::Bug);
    let a = analysed(&unseal(results));
    let c = a.headline().next().unwrap();
    assert_eq!((c.pairs.len(), &c.result, c.p_adjusted), (1, &None, None));
    assert!(a.notes.iter().any(|n| n.contains("needs at least 2 seeds")));
}

#[test]
fn different_runs_of_a_seed_are_not_averaged() {
    let mut results = Fixture::default().results();
    let mut twice = results.runs[0].clone();
    twice.ordinal = 99;
    twice.key = seedbed_proto::JobKey::of(b"another configuration");
    results.runs.push(twice);
    // The same job listed again is the same run.
    let mut again = results.runs[1].clone();
    again.ordinal = 100;
    results.runs.push(again);
    let a = analysed(&unseal(results));
    assert_eq!(a.cells[0].seeds.duplicate, [1]);
    assert_eq!(a.cells[0].seeds.done, [2, 3, 4, 5, 6]);
    assert_eq!(a.cells[1].seeds.duplicate, [0u64; 0]);
    assert_eq!(a.headline().next().unwrap().pairs.len(), 5);
}

#[test]
fn tests_stay_sealed_until_a_selection_is_on_record() {
    let results = Fixture::default().results();
    let a = analysed(&results);
    assert!(a.sealed());
    assert_eq!(a.headline_split, "val");
    assert!(
        a.cells
            .iter()
            .all(|c| c.summaries.keys().all(|id| id.split == "val"))
    );
    assert!(a.comparisons.iter().all(|c| c.metric.split == "val"));
    assert!(a.floors.iter().all(|f| f.split == "val"));
    // A single learning rate needs no choice, so validation can be compared.
    assert_eq!(a.headline().count(), 1);
}

#[test]
fn nothing_is_selected_while_runs_are_unsettled() {
    let mut results = Fixture::default().results();
    results.runs[3].phase = JobPhase::Running;
    assert_eq!(select(&results, &Compare::default()), None);
    for run in &mut results.runs {
        fail(run, FailureReason::Bug);
    }
    assert_eq!(select(&results, &Compare::default()), None);
}

#[test]
fn the_learning_rate_is_chosen_on_validation_alone() {
    let fixture = Fixture {
        rates: vec![0.0001, 0.0005, 0.002],
        ..Fixture::default()
    };
    let mut results = fixture.results();
    let before = select(&results, &Compare::default()).unwrap();
    assert_eq!(before.version, 1);
    assert_eq!(before.choices.len(), 2);
    for choice in &before.choices {
        assert_eq!(choice.value, json!(0.0005));
        assert_eq!(choice.seeds, [1, 2, 3, 4, 5, 6]);
        assert!(!choice.at_edge);
    }
    for at in 0..results.runs.len() {
        let worst = if results.runs[at].point["learning_rate"] == json!(0.0005) {
            0.0
        } else {
            1.0
        };
        set(&mut results, at, "test_iid", "incongruent_accuracy", worst);
    }
    assert_eq!(select(&results, &Compare::default()).unwrap(), before);
}

#[test]
fn a_choice_at_the_end_of_its_grid_is_flagged() {
    let rates = |rates: &[f64]| Fixture {
        rates: rates.to_vec(),
        ..Fixture::default()
    };
    let chosen = |rates_: &[f64]| select(&rates(rates_).results(), &Compare::default()).unwrap();
    assert!(chosen(&[0.0005, 0.002]).choices.iter().all(|c| c.at_edge));
    assert!(
        chosen(&[0.002, 0.0001, 0.0005])
            .choices
            .iter()
            .all(|c| !c.at_edge)
    );
    assert!(chosen(&[0.0005]).choices.iter().all(|c| !c.at_edge));
}

#[test]
fn a_rate_at_which_seeds_fail_does_not_win_by_luck() {
    let mut results = Fixture {
        seeds: 3,
        rates: vec![0.0005, 0.002],
        ..Fixture::default()
    }
    .results();
    fail(run_of(&mut results, "scratch", 2), FailureReason::NonFinite);
    let chosen = select(&results, &Compare::default()).unwrap();
    let scratch = chosen
        .choices
        .iter()
        .find(|c| c.group["init"] == json!("scratch"))
        .unwrap();
    assert_eq!(scratch.value, json!(0.002));
}

#[test]
fn a_record_of_what_the_sweep_was_unseals_nothing_of_what_it_is() {
    let mut results = Fixture::default().selected();
    assert!(!analyse(&results, &Compare::default()).sealed());
    results.current = None;
    let a = analyse(&results, &Compare::default());
    assert!(a.sealed());
    assert_eq!(a.headline_split, "val");
    let tests = |id: &MetricId| id.split.starts_with("test");
    assert!(!a.cells.iter().any(|c| c.summaries.keys().any(tests)));
}

#[test]
fn a_new_record_is_made_only_when_it_says_something_new() {
    let mut results = Fixture::default().selected();
    let again = select(&results, &Compare::default()).unwrap();
    assert_eq!(again, results.selections[0]);
    set(&mut results, 0, "val", "incongruent_accuracy", 0.5);
    assert_eq!(select(&results, &Compare::default()).unwrap().version, 2);
}

#[test]
fn a_value_that_is_not_available_is_missed_not_averaged() {
    let mut results = Fixture::default().selected();
    set(
        &mut results,
        0,
        "test_iid",
        "incongruent_accuracy",
        f64::NAN,
    );
    let a = analysed(&results);
    let summary = a.cells[0]
        .summary("test_iid", "incongruent_accuracy")
        .unwrap();
    assert_eq!(
        (summary.values.len(), summary.unavailable.as_slice()),
        (5, [1].as_slice())
    );
    assert_eq!(a.headline().next().unwrap().pairs.len(), 5);
}

#[test]
fn steps_to_a_threshold_are_censored_at_the_last_evaluation() {
    let mut results = Fixture {
        seeds: 3,
        ..Fixture::default()
    }
    .selected();
    let steps = [Some(60), None, Some(90)];
    let pretrained = results
        .runs
        .iter_mut()
        .filter(|r| r.point["init"] == json!("pretrained"));
    for (run, reached) in pretrained.zip(steps) {
        run.metrics
            .retain(|m| m.name != "accuracy" || m.split != "val");
        for step in (0..=300).step_by(30) {
            let value = if reached.is_some_and(|at| step >= at) {
                0.92
            } else {
                0.5
            };
            run.metrics
                .push(Measured::of("val", step, "accuracy", value));
        }
    }
    let a = analysed(&results);
    let reach = |threshold: f64| {
        a.reach
            .iter()
            .find(|r| r.arm == "pretrained" && r.threshold == threshold)
            .unwrap()
    };
    let got: Vec<_> = reach(0.90).by_seed.iter().map(|s| s.1).collect();
    let steps = [Steps::At(60), Steps::Beyond(300), Steps::At(90)];
    assert_eq!(got, steps.map(Some));
    assert_eq!(reach(0.90).median, Steps::At(90));
    assert_eq!((reach(0.90).reached.hits, reach(0.90).reached.of), (2, 3));
    assert_eq!(reach(0.95).median.to_string(), ">300");
}

#[test]
fn the_order_of_the_runs_does_not_matter() {
    let fixture = Fixture {
        frozen: vec![json!("none"), json!({"prefix": 2})],
        rates: vec![0.0005, 0.002],
        ..Fixture::default()
    };
    let results = fixture.selected();
    let mut turned = results.clone();
    turned.runs.reverse();
    turned.runs.rotate_left(5);
    assert_eq!(analysed(&results), analysed(&turned));
    assert_eq!(
        select(&results, &Compare::default()),
        select(&turned, &Compare::default())
    );
}

#[test]
fn floors_are_those_of_the_trials() {
    let a = analysed(&Fixture::default().selected());
    let floor = a
        .floors
        .iter()
        .find(|f| f.split == "test_iid" && f.shortcut == "tens_digit" && f.metric == "accuracy")
        .unwrap();
    assert_eq!(floor.range, (0.849, 0.849));
    assert_eq!(floor.words(), "tens digit");
}

#[test]
fn a_sweep_without_selection_is_unsealed_by_an_empty_record() {
    let compare = Compare {
        select: None,
        ..Compare::default()
    };
    let mut results = Fixture::default().results();
    let record = select(&results, &compare).unwrap();
    assert!(record.choices.is_empty());
    results.current = Some(record.version);
    results.selections.push(record);
    let a = analyse(&results, &compare);
    assert_eq!(a.headline_split, "test_iid");
    assert_eq!(a.headline().count(), 1);
    assert!(a.cells.iter().all(|c| c.chosen));
}
