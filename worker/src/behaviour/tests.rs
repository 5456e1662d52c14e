//! Measures and floors on observers whose behaviour is known.

use std::collections::BTreeMap;

use super::*;
use crate::task::tests::{spec, tokenizer};
use crate::task::{EvalSplit, Prepared, Trial};

const BINS: [[u32; 2]; 3] = [[1, 4], [5, 16], [17, 50]];

fn split(eval_trials: u32) -> (EvalSplit, [u32; 2]) {
    let mut spec = spec("T0", [0, 99], &BINS);
    spec.eval_trials = eval_trials;
    let prepared = Prepared::new(&spec, &tokenizer(), 64).expect("a spec that can be run");
    (prepared.eval_splits()[0].clone(), prepared.answers())
}

/// Metrics by name, those of strata as "name@stratum", of an observer whose
/// Δ for a trial is given.
fn observe(delta: impl Fn(&Trial) -> f32) -> BTreeMap<String, f64> {
    let (split, answers) = split(720);
    let read = |trial: &Trial| {
        let right = delta(trial);
        Readout {
            left: 0.0,
            right,
            // As if the two answers were the whole vocabulary.
            log_z: (1.0 + right.exp()).ln(),
            argmax: answers[usize::from(right > 0.0)],
        }
    };
    let rows: Vec<_> = split.trials.iter().map(read).collect();
    measure(&split, answers, &rows, 40)
        .into_iter()
        .map(|metric| {
            assert_eq!((metric.split.as_str(), metric.step), ("val", 40));
            let stratum = metric
                .slot
                .map(|slot| format!("@{slot}"))
                .unwrap_or_default();
            (metric.name + &stratum, metric.value)
        })
        .collect()
}

fn check(found: &BTreeMap<String, f64>, expect: &[(&str, f64)]) {
    for &(name, value) in expect {
        assert!(
            (found[name] - value).abs() < 1e-6,
            "{name}: {} for {value}",
            found[name]
        );
    }
}

/// Color decides, whatever the cue.
fn context_blind(trial: &Trial) -> f32 {
    if trial.fills[2] > trial.fills[1] {
        2.0
    } else {
        -2.0
    }
}

#[test]
fn a_perfect_observer_is_perfect() {
    let found = observe(|trial| if trial.right { 3.0 } else { -3.0 });
    check(
        &found,
        &[
            ("accuracy", 1.0),
            ("incongruent_accuracy", 1.0),
            ("congruent_accuracy", 1.0),
            ("congruency_cost", 0.0),
            ("vocab_accuracy", 1.0),
            ("answer_mass", 1.0),
            ("nll", (1.0 + (-3.0_f64).exp()).ln()),
            ("logit_difference", 3.0),
            ("accuracy@color.incongruent", 1.0),
            ("accuracy@motion.congruent", 1.0),
            ("vocab_accuracy@motion.incongruent", 1.0),
        ],
    );
    assert_eq!(found.len(), 16);
}

#[test]
fn a_context_blind_observer_stands_on_its_floor() {
    check(
        &observe(context_blind),
        &[
            ("accuracy", 0.75),
            ("incongruent_accuracy", 0.5),
            ("congruent_accuracy", 1.0),
            ("congruency_cost", 0.5),
            ("vocab_accuracy", 0.75),
            ("logit_difference", 1.0),
            ("accuracy@color.congruent", 1.0),
            ("accuracy@color.incongruent", 1.0),
            ("accuracy@motion.congruent", 1.0),
            ("accuracy@motion.incongruent", 0.0),
            ("vocab_accuracy@motion.incongruent", 0.0),
        ],
    );
}

#[test]
fn bins_tell_how_strong_the_evidence_was() {
    let (split, answers) = split(720);
    let evidence = split.evidence.clone().expect("two numeric dimensions");
    // Follows the relevant dimension, but sees nothing below 5; argmax is never an
    // answer.
    let read = |&[rel, _]: &[f64; 2]| Readout {
        left: 0.0,
        right: if rel.abs() < 5.0 {
            0.0
        } else {
            rel.signum() as f32 * 3.0
        },
        log_z: 0.0,
        argmax: 0,
    };
    let rows: Vec<_> = evidence.iter().map(read).collect();
    let found: BTreeMap<_, _> = binned(&split, &BINS, answers, &rows, 300)
        .into_iter()
        .map(|m| {
            assert_eq!((m.split.as_str(), m.step), ("val", 300));
            (format!("{}@{}", m.name, m.slot.expect("a bin")), m.value)
        })
        .collect();
    let sure = 1.0 / (1.0 + (-3.0_f64).exp());
    check(
        &found,
        &[
            ("accuracy@color.incongruent.rel1-4.irr17-50", 0.5),
            ("accuracy@color.incongruent.rel5-16.irr17-50", 1.0),
            ("vocab_accuracy@motion.congruent.rel5-16.irr1-4", 0.0),
            ("psychometric.p_right@color.rel.-17-50", 1.0 - sure),
            ("psychometric.p_right@color.rel.-1-4", 0.5),
            ("psychometric.p_right@motion.rel.+5-16", sure),
            // Cells are balanced: whatever the irrelevant side, half is right.
            ("psychometric.p_right@motion.irr.+17-50", 0.5),
            ("psychometric.p_right@color.irr.-1-4", 0.5),
        ],
    );
    // Cue × congruency × 3 × 3 bins, both accuracies; cue × dimension × 6 bins.
    assert_eq!(found.len(), 2 * 36 + 24);

    // A difference between bins, and a tie of the irrelevant dimension.
    let mut odd = split.clone();
    odd.evidence = Some(vec![[5.0, 0.0]; 720]);
    odd.trials.iter_mut().for_each(|t| t.congruent = None);
    let names = |bins: &[[u32; 2]]| -> Vec<String> {
        let found = binned(&odd, bins, answers, &rows, 0).into_iter();
        found.filter_map(|m| m.slot).collect()
    };
    assert!(names(&BINS).contains(&"color.neutral.rel5-16.irr0".to_owned()));
    assert!(names(&BINS).contains(&"motion.irr.0".to_owned()));
    assert_eq!(names(&[[1, 4], [6, 9]]), [""; 0]);
}

#[test]
fn an_undecided_observer_is_at_chance() {
    let expect = [
        ("accuracy", 0.5),
        ("incongruent_accuracy", 0.5),
        ("nll", 2.0_f64.ln()),
    ];
    check(&observe(|_| 0.0), &expect);
}

#[test]
fn floors_are_those_that_were_measured_before() {
    let (split, _) = split(72_000);
    let found: BTreeMap<_, _> = floors(&split)
        .into_iter()
        .map(|m| (m.name, m.value))
        .collect();
    let expect = [
        ("one_dimension", 0.750, 0.500),
        ("sum", 0.750, 0.500),
        ("global_maximum", 0.751, 0.503),
        ("tens_digit", 0.849, 0.85),
    ];
    assert_eq!(found.len(), 2 * expect.len());
    for (name, accuracy, incongruent) in expect {
        let near = |measure: &str, value: f64| {
            let found = found[&format!("floor.{name}.{measure}")];
            // Three standard errors over 36,000 trials are .008.
            assert!(
                (found - value).abs() < 0.008,
                "{name} {measure}: {found} for {value}"
            );
        };
        near("accuracy", accuracy);
        near("incongruent_accuracy", incongruent);
    }
}
