//! The noise ceiling of dissimilarities over seeds (Nili et al. 2014, PLoS Comput
//! Biol 10:e1003553).
//!
//! How well could *any* model of a representation correlate with an arm's networks,
//! given that these differ from seed to seed? Each seed's dissimilarities are turned
//! into ranks r_s, and its correlation ρ (Spearman) with their mean is averaged over
//! the n seeds:
//!
//! - upper = mean over s of ρ(r_s, mean of all r_t): no order of the pairs can be
//!   nearer to all seeds at once, as this one was made from them;
//! - lower = mean over s of ρ(r_s, mean of the r_t of the *other* seeds): what is
//!   reached by an order that was not.
//!
//! A model between the two explains all that seeds have in common.

use super::{mean, pearson, ranks};

/// A noise ceiling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceiling {
    /// Against the mean of the other seeds.
    pub lower: f64,
    /// Against the mean of all seeds.
    pub upper: f64,
}

/// Why there is no noise ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCeiling {
    /// One seed agrees with itself, whatever it is.
    #[error("fewer than 2 seeds have dissimilarities to rank")]
    FewSeeds,
    /// Ranks are the same for all pairs, or there are hardly any.
    #[error("fewer than 3 pairs of conditions that all seeds have, or their mean has no order")]
    NoOrder,
}

/// Whether dissimilarities can be ranked: NaN left out, there are 3, not all equal.
pub fn has_order(distances: &[f64]) -> bool {
    let known: Vec<f64> = distances.iter().copied().filter(|d| !d.is_nan()).collect();
    let tied = with_ties(&known);
    known.len() > 2 && tied.iter().any(|d| *d != tied[0])
}

/// The noise ceiling of the dissimilarities of seeds, (seeds, pairs of conditions),
/// each of which [has an order](has_order), over the pairs that all of them have.
///
/// # Errors
/// If it is not defined.
///
/// ```
/// use seedbed_coordinator::aggregate::stats::noise_ceiling;
///
/// // The two orders of 4 pairs differ in one place.
/// let seeds = [vec![0.1, 0.2, 0.3, 0.4], vec![0.1, 0.3, 0.2, 0.4]];
/// let ceiling = noise_ceiling(&seeds).unwrap();
/// assert!((ceiling.lower - 0.8).abs() < 1e-12); // of one seed with the other
/// assert!((ceiling.upper - 0.9_f64.sqrt()).abs() < 1e-12); // ranks 1, 2.5, 2.5, 4
/// ```
pub fn noise_ceiling(seeds: &[Vec<f64>]) -> Result<Ceiling, NoCeiling> {
    if seeds.len() < 2 {
        return Err(NoCeiling::FewSeeds);
    }
    let known = |pair: &usize| seeds.iter().all(|seed| !seed[*pair].is_nan());
    let known: Vec<usize> = (0..seeds[0].len()).filter(known).collect();
    if known.len() < 3 {
        return Err(NoCeiling::NoOrder);
    }
    let ranked = |seed: &Vec<f64>| {
        let distances: Vec<f64> = known.iter().map(|pair| seed[*pair]).collect();
        ranks(&with_ties(&distances))
    };
    let ranked: Vec<Vec<f64>> = seeds.iter().map(ranked).collect();
    // Sums of ranks, which are halves, are exact: their order is that of the means,
    // whatever the order of the seeds, and equal means are equal.
    let sums: Vec<f64> = (0..known.len())
        .map(|at| ranked.iter().map(|seed| seed[at]).sum())
        .collect();
    let (mut lower, mut upper) = (vec![], vec![]);
    for own in &ranked {
        let others: Vec<f64> = sums.iter().zip(own).map(|(sum, own)| sum - own).collect();
        let with = |reference: &[f64]| pearson(own, &ranks(reference)).ok_or(NoCeiling::NoOrder);
        lower.push(with(&others)?);
        upper.push(with(&sums)?);
    }
    let over = |all: &[f64]| mean(all).ok_or(NoCeiling::FewSeeds);
    Ok(Ceiling {
        lower: over(&lower)?,
        upper: over(&upper)?,
    })
}

