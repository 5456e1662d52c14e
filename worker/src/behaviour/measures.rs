//! Accuracy and its companions on one evaluation split.

use std::collections::BTreeMap;

use seedbed_proto::result::Metric;

use super::{Mean, hit};
use crate::task::EvalSplit;

/// What is read from the last-position logits of one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readout {
    /// Logit of the left answer.
    pub left: f32,
    /// Logit of the right answer.
    pub right: f32,
    /// Logarithm of the sum of exponentials of all logits.
    pub log_z: f32,
    /// Token with the largest logit.
    pub argmax: u32,
}

impl Readout {
    /// Δ = logit(right) − logit(left).
    pub fn delta(&self) -> f64 {
        f64::from(self.right) - f64::from(self.left)
    }
}

/// Measures behaviour on a split.
///
/// - `accuracy`, `incongruent_accuracy`, `congruent_accuracy`: two-way, 1 where
///   s·Δ > 0, one half where the two logits are equal;
/// - `congruency_cost`: congruent − incongruent;
/// - `vocab_accuracy`: the answer has the largest logit of all tokens;
/// - `answer_mass`: mean P(left) + P(right); `nll`: mean −log P(answer);
/// - `logit_difference`: mean s·Δ;
/// - `accuracy` and `vocab_accuracy` with a stratum `context.congruency`
///   ("color.incongruent").
///
/// A measure of which the split has no trial is left out.
///
/// # Panics
/// If there is not one readout for each trial: a bug of the caller.
pub fn measure(split: &EvalSplit, answers: [u32; 2], rows: &[Readout], step: u64) -> Vec<Metric> {
    assert_eq!(
        rows.len(),
        split.trials.len(),
        "one readout for each trial of {}",
        split.name
    );
    let [mut accuracy, mut vocab, mut mass, mut nll, mut difference] = [Mean::default(); 5];
    let [mut congruent, mut incongruent] = [Mean::default(); 2];
    let mut strata: BTreeMap<String, [Mean; 2]> = BTreeMap::new();

    for ((row, trial), context) in rows.iter().zip(&split.trials).zip(&split.contexts) {
        let (left, right, log_z) = (
            f64::from(row.left),
            f64::from(row.right),
            f64::from(row.log_z),
        );
        let (chosen, other) = if trial.right {
            (right, left)
        } else {
            (left, right)
        };
        let hit = hit(row, trial.right);
        let named = f64::from(row.argmax == answers[usize::from(trial.right)]);
        accuracy.add(hit);
        let stratum = match trial.congruent {
            Some(true) => {
                congruent.add(hit);
                format!("{context}.congruent")
            }
            Some(false) => {
                incongruent.add(hit);
                format!("{context}.incongruent")
            }
            None => (*context).to_owned(),
        };
        let [of_two, of_all] = strata.entry(stratum).or_default();
        of_two.add(hit);
        of_all.add(named);
        vocab.add(named);
        mass.add((left - log_z).exp() + (right - log_z).exp());
        nll.add(log_z - chosen);
        difference.add(chosen - other);
    }

    let whole = |name: &str, value: f64| Metric::of(split.name, step, name, value);
    let mut metrics = vec![whole("accuracy", accuracy.value())];
    if incongruent.count > 0 {
        metrics.push(whole("incongruent_accuracy", incongruent.value()));
    }
    if congruent.count > 0 {
        metrics.push(whole("congruent_accuracy", congruent.value()));
    }
    if incongruent.count > 0 && congruent.count > 0 {
        metrics.push(whole(
            "congruency_cost",
            congruent.value() - incongruent.value(),
        ));
    }
    metrics.push(whole("vocab_accuracy", vocab.value()));
    metrics.push(whole("answer_mass", mass.value()));
    metrics.push(whole("nll", nll.value()));
    metrics.push(whole("logit_difference", difference.value()));
    for (stratum, [of_two, of_all]) in strata {
        for (name, mean) in [("accuracy", of_two), ("vocab_accuracy", of_all)] {
            metrics.push(Metric {
                slot: Some(stratum.clone()),
                ..whole(name, mean.value())
            });
        }
    }
    metrics
}
