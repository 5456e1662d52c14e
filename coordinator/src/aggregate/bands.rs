//! The band of a curve: simultaneous where the seeds allow one.

use super::stats::{CONFIRMATORY_FROM, Estimate, Method, max_t};

/// A point of a curve: values by seed, and their mean.
pub type CurveValues<'a> = (&'a [(u64, f64)], Option<&'a Estimate>);

/// What holds with 95 %: the whole band, or each interval by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    /// The whole curve lies within: max-|t| under sign flips.
    Simultaneous,
    /// Each point by itself, as there are fewer than six seeds.
    FewSeeds,
    /// Each point by itself, as not every seed has every point.
    SeedsDiffer,
    /// Each point by itself, as flipped values have no spread.
    NoSpread,
    /// Each point by itself, as neighbouring seeds share a network: a seed's sign
    /// can't be flipped without its neighbour's.
    SharedNetworks,
}

/// A curve's band.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// The ends at each point; none without spread.
    pub ends: Vec<Option<(f64, f64)>>,
    /// What it covers.
    pub coverage: Coverage,
}

/// The band of a curve over depth or steps: mean ± c·se with one c for the whole
/// curve, from [`max_t`] over the points that have a value; where that can't be, the
/// intervals of the points.
///
/// `stream` names the draws beyond 13 seeds.
pub fn band<'a>(points: impl IntoIterator<Item = CurveValues<'a>>, stream: &str) -> Band {
    let points: Vec<CurveValues<'_>> = points.into_iter().collect();
    let measured = || points.iter().map(|p| p.0).filter(|v| !v.is_empty());
    let seeds = |values: &[(u64, f64)]| values.iter().map(|v| v.0).collect::<Vec<_>>();
    let first = measured().next().map(seeds).unwrap_or_default();
    let shared = |e: &Estimate| e.method == Method::JackknifeT;
    let coverage = if points.iter().any(|p| p.1.is_some_and(shared)) {
        Coverage::SharedNetworks
    } else if measured().any(|values| values.len() < CONFIRMATORY_FROM) {
        Coverage::FewSeeds
    } else if measured().any(|values| seeds(values) != first) {
        Coverage::SeedsDiffer
    } else {
        let rows: Vec<Vec<f64>> = (0..first.len())
            .map(|i| measured().map(|values| values[i].1).collect())
            .collect();
        let mut places = max_t(&rows, stream).unwrap_or_default().into_iter();
        if places.as_slice().iter().any(|p| p.band.is_some()) {
            let ends = points.iter().map(|(values, _)| match values.is_empty() {
                true => None,
                false => places.next().and_then(|place| place.band),
            });
            return Band {
                ends: ends.collect(),
                coverage: Coverage::Simultaneous,
            };
        }
        Coverage::NoSpread
    };
    let ends = points.iter().map(|(_, e)| e.and_then(|e| e.interval));
    Band {
        ends: ends.collect(),
        coverage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::stats::estimate;

    fn curve(seeds: u64, points: u64) -> Vec<Vec<(u64, f64)>> {
        let value = |seed: u64, at: u64| (seed * 37 + at * 101 + seed * at * 13) % 29;
        let at = |at| (0..seeds).map(move |seed| (seed, value(seed, at) as f64));
        (0..points).map(|place| at(place).collect()).collect()
    }

    fn of(points: &[Vec<(u64, f64)>]) -> Band {
        let estimates: Vec<_> = points
            .iter()
            .map(|values| estimate(&values.iter().map(|v| v.1).collect::<Vec<_>>(), ""))
            .collect();
        let both = points.iter().zip(&estimates);
        band(both.map(|(v, e)| (v.as_slice(), e.as_ref())), "")
    }

    fn half(band: &Band, at: usize) -> f64 {
        let (low, high) = band.ends[at].unwrap();
        (high - low) / 2.0
    }

    #[test]
    fn the_whole_curve_needs_a_wider_band_than_a_point() {
        let points = curve(8, 10);
        let all = of(&points);
        assert_eq!(all.coverage, Coverage::Simultaneous);
        let values: Vec<f64> = points[3].iter().map(|v| v.1).collect();
        let (low, high) = estimate(&values, "").unwrap().interval.unwrap();
        assert!(half(&all, 3) > (high - low) / 2.0);
    }

    #[test]
    fn what_has_no_such_band_keeps_its_points_intervals() {
        let few = of(&curve(5, 3));
        assert_eq!(few.coverage, Coverage::FewSeeds);
        assert!(half(&few, 0) > 0.0);
        let mut ragged = curve(8, 3);
        ragged[1].remove(2);
        assert_eq!(of(&ragged).coverage, Coverage::SeedsDiffer);
        // A point without any value takes no part.
        let mut holed = curve(8, 3);
        holed[1].clear();
        let holed = of(&holed);
        assert_eq!(holed.coverage, Coverage::Simultaneous);
        assert!(holed.ends[1].is_none() && holed.ends[2].is_some());
        let flat = vec![(0..6).map(|seed| (seed, 1.0)).collect()];
        assert_eq!(of(&flat).coverage, Coverage::NoSpread);
    }
}
