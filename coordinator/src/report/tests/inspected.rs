//! Reports of sweeps that asked what happens inside their networks.

use seedbed_proto::JobKey;
use seedbed_proto::job::Moment;
use seedbed_proto::result::{FailureReason, JobPhase, Metric, Note};
use seedbed_proto::seed::{Purpose, derive_seed};
use serde_json::json;

use super::*;
use crate::aggregate::{Analysis, Comparison};
use crate::inspection::{AT, QUESTION, STEP};
use crate::results::{Measured, Run};

const LAYERS: u32 = 4;
const HEADS: u32 = 4;
const STEPS: u64 = 300;
const SLOTS: [&str; 6] = [
    "cue",
    "irr_left",
    "irr_right",
    "last",
    "rel_left",
    "rel_right",
];

/// Every question, answered with made-up numbers that differ from seed to seed.
pub(super) fn inspected() -> SweepResults {
    inspected_over(4)
}

/// The same over so many seeds.
fn inspected_over(seeds: u64) -> SweepResults {
    let mut results = Fixture {
        seeds,
        ..Fixture::default()
    }
    .selected();
    let mut ordinal = results.runs.len() as u64;
    for run in results.runs.clone() {
        for question in [
            "patching",
            "reversion",
            "transplant",
            "probes",
            "similarity",
            "drift",
            "lens",
            "tdr",
        ] {
            let mut asked = Run {
                ordinal,
                key: JobKey::of(format!("{question} {}", run.key).as_bytes()),
                metrics: numbers(question, &run),
                artifacts: vec![],
                ..run.clone()
            };
            asked.point.insert(QUESTION.into(), json!(question));
            asked.point.insert(AT.into(), json!("final"));
            asked.point.insert(STEP.into(), json!(STEPS));
            if question == "lens" {
                let reason = "the network itself is right in .900 of the trials, not .95";
                asked.notes = vec![Note::new("lens.decision_depth", reason)];
            }
            results.inspections.push(asked);
            ordinal += 1;
        }
    }
    let lost = results.inspections.last_mut().expect("there are some");
    lost.phase = JobPhase::Failed;
    lost.failure = Some((FailureReason::OutOfMemory, "the machine said no".into()));
    lost.metrics.clear();
    results
}

/// Collects made-up metrics of one run.
struct Numbers {
    seed: u64,
    scratch: bool,
    metrics: Vec<Measured>,
}

impl Numbers {
    fn add(
        &mut self,
        name: &str,
        layer: Option<u32>,
        head: Option<u32>,
        slot: Option<&str>,
        about: f64,
    ) {
        let text = format!("{name} {layer:?} {head:?} {slot:?}");
        let luck = f64::from(derive_seed(self.seed, Purpose::Resample, &text)[0]) / 255.0;
        let metric = Metric {
            layer,
            head,
            slot: slot.map(str::to_owned),
            ..Metric::of("test_iid", STEPS, name, about + 0.1 * (luck - 0.5))
        };
        self.metrics.push(metric.into());
    }
}