/// Distances that differ by less than 1e-5 of the largest become ties, as they are
/// where the worker compares two networks: where a position holds one of two words,
/// all else is rounding, whose order no seed repeats. So do all where the largest is
/// below 1e-10, which f32 patterns can't resolve.
fn with_ties(distances: &[f64]) -> Vec<f64> {
    let largest = distances.iter().copied().fold(0.0, f64::max);
    let step = if largest > 1e-10 { 1e-5 * largest } else { 1.0 };
    distances.iter().map(|d| (d / step).round()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(seeds: &[&[f64]], expect: Result<(f64, f64), NoCeiling>) {
        let seeds: Vec<Vec<f64>> = seeds.iter().map(|seed| seed.to_vec()).collect();
        let found = noise_ceiling(&seeds);
        let near = |found: &Ceiling, (lower, upper): (f64, f64)| {
            (found.lower - lower).abs() < 1e-12 && (found.upper - upper).abs() < 1e-12
        };
        match (&found, expect) {
            (Ok(found), Ok(expect)) => assert!(near(found, expect), "{found:?}, not {expect:?}"),
            (found, expect) => assert_eq!(found.map(|_| ()), expect.map(|_| ())),
        }
    }

    #[test]
    fn three_seeds_by_hand() {
        // Ranks 1234, 1324, 2134. All: sums 4 6 9 12, order 1234, with which they
        // correlate by 1, .8 and .8. The others of the first: 3 4 5 8, by 1; of the
        // second: 3 3 6 8, ranks 1.5 1.5 3 4, by 3 / √(5 · 4.5); of the third:
        // 2 5 5 8, ranks 1 2.5 2.5 4, by 3 / √(5 · 4.5).
        let seeds: [&[f64]; 3] = [
            &[0.1, 0.2, 0.3, 0.4],
            &[0.1, 0.3, 0.2, 0.4],
            &[0.6, 0.5, 0.7, 0.8],
        ];
        let tied = 3.0 / 22.5_f64.sqrt();
        check(&seeds, Ok(((1.0 + 2.0 * tied) / 3.0, 2.6 / 3.0)));
    }

    #[test]
    fn seeds_that_agree_reach_one() {
        let seed: &[f64] = &[0.3, 0.1, 0.1, 0.9, f64::NAN];
        let seeds = vec![seed.to_vec(); 3];
        let exact = Ceiling {
            lower: 1.0,
            upper: 1.0,
        };
        assert_eq!(noise_ceiling(&seeds), Ok(exact));
        // What is left out of one is left out of all.
        check(&[seed, &[3.0, 1.0, 1.0, 9.0, 0.0]], Ok((1.0, 1.0)));
    }

    #[test]
    fn what_is_not_defined_says_why() {
        let (up, down): (&[f64], &[f64]) = (&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]);
        check(&[], Err(NoCeiling::FewSeeds));
        check(&[up], Err(NoCeiling::FewSeeds));
        check(&[up, down], Err(NoCeiling::NoOrder));
        let holes: &[f64] = &[1.0, f64::NAN, 3.0];
        check(&[up, holes], Err(NoCeiling::NoOrder));
        assert!(has_order(up) && !has_order(holes) && !has_order(&[1.0; 9]));
        assert!(!has_order(&[f64::NAN; 9]) && !has_order(&[]));
        // One word at the position: nothing but rounding.
        assert!(!has_order(&[3e-12, 1e-12, 0.0, 2e-12]));
    }

    #[test]
    fn rounding_is_a_tie() {
        let seeds: [&[f64]; 2] = [&[0.5, 1e-9, 0.5, 2e-9], &[0.4, 9e-9, 0.4, 0.0]];
        check(&seeds, Ok((1.0, 1.0)));
    }

    proptest! {
        #[test]
        fn no_order_is_nearer_than_the_one_made_from_all(
            seeds in (2..7_usize, 4..30_usize).prop_flat_map(|(seeds, pairs)| {
                let order = Just((0..pairs).map(|p| p as f64).collect::<Vec<_>>()).prop_shuffle();
                prop::collection::vec(order, seeds)
            })
        ) {
            let turned: Vec<Vec<f64>> = seeds.iter().rev().cloned().collect();
            match (noise_ceiling(&seeds), noise_ceiling(&turned)) {
                (Ok(found), Ok(turned)) => {
                    prop_assert!(found.lower <= found.upper + 1e-12, "{found:?}");
                    prop_assert!(found.lower >= -1.0 && found.upper <= 1.0);
                    prop_assert!((found.lower - turned.lower).abs() < 1e-12);
                    prop_assert!((found.upper - turned.upper).abs() < 1e-12);
                }
                (found, turned) => prop_assert_eq!(found, turned),
            }
        }
    }
}
