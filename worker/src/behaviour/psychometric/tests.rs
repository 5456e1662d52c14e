//! Fits against statsmodels and scipy, on observers with planted parameters, and
//! on data that have no fit.

use std::collections::BTreeMap;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::fit::{Choice, Fit, FitError, LAPSE_MAX, Model, fit, scaled, unscaled};
use super::*;
use crate::task::Prepared;
use crate::task::tests::{spec, tokenizer};

const PLAIN: Model = Model {
    prior_sd: None,
    lapse_max: 0.0,
};

fn close(found: &[f64], expect: &[f64], within: f64, what: &str) {
    assert_eq!(found.len(), expect.len(), "{what}");
    for (f, e) in found.iter().zip(expect) {
        assert!((f - e).abs() < within, "{what}: {found:?} for {expect:?}");
    }
}

fn parameters(f: &Fit) -> [f64; 5] {
    let [rel, irr] = f.slopes;
    [f.bias, rel, irr, f.lapse_left, f.lapse_right]
}

// ---- Stored references ------------------------------------------------------

struct Reference {
    choices: Vec<Choice>,
    deltas: Vec<([f64; 2], f64)>,
    expect: Value,
}

impl Reference {
    fn numbers(&self, path: &str) -> Vec<f64> {
        let found = self.expect.pointer(path).expect("in the reference");
        serde_json::from_value(found.clone()).expect("a list of numbers")
    }
}

fn references() -> BTreeMap<String, Reference> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/psychometrics/reference.json");
    let text = std::fs::read_to_string(path).expect("the stored references");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let sets = all["sets"].as_object().expect("sets by name");
    let read = |(name, set): (&String, &Value)| {
        let trials: Vec<[f64; 3]> =
            serde_json::from_value(set["trials"].clone()).expect("x_rel, x_irr, delta");
        let hard = set["hard"].as_bool().expect("hard");
        let choice = |&[rel, irr, delta]: &[f64; 3]| {
            // An infinite Δ is a choice without doubt.
            let delta = if hard { delta * f64::INFINITY } else { delta };
            Choice::soft([rel, irr], delta)
        };
        let delta = |&[rel, irr, delta]: &[f64; 3]| ([rel, irr].map(scaled), delta);
        let reference = Reference {
            choices: trials.iter().map(choice).collect(),
            deltas: trials.iter().map(delta).collect(),
            expect: set.clone(),
        };
        (name.clone(), reference)
    };
    sets.iter().map(read).collect()
}

#[test]
fn without_lapses_and_prior_it_is_statsmodels_binomial_glm() {
    for (name, reference) in references() {
        let found = fit(&reference.choices, PLAIN).expect(&name);
        let estimates = &parameters(&found)[..3];
        close(estimates, &reference.numbers("/glm/estimates"), 1e-7, &name);
        close(
            &found.errors[..3],
            &reference.numbers("/glm/errors"),
            1e-7,
            &name,
        );
    }
}

#[test]
fn with_lapses_and_prior_it_is_the_maximum_that_scipy_finds() {
    for (name, reference) in references() {
        let found = fit(&reference.choices, Model::default()).expect(&name);
        if name == "undecided" {
            // At chance nothing tells of lapses, and they stay 0.
            assert_eq!((found.lapse_left, found.lapse_right), (0.0, 0.0));
            continue;
        }
        close(&parameters(&found), &reference.numbers("/map"), 1e-7, &name);
    }
}

#[test]
fn gating_weights_are_statsmodels_ordinary_least_squares() {
    for (name, reference) in references() {
        let found = gating::weights(&reference.deltas).expect(&name);
        close(&found, &reference.numbers("/ols")[1..], 1e-10, &name);
    }
}

// ---- Planted parameters -----------------------------------------------------

/// Differences of the default bins, both signs, all combinations.
fn evidence(rng: &mut ChaCha8Rng, trials: usize) -> Vec<[f64; 2]> {
    let bins = [[1, 4], [5, 16], [17, 50]];
    let one = |rng: &mut ChaCha8Rng, cell: usize| {
        let [low, high] = bins[cell % 3];
        let size = f64::from(rng.random_range(low..=high));
        if (cell / 3).is_multiple_of(2) {
            size
        } else {
            -size
        }
    };
    let trial = |at| [one(rng, at), one(rng, at / 6)];
    (0..trials).map(trial).collect()
}

