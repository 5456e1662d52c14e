//! Many means at once (layers of a curve, cells of a map): simultaneous bands and
//! p values by the largest |t| under sign flips.
//!
//! A flip turns the sign of a whole replicate, over all positions at once, so
//! that the dependence between positions is kept (Westfall and Young 1993).

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_proto::seed::{Purpose, derive_seed};

use super::{CONFIDENCE, RESAMPLES, mean, sd};

/// Up to so many replicates every sign pattern is tried.
const EXACT_UP_TO: usize = 13;

/// One position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Mean over replicates.
    pub mean: f64,
    /// The simultaneous 95 % interval; none without spread, or below six
    /// replicates.
    pub band: Option<(f64, f64)>,
    /// p adjusted for all positions; none without spread.
    pub p: Option<f64>,
}

/// Simultaneous inference over positions.
///
/// `replicates` holds one row of equal length for each replicate. The p values
/// compare each |t| with the largest one under flips of the values themselves,
/// which is exact where the values are symmetric about zero. The bands are
/// mean ± c·se with c from flips of the values about their means, so that they
/// do not widen or narrow with the effect: a band about a curve of its own, and not
/// the values that a test against zero would keep. With n replicates there are
/// 2^(n−1) patterns, of which the most extreme one must be rarer than 5 %: below six
/// replicates there are p values, but no band. A position without spread has no t
/// and takes no part.
///
/// `stream` names the draws beyond 13 replicates. None below two replicates.
pub fn max_t(replicates: &[Vec<f64>], stream: &str) -> Option<Vec<Position>> {
    let n = replicates.len();
    if n < 2 {
        return None;
    }
    let width = replicates[0].len();
    let columns: Vec<Vec<f64>> = (0..width)
        .map(|j| replicates.iter().map(|row| row[j]).collect())
        .collect();
    let spread: Vec<Option<f64>> = columns.iter().map(|c| sd(c).filter(|s| *s > 0.0)).collect();
    let centres: Vec<f64> = columns.iter().filter_map(|c| mean(c)).collect();
    let live: Vec<usize> = (0..width).filter(|j| spread[*j].is_some()).collect();
    let values: Vec<Flippable> = live.iter().map(|j| Flippable::new(&columns[*j])).collect();
    let residuals: Vec<Flippable> = live
        .iter()
        .map(|j| {
            let rest: Vec<f64> = columns[*j].iter().map(|v| v - centres[*j]).collect();
            Flippable::new(&rest)
        })
        .collect();

    let patterns = patterns(n, stream);
    let largest = |all: &[Flippable]| -> Vec<f64> {
        let of = |signs: &Vec<f64>| all.iter().map(|c| c.t(signs)).fold(0.0, f64::max);
        patterns.iter().map(of).collect()
    };
    let mut under_null = largest(&values);
    let mut under_residuals = largest(&residuals);
    under_null.sort_unstable_by(f64::total_cmp);
    under_residuals.sort_unstable_by(f64::total_cmp);
    let enough = (1.0 - CONFIDENCE) * patterns.len() as f64 >= 1.0;
    let place = (CONFIDENCE * patterns.len() as f64).ceil() as usize;
    let critical = under_residuals
        .get(place.saturating_sub(1))
        .copied()
        .filter(|c| c.is_finite() && enough);

    let observed = vec![1.0; n];
    let mut positions: Vec<Position> = centres
        .iter()
        .map(|mean| Position {
            mean: *mean,
            band: None,
            p: None,
        })
        .collect();
    for (at, j) in live.into_iter().enumerate() {
        let t = values[at].t(&observed);
        let below = under_null.partition_point(|m| *m < t * (1.0 - 1e-12));
        let se = spread[j].unwrap_or(0.0) / (n as f64).sqrt();
        positions[j].p = Some((patterns.len() - below) as f64 / patterns.len() as f64);
        positions[j].band = critical.map(|c| (centres[j] - c * se, centres[j] + c * se));
    }
    Some(positions)
}

