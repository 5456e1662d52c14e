//! Location of one sample: mean with its interval, median, interquartile mean.

use std::sync::OnceLock;

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{BOOTSTRAP_FROM, CONFIDENCE, bootstrap};

/// How an interval was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Student's t on n−1 degrees of freedom.
    StudentT,
    /// Bias-corrected and accelerated bootstrap of the mean.
    Bca,
    /// Joint bootstrap over seeds: its standard error with Student's t.
    JointT,
    /// Joint bootstrap over seeds, bias-corrected and accelerated.
    JointBca,
    /// Leave-one-out jackknife over what pairs are made of: its standard error with
    /// Student's t.
    JackknifeT,
}

impl Method {
    /// The method's name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StudentT => "student_t",
            Self::Bca => "bca_bootstrap",
            Self::JointT => "joint_bootstrap_t",
            Self::JointBca => "joint_bca_bootstrap",
            Self::JackknifeT => "jackknife_t",
        }
    }

    /// The method in words, for captions.
    pub const fn words(self) -> &'static str {
        match self {
            Self::StudentT => "Student's t",
            Self::Bca => "BCa bootstrap, 10,000 resamples",
            Self::JointT => {
                "joint bootstrap over seeds, 10,000 resamples, its error with Student's t"
            }
            Self::JointBca => "joint BCa bootstrap over seeds, 10,000 resamples",
            Self::JackknifeT => "leave-one-seed-out jackknife, Student's t",
        }
    }
}

/// The mean of a sample and how sure it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Replicates.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Ends of its interval, 95 % unless said otherwise; none for a single replicate or zero spread.
    pub interval: Option<(f64, f64)>,
    /// How the interval is made at this n.
    pub method: Method,
    /// Standard deviation with n−1; none for a single replicate.
    pub sd: Option<f64>,
    /// Median.
    pub median: f64,
    /// Mean of the middle half.
    pub iqm: f64,
}

/// Arithmetic mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation with n−1; `None` below two values.
///
/// Values that are all equal have exactly zero spread: rounding in the mean must
/// not turn "no spread" into a tiny one, and a t statistic into a huge one.
pub fn sd(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    if values.len() < 2 {
        return None;
    }
    if values.iter().all(|v| *v == values[0]) {
        return Some(0.0);
    }
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// Interquartile mean: the mean without the lowest and the highest ⌊n/4⌋ values.
pub fn interquartile_mean(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// The estimate of a sample; `None` of nothing. `stream` names the resamples.
pub fn estimate(values: &[f64], stream: &str) -> Option<Estimate> {
    estimate_at(values, stream, CONFIDENCE)
}

/// The same with an interval of another confidence.
pub fn estimate_at(values: &[f64], stream: &str, confidence: f64) -> Option<Estimate> {
    let n = values.len();
    let (interval, method) = if n >= BOOTSTRAP_FROM {
        let interval = bootstrap::mean_interval(values, stream, confidence);
        (interval, Method::Bca)
    } else {
        (t_interval_at(values, confidence), Method::StudentT)
    };
    Some(Estimate {
        n,
        mean: mean(values)?,
        interval,
        method,
        sd: sd(values),
        median: median(values)?,
        iqm: interquartile_mean(values)?,
    })
}

/// Student's t interval of the mean; `None` below two values or without spread.
pub fn t_interval(values: &[f64]) -> Option<(f64, f64)> {
    t_interval_at(values, CONFIDENCE)
}

/// The same of another confidence.
pub fn t_interval_at(values: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let spread = sd(values).filter(|s| *s > 0.0)?;
    let n = values.len();
    let half = t_quantile(n - 1, confidence)? * spread / (n as f64).sqrt();
    let centre = mean(values)?;
    Some((centre - half, centre + half))
}

/// The quantile of Student's t that a two-sided interval needs. Those of 95 % and
/// few degrees are found once: a search takes longer than the rest of an estimate.
pub(super) fn t_quantile(df: usize, confidence: f64) -> Option<f64> {
    static USUAL: [OnceLock<Option<f64>>; BOOTSTRAP_FROM] =
        [const { OnceLock::new() }; BOOTSTRAP_FROM];
    let find = || {
        let student = StudentsT::new(0.0, 1.0, df as f64).ok()?;
        Some(student.inverse_cdf(0.5 + confidence / 2.0))
    };
    match USUAL.get(df) {
        Some(known) if confidence == CONFIDENCE => *known.get_or_init(find),
        _ => find(),
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-9, "got {got}, want {want}");
    }

    // numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0: mean, std(ddof=1), median, trim_mean(x, .25),
    // t.interval(.95, n-1, mean, sem(x)).
    #[test]
    fn agrees_with_scipy() {
        let check = |x: &[f64], want: [f64; 6]| {
            let (low, high) = t_interval(x).unwrap();
            close(mean(x).unwrap(), want[0]);
            close(sd(x).unwrap(), want[1]);
            close(median(x).unwrap(), want[2]);
            close(interquartile_mean(x).unwrap(), want[3]);
            close(low, want[4]);
            close(high, want[5]);
        };
        check(
            &[0.91, 0.87, 0.95, 0.62, 0.9],
            [
                0.85,
                0.1317193987231949,
                0.9,
                0.8933333333333334,
                0.686448764740362,
                1.0135512352596379,
            ],
        );
        check(
            &[0.5, 0.53, 0.49, 0.51, 0.77, 0.5, 0.48],
            [
                0.54,
                0.10263202878893768,
                0.5,
                0.506,
                0.4450812045332959,
                0.6349187954667042,
            ],
        );
        check(
            &[
                0.91, 0.87, 0.95, 0.62, 0.9, 0.5, 0.53, 0.49, 0.51, 0.77, 0.5, 0.48,
            ],
            [
                0.6691666666666666,
                0.19374107995106785,
                0.575,
                0.6333333333333334,
                0.5460694572750562,
                0.792263876058277,
            ],
        );
    }

    #[test]
    fn without_spread_there_is_no_interval() {
        assert_eq!(t_interval(&[0.1, 0.1, 0.1]), None);
        assert_eq!(sd(&[0.1; 7]), Some(0.0));
        assert_eq!(t_interval(&[0.4]), None);
        assert_eq!(estimate(&[], ""), None);
        let one = estimate(&[0.4], "").unwrap();
        assert_eq!(
            (one.n, one.mean, one.interval, one.sd),
            (1, 0.4, None, None)
        );
    }

    #[test]
    fn the_method_follows_from_n() {
        let values: Vec<f64> = (0..20).map(|i| f64::from(i) / 20.0).collect();
        assert_eq!(
            estimate(&values[..19], "").unwrap().method,
            Method::StudentT
        );
        assert_eq!(estimate(&values, "").unwrap().method, Method::Bca);
    }
}
