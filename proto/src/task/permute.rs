//! Keyed permutations of 0 … n−1 without a table.
//!
//! A Feistel network over the next power of four, walked until it lands below n.
//! The splits ask it which items are held out, epochs ask it for their order:
//! both for any n, at any index, without state.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROUNDS: usize = 8;

/// A permutation of 0 … n−1 that is fixed by a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    n: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of this seed. `n` must be at least 1 and at most 2⁶².
    pub fn new(n: u64, seed: [u8; 32]) -> Self {
        assert!((1..=1 << 62).contains(&n), "a permutation of {n} items");
        let mut rng = ChaCha8Rng::from_seed(seed);
        let bits = u64::BITS - (n - 1).leading_zeros();
        Self {
            n,
            half_bits: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| rng.next_u64()),
        }
    }

    /// Where `i` goes. `i` must be below n.
    pub fn at(&self, i: u64) -> u64 {
        debug_assert!(i < self.n);
        // The network permutes its whole domain, so following its cycle from a
        // member of 0 … n−1 comes back to one; the domain is below 4n (or 4), so
        // that takes few steps.
        let mut x = self.round_trip(i);
        while x >= self.n {
            x = self.round_trip(x);
        }
        x
    }

    fn round_trip(&self, x: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (x >> self.half_bits, x & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_index_is_hit_once() {
        for n in [1, 2, 3, 4, 5, 17, 64, 72, 100, 1000, 4097] {
            let permutation = Permutation::new(n, [3; 32]);
            let image: BTreeSet<_> = (0..n).map(|i| permutation.at(i)).collect();
            assert_eq!(image, (0..n).collect(), "n = {n}");
        }
    }

    #[test]
    fn positions_are_spread_evenly_over_seeds() {
        let n = 10;
        let mut counts = [[0_u32; 10]; 10];
        for seed in 0..5_000_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&seed.to_le_bytes());
            let permutation = Permutation::new(n, bytes);
            for i in 0..n {
                counts[i as usize][permutation.at(i) as usize] += 1;
            }
        }
        // 500 expected each, standard deviation 21.
        let even = |row: &[u32; 10]| row.iter().all(|count| (400..600).contains(count));
        assert!(counts.iter().all(even), "{counts:?}");
    }
}
