//! Runs → cells → paired comparisons: pure functions of what a sweep has yielded.
//!
//! A *cell* is a point of the sweep without its seed. Within a cell every seed is
//! shown, and one that failed, is missing or stands twice is counted, never
//! averaged over in silence. Arms are compared *within* seeds: the twins of a
//! seed saw the same data in the same order. The learning rate is chosen on
//! validation alone ([`select`]), and while no choice is on record nothing of a
//! test split leaves this module.
//!
//! Nothing here depends on the order in which runs stand, on hosts or on time.

mod bands;
pub mod behaviour;
pub mod ceilings;
mod cells;
mod compare;
mod curves;
#[cfg(test)]
pub(crate) mod fixture;
mod floors;
mod grids;
mod lacking;
mod lost;
mod measure;
pub mod mechanism;
mod pairs;
pub mod replication;
pub mod reuse;
mod select;
pub mod stats;
mod table;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::result::JobPhase;

pub use bands::{Band, Coverage, band};
pub use ceilings::NoiseCeiling;
pub use cells::{Cell, MetricId, SeedTally, Summary};
pub use curves::{Curve, CurvePoint, Reach, Steps};
pub use floors::Floor;
pub use grids::Grid;
pub use pairs::{Basis, Comparison, Family, LeftOut, Pair};
pub use replication::Look;
pub use select::select;
pub use verdict::Verdict;

use crate::results::{Point, Run, Selection, SweepResults, label};
use crate::sweep::Compare;

/// The arm that the others are compared with.
const BASELINE: &str = "scratch";

/// What a sweep says, ready to be written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The sweep's name.
    pub name: String,
    /// What was compared, and how.
    pub compare: Compare,
    /// How many runs stand in which phase.
    pub phases: BTreeMap<&'static str, usize>,
    /// Every seed of the sweep, ascending.
    pub seeds: Vec<u64>,
    /// The arms' labels, in the sweep's order.
    pub arms: Vec<String>,
    /// The arm that the others are compared with; none if there is one arm only.
    pub baseline: Option<String>,
    /// Axes beyond arm, replicate and the selected one that take several values;
    /// `frozen` alone if none does.
    pub block_axes: Vec<String>,
    /// The metric of the confirmatory family: "incongruent_accuracy".
    pub primary: String,
    /// The split that selection reads: "val".
    pub selection_split: String,
    /// The split that the answer is read from: "test_iid", or the selection's
    /// split while tests are sealed or where there are none.
    pub headline_split: String,
    /// The current selection record; none while runs are unsettled.
    pub selection: Option<Selection>,
    /// Every cell, in the sweep's order.
    pub cells: Vec<Cell>,
    /// Every arm against the baseline.
    pub comparisons: Vec<Comparison>,
    /// Metrics by step.
    pub curves: Vec<Curve>,
    /// Steps until validation accuracy passed a threshold.
    pub reach: Vec<Reach>,
    /// What shortcuts would score.
    pub floors: Vec<Floor>,
    /// Noise ceilings of the networks' dissimilarities. They follow from stored arrays,
    /// not from metrics: empty until whoever can read files [fills it in](ceilings).
    pub ceilings: Vec<NoiseCeiling>,
    /// The verdict on reuse; none where the sweep does not ask for it.
    pub verdict: Option<Verdict>,
    /// Looks of a sweep that adds seeds by itself, so far.
    pub looks: Vec<Look>,
    /// Confidence of each interval of a difference.
    pub confidence: f64,
    /// What the reader must know about the runs behind the numbers; what may turn
    /// the answer first.
    pub notes: Vec<String>,
}

impl Analysis {
    /// Whether test splits are still sealed.
    pub fn sealed(&self) -> bool {
        self.selection.is_none()
    }

    /// Pairs behind each comparison that answers the question: the fewest and the
    /// most; none without such a comparison.
    pub fn pairs(&self) -> Option<(usize, usize)> {
        let pairs = || self.headline().map(|c| c.pairs.len());
        pairs().min().zip(pairs().max())
    }

