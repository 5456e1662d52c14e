//! Planted results for each outcome.

use seedbed_proto::JobKey;
use seedbed_proto::result::{FailureReason, JobPhase};
use seedbed_proto::seed::{Purpose, derive_seed};
use serde_json::{Value, json};

use super::{Outcome, Verdict};
use crate::aggregate::{analyse, fixture, select};
use crate::results::{Measured, Point, Run, SweepResults};
use crate::sweep::Compare;

/// What is planted: U of each layer by arm, and what re-initialising costs.
struct Planted {
    seeds: u64,
    fine_tuned: Vec<f64>,
    scratch: Vec<f64>,
    /// Accuracy that is lost without the first and without the last third.
    harm: Option<(f64, f64)>,
}

const RISING: [f64; 6] = [0.2, 0.25, 0.4, 0.6, 0.8, 0.85];
const FLAT: [f64; 6] = [0.4, 0.42, 0.41, 0.39, 0.4, 0.41];

impl Default for Planted {
    fn default() -> Self {
        Self {
            seeds: 8,
            fine_tuned: RISING.to_vec(),
            scratch: FLAT.to_vec(),
            harm: Some((0.01, 0.08)),
        }
    }
}

impl Planted {
    fn results(&self) -> SweepResults {
        let mut arms = vec![json!("pretrained"), json!("scratch")];
        if self.harm.is_some() {
            arms.extend([
                json!({"reinit": {"first": 2}}),
                json!({"reinit": {"last": 2}}),
            ]);
        }
        let mut results = fixture::Fixture {
            seeds: 0,
            ..fixture::Fixture::default()
        }
        .results();
        for seed in 1..=self.seeds {
            for arm in &arms {
                results
                    .runs
                    .push(self.run(results.runs.len() as u64, seed, arm));
            }
        }
        results
    }

    fn run(&self, ordinal: u64, seed: u64, arm: &Value) -> Run {
        let noise = |what: &str| {
            let name = format!("{seed} {arm} {what}");
            f64::from(derive_seed(0, Purpose::Resample, &name)[0]) / 255.0 - 0.5
        };
        let (first, last) = self.harm.unwrap_or_default();
        let (reached, lost) = match arm["reinit"].as_object().map(|o| o.contains_key("first")) {
            Some(true) => (120, first),
            Some(false) => (160, last),
            None if arm == "pretrained" => (80, 0.0),
            None => (160, 0.0),
        };
        let mut metrics = Vec::new();
        for step in (0..=200).step_by(40) {
            let learnt = if step >= reached { 0.97 } else { 0.7 };
            metrics.push(Measured::of("val", step, "accuracy", learnt));
            let incongruent = learnt - lost + 0.01 * noise(&format!("val {step}"));
            metrics.push(Measured::of(
                "val",
                step,
                "incongruent_accuracy",
                incongruent,
            ));
        }
        let test = 0.96 - lost + 0.01 * noise("test");
        metrics.push(Measured::of("test_iid", 200, "incongruent_accuracy", test));
        if arm.is_string() {
            for step in [reached, 200] {
                metrics.extend(self.layers(arm, step, &noise));
            }
        }
        let point: Point = [
            ("seed".to_owned(), json!(seed)),
            ("init".to_owned(), arm.clone()),
            ("frozen".to_owned(), json!("none")),
            ("learning_rate".to_owned(), json!(0.0005)),
        ]
        .into();
        Run {
            ordinal,
            key: JobKey::of(format!("{seed} {arm}").as_bytes()),
            point,
            phase: JobPhase::Done,
            failure: None,
            metrics,
            artifacts: vec![],
            notes: vec![],
        }
    }

    fn layers(&self, arm: &Value, step: u64, noise: &impl Fn(&str) -> f64) -> Vec<Measured> {
        let reuse = if arm == "pretrained" {
            &self.fine_tuned
        } else {
            &self.scratch
        };
        let mut metrics = Vec::new();
        for (layer, u) in reuse.iter().enumerate() {
            let ablation = 0.6 + 0.05 * noise(&format!("A {layer}"));
            let reversion = (1.0 - u) * ablation + 0.03 * noise(&format!("R {layer}"));
            for (name, value) in [("reversion.block", reversion), ("ablation.block", ablation)] {
                let mut m = Measured::of("test_iid", step, name, value);
                m.layer = Some(layer as u32);
                metrics.push(m);
            }
        }
        metrics
    }
}