const OBSERVERS: [[f64; 5]; 6] = [
    [0.0, 4.0, 0.0, 0.0, 0.0],
    [0.3, 6.0, 1.5, 0.05, 0.02],
    [-0.5, 3.0, 2.9, 0.0, 0.12],
    [0.2, 9.0, -1.0, 0.2, 0.15],
    [0.0, 2.0, 0.5, 0.1, 0.1],
    [1.0, 12.0, 0.4, 0.01, 0.0],
];

fn planted([b, rel, irr, lapse_left, lapse_right]: [f64; 5]) -> Fit {
    Fit {
        bias: b,
        slopes: [rel, irr],
        lapse_left,
        lapse_right,
        errors: [f64::NAN; 5],
        objective: f64::NAN,
    }
}

#[test]
fn soft_choices_give_planted_parameters_back() {
    let without_prior = Model {
        prior_sd: None,
        lapse_max: LAPSE_MAX,
    };
    for observer in OBSERVERS {
        let truth = planted(observer);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let choices: Vec<_> = evidence(&mut rng, 1800)
            .into_iter()
            .map(|x| {
                let p = truth.p_right(x.map(scaled));
                // The Δ of a network that chooses so.
                Choice::soft(x, p.ln() - (1.0 - p).ln())
            })
            .collect();
        let found = fit(&choices, without_prior).expect("a fit");
        close(&parameters(&found), &observer, 1e-5, "planted");
        // The prior moves steep slopes a little towards 0, and that is all it does.
        let found = fit(&choices, Model::default()).expect("a fit");
        close(&parameters(&found), &observer, 0.5, "planted, with prior");
    }
}

#[test]
fn hard_choices_give_planted_parameters_back_within_their_errors() {
    for (seed, observer) in OBSERVERS.into_iter().enumerate() {
        let truth = planted(observer);
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        let choices: Vec<_> = evidence(&mut rng, 36_000)
            .into_iter()
            .map(|x| {
                let right = rng.random::<f64>() < truth.p_right(x.map(scaled));
                Choice::soft(
                    x,
                    if right {
                        f64::INFINITY
                    } else {
                        f64::NEG_INFINITY
                    },
                )
            })
            .collect();
        let found = fit(&choices, Model::default()).expect("a fit");
        let (f, t) = (parameters(&found), observer);
        for k in 0..5 {
            let error = match found.errors[k] {
                // A lapse that stayed 0.
                e if e.is_nan() => 0.005,
                e => e,
            };
            assert!(error > 0.0 && error < 0.5, "{:?}", found.errors);
            let off = (f[k] - t[k]).abs();
            assert!(
                off < 4.0 * error,
                "{f:?} for {t:?}: {k} is off by {off}, ±{error}"
            );
        }
    }
}

#[test]
fn swapping_the_sides_swaps_bias_and_lapses() {
    let reference = &references()["lapsing"];
    let swapped: Vec<_> = (reference.choices.iter())
        .map(|c| Choice {
            z: c.z.map(|z| -z),
            right: c.left,
            left: c.right,
        })
        .collect();
    let [b, rel, irr, left, right] =
        parameters(&fit(&reference.choices, Model::default()).unwrap());
    let found = fit(&swapped, Model::default()).unwrap();
    close(
        &parameters(&found),
        &[-b, rel, irr, right, left],
        1e-8,
        "swapped",
    );
}

// ---- What can't be told -----------------------------------------------------

