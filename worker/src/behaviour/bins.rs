//! Accuracy and choices by how strong the evidence of a trial is.

use std::collections::BTreeMap;

use seedbed_proto::result::Metric;

use super::{Mean, Readout, hit};
use crate::behaviour::psychometric::fit::logistic;
use crate::task::EvalSplit;

/// Measures by bins of the differences, for splits whose trials have evidence:
///
/// - `accuracy` and `vocab_accuracy` with slot
///   `CUE.CONGRUENCY.relBIN.irrBIN` ("color.incongruent.rel1-4.irr17-50");
/// - `psychometric.p_right`, the mean soft choice σ(Δ), with slot `CUE.rel.BIN` or
///   `CUE.irr.BIN`, BIN with the sign of the evidence for right ("color.rel.-17-50",
///   "motion.irr.+1-4", "motion.irr.0").
///
/// A trial with a difference between two bins is in none of them.
pub fn binned(
    split: &EvalSplit,
    bins: &[[u32; 2]],
    answers: [u32; 2],
    rows: &[Readout],
    step: u64,
) -> Vec<Metric> {
    let Some(evidence) = &split.evidence else {
        return vec![];
    };
    let mut accuracy: BTreeMap<String, [Mean; 2]> = BTreeMap::new();
    let mut right: BTreeMap<String, Mean> = BTreeMap::new();
    for (at, &[rel, irr]) in evidence.iter().enumerate() {
        let (row, trial, cue) = (&rows[at], &split.trials[at], &split.contexts[at]);
        let (Some(bin_rel), Some(bin_irr)) = (bin(bins, rel), bin(bins, irr)) else {
            continue;
        };
        let congruency = match trial.congruent {
            Some(true) => "congruent",
            Some(false) => "incongruent",
            None => "neutral",
        };
        let stratum = format!("{cue}.{congruency}.rel{bin_rel}.irr{bin_irr}");
        let [two_way, vocab] = accuracy.entry(stratum).or_default();
        two_way.add(hit(row, trial.right));
        vocab.add(f64::from(row.argmax == answers[usize::from(trial.right)]));
        for (dimension, x, bin) in [("rel", rel, bin_rel), ("irr", irr, bin_irr)] {
            let sign = match x {
                _ if x > 0.0 => "+",
                _ if x < 0.0 => "-",
                _ => "",
            };
            let of = right.entry(format!("{cue}.{dimension}.{sign}{bin}"));
            of.or_default().add(logistic(row.delta()));
        }
    }
    let metric = |name: &str, slot: &str, mean: Mean| Metric {
        slot: Some(slot.to_owned()),
        ..Metric::of(split.name, step, name, mean.value())
    };
    let mut metrics = vec![];
    for (stratum, [two_way, vocab]) in &accuracy {
        metrics.push(metric("accuracy", stratum, *two_way));
        metrics.push(metric("vocab_accuracy", stratum, *vocab));
    }
    let choices = right.iter();
    metrics.extend(choices.map(|(slot, mean)| metric("psychometric.p_right", slot, *mean)));
    metrics
}

/// The bin of a difference: "1-4", or "0" for none; `None` between bins.
fn bin(bins: &[[u32; 2]], x: f64) -> Option<String> {
    if x == 0.0 {
        return Some("0".to_owned());
    }
    let holds = |[low, high]: &&[u32; 2]| (f64::from(*low)..=f64::from(*high)).contains(&x.abs());
    let [low, high] = bins.iter().find(holds)?;
    Some(format!("{low}-{high}"))
}
