//! Pairs of numbers: their strata, and which of them training never shows.
//!
//! A number is held out with every pair that holds it, a pair in whatever
//! dimension and order it stands: so the table is one for all dimensions.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::generator::{Bins, Pair};
use super::permute::Permutation;
use crate::seed::{Purpose, derive_seed};

/// Share of the pairs of a stratum that is held out, in percent.
const HELD_OUT_PERCENT: u64 = 15;

/// One number in so many is held out: one of each decade of [0, 99].
const NUMBERS_PER_HELD_OUT: u32 = 10;

/// What training shows of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The pair itself.
    Seen,
    /// Both its numbers, but never together.
    HeldPair,
    /// At least one of its numbers never.
    HeldNumber,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seen, Self::HeldPair, Self::HeldNumber];
}

/// What is kept from training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// 15 % of the pairs of each stratum.
    pub pairs: bool,
    /// One number of each ten, counted from the start of the range.
    pub numbers: bool,
    /// Fixes which ones.
    pub split_seed: u64,
}

impl Held {
    /// Nothing is kept from training.
    pub const NOTHING: Self = Self {
        pairs: false,
        numbers: false,
        split_seed: 0,
    };

    /// The numbers of a range that are held out, ascending. A last block of less
    /// than ten numbers keeps all of its own.
    pub fn of_range(self, [low, high]: [u32; 2]) -> Vec<u32> {
        if !self.numbers {
            return vec![];
        }
        let held = |block: u32| {
            let name = format!("number/{block}");
            let seed = derive_seed(self.split_seed, Purpose::Split, &name);
            let drawn = u64::from_le_bytes(seed[..8].try_into().expect("eight of 32 bytes"));
            let offset = drawn % u64::from(NUMBERS_PER_HELD_OUT);
            low + block * NUMBERS_PER_HELD_OUT + offset as u32
        };
        (0..(high - low + 1) / NUMBERS_PER_HELD_OUT)
            .map(held)
            .collect()
    }
}

/// Where a pair stands in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its stratum.
    pub stratum: u16,
    /// What training shows of it.
    pub class: Class,
    /// Its position among those of its stratum and class, ordered by difference,
    /// then by the smaller number.
    pub rank: u32,
}

/// All pairs of a range that a task uses.
#[derive(Debug, Clone)]
pub struct Pairs {
    range: [u32; 2],
    held_numbers: Vec<u32>,
    strata: Vec<Stratum>,
    /// By difference, then by the smaller number.
    places: Vec<Option<Place>>,
    /// Where each difference begins in `places`.
    starts: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Stratum {
    /// Smallest and largest difference.
    span: [u32; 2],
    /// The difference of each pair, by class and rank.
    differences: [Vec<u32>; 3],
}

impl Pairs {
    /// The table of a range. `stratum_of` puts a pair into one of `strata`
    /// strata, or into none: then the task never shows it.
    pub fn new(
        range: [u32; 2],
        strata: usize,
        stratum_of: impl Fn(Pair) -> Option<usize>,
        held: Held,
    ) -> Self {
        let [low, high] = range;
        let held_numbers = held.of_range(range);
        let mut by_stratum: Vec<Vec<Pair>> = vec![vec![]; strata];
        let mut starts = vec![];
        let mut total = 0;
        for difference in 0..=high - low {
            starts.push(total);
            total += (high - low - difference) as usize + 1;
            for smaller in low..=high - difference {
                let pair = Pair {
                    smaller,
                    difference,
                };
                if let Some(stratum) = stratum_of(pair) {
                    by_stratum[stratum].push(pair);
                }
            }
        }
        let mut table = Self {
            range,
            held_numbers,
            strata: vec![],
            places: vec![None; total],
            starts,
        };
        for (stratum, pairs) in by_stratum.into_iter().enumerate() {
            table.fill(stratum, &pairs, held);
        }
        table
    }

    /// The table with one stratum for each bin; with `ties`, one more for pairs of
    /// equal numbers.
    pub fn by_bin(bins: &Bins, ties: bool, held: Held) -> Self {
        let stratum_of = |pair: Pair| match pair.difference {
            0 if ties => Some(bins.count()),
            difference => bins.find(difference),
        };
        Self::new(
            bins.range(),
            bins.count() + usize::from(ties),
            stratum_of,
            held,
        )
    }

    fn fill(&mut self, stratum: usize, pairs: &[Pair], held: Held) {
        let numbers = &self.held_numbers;
        let shown = |number: u32| numbers.binary_search(&number).is_err();
        let of_shown = |pair: &&Pair| shown(pair.smaller) && shown(pair.smaller + pair.difference);
        let candidates = pairs.iter().filter(of_shown).count() as u64;
        let held_out = if held.pairs {
            candidates * HELD_OUT_PERCENT / 100
        } else {
            0
        };
        let order = (held_out > 0).then(|| {
            let name = format!("pairs/{stratum}");
            let seed = derive_seed(held.split_seed, Purpose::Split, &name);
            Permutation::new(candidates, seed)
        });
        let mut differences: [Vec<u32>; 3] = Default::default();
        let mut candidate = 0;
        for pair in pairs {
            let class = if !of_shown(&pair) {
                Class::HeldNumber
            } else {
                let place = order.as_ref().map(|order| order.at(candidate));
                candidate += 1;
                match place {
                    Some(place) if place < held_out => Class::HeldPair,
                    _ => Class::Seen,
                }
            };
            let rank = differences[class as usize].len() as u32;
            differences[class as usize].push(pair.difference);
            let at =
                self.starts[pair.difference as usize] + (pair.smaller - self.range[0]) as usize;
            self.places[at] = Some(Place {
                stratum: stratum as u16,
                class,
                rank,
            });
        }
        let ends = |pair: Option<&Pair>| pair.map_or(0, |pair| pair.difference);
        self.strata.push(Stratum {
            span: [ends(pairs.first()), ends(pairs.last())],
            differences,
        });
    }

