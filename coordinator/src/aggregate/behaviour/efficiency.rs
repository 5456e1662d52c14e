//! Sample efficiency: the primary metric by size of the training set.

use std::cmp::Ordering;

use serde_json::Value;

use crate::aggregate::{Analysis, Cell, Summary};
use crate::results::Point;

/// The axis whose values are sizes of the training set.
pub const TRAIN_SET: &str = "task.train";

/// Accuracy that sample efficiency is counted towards.
pub const EFFICIENT: f64 = 0.90;

/// How many trials a network saw, as a place on an axis.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum TrainSet {
    /// A fixed set of so many trials.
    Trials(f64),
    /// Fresh trials all the time.
    Online,
}

impl std::fmt::Display for TrainSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trials(n) => write!(f, "{n}"),
            Self::Online => f.write_str("online"),
        }
    }
}

/// The primary metric by size of the training set, for one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Efficiency<'a> {
    /// The arm.
    pub arm: String,
    /// Where arms meet, without the size.
    pub block: Point,
    /// Size with the cell there, ascending; online last.
    pub sizes: Vec<(TrainSet, &'a Cell)>,
    /// What each seed needed to reach [`EFFICIENT`], ascending. Seeds that were lost
    /// at a size, but for those that diverged there, are left out, unless all seeds
    /// were lost at it.
    pub by_seed: Vec<(u64, Needed)>,
}

/// How large a training set had to be.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Needed {
    /// The smallest one that sufficed.
    At(TrainSet),
    /// None that is smaller than this one, of which no seed says anything.
    Unknown(TrainSet),
    /// More than the largest one.
    Beyond,
}

impl<'a> Efficiency<'a> {
    /// The block's metric on the headline split at each size.
    pub fn curve(&self, a: &Analysis) -> Vec<(TrainSet, &'a Summary)> {
        let of = |cell: &'a Cell| cell.summary(&a.headline_split, a.measure_of(&cell.block));
        self.sizes
            .iter()
            .filter_map(|(n, cell)| Some((*n, of(cell)?)))
            .collect()
    }

    /// The median of what seeds needed: the upper of the two in the middle
    /// (Kaplan–Meier, as all seeds are censored at the same size); none without any
    /// seed.
    pub fn median(&self) -> Option<Needed> {
        let mut needed: Vec<Needed> = self.by_seed.iter().map(|s| s.1).collect();
        needed.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        needed.get(needed.len() / 2).copied()
    }
}

/// Sample efficiency of every arm, where the sweep varies the training set; a
/// block with one size has none.
pub fn efficiency(a: &Analysis) -> Vec<Efficiency<'_>> {
    let mut all: Vec<Efficiency<'_>> = Vec::new();
    for cell in counted(a) {
        let Some(size) = cell.block.get(TRAIN_SET).and_then(train_set) else {
            continue;
        };
        let mut block = cell.block.clone();
        block.remove(TRAIN_SET);
        match all
            .iter_mut()
            .find(|e| e.arm == cell.arm && e.block == block)
        {
            Some(found) => found.sizes.push((size, cell)),
            None => all.push(Efficiency {
                arm: cell.arm.clone(),
                block,
                sizes: vec![(size, cell)],
                by_seed: vec![],
            }),
        }
    }
    all.retain(|e| e.sizes.len() > 1);
    for e in &mut all {
        e.sizes
            .sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
        e.by_seed = needed(e, a);
    }
    all
}

/// The chosen cells, and where every seed was lost so that nothing could be chosen,
/// the first cell: what was lost is a row, too.
fn counted(a: &Analysis) -> impl Iterator<Item = &Cell> {
    a.cells.iter().enumerate().filter_map(|(i, cell)| {
        let same = |c: &&Cell| c.arm == cell.arm && c.block == cell.block;
        let lost = !a.sealed()
            && !a.cells.iter().any(|c| same(&c) && c.chosen)
            && !a.cells[..i].iter().any(|c| same(&c));
        (cell.chosen || lost).then_some(cell)
    })
}

/// By seed of which something is known at every size of which any seed says
/// something, the smallest one at which it was good enough. A run that ended in a
/// loss that was not finite was not.
fn needed(e: &Efficiency<'_>, a: &Analysis) -> Vec<(u64, Needed)> {
    let enough = |cell: &Cell, seed: u64| {
        let summary = cell.summary(&a.headline_split, a.measure_of(&cell.block));
        let values = summary.into_iter().flat_map(|s| &s.values);
        let value = values.into_iter().find(|v| v.0 == seed).map(|v| v.1);
        let reached = value.map(|v| v >= EFFICIENT);
        reached.or(cell.seeds.diverged(seed).then_some(false))
    };
    let said = |cell: &Cell| a.seeds.iter().any(|seed| enough(cell, *seed).is_some());
    let of_seed = |seed: u64| {
        let mut found = Needed::Beyond;
        // From the largest size to the smallest, so that the smallest one stays.
        for (size, cell) in e.sizes.iter().rev() {
            if !said(cell) {
                found = Needed::Unknown(*size);
            } else if enough(cell, seed)? {
                found = Needed::At(*size);
            }
        }
        Some((seed, found))
    };
    let silent = e.sizes.iter().all(|(_, cell)| !said(cell));
    let seeds = a.seeds.iter().filter(|_| !silent);
    seeds.filter_map(|seed| of_seed(*seed)).collect()
}

/// As it stands in the sweep file: `online` or a number.
fn train_set(value: &Value) -> Option<TrainSet> {
    match value {
        Value::String(text) if text == "online" => Some(TrainSet::Online),
        value => value.as_f64().map(TrainSet::Trials),
    }
}
