//! How fast a sweep goes, from where it stood a while ago.
//!
//! What workers say is their speed at this moment. It jumps: jobs differ in the cost
//! of a step, and one that evaluates makes none.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples that are kept: a minute's.
const KEPT: usize = 13;

/// Where a sweep stood, at equal distances in time.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    /// Steps that were left, the newest last.
    left: VecDeque<u64>,
}

impl Pace {
    /// Nothing is known yet; there will be a sample each `every`.
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            left: VecDeque::with_capacity(KEPT),
        }
    }

    /// Takes the next sample.
    pub fn sample(&mut self, steps_left: u64) {
        // More than before: work has come, or come back.
        if self.left.back().is_some_and(|before| steps_left > *before) {
            self.left.clear();
        }
        if self.left.len() == KEPT {
            self.left.pop_front();
        }
        self.left.push_back(steps_left);
    }

    /// Steps a second over the samples that are kept; none before the second, or
    /// while nothing moves.
    pub fn steps_per_sec(&self) -> Option<f64> {
        let made = self.left.front()? - self.left.back()?;
        let secs = self.every.as_secs_f64() * (self.left.len() - 1) as f64;
        (made > 0).then(|| made as f64 / secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_minute() {
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(pace.steps_per_sec(), None);
        pace.sample(10_000);
        assert_eq!(pace.steps_per_sec(), None, "one sample has no pace");
        pace.sample(10_000);
        assert_eq!(pace.steps_per_sec(), None, "nothing moved");
        pace.sample(9_900);
        assert_eq!(pace.steps_per_sec(), Some(10.0));
        for i in 1..=20 {
            pace.sample(9_900 - 200 * i);
        }
        assert_eq!(
            pace.steps_per_sec(),
            Some(40.0),
            "what was slow is forgotten"
        );
        pace.sample(20_000);
        assert_eq!(pace.steps_per_sec(), None, "new work has come");
    }
}