    /// Whether there are too few seeds for a confirmatory claim: of those that
    /// stand behind a comparison, not of those that were planned.
    pub fn exploratory(&self) -> bool {
        let fewest = self.pairs().map_or(self.seeds.len(), |(fewest, _)| fewest);
        fewest < stats::CONFIRMATORY_FROM
    }

    /// The values of the selected axis by arm and block.
    pub fn grids(&self) -> Vec<Grid> {
        grids::grids(&self.cells)
    }

    /// Number of runs, in whatever phase.
    pub fn runs(&self) -> usize {
        self.phases.values().sum()
    }

    /// Runs in a phase.
    pub fn in_phase(&self, phase: JobPhase) -> usize {
        self.phases.get(phase.name()).copied().unwrap_or(0)
    }

    /// The value of one of [`Self::block_axes`] at a block, as text.
    pub fn axis_label(&self, block: &Point, axis: &str) -> String {
        axis_label(block, axis)
    }

    /// A block in words, for captions: "frozen prefix_2, template T1".
    pub fn block_label(&self, block: &Point) -> String {
        block_label(&self.block_axes, block)
    }

    /// The blocks, in the sweep's order.
    pub fn blocks(&self) -> Vec<&Point> {
        let mut blocks: Vec<&Point> = Vec::new();
        for cell in &self.cells {
            if !blocks.contains(&&cell.block) {
                blocks.push(&cell.block);
            }
        }
        blocks
    }

    /// The comparisons that answer the sweep's question.
    pub fn headline(&self) -> impl Iterator<Item = &Comparison> {
        self.comparisons
            .iter()
            .filter(|c| c.family == Family::Confirmatory)
    }
}

/// Everything that tables and figures show, from what the sweep has yielded.
pub fn analyse(results: &SweepResults, compare: &Compare) -> Analysis {
    let runs = in_order(results);
    let found = results.found();
    let selection = results.selection().cloned();
    let (mut unplaced, mut unpaired) = (Vec::new(), Vec::new());

    let seeds: BTreeSet<u64> = runs.iter().filter_map(|r| compare.seed(&r.point)).collect();
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let arms = arms(&runs, compare);
    let baseline = baseline(&arms).map(str::to_owned);

    let cells = cells::build(
        &runs,
        &found,
        compare,
        selection.as_ref(),
        &seeds,
        &mut unplaced,
    );
    let (selection_split, primary) = compare.criterion();
    let headline_split = headline_split(&cells, &selection_split);
    let comparisons = match &baseline {
        Some(baseline) => {
            let question = pairs::Question {
                baseline,
                headline: MetricId::whole(&headline_split, &primary),
                compare,
                selection: selection.as_ref(),
            };
            pairs::build(&cells, &question, &mut unpaired)
        }
        None => Vec::new(),
    };
    let block_axes = block_axes(&cells);
    let place = |block: &Point| block_label(&block_axes, block);
    let sealed = selection.is_none();
    let splits = verdict::Splits {
        selection: &selection_split,
        headline: &headline_split,
        primary: &primary,
    };
    // By run and step, what was found inside a network is a measure of its run.
    let answered = results.answered();
    let verdict = (!sealed)
        .then(|| verdict::judge(&in_order(&answered), &cells, compare, &splits))
        .flatten();
    // What may turn the answer stands first: a reader may see the first lines alone.
    let mut notes = grids::unequal(&grids::grids(&cells), place);
    notes.extend(verdict.as_ref().and_then(|v| v.unjudged(place)));
    notes.extend(unplaced);
    notes.extend(unpaired);
    notes.extend(lost::lines(&cells, compare));
    notes.extend(lacking::lines(&runs));
    Analysis {
        name: results.name.clone(),
        compare: compare.clone(),
        phases: phases(&runs),
        block_axes,
        curves: curves::build(&runs, &cells, compare),
        reach: curves::reach(&runs, &cells, compare, &selection_split),
        floors: floors::build(&runs, compare, sealed),
        seeds,
        arms,
        baseline,
        primary,
        selection_split,
        headline_split,
        selection,
        cells,
        comparisons,
        ceilings: Vec::new(),
        verdict,
        looks: replication::looks(results, compare),
        confidence: compare.confidence(),
        notes,
    }
}

