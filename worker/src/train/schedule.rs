//! The learning rate of each update: warm-up, then constant, line or cosine.

use std::f64::consts::PI;

use seedbed_proto::job::{Optim, Schedule};

/// The rate of update number `step`, counted from 0.
///
/// The warm-up rises in a line and reaches the peak with update `warmup - 1`,
/// so its first update is not wasted on a rate of 0; the decays would reach 0 at
/// update `steps`, the first that is not made, for the same reason.
///
/// # Panics
/// Never for `step < steps`; in debug builds otherwise.
pub fn learning_rate(optim: &Optim, step: u64) -> f64 {
    debug_assert!(step < optim.steps, "no update {step} of {}", optim.steps);
    if step < optim.warmup {
        return optim.learning_rate * (step + 1) as f64 / optim.warmup as f64;
    }
    let done = (step - optim.warmup) as f64 / (optim.steps - optim.warmup) as f64;
    let share = match optim.schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => 1.0 - done,
        Schedule::Cosine => 0.5 * (1.0 + (PI * done).cos()),
    };
    optim.learning_rate * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests_support::optim;

    fn check(schedule: Schedule, warmup: u64, steps: u64, expected: &[(u64, f64)]) {
        let optim = Optim {
            schedule,
            warmup,
            steps,
            learning_rate: 2.0,
            ..optim()
        };
        for &(step, rate) in expected {
            let actual = learning_rate(&optim, step);
            assert!(
                (actual - rate).abs() < 1e-12,
                "{schedule:?}, warm-up {warmup} of {steps}, step {step}: {actual}, not {rate}"
            );
        }
    }

    #[test]
    fn rates() {
        check(Schedule::Constant, 0, 10, &[(0, 2.0), (9, 2.0)]);
        check(
            Schedule::Constant,
            4,
            10,
            &[(0, 0.5), (1, 1.0), (3, 2.0), (4, 2.0), (9, 2.0)],
        );
        check(
            Schedule::Linear,
            2,
            12,
            &[(0, 1.0), (1, 2.0), (2, 2.0), (7, 1.0), (11, 0.2)],
        );
        check(
            Schedule::Cosine,
            0,
            4,
            &[(0, 2.0), (2, 1.0), (3, 1.0 - 0.5_f64.sqrt())],
        );
        // All warm-up: the decay never starts.
        check(Schedule::Cosine, 5, 5, &[(0, 0.4), (4, 2.0)]);
        check(Schedule::Linear, 100, 2, &[(0, 0.02), (1, 0.04)]);
    }
}