fn numbers(question: &str, run: &Run) -> Vec<Measured> {
    let mut n = Numbers {
        seed: run.point["seed"].as_u64().expect("a seed"),
        scratch: run.point["init"] == json!("scratch"),
        metrics: vec![],
    };
    let depth = |layer: u32| f64::from(layer) / f64::from(LAYERS);
    match question {
        "patching" => {
            for change in ["cue", "rel", "irr"] {
                n.add(
                    &format!("patching.{change}.solved_fraction"),
                    None,
                    None,
                    None,
                    0.9,
                );
                let full = if change == "irr" { 0.0 } else { 1.0 };
                for layer in 0..LAYERS {
                    for site in ["resid_pre", "resid_mid", "attn_out", "mlp_out"] {
                        for slot in SLOTS {
                            let name = format!("patching.{change}.denoising.{site}");
                            let own = slot.starts_with(change) || slot == "last";
                            let value = if own { full * depth(layer) } else { 0.0 };
                            n.add(&name, Some(layer), None, Some(slot), value);
                        }
                    }
                    for head in 0..HEADS {
                        let name = format!("patching.{change}.denoising.z");
                        n.add(
                            &name,
                            Some(layer),
                            Some(head),
                            None,
                            full * depth(head) / 2.0,
                        );
                    }
                }
            }
        }
        "reversion" => {
            for layer in 0..LAYERS {
                let lost = if n.scratch {
                    0.9
                } else {
                    0.2 + 0.6 * depth(layer)
                };
                n.add("reversion.block", Some(layer), None, None, lost);
                n.add("ablation.block", Some(layer), None, None, 0.95);
                n.add(
                    "reversion.suffix",
                    Some(layer),
                    None,
                    None,
                    1.0 - depth(layer),
                );
                n.add("reversion.prefix", Some(layer), None, None, depth(layer));
            }
        }
        "transplant" | "similarity" => {
            let pairings = match n.scratch {
                true => ["pt_sc", "sc_sc"].as_slice(),
                false => &["pt_ft", "ft_ft", "ft_sc"],
            };
            for pairing in pairings {
                for layer in 0..LAYERS {
                    if question == "transplant" {
                        n.add(
                            &format!("transplant.{pairing}.block"),
                            Some(layer),
                            None,
                            None,
                            0.5,
                        );
                        continue;
                    }
                    for measure in ["cka", "rsa"] {
                        let name = format!("{measure}.{pairing}");
                        n.add(
                            &name,
                            Some(layer),
                            None,
                            Some("last"),
                            1.0 - depth(layer) / 2.0,
                        );
                    }
                }
                if question == "transplant" {
                    for alpha in ["0.0", "0.5", "1.0"] {
                        let name = format!("interpolation.{pairing}.loss");
                        n.add(&name, None, None, Some(alpha), 0.5);
                    }
                }
            }
        }
        "probes" => {
            for variable in ["cue", "answer"] {
                for layer in 0..=LAYERS {
                    let name = |what: &str| format!("probe.{variable}.{what}");
                    let value = 0.5 + 0.4 * depth(layer);
                    n.add(&name("accuracy"), Some(layer), None, Some("last"), value);
                    n.add(&name("control"), Some(layer), None, Some("last"), 0.52);
                    n.add(
                        &name("transfer"),
                        Some(layer),
                        None,
                        Some("last"),
                        value - 0.1,
                    );
                }
            }
        }
        "drift" => {
            for layer in 0..LAYERS {
                for part in ["q", "k", "v", "o", "in", "out", "ln", "block"] {
                    n.add(
                        &format!("drift.{part}"),
                        Some(layer),
                        None,
                        None,
                        0.1 + depth(layer),
                    );
                }
            }
            for part in ["wte", "wpe", "ln_f"] {
                n.add(&format!("drift.{part}"), None, None, None, 0.1);
            }
        }
        "lens" => {
            for layer in 0..=LAYERS {
                n.add(
                    "lens.accuracy",
                    Some(layer),
                    None,
                    None,
                    0.5 + 0.45 * depth(layer),
                );
                n.add(
                    "lens.logit_difference",
                    Some(layer),
                    None,
                    None,
                    4.0 * depth(layer),
                );
            }
            for layer in 0..LAYERS {
                n.add("dla.attn", Some(layer), None, None, depth(layer));
                n.add("dla.mlp", Some(layer), None, None, depth(layer) / 2.0);
                for head in 0..HEADS {
                    for name in ["gate", "relevant", "irrelevant"] {
                        let name = format!("attention.{name}");
                        n.add(&name, Some(layer), Some(head), None, 0.3 * depth(head));
                    }
                }
            }
            n.metrics.push(Measured::of(
                "test_iid",
                STEPS,
                "lens.decision_depth",
                f64::NAN,
            ));
        }
        _ => {}
    }
    n.metrics
}

