//! How alike the patching maps of two arms are.
//!
//! A map is a metric `patching.COUNTERFACTUAL.DIRECTION.SITE` over layer × slot or
//! layer × head. Two maps are compared over the positions that both have, by
//! Spearman's rank correlation (the same order of positions) and by the cosine (the
//! same profile about zero, whatever its size).

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::job::Moment;

use super::stats::{cosine, mean, pearson, ranks};
use super::{Analysis, Cell, MetricId};
use crate::results::Point;

/// How alike two maps are; none where one of them does not vary, or is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Alike {
    /// Spearman's rank correlation over positions.
    pub spearman: Option<f64>,
    /// Cosine over positions.
    pub cosine: Option<f64>,
}

/// One metric's maps in two arms, or in the seeds of one.
#[derive(Debug, Clone, PartialEq)]
pub struct MapSimilarity {
    /// Where the arms meet.
    pub block: Point,
    /// The first arm.
    pub arm: String,
    /// The second one; the same where seeds of one arm are compared.
    pub other: String,
    /// `patching.cue.denoising.resid_pre`.
    pub metric: String,
    /// Whose trials were shown.
    pub split: String,
    /// Which weights.
    pub weights: Option<Moment>,
    /// Positions that the means of both arms have.
    pub positions: usize,
    /// The two means over seeds; nothing within an arm.
    pub means: Alike,
    /// Mean over all pairs of a seed of one arm and a different seed of the other:
    /// what two arms have beyond it is theirs, what one arm has is the reference.
    pub seeds: Alike,
    /// Pairs of seeds.
    pub pairs: usize,
}

/// Place in a map: layer, head, slot.
type Place<'a> = (Option<u32>, Option<u32>, Option<&'a str>);

/// A map with its seeds.
#[derive(Default)]
struct Map<'a> {
    mean: BTreeMap<Place<'a>, f64>,
    seeds: BTreeMap<u64, BTreeMap<Place<'a>, f64>>,
}

/// Every two arms that have a map of the same metric, and every arm with itself; of
/// the chosen cells, in the order of the arms.
pub fn map_similarities(a: &Analysis) -> Vec<MapSimilarity> {
    let mut all = vec![];
    for block in a.blocks() {
        let of = |arm: &String| {
            let mut cells = a.cells.iter();
            cells.find(|c| c.chosen && &c.block == block && &c.arm == arm)
        };
        let cells: Vec<_> = a.arms.iter().filter_map(of).map(|c| (c, maps(c))).collect();
        for (i, (first, maps)) in cells.iter().enumerate() {
            for (second, others) in &cells[i..] {
                for (id, map) in maps {
                    let Some(other) = others.get(id) else {
                        continue;
                    };
                    let (metric, split, weights) = *id;
                    let same = first.arm == second.arm;
                    let (seeds, pairs) = between_seeds(map, other, same);
                    all.push(MapSimilarity {
                        block: block.clone(),
                        arm: first.arm.clone(),
                        other: second.arm.clone(),
                        metric: metric.to_owned(),
                        split: split.to_owned(),
                        weights,
                        positions: common(&map.mean, &other.mean).0.len(),
                        means: match same {
                            true => Alike::default(),
                            false => alike(&map.mean, &other.mean),
                        },
                        seeds,
                        pairs,
                    });
                }
            }
        }
    }
    all
}

/// The maps of a cell by metric, split and weights.
fn maps(cell: &Cell) -> BTreeMap<(&str, &str, Option<Moment>), Map<'_>> {
    let mut maps: BTreeMap<_, Map<'_>> = BTreeMap::new();
    let is_map = |id: &MetricId| {
        let place = id.layer.is_some() && (id.head.is_some() || id.slot.is_some());
        place && id.name.starts_with("patching.")
    };
    for (id, summary) in cell.summaries.iter().filter(|(id, _)| is_map(id)) {
        let Some(estimate) = &summary.estimate else {
            continue;
        };
        let key = (id.name.as_str(), id.split.as_str(), id.weights);
        let map = maps.entry(key).or_default();
        let place = (id.layer, id.head, id.slot.as_deref());
        map.mean.insert(place, estimate.mean);
        for (seed, value) in &summary.values {
            map.seeds.entry(*seed).or_default().insert(place, *value);
        }
    }
    maps
}