fn judged(results: SweepResults) -> Verdict {
    let results = fixture::unseal(results);
    let verdict = analyse(&results, &Compare::default()).verdict;
    verdict.expect("the sweep asks for a verdict")
}

#[track_caller]
fn check(planted: &Planted, want: Outcome, holds: [Option<bool>; 3]) -> Verdict {
    let verdict = judged(planted.results());
    for judgement in &verdict.judgements {
        let got = judgement.conditions.each_ref().map(|c| c.holds);
        assert_eq!(
            got, holds,
            "{:?}: {:#?}",
            judgement.when, judgement.conditions
        );
        assert_eq!(judgement.outcome, want);
    }
    assert_eq!(verdict.outcome, want);
    verdict
}

#[test]
fn reuse_that_rises_and_late_blocks_that_matter_support_it() {
    let verdict = check(&Planted::default(), Outcome::Supported, [Some(true); 3]);
    let late = &verdict.judgements[0].conditions[0];
    // (0.8 + 0.85)/2 − (0.2 + 0.25)/2
    assert!((late.estimate.unwrap() - 0.6).abs() < 0.05, "{late:?}");
    let (low, high) = late.interval.unwrap();
    assert!(low < 0.6 && high > 0.6, "{late:?}");
    assert_eq!((late.n, late.method), (8, Some("joint_bootstrap_t")));
    let u = &verdict.judgements[0].layers[4];
    assert!((u.reuse.unwrap() - 0.8).abs() < 0.05, "{u:?}");
    assert!(!verdict.exploratory);
}

#[test]
fn the_opposite_does_not() {
    let planted = Planted {
        fine_tuned: FLAT.to_vec(),
        scratch: RISING.to_vec(),
        harm: Some((0.08, 0.01)),
        ..Planted::default()
    };
    check(&planted, Outcome::NotSupported, [Some(false); 3]);
}

#[test]
fn some_conditions_make_it_mixed() {
    let planted = Planted {
        scratch: RISING.to_vec(),
        ..Planted::default()
    };
    check(
        &planted,
        Outcome::Mixed,
        [Some(true), Some(false), Some(true)],
    );
    let planted = Planted {
        harm: Some((0.05, 0.05)),
        ..Planted::default()
    };
    check(
        &planted,
        Outcome::Mixed,
        [Some(true), Some(true), Some(false)],
    );
}

#[test]
fn without_the_arms_that_it_needs_it_is_undetermined() {
    let planted = Planted {
        harm: None,
        ..Planted::default()
    };
    let verdict = check(
        &planted,
        Outcome::Undetermined,
        [Some(true), Some(true), None],
    );
    assert_eq!(
        verdict.reasons(),
        ["the sweep has no pair of arms reinit_first_2 and reinit_last_2"]
    );
}

#[test]
fn a_layer_that_is_not_used_leaves_reuse_open() {
    let mut results = Planted::default().results();
    for run in results
        .runs
        .iter_mut()
        .filter(|r| r.point["init"] == "pretrained")
    {
        let sign = if run.ordinal % 8 == 0 { 1.0 } else { -1.0 };
        let layer = run
            .metrics
            .iter_mut()
            .filter(|m| m.name == "ablation.block" && m.layer == Some(5));
        layer.for_each(|m| m.value = 0.01 * sign);
    }
    let verdict = judged(results);
    assert_eq!(verdict.outcome, Outcome::Undetermined);
    assert!(
        verdict.reasons()[0].contains("removing layer 5 of pretrained"),
        "{:?}",
        verdict.reasons()
    );
    let layer = &verdict.judgements[0].layers[5];
    assert_eq!((layer.reuse, layer.interval), (None, None));
    // A middle layer is in no third that is needed.
    let mut results = Planted::default().results();
    for m in results.runs.iter_mut().flat_map(|r| &mut r.metrics) {
        if m.name == "ablation.block" && m.layer == Some(2) {
            m.value = f64::NAN;
        }
    }
    assert_eq!(judged(results).outcome, Outcome::Supported);
}