#[test]
fn separable_choices_stay_finite_and_are_never_passed_off_as_a_fit() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let hard: Vec<_> = evidence(&mut rng, 720)
        .into_iter()
        .map(|x| Choice::soft(x, f64::INFINITY * x[0]))
        .collect();
    assert_eq!(fit(&hard, PLAIN), Err(FitError::Separated));
    let found = fit(&hard, Model::default()).expect("the prior keeps it finite");
    assert!(
        found.slopes[0] > 10.0 && found.slopes[0] < 100.0,
        "{found:?}"
    );
    assert!(found.slopes[1].abs() < 1.0, "{found:?}");
    assert_eq!((found.lapse_left, found.lapse_right), (0.0, 0.0));
    // Always the same answer, whatever is shown.
    let always: Vec<_> = (hard.iter())
        .map(|c| Choice {
            right: 1.0,
            left: 0.0,
            ..*c
        })
        .collect();
    let found = fit(&always, Model::default()).expect("the prior keeps it finite");
    assert!(found.bias > 5.0 && !found.follows_relevant(), "{found:?}");
}

#[test]
fn what_has_no_fit_says_why() {
    let check = |trials: &[([f64; 2], f64)], expect: FitError| {
        let choices: Vec<_> = trials.iter().map(|&(x, d)| Choice::soft(x, d)).collect();
        assert_eq!(fit(&choices, Model::default()), Err(expect), "{trials:?}");
    };
    check(&[], FitError::Design);
    check(
        &[([3.0, 0.0], 1.0), ([-3.0, 0.0], -1.0), ([9.0, 0.0], 2.0)],
        FitError::Design,
    );
    let line = [2.0, -5.0, 30.0, -1.0].map(|x| ([x, x], 0.1 * x));
    check(&line, FitError::Design);
    let plane = [
        ([1.0, 3.0], 0.5),
        ([-2.0, 5.0], f64::NAN),
        ([4.0, -9.0], 1.0),
        ([7.0, 8.0], 1.0),
    ];
    check(&plane, FitError::NotFinite);
}

#[test]
fn thresholds_are_where_the_function_passes_three_quarters() {
    for observer in OBSERVERS {
        let mut f = planted(observer);
        f.errors = [0.1; 5];
        let x = f.threshold_75(50.0).expect("within the evidence");
        assert!(
            (f.p_right([scaled(x), 0.0]) - 0.75).abs() < 1e-12,
            "{observer:?}: {x}"
        );
        assert!((unscaled(scaled(x)) - x).abs() < 1e-12);
        assert_eq!(f.threshold_75(0.001), None, "beyond what was shown");
        f.lapse_left = 0.25;
        assert_eq!(f.threshold_75(50.0), None, "P never passes .75");
        let why = |f: &Fit| why_not("psychometric.threshold_75", &Ok(*f));
        assert_eq!(why(&f), "lapses keep P(right) below .75");
        f.lapse_left = 0.0;
        assert!(why(&f).ends_with("lies beyond the evidence that was shown"));
        f.errors[1] = 100.0;
        assert_eq!((f.intrusion(), f.threshold_75(50.0)), (None, None));
    }
    assert!(
        (scaled(50.0) - 1.0).abs() < 1e-15 && scaled(0.0) == 0.0 && scaled(-50.0) == -scaled(50.0)
    );
}

// ---- A whole split ----------------------------------------------------------

/// The metrics of an observer whose Δ for (cue, x_rel, x_irr) is given, by
/// "name@cue", and the notes.
fn observe(delta: impl Fn(&str, [f64; 2]) -> f64) -> (BTreeMap<String, f64>, Vec<String>) {
    let mut spec = spec("T0", [0, 99], &[[1, 4], [5, 16], [17, 50]]);
    spec.eval_trials = 720;
    let prepared = Prepared::new(&spec, &tokenizer(), 64).expect("a spec that can be run");
    let split = &prepared.eval_splits()[0];
    let evidence = split.evidence.as_ref().expect("two numeric dimensions");
    let rows: Vec<_> = (evidence.iter().zip(&split.contexts))
        .map(|(&x, cue)| Readout {
            left: 0.0,
            right: delta(cue, x) as f32,
            log_z: 0.0,
            argmax: 0,
        })
        .collect();
    let found = psychometrics(split, &rows, 40);
    let metrics = found.metrics.into_iter().map(|m| {
        assert_eq!((m.split.as_str(), m.step), ("val", 40));
        let cue = m.slot.map(|slot| format!("@{slot}")).unwrap_or_default();
        (m.name + &cue, m.value)
    });
    let notes = found
        .notes
        .into_iter()
        .map(|n| format!("{}: {}", n.place, n.reason));
    (metrics.collect(), notes.collect())
}