/// Mean over pairs of different seeds, each two of one arm once; twins have their
/// data in common, so they are no pair of independent networks.
fn between_seeds(map: &Map<'_>, other: &Map<'_>, same: bool) -> (Alike, usize) {
    let mut known = BTreeSet::new();
    let mut all = vec![];
    for (s, first) in &map.seeds {
        for (t, second) in &other.seeds {
            if s != t && (!same || known.insert((*s.min(t), *s.max(t)))) {
                all.push(alike(first, second));
            }
        }
    }
    let over = |of: fn(&Alike) -> Option<f64>| mean(&all.iter().filter_map(of).collect::<Vec<_>>());
    let seeds = Alike {
        spearman: over(|a| a.spearman),
        cosine: over(|a| a.cosine),
    };
    (seeds, all.len())
}

fn alike(a: &BTreeMap<Place<'_>, f64>, b: &BTreeMap<Place<'_>, f64>) -> Alike {
    let (a, b) = common(a, b);
    Alike {
        spearman: pearson(&ranks(&a), &ranks(&b)),
        cosine: cosine(&a, &b),
    }
}

/// The values at the positions that both have.
fn common(a: &BTreeMap<Place<'_>, f64>, b: &BTreeMap<Place<'_>, f64>) -> (Vec<f64>, Vec<f64>) {
    let both = a.iter().filter_map(|(place, x)| Some((*x, *b.get(place)?)));
    both.unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[f64]) -> BTreeMap<Place<'static>, f64> {
        let place = |layer| (Some(layer), None, Some("last"));
        (0..).map(place).zip(values.iter().copied()).collect()
    }

    #[track_caller]
    fn check(a: &[f64], b: &[f64], spearman: Option<f64>, cosine: Option<f64>) {
        let got = alike(&map(a), &map(b));
        for (got, want) in [(got.spearman, spearman), (got.cosine, cosine)] {
            let near = |(g, w): (f64, f64)| (g - w).abs() < 1e-12;
            assert!(
                got == want || got.zip(want).is_some_and(near),
                "{got:?} {want:?}"
            );
        }
    }

    #[test]
    fn order_and_profile_are_told_apart() {
        check(&[0.0, 0.1, 0.9], &[0.0, 0.2, 1.8], Some(1.0), Some(1.0));
        check(
            &[1.0, 2.0, 3.0],
            &[3.0, 2.0, 1.0],
            Some(-1.0),
            Some(10.0 / 14.0),
        );
        check(&[0.0, 1.0], &[1.0, 0.0], Some(-1.0), Some(0.0));
        // Ties share their rank: ranks 1.5 1.5 3 and 1 2 3.
        check(
            &[0.0, 0.0, 1.0],
            &[0.0, 1.0, 2.0],
            Some(1.5 / (1.5_f64 * 2.0).sqrt()),
            Some(2.0 / 5.0_f64.sqrt()),
        );
        check(&[0.5, 0.5], &[1.0, 2.0], None, Some(3.0 / 10.0_f64.sqrt()));
        check(&[0.0, 0.0], &[1.0, 2.0], None, None);
        check(&[], &[], None, None);
    }

    #[test]
    fn only_positions_that_both_have_count() {
        let got = alike(&map(&[1.0, 2.0, 4.0]), &map(&[1.0, 2.0]));
        assert_eq!(got.cosine, Some(1.0));
    }

    #[test]
    fn a_seed_is_compared_with_every_other_one() {
        let seeds = |all: &[(u64, &[f64])]| Map {
            mean: BTreeMap::new(),
            seeds: all.iter().map(|(s, v)| (*s, map(v))).collect(),
        };
        let three: [(u64, &[f64]); 3] = [(1, &[1.0, 0.0]), (2, &[1.0, 0.0]), (3, &[0.0, 1.0])];
        let (within, pairs) = between_seeds(&seeds(&three), &seeds(&three), true);
        assert_eq!((within.cosine, pairs), (Some(1.0 / 3.0), 3));
        let other: [(u64, &[f64]); 2] = [(1, &[1.0, 0.0]), (2, &[0.0, 1.0])];
        let (across, pairs) = between_seeds(&seeds(&three), &seeds(&other), false);
        assert_eq!((across.cosine, pairs), (Some(0.5), 4));
    }
}
