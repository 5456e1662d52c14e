//! Splits, psychometric curves and sample efficiency of made-up sweeps.

use seedbed_proto::result::FailureReason;
use serde_json::json;

use super::*;
use crate::aggregate::analyse;
use crate::aggregate::fixture::{Fixture, fail, unseal};
use crate::results::{Measured, SweepResults};
use crate::sweep::Compare;

fn analysed(results: &SweepResults) -> Analysis {
    analyse(results, &Compare::default())
}

#[test]
fn the_selection_s_split_comes_first_and_the_headline_s_second() {
    let mut results = Fixture::default().selected();
    for run in &mut results.runs {
        for split in ["test_number", "test_pair"] {
            run.metrics
                .push(Measured::of(split, 300, "incongruent_accuracy", 0.8));
        }
        run.metrics
            .push(Measured::of("test_cueword", 300, "accuracy", 0.8));
    }
    let a = analysed(&results);
    assert_eq!(a.splits(), ["val", "test_iid", "test_number", "test_pair"]);
    let cell = a.chosen().find(|c| c.arm == "pretrained").unwrap();
    let found = a.comparison(cell, "test_pair", "incongruent_accuracy");
    assert_eq!(found.unwrap().pairs.len(), 6);
    let floors = a.floors_of(&cell.block, "test_iid", "accuracy");
    assert_eq!(floors.count(), 4);
}

#[test]
fn curves_run_from_strong_left_to_strong_right_evidence() {
    let mut results = Fixture {
        seeds: 3,
        ..Fixture::default()
    }
    .selected();
    for run in &mut results.runs {
        let bins = ["+1-4", "-17-50", "0", "+17-50", "-1-4"];
        for (i, bin) in bins.into_iter().enumerate() {
            for dimension in ["irr", "rel"] {
                let value = i as f64 / 10.0;
                let mut m = Measured::of("test_iid", 300, "psychometric.p_right", value);
                m.slot = Some(format!("color.{dimension}.{bin}"));
                run.metrics.push(m);
            }
        }
    }
    let a = analysed(&results);
    let curves = psychometric_curves(&a, "test_iid");
    let names: Vec<_> = curves
        .iter()
        .map(|c| format!("{} {} {}", c.arm, c.cue, c.dimension))
        .collect();
    assert_eq!(
        names,
        [
            "pretrained color rel",
            "pretrained color irr",
            "scratch color rel",
            "scratch color irr"
        ]
    );
    let bins: Vec<_> = curves[0].points.iter().map(|p| p.bin.as_str()).collect();
    assert_eq!(bins, ["-17-50", "-1-4", "0", "+1-4", "+17-50"]);
    assert_eq!(curves[0].points[0].range, (-50.0, -17.0));
    assert_eq!(curves[0].points[4].estimate.mean, 0.3);
    assert_eq!(curves[0].points[4].values.len(), 3);
    assert!(psychometric_curves(&a, "val").is_empty());
}

/// The default sweep at several sizes of the training set; `values` by size for
/// the seeds of the pretrained arm.
fn sized(sizes: &[serde_json::Value], values: &[[f64; 3]]) -> SweepResults {
    let mut all: Option<SweepResults> = None;
    for (size, values) in sizes.iter().zip(values) {
        let mut results = Fixture {
            seeds: 3,
            ..Fixture::default()
        }
        .results();
        for run in &mut results.runs {
            run.point.insert(TRAIN_SET.to_owned(), size.clone());
            run.key = seedbed_proto::JobKey::of(format!("{:?}", run.point).as_bytes());
            let seed = run.point["seed"].as_u64().unwrap() as usize;
            let metrics = run.metrics.iter_mut();
            for m in metrics.filter(|m| m.name == "incongruent_accuracy") {
                m.value = if run.point["init"] == json!("pretrained") {
                    values[seed - 1]
                } else {
                    0.5
                };
            }
        }
        match &mut all {
            Some(all) => all.runs.extend(results.runs),
            None => all = Some(results),
        }
    }
    unseal(all.unwrap())
}

