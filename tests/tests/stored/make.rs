//! The results of the stored study: logistic learning curves, and layers in which
//! reuse was planted; different in each seed, the same every time.

use std::path::Path;

use seedbed_coordinator::results::{Point, label};
use seedbed_proto::result::{JobResult, Metric};
use seedbed_proto::seed::{Purpose, derive_seed};

/// Arms with and without frozen blocks, two rates, the re-initialised thirds.
const SWEEP: &str = "\
name: study
model: {base: bases/tiny}
task: {range: [0, 99], train: online}
train: {steps: 300, eval_every: 50}
axes:
  seed: {count: 8}
  init: [pretrained, scratch]
  frozen: [none, {prefix: 2}]
  learning_rate: [5.0e-4, 1.0e-3]
include:
  - frozen: none
    init: [shuffled, {reinit: {first: 1}}, {reinit: {last: 1}}]
keep: {weights: none}
";

/// Writes the database into `state`.
pub async fn make(state: &Path) -> anyhow::Result<u64> {
    seedbed_tests::stored::fill(state, SWEEP, result).await
}

fn result(point: &Point) -> Option<JobResult> {
    let arm = label(&point["init"]);
    let frozen = label(&point["frozen"]);
    let seed = point["seed"].as_u64()?;
    let rate = point["learning_rate"].as_f64()?;
    if arm == "scratch" && frozen == "prefix_2" && seed == 5 {
        return None;
    }
    let luck = |what: &str| {
        let name = format!("{arm} {frozen} {seed} {rate} {what}");
        f64::from(derive_seed(0, Purpose::Resample, &name)[0]) / 255.0 - 0.5
    };
    let middle = match arm.as_str() {
        "pretrained" => 90.0,
        "reinit_first_1" => 100.0,
        "reinit_last_1" => 150.0,
        "shuffled" => 160.0,
        _ => 180.0,
    };
    let slow = if frozen == "none" { 0.0 } else { 30.0 };
    let off = if rate > 7e-4 { 25.0 } else { 0.0 };
    let top = match arm.as_str() {
        "pretrained" => 0.99,
        "reinit_last_1" => 0.93,
        _ => 0.97,
    } + 0.015 * luck("top");
    let middle = middle + slow + off + 40.0 * luck("middle");
    let mut metrics = Vec::new();
    let mut measure = |split: &str, step: u64| {
        let learnt = 1.0 / (1.0 + (-(step as f64 - middle) / 18.0).exp());
        let wobble = 0.01 * luck(&format!("{split} {step}"));
        let incongruent = (0.5 + (top - 0.5) * learnt + wobble).clamp(0.0, 1.0);
        let accuracy = (0.55 + (top - 0.54) * learnt + wobble).clamp(0.0, 1.0);
        metrics.push(Metric::of(split, step, "accuracy", accuracy));
        metrics.push(Metric::of(split, step, "incongruent_accuracy", incongruent));
        metrics.push(Metric::of(split, step, "nll", 0.7 - 0.6 * learnt + wobble));
        accuracy
    };
    let mut matched = None;
    for step in (0..=300).step_by(50) {
        let accuracy = measure("val", step);
        if accuracy >= 0.95 && matched.is_none() {
            matched = Some(step);
        }
    }
    measure("test_iid", 300);
    for (split, shift) in [("val", 0.0), ("test_iid", 0.002)] {
        for (shortcut, value) in [("one_dimension", 0.5), ("tens_digit", 0.85)] {
            let name = format!("floor.{shortcut}.incongruent_accuracy");
            metrics.push(Metric::of(split, 300, &name, value + shift));
        }
    }
    if frozen == "none" && (arm == "pretrained" || arm == "scratch") {
        for step in matched.into_iter().filter(|s| *s < 300).chain([300]) {
            metrics.extend(layers(&arm, step, &luck));
        }
    }
    Some(JobResult {
        metrics,
        artifacts: vec![],
        notes: vec![],
    })
}

/// R and A of each block.
fn layers(arm: &str, step: u64, luck: &impl Fn(&str) -> f64) -> Vec<Metric> {
    let reuse = if arm == "pretrained" {
        [0.25, 0.45, 0.7, 0.8]
    } else {
        [0.4, 0.42, 0.38, 0.41]
    };
    let mut metrics = Vec::new();
    for (layer, u) in reuse.iter().enumerate() {
        let ablation = 0.6 + 0.08 * luck(&format!("A {layer} {step}"));
        let reversion = (1.0 - u) * ablation + 0.05 * luck(&format!("R {layer} {step}"));
        for (name, value) in [("reversion.block", reversion), ("ablation.block", ablation)] {
            let mut m = Metric::of("test_iid", step, name, value);
            m.layer = Some(layer as u32);
            metrics.push(m);
        }
    }
    metrics
}