/// Sign patterns with the observed one first; a pattern and its mirror image
/// give the same |t|, so the first sign stays.
fn patterns(n: usize, stream: &str) -> Vec<Vec<f64>> {
    let sign = |bits: u64, i: usize| if bits >> i & 1 == 1 { -1.0 } else { 1.0 };
    if n <= EXACT_UP_TO {
        return (0..1u64 << (n - 1))
            .map(|bits| (0..n).map(|i| sign(bits << 1, i)).collect())
            .collect();
    }
    let mut rng = ChaCha8Rng::from_seed(derive_seed(0, Purpose::Resample, stream));
    let mut all = vec![vec![1.0; n]];
    all.extend((0..RESAMPLES).map(|_| {
        let words: Vec<u64> = (0..n.div_ceil(64)).map(|_| rng.next_u64()).collect();
        (0..n).map(|i| sign(words[i / 64], i % 64)).collect()
    }));
    all
}

/// One position's values with the sum of their squares, which no flip changes.
struct Flippable {
    values: Vec<f64>,
    squares: f64,
}

impl Flippable {
    fn new(values: &[f64]) -> Self {
        Self {
            squares: values.iter().map(|v| v * v).sum(),
            values: values.to_vec(),
        }
    }

    /// |t| of the values under these signs; infinite without spread.
    fn t(&self, signs: &[f64]) -> f64 {
        let n = self.values.len() as f64;
        let sum: f64 = self.values.iter().zip(signs).map(|(v, s)| v * s).sum();
        let centre = sum / n;
        let rest = self.squares - n * centre * centre;
        if rest <= 1e-12 * self.squares {
            return f64::INFINITY;
        }
        centre.abs() / (rest / (n - 1.0) / n).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::stats::signflip;

    #[test]
    fn one_position_is_the_plain_sign_flip_test() {
        let d = [0.31, -0.02, 0.18, 0.4, 0.05, 0.22];
        let rows: Vec<Vec<f64>> = d.iter().map(|v| vec![*v]).collect();
        let got = max_t(&rows, "").unwrap()[0];
        // |t| rises with |mean| as the sum of squares stays.
        assert_eq!(got.p, signflip::p_value(&d, ""));
    }

    #[test]
    fn positions_without_spread_take_no_part() {
        let rows: Vec<Vec<f64>> = (0..8)
            .map(|i| vec![0.1, f64::from(i % 3) - 0.2, 0.0])
            .collect();
        let got = max_t(&rows, "").unwrap();
        assert_eq!((got[0].p, got[0].band), (None, None));
        assert_eq!((got[2].p, got[2].band), (None, None));
        let alone: Vec<Vec<f64>> = rows.iter().map(|r| vec![r[1]]).collect();
        assert_eq!(got[1], max_t(&alone, "").unwrap()[0]);
        assert!((got[0].mean - 0.1).abs() < 1e-12);
        assert_eq!(max_t(&rows[..1], ""), None);
    }

    #[test]
    fn five_replicates_have_no_band_and_six_have() {
        let rows = |n: usize| -> Vec<Vec<f64>> {
            (0..n)
                .map(|i| vec![0.4 + 0.1 * (i * 7 % 5) as f64, (i * 3 % 7) as f64])
                .collect()
        };
        let band = |n| max_t(&rows(n), "").unwrap()[0].band;
        assert_eq!((band(2), band(5)), (None, None));
        assert!(max_t(&rows(5), "").unwrap()[0].p.is_some());
        let (low, high) = band(6).unwrap();
        // About the mean, which lies far from zero.
        let mean = max_t(&rows(6), "").unwrap()[0].mean;
        assert!(((low + high) / 2.0 - mean).abs() < 1e-12 && low < mean);
    }

    #[test]
    fn more_positions_make_wider_bands() {
        let value = |i: usize, j: usize| ((i * 37 + j * 101 + i * j * 13) % 29) as f64 / 29.0;
        let rows = |width: usize| -> Vec<Vec<f64>> {
            (0..10)
                .map(|i| (0..width).map(|j| value(i, j)).collect())
                .collect()
        };
        let half = |width: usize| {
            let band = max_t(&rows(width), "").unwrap()[0].band.unwrap();
            band.1 - band.0
        };
        assert!(half(1) < half(4) && half(4) < half(12));
    }
}