/// Sets a metric of the runs of an arm, wherever it was measured.
fn set(results: &mut SweepResults, arms: &[Value], name: &str, value: f64) {
    let of = |r: &&mut Run| arms.contains(&r.point["init"]);
    let metrics = results
        .runs
        .iter_mut()
        .filter(of)
        .flat_map(|r| &mut r.metrics);
    metrics
        .filter(|m| m.name == name)
        .for_each(|m| m.value = value);
}

#[test]
fn outcomes_that_are_equal_in_every_seed_show_no_harm() {
    let mut results = Planted::default().results();
    let both = [
        json!({"reinit": {"first": 2}}),
        json!({"reinit": {"last": 2}}),
    ];
    set(&mut results, &both, "incongruent_accuracy", 1.0);
    let verdict = judged(results);
    assert_eq!(verdict.outcome, Outcome::Mixed);
    assert!(verdict.reasons().is_empty(), "{:?}", verdict.reasons());
    for judgement in &verdict.judgements {
        let harm = &judgement.conditions[2];
        assert_eq!((harm.holds, harm.n), (Some(false), 8));
        assert_eq!((harm.estimate, harm.interval), (Some(0.0), None));
        assert_eq!(
            harm.reason.as_deref(),
            Some("the re-initialised arms are equal in every seed")
        );
    }
}

#[test]
fn reuse_that_is_whole_in_every_layer_does_not_rise() {
    let mut results = Planted::default().results();
    set(&mut results, &[json!("pretrained")], "reversion.block", 0.0);
    let verdict = judged(results.clone());
    let holds = verdict.judgements[0].conditions.each_ref().map(|c| c.holds);
    assert_eq!(holds, [Some(false), Some(false), Some(true)]);
    // In both: neither rises, neither more than the other.
    set(&mut results, &[json!("scratch")], "reversion.block", 0.0);
    let verdict = judged(results);
    let more = &verdict.judgements[0].conditions[1];
    assert_eq!((more.holds, more.estimate), (Some(false), Some(0.0)));
    assert_eq!(verdict.outcome, Outcome::Mixed);
}

#[test]
fn a_verdict_names_its_block_and_those_that_were_not_judged() {
    let mut results = Planted::default().results();
    let mut frozen = Planted {
        harm: Some((0.08, 0.01)),
        ..Planted::default()
    }
    .results();
    for run in &mut frozen.runs {
        run.ordinal += 100;
        run.key = JobKey::of(format!("frozen {}", run.key).as_bytes());
        run.point.insert("frozen".to_owned(), json!({"prefix": 2}));
    }
    results.runs.extend(frozen.runs);
    let a = analyse(&fixture::unseal(results), &Compare::default());
    let text = crate::report::terminal(&a);
    assert!(
        text.contains("Verdict for frozen none: supported"),
        "{text}"
    );
    let verdict = a.verdict.unwrap();
    assert_eq!(verdict.outcome, Outcome::Supported);
    assert_eq!(verdict.block["frozen"], json!("none"));
    let others: Vec<_> = verdict.blocks_not_judged.iter().collect();
    assert_eq!(others.len(), 1);
    assert_eq!(others[0]["frozen"], json!({"prefix": 2}));
    let note =
        "the verdict is of frozen none alone, the sweep's first; not judged: frozen prefix_2";
    assert!(a.notes.iter().any(|n| n == note), "{:?}", a.notes);
}

/// A sweep that is looked at after 4 and after 8 seeds: its intervals are wider.
fn looked_at_twice() -> Compare {
    let until = crate::sweep::Until {
        half_width: 1e-9,
        metric: "val.incongruent_accuracy".to_owned(),
        initial: 4,
        block: 4,
        max_seeds: 8,
    };
    Compare {
        until: Some(until),
        ..Compare::default()
    }
}