#[test]
fn every_question_has_its_figure() {
    let page = String::from_utf8(files(&inspected())["report.html"].clone()).unwrap();
    for title in [
        "What reverting and what ablating a block costs",
        "Reverting from the top and from the bottom",
        "Denoising after a change of the cue",
        "Denoising of single heads",
        "What can be decoded at the last position",
        "How alike networks represent the trials",
        "What parts of another network cost",
        "On the line between two networks",
        "How far the weights moved",
        "The answer as read from each depth",
        "What each block adds to the logit difference",
        "Attention from the last position",
    ] {
        assert!(page.contains(title), "no figure {title:?}");
    }
    // What failed and what is not available is said, with its reason.
    assert!(page.contains("failed (out_of_memory): seed 4"));
    assert!(page.contains("right in .900 of the trials"));
    assert!(page.contains("pretrained: seed 1, 2, 3, 4; scratch: seed 1, 2, 3, 4"));
}

#[test]
fn a_sweep_without_questions_says_nothing_of_them() {
    let page = String::from_utf8(files(&Fixture::default().selected())["report.html"].clone());
    assert!(!page.unwrap().contains("Inside the networks"));
}

#[test]
fn mechanisms_are_tidy_in_both_formats() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let results = inspected();
    let files = files(&results);
    let text = String::from_utf8(files["mechanisms.csv"].clone()).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "arm,seed,learning_rate,frozen,question,weights,step,split,layer,head,slot,metric,\
             value,job_key"
        )
    );
    let first = lines.next().unwrap();
    let start = "pretrained,1,0.0005,none,patching,final,300,test_iid,,,,patching.cue.solved";
    assert!(first.starts_with(start), "{first}");
    let numbers: usize = results
        .inspections
        .iter()
        .map(|run| run.metrics.len())
        .sum();
    assert_eq!(lines.count() + 1, numbers);

    let bytes = bytes::Bytes::from(files["mechanisms.parquet"].clone());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    let n: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(n, numbers);

    let jobs = String::from_utf8(files["inspections.csv"].clone()).unwrap();
    assert_eq!(jobs.lines().count() - 1, results.inspections.len());
    assert!(
        jobs.lines()
            .last()
            .unwrap()
            .contains(",failed,out_of_memory,")
    );
}

#[test]
fn the_order_in_which_answers_come_is_no_matter() {
    let calm = inspected();
    let mut turned = calm.clone();
    turned.inspections.reverse();
    turned.runs.reverse();
    assert_eq!(files(&calm), files(&turned));
}

#[test]
fn what_was_found_is_averaged_over_seeds_and_compared_within_them() {
    let a = analysed(&inspected());
    let mean = |arm: &str| {
        let cell = a.cells.iter().find(|c| c.arm == arm).unwrap();
        let blocks = cell
            .summaries
            .iter()
            .filter(|(id, _)| id.name == "reversion.block");
        let first = blocks.map(|(_, s)| s).next().unwrap();
        assert_eq!(first.values.len(), 4);
        first.estimate.as_ref().unwrap().mean
    };
    assert!(mean("scratch") > mean("pretrained") + 0.5);
    let family = |name: &str| {
        let compared = a.comparisons.iter().find(|c| c.metric.name == name);
        compared.expect("arms are compared in it").family.name()
    };
    assert_eq!(family("reversion.block"), "mechanism");
    assert_eq!(family("nll"), "exploratory");
}

/// The same asked at matched accuracy, where each seed stands at a step of its own;
/// seed 1 from scratch never gets there.
fn matched(at: &[&str]) -> SweepResults {
    let mut results = inspected();
    let asked = std::mem::take(&mut results.inspections);
    for at in at {
        for mut run in asked.clone() {
            let seed = run.point["seed"].as_u64().unwrap();
            if *at == "matched" {
                if seed == 1 && run.point["init"] == json!("scratch") {
                    continue;
                }
                let step = 100 + 20 * seed;
                run.key = JobKey::of(format!("matched {}", run.key).as_bytes());
                run.ordinal += 1000;
                run.point.insert(AT.into(), json!("matched"));
                run.point.insert(STEP.into(), json!(step));
                for m in &mut run.metrics {
                    (m.step, m.value) = (step, m.value / 2.0);
                }
            }
            results.inspections.push(run);
        }
    }
    results
}

