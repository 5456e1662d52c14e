//! The sign-flip test: how often a mean this far from zero comes about when each
//! difference could as well have had the other sign.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_proto::seed::{Purpose, derive_seed};

use super::{BOOTSTRAP_FROM, RESAMPLES};

/// Two-sided p: exact over all 2ⁿ sign patterns below 20 differences, else from
/// 10,000 seeded draws with the observed pattern counted among them.
///
/// `None` of nothing. The smallest p that n differences allow is 2/2ⁿ: five
/// seeds can't reach .05.
pub fn p_value(differences: &[f64], stream: &str) -> Option<f64> {
    if differences.is_empty() {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    // Sums of the same terms in another order differ in their last bits.
    let scale: f64 = differences.iter().map(|d| d.abs()).sum();
    let bound = observed - 1e-12 * scale;
    Some(if differences.len() < BOOTSTRAP_FROM {
        let hits = count(differences, bound);
        hits as f64 / (1u64 << differences.len()) as f64
    } else {
        let mut rng = ChaCha8Rng::from_seed(derive_seed(0, Purpose::Resample, stream));
        let hits = (0..RESAMPLES)
            .filter(|_| flipped_sum(differences, &mut rng).abs() >= bound)
            .count();
        (hits + 1) as f64 / (RESAMPLES + 1) as f64
    })
}

/// Sign patterns under which the sum reaches the bound on either side.
///
/// Every sum is one of the first half plus one of the second: with the second
/// half's sums in order, those that reach the bound are counted by two searches,
/// 2^(n/2) of them in place of 2ⁿ sums (Horowitz and Sahni 1974).
fn count(differences: &[f64], bound: f64) -> u64 {
    let (left, right) = differences.split_at(differences.len() / 2);
    let mut right = sums(right);
    right.sort_unstable_by(f64::total_cmp);
    let of = |left: f64| {
        let below = right.partition_point(|r| left + r <= -bound);
        let above = right.len() - right.partition_point(|r| left + r < bound);
        // A bound of zero or less is reached by every sum.
        (below + above).min(right.len()) as u64
    };
    sums(left).into_iter().map(of).sum()
}

/// The sums of all sign patterns.
fn sums(differences: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for d in differences {
        sums = sums.iter().flat_map(|s| [s + d, s - d]).collect();
    }
    sums
}

fn flipped_sum(differences: &[f64], rng: &mut ChaCha8Rng) -> f64 {
    let mut sum = 0.0;
    for chunk in differences.chunks(64) {
        let bits = rng.next_u64();
        for (i, d) in chunk.iter().enumerate() {
            sum += if bits >> i & 1 == 1 { *d } else { -*d };
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(differences: &[f64], want: f64) {
        let got = p_value(differences, "").unwrap();
        assert!((got - want).abs() < 1e-12, "got {got}, want {want}");
    }

    // numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0:
    // permutation_test((d,), mean, permutation_type="samples", n_resamples=inf).
    #[test]
    fn agrees_with_scipy() {
        check(&[0.31, -0.02, 0.18, 0.4, 0.05, 0.22], 0.0625);
        check(&[0.02, -0.05, 0.01, -0.03, 0.04, -0.01, 0.0, 0.03], 1.0);
    }

    #[test]
    fn all_of_one_sign_gives_the_smallest_p() {
        check(&[1.0, 2.0, 3.0, 4.0, 5.0], 2.0 / 32.0);
        check(&[0.3; 6], 2.0 / 64.0);
        check(&[0.0, 0.0], 1.0);
        assert_eq!(p_value(&[], ""), None);
    }

    #[test]
    fn many_differences_are_drawn_with_a_seed() {
        let clear: Vec<f64> = (1..=25).map(f64::from).collect();
        check(&clear, 1.0 / 10_001.0);
        let mixed: Vec<f64> = (1..=24)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        check(&mixed, 1.0);
    }
}