#[test]
fn a_condition_says_the_confidence_of_its_interval() {
    let compare = looked_at_twice();
    let results = fixture::unseal(Planted::default().results());
    let verdict = analyse(&results, &compare).verdict.unwrap();
    for c in verdict.judgements.iter().flat_map(|j| &j.conditions) {
        assert_eq!(c.confidence, Some(0.975), "{c:?}");
    }
}

#[test]
fn a_layer_whose_removal_improves_the_answer_leaves_reuse_open() {
    let mut results = Planted::default().results();
    let tuned = results
        .runs
        .iter_mut()
        .filter(|r| r.point["init"] == "pretrained");
    for m in tuned.flat_map(|r| &mut r.metrics) {
        if m.name == "ablation.block" && m.layer == Some(5) {
            m.value = -m.value;
        }
    }
    let verdict = judged(results);
    assert_eq!(verdict.outcome, Outcome::Undetermined);
    assert!(
        verdict.reasons()[0].contains("removing layer 5 of pretrained is not shown to cost"),
        "{:?}",
        verdict.reasons()
    );
    let layer = &verdict.judgements[0].layers[5];
    assert_eq!((layer.reuse, layer.interval), (None, None));
}

#[test]
fn seeds_without_evidence_are_left_out_and_counted() {
    let mut results = Planted::default().results();
    let of = |results: &mut SweepResults, arm: &str, seed: u64| {
        let found = results
            .runs
            .iter()
            .position(|r| r.point["init"] == arm && r.point["seed"] == json!(seed));
        found.unwrap()
    };
    // Scratch never gets there with seed 3; the fine-tuned seed 5 fails.
    let slow = of(&mut results, "scratch", 3);
    for m in results.runs[slow]
        .metrics
        .iter_mut()
        .filter(|m| m.name == "accuracy")
    {
        m.value = 0.9;
    }
    let failed = of(&mut results, "pretrained", 5);
    fixture::fail(&mut results.runs[failed], FailureReason::NonFinite);
    let verdict = judged(results);
    let [last, matched] = &verdict.judgements;
    assert_eq!(last.conditions.each_ref().map(|c| c.n), [7, 7, 8]);
    assert_eq!(matched.conditions.each_ref().map(|c| c.n), [6, 6, 7]);
    let why = |c: &super::Condition, seed| {
        c.left_out
            .iter()
            .find(|u| u.seed == seed)
            .map(|u| u.why.clone())
    };
    assert_eq!(why(&last.conditions[0], 5).unwrap(), "pretrained: failed");
    assert_eq!(
        why(&matched.conditions[0], 3).unwrap(),
        "scratch: never passed 0.95 on val"
    );
    assert_eq!(verdict.outcome, Outcome::Supported);
}

#[test]
fn few_seeds_are_exploratory_and_one_is_none() {
    let few = Planted {
        seeds: 4,
        ..Planted::default()
    };
    assert!(judged(few.results()).exploratory);
    let one = Planted {
        seeds: 1,
        ..Planted::default()
    };
    check(&one, Outcome::Undetermined, [None; 3]);
}

#[test]
fn other_sweeps_get_no_verdict_and_sealed_ones_none_yet() {
    let plain = fixture::Fixture::default().selected();
    assert_eq!(analyse(&plain, &Compare::default()).verdict, None);
    let sealed = Planted::default().results();
    assert!(select(&sealed, &Compare::default()).is_some());
    assert_eq!(analyse(&sealed, &Compare::default()).verdict, None);
}

#[test]
fn more_of_what_is_better_when_less_is_harm() {
    let compare = Compare {
        select: Some(crate::sweep::Select {
            axis: "learning_rate".to_owned(),
            by: "val.nll".to_owned(),
        }),
        ..Compare::default()
    };
    let mut results = Planted::default().results();
    for run in &mut results.runs {
        let mut nll = run.metrics.clone();
        nll.retain(|m| m.name == "incongruent_accuracy");
        for m in &mut nll {
            m.name = "nll".to_owned();
            m.value = 1.0 - m.value;
        }
        run.metrics.extend(nll);
    }
    let verdict = analyse(&fixture::unseal(results), &compare).verdict;
    for judgement in verdict.unwrap().judgements {
        let harm = &judgement.conditions[2];
        assert_eq!(harm.holds, Some(true), "{harm:?}");
        assert!((harm.estimate.unwrap() - 0.07).abs() < 0.01, "{harm:?}");
        let sides = "reinit_last_2 − reinit_first_2";
        assert!(harm.claim.contains(sides), "{}", harm.claim);
    }
}