/// The step that all seeds have in common, and the value by seed.
type Seen = (Option<u64>, Vec<(u64, f64)>);

/// The first block's reversion in some weights.
fn reverted(a: &Analysis, arm: &str, at: Moment) -> Option<Seen> {
    let cell = a.cells.iter().find(|c| c.arm == arm).unwrap();
    let mut here = cell.summaries.iter().filter(|(id, _)| {
        id.name == "reversion.block" && id.layer == Some(0) && id.weights == Some(at)
    });
    let (_, summary) = here.next()?;
    Some((summary.step, summary.values.clone()))
}

#[test]
fn matched_weights_are_averaged_over_all_seeds_whatever_their_steps() {
    let a = analysed(&matched(&["matched"]));
    let seeds = |arm: &str| -> Vec<u64> {
        let (step, values) = reverted(&a, arm, Moment::Matched).unwrap();
        assert_eq!(step, None);
        values.iter().map(|v| v.0).collect()
    };
    assert_eq!(seeds("pretrained"), [1, 2, 3, 4]);
    assert_eq!(seeds("scratch"), [2, 3, 4]);
    assert_eq!(reverted(&a, "pretrained", Moment::Final), None);
    let compared = |c: &&Comparison| {
        c.metric.name == "reversion.block" && c.metric.weights == Some(Moment::Matched)
    };
    let comparison = a.comparisons.iter().find(compared).unwrap();
    assert_eq!((comparison.pairs.len(), comparison.step), (3, None));
}

#[test]
fn final_and_matched_weights_stand_beside_each_other() {
    let results = matched(&["final", "matched"]);
    let a = analysed(&results);
    let of = |at| reverted(&a, "pretrained", at).unwrap();
    let ((step, last), (_, matched)) = (of(Moment::Final), of(Moment::Matched));
    assert_eq!(step, Some(STEPS));
    for (a, b) in last.iter().zip(&matched) {
        assert_eq!((a.0, a.1 / 2.0), *b);
    }
    // The final ones are what they are without the question about matched ones.
    let alone = analysed(&inspected());
    assert_eq!(
        reverted(&alone, "pretrained", Moment::Final),
        Some((step, last))
    );

    let files = files(&results);
    let rows = |file: &str, weights: &str| {
        let text = String::from_utf8(files[file].clone()).unwrap();
        let is_one = |l: &&str| l.contains("reversion.block") && l.ends_with(weights);
        text.lines().filter(is_one).count()
    };
    for weights in [",final", ",matched"] {
        assert_eq!(rows("cells.csv", weights), 2 * LAYERS as usize, "{weights}");
        assert_eq!(rows("comparisons.csv", weights), LAYERS as usize);
    }
    assert!(files.contains_key("figures/patching_1.svg"));
    assert!(files.contains_key("figures/patching_1_matched.svg"));
    let page = String::from_utf8(files["report.html"].clone()).unwrap();
    assert!(page.contains("costs, at matched accuracy"));
}

#[test]
fn what_one_seed_says_is_crossed_out() {
    let mut results = inspected();
    results.inspections.retain(|r| r.point["seed"] == json!(1));
    let files = files(&results);
    let svg = String::from_utf8(files["figures/patching_1.svg"].clone()).unwrap();
    // One stroke through every cell, and one in the legend.
    let cells = svg.matches(", n = 1</title>").count();
    assert!(cells > 100, "{cells}");
    assert_eq!(svg.matches("<line").count(), cells + 1);
}

