//! Held against scipy, statsmodels and a plain multi-bootstrap, on stored numbers
//! that `tests/statistics/reference.py` made. `--nocapture` prints the table.

use serde_json::Value;

use super::bootstrap::{acceleration, bca};
use super::joint::from_resamples;
use super::survival::Duration;
use super::{
    CONFIDENCE, benjamini_hochberg, holm, interquartile_mean, kaplan_meier, max_t, mean, median,
    noise_ceiling, paired, sd, wilson,
};
use crate::aggregate::reuse::{late_minus_early, reuse};

/// The stored table of one name.
fn cases(name: &str) -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/statistics/reference.json"
    );
    let text = std::fs::read_to_string(path).expect("the stored reference");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let cases = all[name].as_array().expect("a table of this name").clone();
    assert!(!cases.is_empty(), "{name} has no case");
    cases
}

fn numbers(value: &Value) -> Vec<f64> {
    let all = value.as_array().expect("a list of numbers");
    all.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    let rows = value.as_array().expect("a list of rows");
    rows.iter().map(numbers).collect()
}

/// Collects how far our numbers lie from those of the reference.
struct Check {
    what: &'static str,
    by: &'static str,
    tolerance: f64,
    numbers: usize,
    largest: f64,
}

impl Check {
    fn new(what: &'static str, by: &'static str, tolerance: f64) -> Self {
        Self {
            what,
            by,
            tolerance,
            numbers: 0,
            largest: 0.0,
        }
    }

    #[track_caller]
    fn number(&mut self, got: f64, want: &Value) {
        let want = want.as_f64().unwrap_or(f64::NAN);
        self.numbers += 1;
        if got.is_nan() && want.is_nan() {
            return;
        }
        let off = (got - want).abs();
        assert!(
            off <= self.tolerance,
            "{}: got {got}, {} says {want}",
            self.what,
            self.by
        );
        self.largest = self.largest.max(off);
    }

    #[track_caller]
    fn list(&mut self, got: impl IntoIterator<Item = f64>, want: &Value) {
        let want = want.as_array().expect("a list");
        let got: Vec<f64> = got.into_iter().collect();
        assert_eq!(got.len(), want.len(), "{}", self.what);
        for (g, w) in got.into_iter().zip(want) {
            self.number(g, w);
        }
    }

    fn print(&self) {
        println!(
            "| {} | {} | {} | {:.0e} | {:.1e} |",
            self.what, self.by, self.numbers, self.tolerance, self.largest
        );
    }
}

#[test]
fn location() {
    let mut check = Check::new("mean, sd, median, IQM, t interval", "scipy", 1e-9);
    for case in cases("location") {
        let x = numbers(&case["x"]);
        check.number(mean(&x).unwrap(), &case["mean"]);
        check.number(sd(&x).unwrap(), &case["sd"]);
        check.number(median(&x).unwrap(), &case["median"]);
        check.number(interquartile_mean(&x).unwrap(), &case["iqm"]);
        let (low, high) = super::summary::t_interval(&x).unwrap();
        check.number(low, &case["low"]);
        check.number(high, &case["high"]);
    }
    check.print();
}

#[test]
fn paired_differences() {
    let mut check = Check::new(
        "paired t, exact sign-flip p, g_z, P(improve)",
        "scipy",
        1e-9,
    );
    let mut tost = Check::new("TOST, margin .02", "statsmodels", 1e-9);
    for case in cases("paired") {
        let got = paired(&numbers(&case["d"]), "").unwrap();
        let (low, high) = got.difference.interval.unwrap();
        check.number(got.t.unwrap(), &case["t"]);
        check.number(low, &case["low"]);
        check.number(high, &case["high"]);
        check.number(got.p, &case["p"]);
        check.number(got.g_z.unwrap(), &case["g_z"]);
        check.number(got.p_improve, &case["p_improve"]);
        let equivalence = got.equivalence.unwrap();
        tost.list([equivalence.p_lower, equivalence.p_upper], &case["tost"]);
        tost.number(equivalence.p(), &case["tost_p"]);
    }
    check.print();
    tost.print();
}

#[test]
fn proportions() {
    let mut check = Check::new("Wilson interval", "statsmodels", 1e-9);
    for case in cases("wilson") {
        let whole = |name: &str| case[name].as_u64().unwrap() as usize;
        let (low, high) = wilson(whole("hits"), whole("of")).interval;
        check.list([low, high], &case["ends"]);
    }
    check.print();
}

#[test]
fn multiplicity() {
    let mut check = Check::new("Holm, Benjamini–Hochberg", "statsmodels", 1e-12);
    for case in cases("multiplicity") {
        let p = numbers(&case["p"]);
        check.list(holm(&p), &case["holm"]);
        check.list(benjamini_hochberg(&p), &case["bh"]);
    }
    check.print();
}

