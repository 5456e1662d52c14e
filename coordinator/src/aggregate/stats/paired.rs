//! The paired comparison: differences within seeds.

use statrs::function::gamma::ln_gamma;

use super::equivalence::MARGIN;
use super::{CONFIDENCE, Equivalence, Estimate, estimate_at, mean, sd, signflip, tost};

/// What is known of the measure whose differences are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// A network is better for less of it: losses, costs.
    pub less_is_better: bool,
    /// A difference of so much or less counts for nothing; none where no such
    /// margin was fixed beforehand.
    pub margin: Option<f64>,
}

impl Scale {
    /// An accuracy: more is better, and two points or less are no loss.
    pub const ACCURACY: Self = Self {
        less_is_better: false,
        margin: Some(MARGIN),
    };
}

/// What the differences within pairs say.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Mean difference with its interval.
    pub difference: Estimate,
    /// Two-sided sign-flip p.
    pub p: f64,
    /// t statistic; none without spread.
    pub t: Option<f64>,
    /// Hedges' g_z: mean over standard deviation of the differences, corrected
    /// for small n; none without spread or below three pairs.
    pub g_z: Option<f64>,
    /// Share of pairs in which the first is better, ties counted half: greater, or
    /// less where less is better.
    pub p_improve: f64,
    /// Whether the difference lies within the margin; none without spread, or
    /// without a margin.
    pub equivalence: Option<Equivalence>,
}

/// Compares accuracies by the differences (first − second) of each pair; `None`
/// below two pairs.
pub fn paired(differences: &[f64], stream: &str) -> Option<Paired> {
    paired_at(differences, stream, CONFIDENCE, Scale::ACCURACY)
}

/// The same of any measure, with an interval of another confidence.
pub fn paired_at(
    differences: &[f64],
    stream: &str,
    confidence: f64,
    scale: Scale,
) -> Option<Paired> {
    if differences.len() < 2 {
        return None;
    }
    let n = differences.len() as f64;
    let centre = mean(differences)?;
    let spread = sd(differences).filter(|s| *s > 0.0);
    // Towards the better side; the difference itself keeps its sign.
    let sign = if scale.less_is_better { -1.0 } else { 1.0 };
    let gains: Vec<f64> = differences.iter().map(|d| sign * d).collect();
    let wins: f64 = gains
        .iter()
        .map(|d| match d.partial_cmp(&0.0) {
            Some(std::cmp::Ordering::Greater) => 1.0,
            Some(std::cmp::Ordering::Equal) => 0.5,
            _ => 0.0,
        })
        .sum();
    Some(Paired {
        difference: estimate_at(differences, stream, confidence)?,
        p: signflip::p_value(differences, stream)?,
        t: spread.map(|s| centre / (s / n.sqrt())),
        g_z: spread
            .zip(small_sample_correction(n - 1.0))
            .map(|(s, j)| j * centre / s),
        p_improve: wins / n,
        equivalence: scale.margin.and_then(|margin| tost(&gains, margin)),
    })
}

/// Hedges' J, by its exact formula: Γ(df/2) / (√(df/2)·Γ((df−1)/2)). None at one
/// degree of freedom, where Γ(0) stands below.
fn small_sample_correction(df: f64) -> Option<f64> {
    (df > 1.0).then(|| (ln_gamma(df / 2.0) - ln_gamma((df - 1.0) / 2.0)).exp() / (df / 2.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    // numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0: ttest_1samp's statistic and confidence_interval; g_z = exact J · mean/std(ddof=1).
    #[test]
    fn agrees_with_scipy() {
        let check = |d: &[f64], want: [f64; 6]| {
            let got = paired(d, "").unwrap();
            let (low, high) = got.difference.interval.unwrap();
            let got = [
                got.t.unwrap(),
                low,
                high,
                got.g_z.unwrap(),
                got.p_improve,
                got.p,
            ];
            for (g, w) in got.iter().zip(want) {
                assert!((g - w).abs() < 1e-9, "got {got:?}, want {want:?}");
            }
        };
        check(
            &[0.31, -0.02, 0.18, 0.4, 0.05, 0.22],
            [
                2.9648919736787076,
                0.025268686647999028,
                0.35473131335200103,
                1.017652361211104,
                0.8333333333333334,
                0.0625,
            ],
        );
        check(
            &[0.02, -0.05, 0.01, -0.03, 0.04, -0.01, 0.0, 0.03],
            [
                0.11613559280092199,
                -0.024201114883942047,
                0.02670111488394205,
                0.036469729167702684,
                0.5625,
                1.0,
            ],
        );
    }

    #[test]
    fn where_less_is_better_a_decrease_is_the_gain() {
        let d = [-0.31, 0.02, -0.18, -0.4, -0.05, -0.22];
        let at = |less_is_better, margin| {
            let scale = Scale {
                less_is_better,
                margin,
            };
            paired_at(&d, "", CONFIDENCE, scale).unwrap()
        };
        let (more, less) = (at(false, Some(0.02)), at(true, Some(0.02)));
        assert!((more.p_improve - 1.0 / 6.0).abs() < 1e-12);
        assert!((less.p_improve - 5.0 / 6.0).abs() < 1e-12);
        // What is said of the difference itself has no better side.
        assert_eq!((more.t, more.g_z, more.p), (less.t, less.g_z, less.p));
        assert_eq!(more.difference, less.difference);
        let (more, less) = (more.equivalence.unwrap(), less.equivalence.unwrap());
        assert!(more.p_lower > 0.95 && less.p_lower < 0.05);
        assert!((more.p_lower - less.p_upper).abs() < 1e-12);
        assert!((more.p() - less.p()).abs() < 1e-12);
        assert_eq!(at(true, None).equivalence, None);
    }

    #[test]
    fn without_spread_t_and_g_are_not_available() {
        let got = paired(&[0.1, 0.1, 0.1], "").unwrap();
        assert_eq!(
            (got.t, got.g_z, got.difference.interval),
            (None, None, None)
        );
        assert_eq!(got.p_improve, 1.0);
        assert_eq!(got.p, 0.25);
        assert_eq!(paired(&[0.0; 4], "").unwrap().p_improve, 0.5);
        assert_eq!(paired(&[0.3], ""), None);
    }
}
