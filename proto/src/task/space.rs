//! The items of a task: what no two splits may share.
//!
//! An item is the ordered pairs of numbers behind a trial, whatever its words
//! say. Items of a kind (the sides and strata of their pairs) form a group, and
//! are numbered within it without a gap: so the splits can share out each group
//! exactly, without a list.

use super::generator::{Item, Pair};
use super::pairs::{Class, Pairs};

/// All items of a task whose trials hold so many pairs.
#[derive(Debug, Clone)]
pub struct Space {
    /// The pairs that a dimension can show.
    pub pairs: Pairs,
    /// Pairs in a trial: 1 or 2.
    pub dimensions: usize,
}

impl Space {
    /// How many groups.
    pub fn count(&self) -> usize {
        (2 * self.pairs.strata()).pow(self.dimensions as u32)
    }

    /// The group of these sides (whether the larger number is the right one) and
    /// strata, one of each for each dimension.
    pub fn group(&self, sides: &[bool], strata: &[usize]) -> usize {
        let sides = sides.iter().fold(0, |at, &side| at * 2 + usize::from(side));
        let step = |at, &stratum| at * self.pairs.strata() + stratum;
        strata.iter().fold(sides, step)
    }

    /// The item of these ordered pairs [left, right]; `None` if training shows one
    /// of them and not the other, or the task shows one never.
    pub fn item(&self, ordered: &[[u32; 2]]) -> Option<Item> {
        let (mut sides, mut strata, mut index) = ([false; 2], [0; 2], 0);
        let mut class = None;
        for (dimension, &pair) in ordered.iter().enumerate() {
            let at = self.pairs.place(Pair::of(pair))?;
            if *class.get_or_insert(at.class) != at.class {
                return None;
            }
            sides[dimension] = pair[1] > pair[0];
            strata[dimension] = at.stratum.into();
            index = index * self.pairs.count(at.stratum.into(), at.class) + u64::from(at.rank);
        }
        Some(Item {
            class: class?,
            group: self.group(&sides[..ordered.len()], &strata[..ordered.len()]),
            index,
        })
    }

    /// The size of each group in a class.
    pub fn sizes(&self, class: Class) -> Vec<u64> {
        let strata = self.pairs.strata();
        let size = |mut group: usize| {
            let mut size = 1;
            for _ in 0..self.dimensions {
                size *= self.pairs.count(group % strata, class);
                group /= strata;
            }
            size
        };
        (0..self.count()).map(size).collect()
    }
}