#[test]
fn evidence_is_signed_towards_the_right_answer_of_its_dimension() {
    let spec = spec("T0", [0, 99], &[[1, 4], [5, 16], [17, 50]]);
    let prepared = Prepared::new(&spec, &tokenizer(), 64).expect("a spec that can be run");
    for split in prepared.eval_splits() {
        let evidence = split.evidence.as_ref().expect("two numeric dimensions");
        for (trial, [rel, irr]) in split.trials.iter().zip(evidence) {
            assert_eq!(*rel > 0.0, trial.right);
            assert_eq!(trial.congruent, Some(rel * irr > 0.0));
        }
    }
}

#[test]
fn a_gated_observer_has_no_intrusion() {
    let (found, notes) = observe(|_, x| 5.0 * scaled(x[0]));
    close(
        &[
            found["gating_index"],
            found["gating.w12"],
            found["gating.w21"],
        ],
        &[1.0, 0.0, 0.0],
        1e-6,
        "gating",
    );
    close(
        &[found["gating.w11"], found["gating.w22"]],
        &[5.0; 2],
        1e-6,
        "gating",
    );
    for cue in ["color", "motion"] {
        let of = |name: &str| found[&format!("{name}@{cue}")];
        close(
            &[of("intrusion"), of("psychometric.bias")],
            &[0.0; 2],
            0.01,
            cue,
        );
        assert!((of("psychometric.slope_rel") - 5.0).abs() < 0.1);
        assert_eq!(of("psychometric.separated"), 1.0, "it makes no error");
        // 5·z = ln 3.
        assert!((of("psychometric.threshold_75") - unscaled(3.0_f64.ln() / 5.0)).abs() < 0.05);
    }
    assert_eq!(found.len(), 2 * 8 + 5);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn an_observer_blind_to_the_context_is_told_by_intrusion_and_gating() {
    let (found, _) = observe(|_, x| 3.0 * scaled(x[0]) + 3.0 * scaled(x[1]));
    close(
        &[
            found["intrusion@color"],
            found["intrusion@motion"],
            found["gating_index"],
        ],
        &[1.0, 1.0, 0.0],
        1e-3,
        "context-blind",
    );
    assert_eq!(
        found["psychometric.separated@color"], 1.0,
        "by another plane"
    );

    // Color alone, whatever the cue: nothing to divide by where motion is asked for.
    let (found, notes) = observe(|cue, x| 4.0 * scaled(x[usize::from(cue == "motion")]));
    close(
        &[
            found["gating.w11"],
            found["gating.w21"],
            found["gating.w22"],
        ],
        &[4.0, 4.0, 0.0],
        1e-6,
        "color",
    );
    assert!(found["intrusion@color"].abs() < 0.01 && found["intrusion@motion"].is_nan());
    assert!(found["psychometric.threshold_75@motion"].is_nan());
    assert_eq!(notes.len(), 2);
    assert!(
        notes[0].starts_with("val psychometric.threshold_75 motion: the slope of"),
        "{notes:?}"
    );
}

#[test]
fn an_undecided_network_gets_no_ratio() {
    let (found, notes) = observe(|_, _| 0.0);
    assert!(found["intrusion@color"].is_nan() && found["gating_index"].is_nan());
    assert_eq!(
        found["psychometric.separated@color"], 0.0,
        "ties are on no side"
    );
    close(
        &[
            found["psychometric.slope_rel@color"],
            found["psychometric.lapse_left@color"],
        ],
        &[0.0; 2],
        1e-9,
        "flat",
    );
    assert_eq!(notes.len(), 5, "{notes:?}");
}

#[test]
fn tasks_without_two_dimensions_get_nothing() {
    let spec = spec("T0", [0, 99], &[[1, 4], [5, 16], [17, 50]]);
    let prepared = Prepared::new(&spec, &tokenizer(), 64).expect("a spec that can be run");
    let mut split = prepared.eval_splits()[0].clone();
    split.evidence = None;
    let found = psychometrics(&split, &[], 0);
    assert!(found.metrics.is_empty() && found.notes.is_empty());
}
