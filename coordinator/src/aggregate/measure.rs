//! What is known of a measure by its name: which side of it is the better one, and
//! whether a margin of "no loss" was fixed for it.

use super::stats::Scale;

/// Measures of which less is better, by the last part of their names
/// (`interpolation.ft_ft.loss`).
const LESS_IS_BETTER: [&str; 8] = [
    "loss",
    "nll",
    "congruency_cost",
    "intrusion",
    "barrier",
    "lapse_left",
    "lapse_right",
    "threshold_75",
];

/// Whether a network is better for less of it.
pub(super) fn less_is_better(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    LESS_IS_BETTER.contains(&last)
}

/// How differences in it are judged. The margin is two points of accuracy, so other
/// measures have none.
pub(super) fn scale(name: &str) -> Scale {
    if name.ends_with("accuracy") {
        Scale::ACCURACY
    } else {
        Scale {
            less_is_better: less_is_better(name),
            margin: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_costs_are_better_when_less() {
        for name in ["nll", "congruency_cost", "interpolation.ft_ft.loss"] {
            assert!(less_is_better(name), "{name}");
            assert_eq!(scale(name).margin, None, "{name}");
        }
        for name in ["accuracy", "vocab_accuracy", "probe.cue.accuracy"] {
            assert_eq!(scale(name), Scale::ACCURACY, "{name}");
        }
        for name in ["answer_mass", "logit_difference", "gating_index"] {
            assert!(!less_is_better(name), "{name}");
            assert_eq!(scale(name).margin, None, "{name}");
        }
    }
}
