//! Which files count, and what is said of seeds that have none.

use seedbed_proto::result::FailureReason;
use seedbed_proto::{BlobDigest, JobKey};

use super::*;
use crate::aggregate::analyse;
use crate::aggregate::fixture::{Fixture, fail, run_of, unseal};
use crate::inspection::STEP;
use crate::sweep::Compare;

const SLOTS: [&str; 2] = ["rel_left", "last"];
const DEPTHS: u32 = 2;
const PAIRS: usize = 4;

/// Four seeds of two arms, the dissimilarities of all networks stored.
fn stored() -> SweepResults {
    let fixture = Fixture {
        seeds: 4,
        ..Fixture::default()
    };
    asked_of(fixture.selected())
}

fn asked_of(mut results: SweepResults) -> SweepResults {
    for run in results.runs.clone() {
        if run.phase != JobPhase::Done {
            continue;
        }
        let key = JobKey::of(format!("similarity {}", run.key).as_bytes());
        let mut asked = Run {
            ordinal: 1000 + run.ordinal,
            key,
            artifacts: vec![Artifact {
                name: ARRAYS.to_owned(),
                digest: BlobDigest::of(key.to_string().as_bytes()),
                size_bytes: 64,
            }],
            metrics: vec![],
            ..run
        };
        for layer in 0..DEPTHS {
            for slot in SLOTS {
                let mut metric = Measured::of("test_iid", 300, "rsa.ft_ft", 0.5);
                metric.layer = Some(layer);
                metric.slot = Some(slot.to_owned());
                asked.metrics.push(metric);
            }
        }
        asked.point.insert(QUESTION.into(), json!("similarity"));
        asked.point.insert(AT.into(), json!("final"));
        asked.point.insert(STEP.into(), json!(300));
        results.inspections.push(asked);
    }
    results
}

fn inspection_of<'a>(results: &'a mut SweepResults, arm: &str, seed: u64) -> &'a mut Run {
    let found = |r: &&mut Run| r.point["init"] == json!(arm) && r.point["seed"] == json!(seed);
    results.inspections.iter_mut().find(found).unwrap()
}

/// Distances of one seed: depth 0 of "last" is the same word in all conditions.
fn rdms(seed: u64) -> Rdms {
    let mut data = vec![];
    for place in 0..DEPTHS as usize * SLOTS.len() {
        let of_pair = |pair: usize| match place {
            1 => 0.0,
            _ => 1.0 + (pair as u64 * (1 + seed % 4) % 5) as f32,
        };
        data.extend((0..PAIRS).map(of_pair));
    }
    Rdms {
        shape: [DEPTHS as usize, SLOTS.len(), PAIRS],
        data,
    }
}

/// Everything computed, with what is read of some seeds replaced.
fn computed(results: &SweepResults, other: &[(u64, Result<Rdms, String>)]) -> Vec<NoiseCeiling> {
    let a = analyse(results, &Compare::default());
    let read = |(seed, _): &(u64, &Artifact)| {
        let replaced = other.iter().find(|o| o.0 == *seed);
        (
            *seed,
            replaced.map_or_else(|| Ok(rdms(*seed)), |o| o.1.clone()),
        )
    };
    let all = asked(&a, results);
    all.into_iter()
        .map(|asked| {
            // Whatever comes first.
            let read = asked.files.iter().rev().map(read).collect();
            asked.answer(read)
        })
        .collect()
}

fn last(c: &NoiseCeiling) -> &CeilingAt {
    c.places.last().unwrap()
}

#[test]
fn each_arm_has_a_ceiling_at_every_place() {
    let all = computed(&stored(), &[]);
    let arms: Vec<&str> = all.iter().map(|c| c.arm.as_str()).collect();
    assert_eq!(arms, ["pretrained", "scratch"]);
    let places: Vec<_> = all[0]
        .places
        .iter()
        .map(|p| (p.layer, p.slot.as_deref()))
        .collect();
    let expect = [(0, "rel_left"), (0, "last"), (1, "rel_left"), (1, "last")];
    assert_eq!(
        places,
        expect.map(|(layer, slot)| (Some(layer), Some(slot)))
    );
    for at in [0, 2, 3].map(|at| &all[0].places[at]) {
        let seeds: Vec<Vec<f64>> = (1..=4).map(|seed| rdms(seed).at(0, 0)).collect();
        assert_eq!(at.ceiling, Ok(stats::noise_ceiling(&seeds).unwrap()));
        assert_eq!((at.n, at.left_out.len()), (4, 0));
    }
    // One word in all conditions: no seed is to blame, and each is counted.
    let same = &all[0].places[1];
    assert_eq!(
        same.ceiling,
        Err(format!("{NO_ORDER}, in every seed that was read"))
    );
    assert_eq!((same.n, same.left_out.len()), (0, 4));
}

