//! Which trials are for training, which for evaluation.
//!
//! The unit is the *item* (for `ctxdm` a quadruple of numbers, whatever the cue).
//! Within each group of items a permutation that is keyed by `split_seed` holds
//! out an exact share for each evaluation split: so splits are disjoint by
//! construction, training finds out in constant time what it must not see, and
//! even a range as short as 1–10 fills every cell. Neither the run's seed nor the
//! sizes of the splits move an item from one part to another; a larger split, or
//! a larger fixed training set, holds all trials of a smaller one.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use seedbed_proto::seed::{Purpose, derive_seed};

use super::error::TaskError;
use super::generator::Item;
use super::permute::Permutation;
use super::registry::{TaskKind, Trial};

/// Evaluation splits, in the order in which they are evaluated.
pub const EVAL_SPLITS: [&str; 2] = ["val", "test_iid"];

/// Share of each group of items that one evaluation split holds, in percent.
const HELD_OUT_PERCENT: u64 = 15;

/// To which part an item belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Training.
    Train,
    /// The evaluation split at this position of [`EVAL_SPLITS`].
    Eval(usize),
}

/// The parts of all items of a task.
#[derive(Debug)]
pub struct Partition {
    split_seed: u64,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    order: Permutation,
    size: u64,
    /// Items of each evaluation split.
    held_out: u64,
}

impl Partition {
    /// The partition that a split seed fixes.
    pub fn new(task: &dyn TaskKind, split_seed: u64) -> Self {
        let group = |(index, size): (usize, u64)| Group {
            order: Permutation::new(
                size,
                derive_seed(split_seed, Purpose::Split, &format!("group/{index}")),
            ),
            size,
            held_out: size * HELD_OUT_PERCENT / 100,
        };
        Self {
            split_seed,
            groups: task.groups().into_iter().enumerate().map(group).collect(),
        }
    }

    /// The part of an item.
    pub fn part(&self, item: Item) -> Part {
        let group = &self.groups[item.group];
        // No division by zero: with nothing held out the place is not below 0.
        let place = group.order.at(item.index);
        if place < group.held_out * EVAL_SPLITS.len() as u64 {
            Part::Eval((place / group.held_out) as usize)
        } else {
            Part::Train
        }
    }

    /// Distinct trials that a cell has in a part.
    pub fn capacity(&self, task: &dyn TaskKind, cell: usize, part: Part) -> u64 {
        let group = &self.groups[task.group_of(cell)];
        match part {
            Part::Train => group.size - group.held_out * EVAL_SPLITS.len() as u64,
            Part::Eval(_) => group.held_out,
        }
    }

    /// A fresh training trial of a cell.
    pub fn sample(&self, task: &dyn TaskKind, rng: &mut ChaCha8Rng, cell: usize) -> Trial {
        // Ends: at least 70 % of each group are for training, and the task draws
        // each of them with positive chance.
        loop {
            let trial = task.sample(rng, cell);
            if self.part(task.item(&trial)) == Part::Train {
                return trial;
            }
        }
    }

    /// The trials of an evaluation split: the same number of each cell, no trial
    /// twice, any aligned run of as many trials as there are cells balanced.
    ///
    /// # Errors
    /// If `trials` does not divide into the cells, or a cell has too few.
    pub fn evaluation(
        &self,
        task: &dyn TaskKind,
        split: usize,
        trials: u32,
    ) -> Result<Vec<Trial>, TaskError> {
        let cells = task.cells();
        let each = trials as usize / cells;
        if each == 0 || !(trials as usize).is_multiple_of(cells) {
            return Err(TaskError::EvalTrials {
                eval_trials: trials,
                cells,
                nearest: (each + 1) * cells,
            });
        }
        let name = EVAL_SPLITS[split];
        let wanted = vec![each as u64; cells];
        self.check_capacity(task, Part::Eval(split), name, "task.eval_trials", &wanted)?;
        let by_cell: Vec<_> = (0..cells)
            .map(|cell| self.distinct(task, Part::Eval(split), name, cell, each))
            .collect();
        Ok((0..each)
            .flat_map(|i| by_cell.iter().map(move |trials| trials[i].clone()))
            .collect())
    }

    /// A fixed training set: no trial twice, and the numbers of any two cells
    /// differ by one at most.
    ///
    /// # Errors
    /// If it is empty or a cell has too few trials.
    pub fn fixed(&self, task: &dyn TaskKind, trials: u32) -> Result<Vec<Trial>, TaskError> {
        if trials == 0 {
            return Err(TaskError::EmptyTrain);
        }
        let cells = task.cells();
        let seed = derive_seed(self.split_seed, Purpose::Split, "train/cells");
        let order = Permutation::new(cells as u64, seed);
        let cell_at = |i: usize| order.at((i % cells) as u64) as usize;

        let (each, rest) = (trials as usize / cells, trials as usize % cells);
        let mut wanted = vec![each as u64; cells];
        for i in 0..rest {
            wanted[cell_at(i)] += 1;
        }
        self.check_capacity(task, Part::Train, "train", "task.train", &wanted)?;
        let by_cell: Vec<_> = wanted
            .iter()
            .enumerate()
            .map(|(cell, &n)| self.distinct(task, Part::Train, "train", cell, n as usize))
            .collect();
        Ok((0..trials as usize)
            .map(|i| by_cell[cell_at(i)][i / cells].clone())
            .collect())
    }

    fn check_capacity(
        &self,
        task: &dyn TaskKind,
        part: Part,
        split: &'static str,
        field: &'static str,
        wanted: &[u64],
    ) -> Result<(), TaskError> {
        let capacity = |cell| self.capacity(task, cell, part);
        let scarcest = (0..wanted.len())
            .min_by_key(|&cell| capacity(cell))
            .expect("a design has cells");
        let most_wanted = wanted.iter().copied().max().expect("a design has cells");
        // With a remainder the scarcest cell may be spared the extra trial; asking
        // for it all the same keeps the message simple and costs one trial.
        if most_wanted <= capacity(scarcest) {
            return Ok(());
        }
        Err(TaskError::TooFewTrials {
            split,
            cell: task.cell_name(scarcest),
            possible: capacity(scarcest),
            wanted: most_wanted,
            most: capacity(scarcest) * wanted.len() as u64,
            field,
        })
    }

    /// `count` distinct trials of a cell in a part, from the cell's own stream.
    fn distinct(
        &self,
        task: &dyn TaskKind,
        part: Part,
        split: &str,
        cell: usize,
        count: usize,
    ) -> Vec<Trial> {
        let name = format!("{split}/{cell}");
        let mut rng = ChaCha8Rng::from_seed(derive_seed(self.split_seed, Purpose::Split, &name));
        let mut seen = BTreeSet::new();
        let mut trials = Vec::with_capacity(count);
        // Ends: the capacity was checked, and each item has a positive chance.
        while trials.len() < count {
            let trial = task.sample(&mut rng, cell);
            let item = task.item(&trial);
            if self.part(item) == part && seen.insert(item) {
                trials.push(trial);
            }
        }
        trials
    }
}
