//! Seeds that were lost, arms that chose from different grids, measures of which
//! less is better: what must not tilt a comparison.

use seedbed_proto::result::FailureReason;
use serde_json::json;

use super::{Fixture, analysed, fail, run_of, unseal};
use crate::aggregate::{Analysis, Basis, Comparison, MetricId, Reach, Steps};
use crate::results::{Run, SweepResults};

/// Steps to .95 of the scratch arm.
fn scratch_reach(a: &Analysis) -> &Reach {
    let found = |r: &&Reach| r.arm == "scratch" && r.threshold == 0.95;
    a.reach.iter().find(found).unwrap()
}

#[test]
fn failed_seeds_stay_in_the_steps_to_a_threshold() {
    let mut results = Fixture::default().results();
    fail(run_of(&mut results, "scratch", 3), FailureReason::NonFinite);
    fail(
        run_of(&mut results, "scratch", 5),
        FailureReason::OutOfMemory,
    );
    let whole = analysed(&Fixture::default().selected());
    let before = scratch_reach(&whole);
    assert_eq!((before.reached.hits, before.reached.of), (6, 6));

    let a = analysed(&unseal(results));
    let reach = scratch_reach(&a);
    assert_eq!((reach.reached.hits, reach.reached.of), (4, 6));
    assert_eq!(reach.by_seed.len(), 6);
    // What diverged never passed; of what was lost nothing is known.
    assert_eq!(reach.by_seed[2], (3, Some(Steps::Beyond(300))));
    assert_eq!(reach.by_seed[4], (5, None));
    assert_eq!(reach.unknown, [(5, "failed")]);
}

#[test]
fn an_arm_that_always_diverges_never_gets_there() {
    let mut results = Fixture::default().results();
    for seed in 1..=6 {
        fail(
            run_of(&mut results, "scratch", seed),
            FailureReason::NonFinite,
        );
    }
    let a = analysed(&unseal(results));
    let reach = scratch_reach(&a);
    assert_eq!((reach.reached.hits, reach.reached.of), (0, 6));
    assert_eq!(reach.median, Steps::Beyond(300));
}

#[test]
fn the_median_counts_seeds_that_diverged_as_late() {
    let mut results = Fixture::default().results();
    for seed in [1, 2, 3] {
        fail(
            run_of(&mut results, "scratch", seed),
            FailureReason::NonFinite,
        );
    }
    let a = analysed(&unseal(results));
    assert_eq!(scratch_reach(&a).median, Steps::Beyond(300));
}

#[test]
fn exploratory_follows_the_pairs_and_not_the_plan() {
    let mut results = Fixture::default().results();
    assert!(!analysed(&unseal(results.clone())).exploratory());
    fail(run_of(&mut results, "scratch", 3), FailureReason::Bug);
    let a = analysed(&unseal(results));
    assert_eq!((a.seeds.len(), a.pairs()), (6, Some((5, 5))));
    assert!(a.exploratory());
    let alone = Fixture {
        arms: vec![json!("scratch")],
        ..Fixture::default()
    };
    let a = analysed(&alone.selected());
    assert_eq!((a.pairs(), a.exploratory()), (None, false));
}

#[test]
fn arms_that_chose_from_different_grids_are_noted() {
    let fixture = Fixture {
        rates: vec![0.0002, 0.0005, 0.001],
        ..Fixture::default()
    };
    let noted = |results: SweepResults| -> Vec<String> {
        let notes = analysed(&unseal(results)).notes;
        let of = |n: &String| n.contains("different grids");
        notes.into_iter().filter(of).collect()
    };
    assert!(noted(fixture.results()).is_empty());
    let mut results = fixture.results();
    results.runs.retain(|r| {
        r.point["init"] != json!("scratch") || r.point["learning_rate"] != json!(0.001)
    });
    assert_eq!(
        noted(results),
        [
            "frozen none: arms chose from different grids: pretrained 0.0002, 0.0005, 0.001; \
          scratch 0.0002, 0.0005"
        ]
    );
    // An arm whose points do not have the axis at all had one value.
    let mut results = fixture.results();
    let scratch = |r: &Run| r.point["init"] == json!("scratch");
    results
        .runs
        .retain(|r| !scratch(r) || r.point["learning_rate"] == json!(0.0005));
    for run in results.runs.iter_mut().filter(|r| scratch(r)) {
        run.point.remove("learning_rate");
    }
    assert!(noted(results)[0].ends_with("scratch not varied"));
}

#[test]
fn improvement_is_downwards_where_less_is_better() {
    let a = analysed(&Fixture::default().selected());
    let of = |name: &str| {
        let found = |c: &&Comparison| {
            c.basis == Basis::Chosen && c.metric == MetricId::whole("test_iid", name)
        };
        a.comparisons.iter().find(found).unwrap()
    };
    let nll = of("nll");
    let less = nll.pairs.iter().filter(|p| p.arm < p.baseline).count();
    let result = nll.result.as_ref().unwrap();
    assert!(result.difference.mean < 0.0 && less > 3, "{result:?}");
    assert!((result.p_improve - less as f64 / 6.0).abs() < 1e-12);
    // The margin is one of accuracy.
    for name in ["nll", "congruency_cost"] {
        assert_eq!(
            of(name).result.as_ref().unwrap().equivalence,
            None,
            "{name}"
        );
    }
    assert!(
        of("accuracy")
            .result
            .as_ref()
            .unwrap()
            .equivalence
            .is_some()
    );
}

#[test]
fn a_seed_that_diverged_is_censored_at_the_steps_of_its_own_block() {
    let short = Fixture::default().results();
    let mut results = short.clone();
    for run in &mut results.runs {
        run.point.insert("train.steps".to_owned(), json!(300));
    }
    // All of the other block's runs go on for ten times as long.
    for mut run in short.runs {
        run.ordinal += 100;
        run.point.insert("train.steps".to_owned(), json!(3000));
        run.key = seedbed_proto::JobKey::of(format!("{:?}", run.point).as_bytes());
        run.metrics.iter_mut().for_each(|m| m.step *= 10);
        results.runs.push(run);
    }
    let median = |results: &SweepResults, arm: &str| {
        let a = analysed(&unseal(results.clone()));
        let here = |r: &&Reach| r.arm == arm && r.block["train.steps"] == json!(300);
        a.reach.iter().find(here).unwrap().median
    };
    for run in &mut results.runs {
        if run.point["init"] == json!("scratch") && run.point["train.steps"] == json!(300) {
            fail(run, FailureReason::NonFinite);
        }
    }
    assert_eq!(median(&results, "scratch"), Steps::Beyond(300));
    // Nor is there an evaluation if its twins diverge, too.
    for run in &mut results.runs {
        if run.point["train.steps"] == json!(300) {
            fail(run, FailureReason::NonFinite);
        }
    }
    assert_eq!(median(&results, "pretrained"), Steps::Beyond(300));
}
