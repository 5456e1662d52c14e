//! Which trials are for training, which for evaluation.
//!
//! The unit is the *item* (for `ctxdm` a quadruple of numbers, whatever the cue).
//! Items with a pair that training never shows are those of `test_pair`, items
//! with a number that it never shows those of `test_number`. Of all others, within
//! each group a permutation that is keyed by `split_seed` holds out an exact share
//! for `val` and for `test_iid`: so splits are disjoint by construction, training
//! finds out in constant time what it must not see, and even a range as short as
//! 1–10 fills every cell. Neither the run's seed nor the sizes of the splits move
//! an item from one part to another; a larger split, or a larger fixed training
//! set, holds all trials of a smaller one.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::Item;
use super::pairs::Class;
use super::permute::Permutation;
use super::registry::{TaskKind, Trial};
use crate::job::Split;
use crate::seed::{Purpose, derive_seed};

/// Share of each group of items that `val` and `test_iid` hold each, in percent.
const HELD_OUT_PERCENT: u64 = 15;

/// The splits that share the items of seen pairs with training.
const SHARING: [Split; 2] = [Split::Val, Split::TestIid];

/// To which part an item belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Training.
    Train,
    /// An evaluation split that has items of its own.
    Eval(Split),
}

impl Part {
    /// What training shows of its pairs.
    pub fn class(self) -> Class {
        match self {
            Self::Eval(Split::TestPair) => Class::HeldPair,
            Self::Eval(Split::TestNumber) => Class::HeldNumber,
            Self::Train | Self::Eval(_) => Class::Seen,
        }
    }

    /// "train", or the split's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Eval(split) => split.name(),
        }
    }

    /// The key of a sweep file that says how many trials it has.
    fn field(self) -> &'static str {
        match self {
            Self::Train => "task.train",
            Self::Eval(_) => "task.eval_trials",
        }
    }
}

/// The parts of all items of a task.
#[derive(Debug)]
pub struct Partition {
    split_seed: u64,
    /// Of items of seen pairs.
    groups: Vec<Group>,
    /// Sizes of the groups of the other classes.
    held: [Vec<u64>; 2],
    /// Whether the numbers are others than those of training: then all items are
    /// free for evaluation.
    elsewhere: bool,
}

#[derive(Debug)]
struct Group {
    order: Permutation,
    size: u64,
    /// Items of each evaluation split that shares with training.
    held_out: u64,
}

impl Partition {
    /// The partition that a split seed fixes.
    pub fn new(task: &dyn TaskKind, split_seed: u64) -> Self {
        let group = |(index, size): (usize, u64)| Group {
            order: Permutation::new(
                // Of nothing there is no permutation, and nobody asks for it.
                size.max(1),
                derive_seed(split_seed, Purpose::Split, &format!("group/{index}")),
            ),
            size,
            held_out: size * HELD_OUT_PERCENT / 100,
        };
        let sizes = task.groups(Class::Seen);
        Self {
            split_seed,
            groups: sizes.into_iter().enumerate().map(group).collect(),
            held: [Class::HeldPair, Class::HeldNumber].map(|class| task.groups(class)),
            elsewhere: false,
        }
    }

    /// The same for a task over a range that training never shows: nothing is
    /// shared.
    pub fn elsewhere(task: &dyn TaskKind, split_seed: u64) -> Self {
        Self {
            elsewhere: true,
            ..Self::new(task, split_seed)
        }
    }

    /// The part of an item.
    pub fn part(&self, item: Item) -> Part {
        match item.class {
            Class::HeldPair => return Part::Eval(Split::TestPair),
            Class::HeldNumber => return Part::Eval(Split::TestNumber),
            Class::Seen => {}
        }
        let group = &self.groups[item.group];
        // No division by zero: with nothing held out the place is not below 0.
        let place = group.order.at(item.index);
        if place < group.held_out * SHARING.len() as u64 {
            Part::Eval(SHARING[(place / group.held_out) as usize])
        } else {
            Part::Train
        }
    }

    /// Distinct items that a cell has in a part.
    pub fn capacity(&self, task: &dyn TaskKind, cell: usize, part: Part) -> u64 {
        let groups = task.groups_of(cell).into_iter();
        let size = |group: usize| {
            let sharing = &self.groups[group];
            match part {
                _ if self.elsewhere => sharing.size,
                Part::Train => sharing.size - sharing.held_out * SHARING.len() as u64,
                Part::Eval(Split::TestPair) => self.held[0][group],
                Part::Eval(Split::TestNumber) => self.held[1][group],
                Part::Eval(_) => sharing.held_out,
            }
        };
        groups.map(size).sum()
    }

    /// The fewest distinct items that any cell has in a part, and the cell.
    pub fn scarcest(&self, task: &dyn TaskKind, part: Part) -> (u64, usize) {
        (0..task.cells())
            .map(|cell| (self.capacity(task, cell, part), cell))
            .min()
            .expect("a design has cells")
    }

