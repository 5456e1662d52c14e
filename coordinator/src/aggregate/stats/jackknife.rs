//! The mean over pairs of replicates that share members.
//!
//! Pairs of neighbours in a ring of networks, 1–2, 2–3 … n–1, are no replicates: each
//! network stands in two of them, so what is peculiar to it counts twice, and Student's
//! t over the pairs covers .81 of a nominal .95. Replicates are the networks. The
//! standard error is the jackknife's over them (Efron and Stein 1981: never too small
//! on average): the mean again over the pairs that do not touch a network, for each of
//! them.

use super::summary::{median, t_quantile};
use super::{CONFIDENCE, Estimate, Method, interquartile_mean, mean, sd};

/// Pairs below which there is no interval: without a network one pair must be left.
const PAIRS_MIN: usize = 3;

/// A number of a pair: its two members, and the value.
pub type Pair = (u64, u64, f64);

/// The mean over pairs with its 95 % interval; `None` of nothing. `n`, spread and
/// median are those of the pairs.
pub fn pairs_mean(pairs: &[Pair]) -> Option<Estimate> {
    let values: Vec<f64> = pairs.iter().map(|p| p.2).collect();
    let centre = mean(&values)?;
    let half = half_width(pairs, sd(&values));
    Some(Estimate {
        n: values.len(),
        mean: centre,
        interval: half.map(|half| (centre - half, centre + half)),
        method: Method::JackknifeT,
        sd: sd(&values),
        median: median(&values)?,
        iqm: interquartile_mean(&values)?,
    })
}

fn half_width(pairs: &[Pair], spread: Option<f64>) -> Option<f64> {
    if pairs.len() < PAIRS_MIN || spread == Some(0.0) {
        return None;
    }
    let mut members: Vec<u64> = pairs.iter().flat_map(|p| [p.0, p.1]).collect();
    members.sort_unstable();
    members.dedup();
    let without = |member: &u64| {
        let others = pairs.iter().filter(|p| p.0 != *member && p.1 != *member);
        mean(&others.map(|p| p.2).collect::<Vec<_>>())
    };
    let means: Vec<f64> = members.iter().map(without).collect::<Option<_>>()?;
    let n = members.len();
    // (n − 1)/n · Σ (m₋ᵢ − m̄)² is (n − 1)²/n times their variance.
    let error = (n - 1) as f64 / (n as f64).sqrt() * sd(&means)?;
    (error > 0.0).then_some(t_quantile(n - 1, CONFIDENCE)? * error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(values: &[f64]) -> Vec<Pair> {
        let n = values.len() as u64;
        let pair = |(i, v): (u64, &f64)| (i, (i + 1) % n, *v);
        (0..).zip(values).map(pair).collect()
    }

    #[test]
    fn the_error_is_that_of_the_members() {
        // Without one of four members the pairs left are (3, 4), (4, 1), (1, 2), (2, 3):
        // means 3.5, 2.5, 1.5, 2.5; their variance 2/3; error 3/2 · √(2/3).
        let e = pairs_mean(&ring(&[1.0, 2.0, 3.0, 4.0])).unwrap();
        let (low, high) = e.interval.unwrap();
        let half = 3.182446305284263 * 1.5 * (2.0_f64 / 3.0).sqrt();
        assert!((high - 2.5 - half).abs() < 1e-9 && (2.5 - low - half).abs() < 1e-9);
        assert_eq!((e.n, e.mean, e.method), (4, 2.5, Method::JackknifeT));
    }

    #[test]
    fn a_ring_may_be_broken_but_not_too_short() {
        let whole = ring(&[1.0, 2.0, 3.0, 5.0]);
        assert!(pairs_mean(&whole[..3]).unwrap().interval.is_some());
        assert_eq!(pairs_mean(&whole[..2]).unwrap().interval, None);
        // Every pair touches the same member: nothing is left without it.
        let star = [(0, 1, 1.0), (0, 2, 2.0), (0, 3, 4.0)];
        assert_eq!(pairs_mean(&star).unwrap().interval, None);
        assert_eq!(pairs_mean(&ring(&[1.0; 4])).unwrap().interval, None);
        assert_eq!(pairs_mean(&[]), None);
    }
}
