//! A joint bootstrap over replicates (the multi-bootstrap of Sellam et al. 2022):
//! quantities that are made from means over several measures are made anew, as a
//! whole, from each resample of the replicates.
//!
//! A ratio of means, its clipping and its contrasts then carry the error of the
//! numerator, of the denominator and of both together.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_proto::seed::{Purpose, derive_seed};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::bootstrap::bca;
use super::{BOOTSTRAP_FROM, Method, RESAMPLES, mean, sd};

/// Of the resamples at most this share may leave a quantity without value: an
/// interval from the rest would speak of other data.
const UNDEFINED_MAX: f64 = 0.05;

/// A quantity with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointEstimate {
    /// Replicates.
    pub n: usize,
    /// The quantity on the replicates as they are.
    pub value: f64,
    /// Standard deviation over resamples, times √(n/(n−1)): zero where all of them
    /// are equal, none where too many leave the quantity undefined.
    pub se: Option<f64>,
    /// Its interval, of the confidence that was asked for; none without spread.
    pub interval: Option<(f64, f64)>,
    /// How the interval is made at this n.
    pub method: Method,
}

/// The quantities that `statistic` makes of a list of replicates (their indices,
/// with repetitions); NaN stands for "not defined".
///
/// Below 20 replicates the interval is value ± t·se with Student's t on n−1
/// degrees: the ends of so small a bootstrap distribution lie too close, which
/// simulated coverage shows. From 20 on it is BCa.
pub fn joint<const K: usize>(
    n: usize,
    stream: &str,
    confidence: f64,
    statistic: impl Fn(&[usize]) -> [f64; K],
) -> [Option<JointEstimate>; K] {
    let mut rng = ChaCha8Rng::from_seed(derive_seed(0, Purpose::Resample, stream));
    let resamples: Vec<Vec<usize>> = if n < 2 {
        Vec::new()
    } else {
        // u32 and not usize: the stream must not depend on the word size.
        let draw = |_| {
            (0..n)
                .map(|_| rng.random_range(0..n as u32) as usize)
                .collect()
        };
        (0..RESAMPLES).map(draw).collect()
    };
    from_resamples(n, &resamples, confidence, statistic)
}

/// The same from given resamples.
pub fn from_resamples<const K: usize>(
    n: usize,
    resamples: &[Vec<usize>],
    confidence: f64,
    statistic: impl Fn(&[usize]) -> [f64; K],
) -> [Option<JointEstimate>; K] {
    let all: Vec<usize> = (0..n).collect();
    let observed = statistic(&all);
    let drawn: Vec<[f64; K]> = resamples.iter().map(|r| statistic(r)).collect();
    let jackknife: Vec<[f64; K]> = (0..n)
        .map(|out| {
            let rest: Vec<usize> = (0..n).filter(|i| *i != out).collect();
            statistic(&rest)
        })
        .collect();
    std::array::from_fn(|k| {
        let column = |rows: &[[f64; K]]| rows.iter().map(|row| row[k]).collect::<Vec<f64>>();
        if observed[k].is_nan() {
            return None;
        }
        let values = (column(&drawn), column(&jackknife));
        Some(one(n, observed[k], values, confidence))
    })
}

fn one(
    n: usize,
    value: f64,
    (mut drawn, jackknife): (Vec<f64>, Vec<f64>),
    confidence: f64,
) -> JointEstimate {
    let method = if n >= BOOTSTRAP_FROM {
        Method::JointBca
    } else {
        Method::JointT
    };
    let planned = drawn.len();
    drawn.retain(|v| v.is_finite());
    let mut estimate = JointEstimate {
        n,
        value,
        se: None,
        interval: None,
        method,
    };
    if planned == 0 || ((planned - drawn.len()) as f64) > UNDEFINED_MAX * planned as f64 {
        return estimate;
    }
    let shrunk = n as f64 / (n as f64 - 1.0);
    let Some(spread) = sd(&drawn) else {
        return estimate;
    };
    let se = spread * shrunk.sqrt();
    estimate.se = Some(se);
    if se == 0.0 {
        return estimate;
    }
    estimate.interval = match method {
        Method::JointBca => {
            drawn.sort_unstable_by(f64::total_cmp);
            acceleration(&jackknife).and_then(|a| bca(&drawn, value, a, confidence))
        }
        _ => StudentsT::new(0.0, 1.0, n as f64 - 1.0).ok().map(|t| {
            let half = t.inverse_cdf(0.5 + confidence / 2.0) * se;
            (value - half, value + half)
        }),
    };
    estimate
}

/// Efron's acceleration from leave-one-out values; none without spread.
fn acceleration(jackknife: &[f64]) -> Option<f64> {
    let kept: Vec<f64> = jackknife
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    let centre = mean(&kept)?;
    let squares: f64 = kept.iter().map(|v| (centre - v).powi(2)).sum();
    let cubes: f64 = kept.iter().map(|v| (centre - v).powi(3)).sum();
    (squares > 0.0).then(|| cubes / (6.0 * squares.powf(1.5)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::stats::CONFIDENCE;
    use crate::aggregate::stats::summary::t_interval;

    #[test]
    fn of_a_plain_mean_it_is_near_student_s_interval() {
        let x = [0.91, 0.87, 0.95, 0.62, 0.9, 0.88, 0.79, 0.93, 0.84, 0.9];
        let mean_of = |i: &[usize]| [i.iter().map(|i| x[*i]).sum::<f64>() / i.len() as f64];
        let [got] = joint(x.len(), "test", CONFIDENCE, mean_of);
        let (low, high) = got.unwrap().interval.unwrap();
        let want = t_interval(&x).unwrap();
        let width = want.1 - want.0;
        assert!((low - want.0).abs() < 0.03 * width, "{low} {}", want.0);
        assert!((high - want.1).abs() < 0.03 * width, "{high} {}", want.1);
    }

    #[test]
    fn what_is_not_defined_is_not_available() {
        let [never, often, fixed] = joint(6, "test", CONFIDENCE, |i| {
            let first = i.iter().filter(|i| **i == 0).count();
            // Undefined in a third of all resamples: (5/6)⁶.
            [f64::NAN, if first > 0 { 1.0 } else { f64::NAN }, 1.0]
        });
        assert_eq!(never, None);
        let (often, fixed) = (often.unwrap(), fixed.unwrap());
        assert_eq!((often.se, often.interval), (None, None));
        assert_eq!((fixed.se, fixed.interval), (Some(0.0), None), "no spread");
        let [alone] = joint(1, "test", CONFIDENCE, |_| [0.4]);
        assert_eq!((alone.unwrap().value, alone.unwrap().interval), (0.4, None));
    }
}