#[test]
fn seeds_without_dissimilarities_are_counted_with_their_reason() {
    let fixture = Fixture {
        seeds: 6,
        ..Fixture::default()
    };
    let mut results = fixture.results();
    fail(
        run_of(&mut results, "pretrained", 1),
        FailureReason::NonFinite,
    );
    let mut results = asked_of(unseal(results));
    inspection_of(&mut results, "pretrained", 2).phase = JobPhase::Failed;
    let gone = "arrays no longer stored".to_owned();
    let small = Rdms {
        shape: [1, 2, PAIRS],
        data: vec![0.0; 8],
    };
    let all = computed(&results, &[(3, Err(gone.clone())), (4, Ok(small))]);
    let here = last(&all[0]);
    assert_eq!((here.n, all[0].planned), (2, 6));
    assert!(here.ceiling.is_ok());
    let left_out = [
        (1, "failed"),
        (2, "inspection failed"),
        (3, gone.as_str()),
        (4, "array of another shape, 1 × 2 × 4"),
    ];
    assert_eq!(
        here.left_out,
        left_out.map(|(seed, why)| (seed, why.to_owned()))
    );

    // One seed is left.
    let gone = |seed| (seed, Err(gone.clone()));
    let all = computed(&results, &[gone(3), gone(4), gone(5)]);
    let why = "fewer than 2 seeds have dissimilarities to rank";
    assert_eq!(last(&all[0]).ceiling, Err(why.to_owned()));
    assert_eq!((last(&all[0]).n, last(&all[0]).left_out.len()), (1, 5));
}

#[test]
fn the_order_in_which_answers_come_is_no_matter() {
    let calm = stored();
    let mut turned = calm.clone();
    turned.inspections.reverse();
    // Asked again beside another partner, in vain and well.
    for (at, phase) in [(0, JobPhase::Failed), (1, JobPhase::Done)] {
        let mut again = calm.inspections[at].clone();
        again.ordinal += 100;
        again.key = JobKey::of(b"again");
        again.phase = phase;
        turned.inspections.insert(0, again);
    }
    assert_eq!(computed(&calm, &[]), computed(&turned, &[]));
}

#[test]
fn matched_weights_have_a_ceiling_of_their_own() {
    let mut results = stored();
    for mut run in results.inspections.clone() {
        if run.point["seed"] != json!(1) {
            run.point.insert(AT.into(), json!("matched"));
            results.inspections.push(run);
        }
    }
    let all = computed(&results, &[]);
    let seen: Vec<_> = all.iter().map(|c| (c.weights, last(c).n)).collect();
    let both = [(Moment::Final, 4), (Moment::Matched, 3)];
    assert_eq!(seen, [both, both].concat());
    assert_eq!(last(&all[1]).left_out, [(1, "not inspected".to_owned())]);
}

#[test]
fn without_a_comparison_no_position_has_a_name() {
    let mut results = stored();
    results
        .inspections
        .iter_mut()
        .for_each(|r| r.metrics.clear());
    let all = computed(&results, &[]);
    assert_eq!(all[0].places.len(), 1);
    assert!(
        last(&all[0])
            .ceiling
            .as_ref()
            .is_err_and(|why| why.contains("names the positions"))
    );
    results
        .inspections
        .iter_mut()
        .for_each(|r| r.phase = JobPhase::Pending);
    let all = computed(&results, &[]);
    assert!(
        last(&all[0])
            .ceiling
            .as_ref()
            .is_err_and(|why| why.contains("fewer than 2"))
    );
    assert_eq!(last(&all[0]).left_out[0].1, "inspection pending");
}

#[test]
fn nothing_is_said_while_tests_are_sealed() {
    let mut results = stored();
    results.current = None;
    assert!(computed(&results, &[]).is_empty());
}