#[test]
fn captions_name_interval_method_and_correction() {
    let page = |seeds| {
        let results = inspected_over(seeds);
        String::from_utf8(files(&results)["report.html"].clone()).unwrap()
    };
    let few = page(4);
    assert!(few.contains(
        "pointwise 95 % interval (Student's t), no correction: fewer than 6 seeds; thin"
    ));
    assert!(!few.contains("simultaneous"));
    let more = page(7);
    assert!(more.contains("simultaneous 95 % over each curve (max-|t| sign flips); thin"));
}

#[test]
fn maps_are_compared_between_arms_and_between_seeds() {
    let files = files(&inspected());
    let text = String::from_utf8(files["map_similarity.csv"].clone()).unwrap();
    let is_cue = |l: &&str| l.contains(",patching.cue.denoising.resid_pre,");
    let rows: Vec<&str> = text.lines().filter(is_cue).collect();
    let arms = [
        "pretrained,pretrained,",
        "pretrained,scratch,",
        "scratch,scratch,",
    ];
    assert_eq!(rows.len(), arms.len());
    let fields = |row: &str| row.split(',').map(str::to_owned).collect::<Vec<_>>();
    for (row, arms) in rows.iter().zip(arms) {
        assert!(row.starts_with(arms), "{row}");
        let [positions, spearman, _, pairs] = [6, 7, 8, 9].map(|i| fields(row)[i].clone());
        assert_eq!(positions, (LAYERS as usize * SLOTS.len()).to_string());
        let across = arms == "pretrained,scratch,";
        assert_eq!(spearman.is_empty(), !across);
        assert_eq!(pairs, if across { "12" } else { "6" });
    }
    let report = String::from_utf8(files["report.md"].clone()).unwrap();
    assert!(report.contains("How alike patching maps are"));
}

#[test]
fn what_was_found_inside_networks_is_no_learning_curve() {
    let mut results = inspected();
    let drift = |run: &&Run| run.point[QUESTION] == json!("drift");
    let asked: Vec<Run> = results.inspections.iter().filter(drift).cloned().collect();
    for (step, mut run) in [0, 100]
        .iter()
        .flat_map(|s| asked.iter().map(move |r| (*s, r.clone())))
    {
        run.key = JobKey::of(format!("{step} {}", run.key).as_bytes());
        run.ordinal += 1000 + step;
        run.point.insert(AT.into(), json!("step"));
        run.point.insert(STEP.into(), json!(step));
        for m in &mut run.metrics {
            (m.step, m.split) = (step, "weights".to_owned());
        }
        results.inspections.push(run);
    }
    let files = files(&results);
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    assert!(text("mechanisms.csv").contains(",drift,step,100,"));
    assert!(!text("learning_curves.csv").contains("drift."));
}

/// Each network stands in two pairs of seeds, so pairs are no replicates.
#[test]
fn pairs_of_seeds_are_not_taken_for_independent() {
    let results = inspected_over(7);
    let a = analysed(&results);
    let cell = a.cells.iter().find(|c| c.arm == "pretrained").unwrap();
    let method = |name: &str| {
        let of = cell.summaries.iter().filter(|(id, _)| id.name == name);
        of.map(|(_, s)| s.estimate.as_ref().unwrap().method.name())
            .collect::<std::collections::BTreeSet<_>>()
    };
    for name in [
        "cka.ft_ft",
        "rsa.ft_ft",
        "transplant.ft_ft.block",
        "interpolation.ft_ft.loss",
    ] {
        assert_eq!(method(name), ["jackknife_t"].into(), "{name}");
    }
    for name in ["cka.ft_sc", "transplant.pt_ft.block", "reversion.block"] {
        assert_eq!(method(name), ["student_t"].into(), "{name}");
    }
    let page = String::from_utf8(files(&results)["report.html"].clone()).unwrap();
    let words = "pointwise 95 % interval (leave-one-seed-out jackknife, Student's t), no \
                 correction: pairs of neighbouring seeds share a network";
    assert!(page.contains(words));
}
