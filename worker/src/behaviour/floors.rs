//! What a network would reach by a shortcut, measured on the very same trials.

use seedbed_proto::result::Metric;

use super::Mean;
use crate::task::EvalSplit;

/// `floor.<shortcut>.accuracy` and, where the split has incongruent trials,
/// `floor.<shortcut>.incongruent_accuracy`, for each shortcut of the task. They
/// belong to the split, not to a network, and so stand at step 0.
pub fn floors(split: &EvalSplit) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for (shortcut, hits) in &split.shortcuts {
        let [mut all, mut incongruent] = [Mean::default(); 2];
        for (&hit, trial) in hits.iter().zip(&split.trials) {
            all.add(f64::from(hit));
            if trial.congruent == Some(false) {
                incongruent.add(f64::from(hit));
            }
        }
        let mut push = |measure: &str, mean: Mean| {
            let name = format!("floor.{shortcut}.{measure}");
            metrics.push(Metric::of(split.name, 0, &name, mean.value()));
        };
        push("accuracy", all);
        if incongruent.count > 0 {
            push("incongruent_accuracy", incongruent);
        }
    }
    metrics
}
