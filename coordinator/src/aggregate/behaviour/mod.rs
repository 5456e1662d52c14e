//! How the arms behave beyond the headline: by split, by strength of evidence,
//! and by size of the training set. Pure functions of an [`Analysis`], at the
//! chosen values of the selected axis.

mod efficiency;
mod psychometric;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use efficiency::{EFFICIENT, Efficiency, Needed, TRAIN_SET, TrainSet, efficiency};
pub use psychometric::{Psychometric, PsychometricPoint, psychometric_curves};

use super::cells::MetricId;
use super::{Analysis, Basis, Cell, Comparison, Floor};
use crate::results::Point;

impl Analysis {
    /// The cells that count, in the sweep's order.
    pub fn chosen(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|c| c.chosen)
    }

    /// The metric that stands for a block: the primary one, or accuracy where its
    /// task has no trials for that (no irrelevant dimension: nothing incongruent).
    pub fn measure_of(&self, block: &Point) -> &str {
        const INSTEAD: &str = "accuracy";
        let measured = |name: &str| {
            self.chosen()
                .filter(|c| &c.block == block)
                .any(|c| c.summary(&self.selection_split, name).is_some())
        };
        // Of a block whose seeds were all lost nothing was measured.
        if !measured(&self.primary) && measured(INSTEAD) {
            INSTEAD
        } else {
            &self.primary
        }
    }

    /// The splits on which blocks were measured at the end: the selection's first,
    /// then the headline's, then the others by name.
    pub fn splits(&self) -> Vec<String> {
        let mut measured: BTreeSet<&String> = BTreeSet::new();
        for cell in self.chosen() {
            let metric = self.measure_of(&cell.block);
            let whole = |id: &&MetricId| id.is_whole() && id.name == metric && id.split != "train";
            measured.extend(cell.summaries.keys().filter(whole).map(|id| &id.split));
        }
        let first = [&self.selection_split, &self.headline_split];
        let mut splits: Vec<String> = Vec::new();
        for split in first.into_iter().chain(measured.iter().copied()) {
            if measured.contains(split) && !splits.contains(split) {
                splits.push(split.clone());
            }
        }
        splits
    }

    /// The comparison of a chosen cell with its baseline on a metric of a split.
    pub fn comparison(&self, cell: &Cell, split: &str, metric: &str) -> Option<&Comparison> {
        let id = MetricId::whole(split, metric);
        self.comparisons.iter().find(|c| {
            c.basis == Basis::Chosen && c.arm == cell.arm && c.block == cell.block && c.metric == id
        })
    }

    /// The floors of a block on a metric of a split.
    pub fn floors_of<'a>(
        &'a self,
        block: &'a Point,
        split: &'a str,
        metric: &'a str,
    ) -> impl Iterator<Item = &'a Floor> {
        self.floors
            .iter()
            .filter(move |f| &f.block == block && f.split == split && f.metric == metric)
    }
}