#[test]
fn survival() {
    let mut check = Check::new(
        "Kaplan–Meier, Greenwood, median and interval",
        "statsmodels",
        1e-9,
    );
    for case in cases("survival") {
        let (steps, passed) = (numbers(&case["step"]), numbers(&case["passed"]));
        let durations: Vec<Duration> = steps
            .iter()
            .zip(&passed)
            .map(|(step, passed)| Duration {
                step: *step as u64,
                passed: *passed > 0.0,
            })
            .collect();
        let got = kaplan_meier(&durations);
        let column = |pick: fn(&super::survival::SurvivalStep) -> f64| got.steps.iter().map(pick);
        check.list(column(|s| s.step as f64), &case["times"]);
        check.list(column(|s| s.at_risk as f64), &case["at_risk"]);
        check.list(column(|s| s.events as f64), &case["events"]);
        check.list(column(|s| s.survival), &case["survival"]);
        // Where nobody is left statsmodels has no error, and ours is zero.
        let errors = numbers(&case["se"]);
        for (s, want) in got.steps.iter().zip(errors) {
            if s.at_risk > s.events {
                check.number(s.se, &want.into());
            }
        }
        let or_nan = |step: Option<u64>| step.map_or(f64::NAN, |s| s as f64);
        check.number(or_nan(got.median()), &case["median"]);
        let (low, high) = got.median_interval();
        check.number(or_nan(low), &case["low"]);
        check.number(or_nan(high), &case["high"]);
    }
    check.print();
}

#[test]
fn largest_t() {
    let mut check = Check::new("max-|t| sign-flip p and bands", "NumPy, all patterns", 1e-9);
    for case in cases("largest_t") {
        let got = max_t(&rows(&case["d"]), "").unwrap();
        check.list(got.iter().map(|p| p.p.unwrap()), &case["p"]);
        check.list(got.iter().map(|p| p.band.unwrap().0), &case["low"]);
        check.list(got.iter().map(|p| p.band.unwrap().1), &case["high"]);
    }
    check.print();
}

#[test]
fn noise_ceilings() {
    let mut check = Check::new("noise ceiling over seeds", "scipy's spearmanr", 1e-9);
    for case in cases("noise_ceiling") {
        let got = noise_ceiling(&rows(&case["rdms"])).unwrap();
        check.number(got.lower, &case["lower"]);
        check.number(got.upper, &case["upper"]);
    }
    check.print();
}

#[test]
fn bootstrap_of_a_mean() {
    let mut check = Check::new("BCa interval on given resamples", "scipy", 1e-7);
    for case in cases("bca") {
        let x = numbers(&case["x"]);
        let (value, a) = (mean(&x).unwrap(), acceleration(&x).unwrap());
        let (low, high) = bca(&numbers(&case["means"]), value, a, CONFIDENCE).unwrap();
        check.list(
            [low, high],
            &Value::from(vec![case["low"].clone(), case["high"].clone()]),
        );
    }
    check.print();
}

#[test]
fn multi_bootstrap() {
    let mut check = Check::new(
        "joint bootstrap of U, L(U) and its contrast",
        "NumPy, scipy's BCa",
        1e-7,
    );
    for case in cases("multibootstrap") {
        let arms = |name: &str| -> Vec<Vec<Vec<f64>>> {
            case[name].as_array().unwrap().iter().map(rows).collect()
        };
        let (reversion, ablation) = (arms("reversion"), arms("ablation"));
        let resamples: Vec<Vec<usize>> = rows(&case["resamples"])
            .iter()
            .map(|r| r.iter().map(|i| *i as usize).collect())
            .collect();
        let (n, layers) = (reversion[0].len(), reversion[0][0].len());
        let of = |arm: usize, seeds: &[usize]| reuse(&reversion[arm], &ablation[arm], seeds);
        let mut compare = |at: usize, statistic: &dyn Fn(&[usize]) -> f64| {
            let [got] = from_resamples(n, &resamples, CONFIDENCE, |seeds| [statistic(seeds)]);
            let got = got.unwrap();
            check.number(got.value, &case["value"][at]);
            check.number(got.se.unwrap(), &case["se"][at]);
            let (low, high) = got.interval.unwrap();
            check.number(low, &case["low"][at]);
            check.number(high, &case["high"][at]);
        };
        for layer in 0..layers {
            compare(layer, &|seeds| of(0, seeds)[layer]);
        }
        compare(layers, &|seeds| late_minus_early(&of(0, seeds)));
        compare(layers + 1, &|seeds| {
            late_minus_early(&of(0, seeds)) - late_minus_early(&of(1, seeds))
        });
    }
    check.print();
}
