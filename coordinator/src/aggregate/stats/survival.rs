//! Kaplan and Meier's survival curve of right-censored steps: seeds that had not
//! passed a threshold when training ended count as "later than that", neither
//! dropped nor taken as passed.

use statrs::distribution::{ContinuousCDF, Normal};

use super::CONFIDENCE;

/// When one replicate passed, or up to when it had not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration {
    /// Step of the event, or of the last look.
    pub step: u64,
    /// Whether the event came; without it the step is a lower bound.
    pub passed: bool,
}

/// The curve at one step at which events came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurvivalStep {
    /// The step.
    pub step: u64,
    /// Replicates that had neither passed nor been lost from sight before.
    pub at_risk: usize,
    /// Events at this step.
    pub events: usize,
    /// Share that has not passed by this step: Π (1 − events/at risk).
    pub survival: f64,
    /// Greenwood's standard error of it; zero where nobody is left.
    pub se: f64,
}

/// The curve, ascending in step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survival {
    /// One for each step at which an event came.
    pub steps: Vec<SurvivalStep>,
}

/// The curve of these replicates (Kaplan and Meier 1958). A replicate that is
/// lost from sight at the very step of an event counts as at risk in it.
pub fn kaplan_meier(durations: &[Duration]) -> Survival {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable_by_key(|d| d.step);
    let (mut survival, mut hazard) = (1.0, 0.0);
    let mut steps = Vec::new();
    let mut rest = sorted.as_slice();
    while let Some(first) = rest.first() {
        let here = rest.partition_point(|d| d.step == first.step);
        let (at_risk, events) = (rest.len(), rest[..here].iter().filter(|d| d.passed).count());
        rest = &rest[here..];
        if events == 0 {
            continue;
        }
        let (r, e) = (at_risk as f64, events as f64);
        survival *= 1.0 - e / r;
        // Where all pass at once the sum has no value, and the error is zero.
        hazard += e / (r * (r - e));
        steps.push(SurvivalStep {
            step: first.step,
            at_risk,
            events,
            survival,
            se: if at_risk == events {
                0.0
            } else {
                survival * f64::sqrt(hazard)
            },
        });
    }
    Survival { steps }
}

impl Survival {
    /// The first step by which more than half have passed; none if that never
    /// came: the median then lies beyond the last look.
    pub fn median(&self) -> Option<u64> {
        // Shares are products of fractions: half may come out a bit below.
        let found = self.steps.iter().find(|s| s.survival < 0.5 - 1e-12);
        found.map(|s| s.step)
    }

    /// The 95 % interval of the median by Brookmeyer and Crowley (1982), on the
    /// log(−log) scale: the steps at which a survival of one half is not
    /// rejected. An open end is none.
    pub fn median_interval(&self) -> (Option<u64>, Option<u64>) {
        let z = Normal::standard().inverse_cdf(0.5 + CONFIDENCE / 2.0);
        let scale = |s: f64| (-s.ln()).ln();
        let inside = |s: &SurvivalStep| {
            let slope = (1.0 / (s.survival * s.survival.ln())).abs();
            let distance = (scale(s.survival) - scale(0.5)).abs();
            s.survival > 0.0 && s.survival < 1.0 && distance <= z * slope * s.se
        };
        let first = self.steps.iter().position(inside);
        let last = self.steps.iter().rposition(inside);
        let at = |i: usize| self.steps.get(i).map(|s| s.step);
        (first.and_then(at), last.and_then(|i| at(i + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(steps: &[(u64, bool)]) -> Survival {
        let durations: Vec<_> = steps
            .iter()
            .map(|(step, passed)| Duration {
                step: *step,
                passed: *passed,
            })
            .collect();
        kaplan_meier(&durations)
    }

    #[test]
    fn without_censoring_it_is_the_upper_median() {
        let check = |steps: &[u64], want: u64| {
            let all: Vec<_> = steps.iter().map(|s| (*s, true)).collect();
            assert_eq!(curve(&all).median(), Some(want), "{steps:?}");
        };
        check(&[60, 90, 30], 60);
        check(&[60, 90, 30, 120], 90);
        check(&[60, 60, 60], 60);
        check(&[10, 20, 30, 40, 50, 60], 40);
    }

    #[test]
    fn the_median_is_open_when_half_never_passed() {
        let half = curve(&[(60, true), (300, false), (90, true), (300, false)]);
        assert_eq!(half.median(), None);
        assert_eq!(curve(&[(300, false); 4]).steps, []);
        assert_eq!(curve(&[]).median(), None);
        assert_eq!(curve(&[]).median_interval(), (None, None));
    }

    #[test]
    fn censoring_before_the_end_moves_later_steps() {
        // By hand: at 10, 1 of 4; one lost at 15; at 20, 1 of 2.
        let got = curve(&[(10, true), (15, false), (20, true), (30, false)]);
        assert_eq!(got.steps[0].survival, 0.75);
        assert_eq!(got.steps[1].survival, 0.375);
        assert_eq!((got.steps[1].at_risk, got.median()), (2, Some(20)));
    }
}