    /// The smallest number of the range.
    pub fn lowest(&self) -> u32 {
        self.range[0]
    }

    /// Smallest and largest number.
    pub fn range(&self) -> [u32; 2] {
        self.range
    }

    /// The numbers that are held out, ascending.
    pub fn held_numbers(&self) -> &[u32] {
        &self.held_numbers
    }

    /// How many strata.
    pub fn strata(&self) -> usize {
        self.strata.len()
    }

    /// Pairs of a stratum in a class.
    pub fn count(&self, stratum: usize, class: Class) -> u64 {
        self.differences(stratum, class).len() as u64
    }

    /// The differences of those pairs, by rank: ascending.
    pub fn differences(&self, stratum: usize, class: Class) -> &[u32] {
        &self.strata[stratum].differences[class as usize]
    }

    /// Where a pair stands; `None` for one that the task never shows.
    pub fn place(&self, pair: Pair) -> Option<Place> {
        let start = self.starts.get(pair.difference as usize)?;
        self.places[start + (pair.smaller - self.range[0]) as usize]
    }

    /// Draws |x| uniformly over the stratum's differences and the smaller number
    /// uniformly in what is left of the range, until the pair is one of the class.
    ///
    /// # Panics
    /// If there is none: whoever draws has counted.
    pub fn sample(&self, rng: &mut ChaCha8Rng, stratum: usize, class: Class) -> Pair {
        assert!(
            self.count(stratum, class) > 0,
            "stratum {stratum} has no pair of class {class:?}"
        );
        let [low, high] = self.strata[stratum].span;
        loop {
            let difference = rng.random_range(low..=high);
            let pair = Pair {
                smaller: rng.random_range(self.range[0]..=self.range[1] - difference),
                difference,
            };
            let found = self.place(pair);
            if found.is_some_and(|at| at.stratum == stratum as u16 && at.class == class) {
                return pair;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn table(range: [u32; 2], bins: &[[u32; 2]], pairs: bool, numbers: bool) -> Pairs {
        let bins = Bins::new(range, bins).expect("possible");
        let held = Held {
            pairs,
            numbers,
            split_seed: 3,
        };
        Pairs::by_bin(&bins, false, held)
    }

    #[test]
    fn ranks_are_numbered_without_gap_in_order_of_difference() {
        for (pairs, numbers) in [(false, false), (true, false), (false, true), (true, true)] {
            let table = table([0, 99], &[[1, 4], [5, 16], [17, 50]], pairs, numbers);
            let mut next = [[0; 3]; 3];
            for difference in 1..=50 {
                for smaller in 0..=99 - difference {
                    let pair = Pair {
                        smaller,
                        difference,
                    };
                    let at = table.place(pair).expect("every difference is in a bin");
                    let next = &mut next[at.stratum as usize][at.class as usize];
                    assert_eq!(at.rank, *next);
                    let differences = table.differences(at.stratum.into(), at.class);
                    assert_eq!(differences[at.rank as usize], difference);
                    *next += 1;
                }
            }
            for (stratum, next) in next.iter().enumerate() {
                for class in Class::ALL {
                    assert_eq!(table.count(stratum, class), u64::from(next[class as usize]));
                }
            }
        }
    }

    #[test]
    fn one_number_of_each_decade_and_15_percent_of_the_other_pairs_are_held_out() {
        let table = table([0, 99], &[[1, 4], [5, 16], [17, 50]], true, true);
        let decades: Vec<_> = table.held_numbers().iter().map(|n| n / 10).collect();
        assert_eq!(decades, (0..10).collect::<Vec<_>>());
        for stratum in 0..3 {
            let [seen, pairs, numbers] = Class::ALL.map(|class| table.count(stratum, class));
            assert_eq!(pairs, (seen + pairs) * 15 / 100);
            assert!(numbers > 0);
        }
        assert_eq!(
            table.place(Pair {
                smaller: 1,
                difference: 51
            }),
            None
        );
    }

    #[test]
    fn draws_are_of_the_class_and_stratum_asked_for() {
        let table = table([1, 10], &[[1, 2], [3, 4], [5, 9]], true, true);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for stratum in 0..3_u16 {
            for class in Class::ALL {
                if table.count(stratum.into(), class) == 0 {
                    continue;
                }
                for _ in 0..50 {
                    let pair = table.sample(&mut rng, stratum.into(), class);
                    let at = table.place(pair).expect("a pair of the table");
                    assert_eq!((at.stratum, at.class), (stratum, class));
                    let held = table.held_numbers();
                    let holds = [pair.smaller, pair.smaller + pair.difference]
                        .iter()
                        .any(|n| held.contains(n));
                    assert_eq!(holds, class == Class::HeldNumber);
                }
            }
        }
    }
}