    /// A fresh training trial of a cell.
    pub fn sample(&self, task: &dyn TaskKind, rng: &mut ChaCha8Rng, cell: usize) -> Trial {
        // Ends: at least 70 % of each group are for training, and the task draws
        // each of them with positive chance.
        loop {
            let trial = task.sample(rng, cell, Class::Seen);
            if self.holds(task, &trial, Part::Train).is_some() {
                return trial;
            }
        }
    }

    /// The item of a trial, if it belongs to the part.
    fn holds(&self, task: &dyn TaskKind, trial: &Trial, part: Part) -> Option<Item> {
        let item = task.item(trial)?;
        (self.elsewhere || self.part(item) == part).then_some(item)
    }

    /// The trials of an evaluation split: the same number of each cell, no item
    /// twice in a cell, any aligned run of as many trials as there are cells
    /// balanced.
    ///
    /// # Errors
    /// If `trials` does not divide into the cells, or a cell has too few.
    pub fn evaluation(
        &self,
        task: &dyn TaskKind,
        split: Split,
        trials: u32,
    ) -> Result<Vec<Trial>, TaskError> {
        let cells = task.cells();
        let each = each_cell(trials, cells)?;
        let part = Part::Eval(split);
        self.check_capacity(task, part, each)?;
        let by_cell: Vec<_> = (0..cells)
            .map(|cell| self.distinct(task, part, cell, each as usize))
            .collect();
        Ok((0..each as usize)
            .flat_map(|i| by_cell.iter().map(move |trials| trials[i].clone()))
            .collect())
    }

    /// A fixed training set: no item twice in a cell, and the numbers of any two
    /// cells differ by one at most.
    ///
    /// # Errors
    /// If it is empty or a cell has too few trials.
    pub fn fixed(&self, task: &dyn TaskKind, trials: u32) -> Result<Vec<Trial>, TaskError> {
        self.check_fixed(task, trials)?;
        let cells = task.cells();
        let seed = derive_seed(self.split_seed, Purpose::Split, "train/cells");
        let order = Permutation::new(cells as u64, seed);
        let cell_at = |i: usize| order.at((i % cells) as u64) as usize;

        let (each, rest) = (trials as usize / cells, trials as usize % cells);
        let mut wanted = vec![each; cells];
        for i in 0..rest {
            wanted[cell_at(i)] += 1;
        }
        let by_cell: Vec<_> = wanted
            .iter()
            .enumerate()
            .map(|(cell, &n)| self.distinct(task, Part::Train, cell, n))
            .collect();
        Ok((0..trials as usize)
            .map(|i| by_cell[cell_at(i)][i / cells].clone())
            .collect())
    }

    /// Whether a fixed training set of so many trials can be had. With a remainder
    /// the scarcest cell may be spared the extra trial; asking for it all the same
    /// keeps the message simple and costs one trial.
    ///
    /// # Errors
    /// If it is empty or a cell has too few trials.
    pub fn check_fixed(&self, task: &dyn TaskKind, trials: u32) -> Result<(), TaskError> {
        if trials == 0 {
            return Err(TaskError::EmptyTrain);
        }
        let each = u64::from(trials).div_ceil(task.cells() as u64);
        self.check_capacity(task, Part::Train, each)
    }

    /// Whether every cell has so many trials in a part.
    ///
    /// # Errors
    /// Names the scarcest cell.
    pub fn check_capacity(
        &self,
        task: &dyn TaskKind,
        part: Part,
        each: u64,
    ) -> Result<(), TaskError> {
        let (possible, cell) = self.scarcest(task, part);
        if each <= possible {
            return Ok(());
        }
        Err(TaskError::TooFewTrials {
            split: part.name(),
            cell: task.cell_name(cell),
            possible,
            wanted: each,
            most: possible * task.cells() as u64,
            field: part.field(),
        })
    }

    /// `count` trials of a cell in a part, of distinct items, from the cell's own
    /// stream.
    fn distinct(&self, task: &dyn TaskKind, part: Part, cell: usize, count: usize) -> Vec<Trial> {
        let name = format!("{}/{cell}", part.name());
        let mut rng = ChaCha8Rng::from_seed(derive_seed(self.split_seed, Purpose::Split, &name));
        let class = if self.elsewhere {
            Class::Seen
        } else {
            part.class()
        };
        let mut seen = BTreeSet::new();
        let mut trials = Vec::with_capacity(count);
        // Ends: the capacity was checked, and each item has a positive chance.
        while trials.len() < count {
            let trial = task.sample(&mut rng, cell, class);
            if let Some(item) = self.holds(task, &trial, part)
                && seen.insert(item)
            {
                trials.push(trial);
            }
        }
        trials
    }
}

/// Trials of each cell in a split of so many.
///
/// # Errors
/// If they do not divide into the cells.
pub fn each_cell(trials: u32, cells: usize) -> Result<u64, TaskError> {
    let each = trials as usize / cells;
    if each == 0 || !(trials as usize).is_multiple_of(cells) {
        return Err(TaskError::EvalTrials {
            eval_trials: trials,
            cells,
            nearest: (each + 1) * cells,
        });
    }
    Ok(each as u64)
}
