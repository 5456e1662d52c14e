//! Balanced draws: bins of differences, and the factorial design over them.

use super::error::TaskError;
use super::pairs::Class;

/// Largest number that a task may use. Tokenizers that have all numbers up to 999
/// as single tokens exist; none is known that has more.
pub const NUMBER_LIMIT: u32 = 999;

/// The identity of a trial for the splits: what training may show of it, which
/// group of items, which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// Whether training may show its pairs.
    pub class: Class,
    /// Group, as [`super::registry::TaskKind::groups`] counts them.
    pub group: usize,
    /// Index within the group, below its size.
    pub index: u64,
}

/// Two numbers that differ by `difference`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The smaller number.
    pub smaller: u32,
    /// The larger less the smaller.
    pub difference: u32,
}

impl Pair {
    /// The pair of these numbers, in whatever order.
    pub const fn of([a, b]: [u32; 2]) -> Self {
        Self {
            smaller: if a < b { a } else { b },
            difference: a.abs_diff(b),
        }
    }

    /// Left and right number, the larger on the side that is asked for.
    pub const fn sides(self, larger_right: bool) -> [u32; 2] {
        let larger = self.smaller + self.difference;
        if larger_right {
            [self.smaller, larger]
        } else {
            [larger, self.smaller]
        }
    }
}

/// A range of numbers and the bins of |x| over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bins {
    range: [u32; 2],
    bins: Vec<[u32; 2]>,
}

impl Bins {
    /// Checks that every difference of every bin is possible within the range.
    ///
    /// # Errors
    /// Names the bin and the range.
    pub fn new(range: [u32; 2], bins: &[[u32; 2]]) -> Result<Self, TaskError> {
        let [range_low, range_high] = range;
        if range_low >= range_high || range_high > NUMBER_LIMIT {
            return Err(TaskError::Range {
                low: range_low,
                high: range_high,
                max: NUMBER_LIMIT,
            });
        }
        if bins.is_empty() {
            return Err(TaskError::NoBins);
        }
        let largest = range_high - range_low;
        let mut last = 0;
        for (index, &[low, high]) in bins.iter().enumerate() {
            let problem = if low == 0 {
                Some("holds 0, and ties have no answer: start at 1")
            } else if low > high {
                Some("is empty: its first difference must not be above its last")
            } else if low <= last {
                Some("overlaps the bin before it: bins must ascend and be apart")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(TaskError::Bin {
                    index,
                    low,
                    high,
                    problem,
                });
            }
            if high > largest {
                return Err(TaskError::BinBeyondRange {
                    index,
                    low,
                    high,
                    range_low,
                    range_high,
                    largest,
                });
            }
            last = high;
        }
        Ok(Self {
            range,
            bins: bins.to_vec(),
        })
    }

    /// How many bins; at least one.
    pub fn count(&self) -> usize {
        self.bins.len()
    }

    /// Smallest and largest number.
    pub fn range(&self) -> [u32; 2] {
        self.range
    }

    /// A bin in words.
    pub fn name(&self, bin: usize) -> String {
        let [low, high] = self.bins[bin];
        format!("{low}-{high}")
    }

    /// The bin of a difference; `None` between bins.
    pub fn find(&self, difference: u32) -> Option<usize> {
        let holds = |&[low, high]: &[u32; 2]| (low..=high).contains(&difference);
        self.bins.iter().position(holds)
    }
}

/// A full factorial design: the levels of each factor, the last one fastest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factorial<const N: usize> {
    levels: [usize; N],
}

impl<const N: usize> Factorial<N> {
    /// A design with these numbers of levels.
    pub const fn new(levels: [usize; N]) -> Self {
        Self { levels }
    }

    /// How many cells.
    pub fn cells(&self) -> usize {
        self.levels.iter().product()
    }

    /// The level of each factor in a cell.
    pub fn decode(&self, mut cell: usize) -> [usize; N] {
        let mut at = [0; N];
        for (at, levels) in at.iter_mut().zip(self.levels).rev() {
            *at = cell % levels;
            cell /= levels;
        }
        at
    }

    /// The cell of these levels.
    pub fn encode(&self, at: [usize; N]) -> usize {
        let step = |cell, (at, levels)| cell * levels + at;
        at.into_iter().zip(self.levels).fold(0, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_survive_their_levels() {
        let design = Factorial::new([2, 2, 2, 3, 5]);
        assert_eq!(design.cells(), 120);
        for cell in 0..design.cells() {
            assert_eq!(design.encode(design.decode(cell)), cell);
        }
    }

    #[test]
    fn impossible_bins_are_named() {
        let check = |range, bins: &[[u32; 2]], expect: &str| {
            let error = Bins::new(range, bins)
                .expect_err("must be refused")
                .to_string();
            assert!(error.contains(expect), "{error}");
        };
        check([0, 99], &[], "task.bins: at least one");
        check([0, 99], &[[0, 4]], "task.bins[0]: [0, 4] holds 0");
        check([0, 99], &[[1, 4], [4, 9]], "task.bins[1]: [4, 9] overlaps");
        check([0, 99], &[[5, 4]], "task.bins[0]: [5, 4] is empty");
        check([5, 5], &[[1, 1]], "task.range: [5, 5]");
        check([0, 4_000_000], &[[1, 1]], "task.range: [0, 4000000]");
        check(
            [1, 20],
            &[[1, 4], [17, 50]],
            "task.bins[1]: a difference of 50 (bin [17, 50]) is not possible within task.range \
             [1, 20], whose largest is 19",
        );
    }
}