fn axis_label(block: &Point, axis: &str) -> String {
    block.get(axis).map_or_else(|| "–".to_owned(), label)
}

fn block_label(axes: &[String], block: &Point) -> String {
    let parts: Vec<_> = axes
        .iter()
        .map(|axis| format!("{} {}", last_part(axis, axes), axis_label(block, axis)))
        .collect();
    parts.join(", ")
}

/// The last part of an axis' path, where that tells it from the others.
fn last_part<'a>(axis: &'a str, axes: &[String]) -> &'a str {
    let last = |axis: &'a str| axis.rsplit('.').next().unwrap_or(axis);
    let same = axes
        .iter()
        .filter(|a| a.rsplit('.').next() == Some(last(axis)));
    if same.count() == 1 { last(axis) } else { axis }
}

/// The arms' labels, in the order in which the runs first mention them.
fn arms(runs: &[&Run], compare: &Compare) -> Vec<String> {
    let mut arms: Vec<String> = Vec::new();
    for run in runs {
        let arm = compare.arm(&run.point);
        if !arms.contains(&arm) {
            arms.push(arm);
        }
    }
    arms
}

/// The arm that the others are compared with; none if there is one arm only.
fn baseline(arms: &[String]) -> Option<&str> {
    let known = arms.iter().find(|arm| *arm == BASELINE);
    (arms.len() > 1).then(|| known.unwrap_or(&arms[0]).as_str())
}

/// The runs in the sweep's order, whatever order they came in; the same job
/// listed twice at one point is one run.
pub(crate) fn in_order(results: &SweepResults) -> Vec<&Run> {
    let mut runs: Vec<&Run> = results.runs.iter().collect();
    runs.sort_by_key(|r| (r.ordinal, r.key));
    let mut known: BTreeMap<_, Vec<&Point>> = BTreeMap::new();
    runs.retain(|run| {
        let points = known.entry(run.key).or_default();
        let new = !points.contains(&&run.point);
        points.push(&run.point);
        new
    });
    runs
}

fn phases(runs: &[&Run]) -> BTreeMap<&'static str, usize> {
    let mut phases = BTreeMap::new();
    for run in runs {
        *phases.entry(run.phase.name()).or_insert(0) += 1;
    }
    phases
}

/// The split of the answer: unseen trials if there are any to see.
fn headline_split(cells: &[Cell], selection_split: &str) -> String {
    let splits: BTreeSet<&str> = cells
        .iter()
        .flat_map(|c| c.summaries.keys())
        .map(|id| id.split.as_str())
        .filter(|split| split.starts_with("test"))
        .collect();
    match splits.get("test_iid").or(splits.first()) {
        Some(split) => (*split).to_owned(),
        None => selection_split.to_owned(),
    }
}

/// The axes in which blocks differ, the frozen set first; where they differ in none,
/// the frozen set alone.
fn block_axes(cells: &[Cell]) -> Vec<String> {
    let mut values: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for cell in cells {
        for (axis, value) in &cell.block {
            values.entry(axis).or_default().insert(label(value));
        }
    }
    let differs = |axis: &String| values[axis].len() > 1;
    let is_frozen = |axis: &String| axis == "frozen";
    let mut axes: Vec<&String> = values.keys().copied().filter(|a| differs(a)).collect();
    if axes.is_empty() {
        axes.extend(values.keys().copied().filter(|a| is_frozen(a)));
    }
    axes.sort_by_key(|axis| !is_frozen(axis));
    axes.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests;
