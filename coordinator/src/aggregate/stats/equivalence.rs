//! "No loss": two one-sided tests (Schuirmann 1987).

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{mean, sd};

/// A difference of two points of accuracy or less is no loss.
pub const MARGIN: f64 = 0.02;

/// Whether a mean difference lies within ± a margin; differences are taken so that
/// a positive one is a gain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Equivalence {
    /// The margin.
    pub margin: f64,
    /// One-sided p of "the mean is at or below −margin": small shows that no
    /// more than the margin is lost.
    pub p_lower: f64,
    /// One-sided p of "the mean is at or above +margin".
    pub p_upper: f64,
}

impl Equivalence {
    /// p of the whole claim: the larger of the two.
    pub fn p(&self) -> f64 {
        self.p_lower.max(self.p_upper)
    }
}

/// Student's t tests of the mean against both ends of the margin; `None` below
/// two values or without spread, where a t statistic says nothing.
pub fn tost(differences: &[f64], margin: f64) -> Option<Equivalence> {
    let spread = sd(differences).filter(|s| *s > 0.0)?;
    let n = differences.len() as f64;
    let centre = mean(differences)?;
    let student = StudentsT::new(0.0, 1.0, n - 1.0).ok()?;
    let t = |from: f64| (centre - from) / (spread / n.sqrt());
    Some(Equivalence {
        margin,
        p_lower: student.sf(t(-margin)),
        p_upper: student.cdf(t(margin)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_scatter_about_zero_is_no_loss_and_a_shift_is_one() {
        let small = [0.004, -0.003, 0.002, -0.001, 0.003, -0.004];
        assert!(tost(&small, MARGIN).unwrap().p() < 0.001);
        let shifted = small.map(|d| d - 0.03);
        let got = tost(&shifted, MARGIN).unwrap();
        assert!(got.p_lower > 0.99 && got.p_upper < 0.001);
        assert_eq!(tost(&[0.001; 5], MARGIN), None);
        assert_eq!(tost(&[0.001], MARGIN), None);
    }
}