#[test]
fn efficiency_runs_over_sizes_with_online_last() {
    let sizes = [json!("online"), json!(7200), json!(720)];
    let values = [[0.99, 0.95, 0.97], [0.95, 0.85, 0.80], [0.91, 0.6, 0.5]];
    let a = analysed(&sized(&sizes, &values));
    let all = efficiency(&a);
    assert_eq!(all.len(), 2);
    let pretrained = &all[0];
    let sizes: Vec<_> = pretrained.sizes.iter().map(|s| s.0.to_string()).collect();
    assert_eq!(sizes, ["720", "7200", "online"]);
    assert!(!pretrained.block.contains_key(TRAIN_SET));
    let curve = pretrained.curve(&a);
    assert!((curve[1].1.estimate.as_ref().unwrap().mean - 0.8667).abs() < 1e-3);
    assert_eq!(
        pretrained.by_seed,
        [
            (1, Needed::At(TrainSet::Trials(720.0))),
            (2, Needed::At(TrainSet::Online)),
            (3, Needed::At(TrainSet::Online))
        ]
    );
    assert_eq!(pretrained.median(), Some(Needed::At(TrainSet::Online)));
    // Scratch never gets there.
    assert_eq!(all[1].by_seed, [1, 2, 3].map(|seed| (seed, Needed::Beyond)));
    assert_eq!(all[1].median(), Some(Needed::Beyond));
}

#[test]
fn a_seed_that_diverged_at_a_size_was_not_good_enough_there() {
    let sizes = [json!("online"), json!(720)];
    let values = [[0.99, 0.95, 0.97], [0.95, 0.91, 0.5]];
    let mut results = sized(&sizes, &values);
    let mut lose = |seed: u64, reason| {
        let of = |r: &&mut crate::results::Run| {
            r.point["init"] == json!("pretrained")
                && r.point["seed"] == json!(seed)
                && r.point[TRAIN_SET] == json!(720)
        };
        fail(results.runs.iter_mut().find(of).unwrap(), reason);
    };
    lose(1, FailureReason::NonFinite);
    lose(2, FailureReason::OutOfMemory);
    let a = analysed(&results);
    // Of the second nothing is known.
    assert_eq!(
        efficiency(&a)[0].by_seed,
        [1, 3].map(|seed| (seed, Needed::At(TrainSet::Online)))
    );
}

#[test]
fn a_size_at_which_every_seed_was_lost_is_unknown() {
    let sizes = [json!("online"), json!(7200), json!(720)];
    let values = [[0.99, 0.95, 0.97], [0.95, 0.92, 0.93], [0.91, 0.6, 0.5]];
    let lost_at = |lost: serde_json::Value| {
        let mut results = sized(&sizes, &values);
        for run in &mut results.runs {
            if run.point[TRAIN_SET] == lost && run.point["init"] == json!("pretrained") {
                fail(run, FailureReason::OutOfMemory);
            }
        }
        results.selections.clear();
        let a = analysed(&unseal(results));
        let found = efficiency(&a).swap_remove(0);
        let sizes: Vec<_> = found.sizes.iter().map(|s| s.0.to_string()).collect();
        assert_eq!(sizes, ["720", "7200", "online"]);
        (found.by_seed.clone(), found.median())
    };
    let (at, unknown) = (
        |n| Needed::At(TrainSet::Trials(n)),
        |n| Needed::Unknown(TrainSet::Trials(n)),
    );
    // Whether the smallest would have sufficed nobody knows.
    let (by_seed, median) = lost_at(json!(720));
    assert_eq!(by_seed, [1, 2, 3].map(|seed| (seed, unknown(720.0))));
    assert_eq!(median, Some(unknown(720.0)));
    let (by_seed, median) = lost_at(json!(7200));
    let third = |seed| (seed, unknown(7200.0));
    assert_eq!(by_seed, [(1, at(720.0)), third(2), third(3)]);
    assert_eq!(median, Some(unknown(7200.0)));
    // What is larger than needed does not matter.
    let (_, median) = lost_at(json!("online"));
    assert_eq!(median, Some(at(7200.0)));
}

#[test]
fn one_size_is_no_curve() {
    assert!(efficiency(&analysed(&Fixture::default().selected())).is_empty());
    let one = sized(&[json!(720)], &[[0.5; 3]]);
    assert!(efficiency(&analysed(&one)).is_empty());
}