/// Two blocks that name both arms, the second in an order behind the first.
fn two_blocks(first: &Planted, second: &Planted) -> SweepResults {
    let mut results = first.results();
    let mut frozen = second.results();
    for run in &mut frozen.runs {
        run.ordinal += 100;
        run.key = JobKey::of(format!("frozen {}", run.key).as_bytes());
        run.point.insert("frozen".to_owned(), json!({"prefix": 2}));
    }
    results.runs.extend(frozen.runs);
    results
}

#[test]
fn the_first_block_is_judged_whatever_evidence_there_is() {
    let none = Planted {
        harm: None,
        ..Planted::default()
    };
    let whole = two_blocks(&none, &Planted::default());
    let is_first = |run: &&mut Run| run.point["frozen"] == json!("none");
    // Nothing of it was inspected.
    let mut unasked = whole.clone();
    for run in unasked.runs.iter_mut().filter(is_first) {
        run.metrics.retain(|m| m.layer.is_none());
    }
    // An arm of it was lost.
    let mut lost = whole;
    let scratch = |run: &&mut Run| is_first(run) && run.point["init"] == json!("scratch");
    for run in lost.runs.iter_mut().filter(scratch) {
        fixture::fail(run, FailureReason::NonFinite);
    }
    for (results, why) in [
        (unasked, "no block was reset or removed"),
        (lost, "no learning_rate of scratch was chosen"),
    ] {
        let a = analyse(&fixture::unseal(results), &Compare::default());
        let verdict = a.verdict.expect("another block was asked about");
        assert_eq!(verdict.block["frozen"], json!("none"));
        assert_eq!(verdict.outcome, Outcome::Undetermined);
        let reasons = verdict.reasons();
        assert!(reasons.iter().any(|r| r.contains(why)), "{reasons:?}");
        let others: Vec<_> = verdict.blocks_not_judged.iter().collect();
        assert_eq!(others.len(), 1);
        assert_eq!(others[0]["frozen"], json!({"prefix": 2}));
    }
}

#[test]
fn blocks_without_evidence_are_among_those_that_were_not_judged() {
    let none = Planted {
        harm: None,
        ..Planted::default()
    };
    let mut results = two_blocks(&Planted::default(), &none);
    let frozen = |run: &&mut Run| run.point["frozen"] != json!("none");
    for run in results.runs.iter_mut().filter(frozen) {
        run.metrics.retain(|m| m.layer.is_none());
    }
    let verdict = judged(results);
    assert_eq!(verdict.outcome, Outcome::Supported);
    assert_eq!(verdict.blocks_not_judged.len(), 1);
}

#[test]
fn a_layer_costs_something_at_the_confidence_of_the_verdict() {
    let mut results = Planted::default().results();
    let tuned = results
        .runs
        .iter_mut()
        .filter(|r| r.point["init"] == "pretrained");
    for run in tuned {
        // t = 2.6 on 7 degrees of freedom: above zero at 95 %, not at 97.5 %.
        let sign = if run.point["seed"].as_u64().unwrap() % 2 == 0 {
            1.0
        } else {
            -1.0
        };
        for m in &mut run.metrics {
            if m.layer == Some(5) && m.name == "ablation.block" {
                m.value = 0.0983 + 0.1 * sign;
            }
        }
    }
    let results = fixture::unseal(results);
    let reuse = |compare: &Compare| {
        let verdict = analyse(&results, compare).verdict.unwrap();
        let open = verdict.reasons();
        let open = open.iter().any(|r| r.contains("removing layer 5"));
        (open, verdict.judgements[0].layers[5].reuse.is_some())
    };
    assert_eq!(reuse(&Compare::default()), (false, true));
    let compare = looked_at_twice();
    assert_eq!(reuse(&compare), (true, false));
}
