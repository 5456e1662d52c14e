//! The BCa bootstrap of a mean (Efron 1987), seeded.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_proto::seed::{Purpose, derive_seed};
use statrs::distribution::{ContinuousCDF, Normal};

use super::{RESAMPLES, mean, sd};

/// The BCa interval of the mean; `None` below two values or without spread.
///
/// `stream` names the resamples: the same quantity is always resampled in the
/// same way, whatever else stands in the sweep.
pub fn mean_interval(values: &[f64], stream: &str, confidence: f64) -> Option<(f64, f64)> {
    sd(values).filter(|s| *s > 0.0)?;
    let mut rng = ChaCha8Rng::from_seed(derive_seed(0, Purpose::Resample, stream));
    let n = values.len();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            // u32 and not usize: the stream must not depend on the word size.
            let sum: f64 = (0..n)
                .map(|_| values[rng.random_range(0..n as u32) as usize])
                .sum();
            sum / n as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    bca(&means, mean(values)?, acceleration(values)?, confidence)
}

/// The acceleration of a mean; `None` of nothing.
pub(super) fn acceleration(values: &[f64]) -> Option<f64> {
    let observed = mean(values)?;
    // Jackknife means of a mean differ from it by (mean − x)/(n−1), so the
    // acceleration is that of the deviations themselves.
    let deviations = values.iter().map(|v| v - observed);
    let squares: f64 = deviations.clone().map(|d| d.powi(2)).sum();
    let cubes: f64 = deviations.map(|d| d.powi(3)).sum();
    Some(cubes / (6.0 * squares.powf(1.5)))
}

/// The interval from sorted resampled values, the value observed, and the
/// acceleration; `None` where all resampled values lie on one side.
pub(super) fn bca(
    resampled: &[f64],
    observed: f64,
    acceleration: f64,
    confidence: f64,
) -> Option<(f64, f64)> {
    let normal = Normal::standard();
    let below = resampled.partition_point(|m| *m < observed) as f64;
    let not_above = resampled.partition_point(|m| *m <= observed) as f64;
    let bias = normal.inverse_cdf((below + not_above) / (2.0 * resampled.len() as f64));
    if !bias.is_finite() {
        return None;
    }
    let end = |z: f64| {
        let shifted = bias + z;
        let level = normal.cdf(bias + shifted / (1.0 - acceleration * shifted));
        level.is_finite().then(|| quantile(resampled, level))
    };
    let z = normal.inverse_cdf(0.5 + confidence / 2.0);
    Some((end(-z)?, end(z)?))
}

/// Linear interpolation between order statistics (NumPy's default).
fn quantile(sorted: &[f64], level: f64) -> f64 {
    let place = level.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let low = sorted[place.floor() as usize];
    let high = sorted[place.ceil() as usize];
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::stats::CONFIDENCE;

    /// A skewed sample: `round(default_rng(1).exponential(.1, 24), 3)`.
    const SKEWED: &[f64] = &[
        0.107, 0.031, 0.538, 0.037, 0.012, 0.18, 0.05, 0.055, 0.003, 0.076, 0.104, 0.023, 0.168,
        0.021, 0.079, 0.013, 0.092, 0.046, 0.069, 0.265, 0.111, 0.09, 0.284, 0.203,
    ];

    // numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0: bootstrap((x,), mean, method="BCa", n_resamples=39), its
    // bootstrap_distribution sorted, and its interval.
    #[test]
    fn agrees_with_scipy_on_given_resamples() {
        let means = [
            0.06733333333333334,
            0.06941666666666667,
            0.07720833333333334,
            0.07904166666666666,
            0.0835,
            0.08383333333333333,
            0.08729166666666666,
            0.09299999999999999,
            0.10266666666666667,
            0.1045,
            0.10566666666666667,
            0.10595833333333333,
            0.10779166666666666,
            0.108,
            0.10941666666666666,
            0.10966666666666665,
            0.11058333333333333,
            0.11174999999999997,
            0.11204166666666666,
            0.11229166666666668,
            0.112375,
            0.1135416666666667,
            0.11645833333333333,
            0.11875000000000001,
            0.12054166666666667,
            0.12083333333333335,
            0.12266666666666666,
            0.12316666666666666,
            0.12462499999999999,
            0.12545833333333334,
            0.13054166666666667,
            0.131375,
            0.13175,
            0.13729166666666667,
            0.141875,
            0.14733333333333334,
            0.15333333333333335,
            0.1562083333333333,
            0.16016666666666665,
        ];
        let (low, high) = bca(
            &means,
            mean(SKEWED).unwrap(),
            acceleration(SKEWED).unwrap(),
            CONFIDENCE,
        )
        .unwrap();
        assert!((low - 0.06914109753290751).abs() < 1e-7, "{low}");
        assert!((high - 0.1560088476551486).abs() < 1e-7, "{high}");
    }

    // The same with n_resamples=200_000: our 10,000 resamples are others, so
    // the ends agree to a few hundredths of the width.
    #[test]
    fn agrees_with_scipy_on_its_own_resamples() {
        let (low, high) = mean_interval(SKEWED, "test", CONFIDENCE).unwrap();
        let want = (0.07583333333333334, 0.17732539412716022);
        let tolerance = 0.03 * (want.1 - want.0);
        assert!((low - want.0).abs() < tolerance, "{low}");
        assert!((high - want.1).abs() < tolerance, "{high}");
    }

    #[test]
    fn the_same_stream_gives_the_same_interval() {
        let of = |stream| mean_interval(SKEWED, stream, CONFIDENCE);
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn without_spread_there_is_no_interval() {
        assert_eq!(mean_interval(&[0.5; 25], "", CONFIDENCE), None);
    }
}
