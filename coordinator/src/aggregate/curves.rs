//! Learning: metrics by step, and the steps until a threshold was passed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cells::{Cell, MetricId, key, stream};
use super::stats::survival::{Duration, kaplan_meier};
use super::stats::{Estimate, Proportion, estimate, wilson};
use super::table::columns;
use crate::results::{Point, Run};
use crate::sweep::Compare;

/// Thresholds of validation accuracy.
const THRESHOLDS: [f64; 2] = [0.90, 0.95];

/// The axis whose values are the steps that runs are planned to take.
const STEPS: &str = "train.steps";

/// One metric of one cell by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The arm.
    pub arm: String,
    /// Where arms meet.
    pub block: Point,
    /// The value of the selected axis.
    pub value: Option<Value>,
    /// It is the chosen one.
    pub chosen: bool,
    /// The metric, of a whole split that is not a test.
    pub metric: MetricId,
    /// By step, ascending.
    pub points: Vec<CurvePoint>,
}

/// A metric at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct CurvePoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Value by seed, ascending.
    pub values: Vec<(u64, f64)>,
    /// The mean over seeds.
    pub estimate: Estimate,
}

/// Steps until a threshold was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Steps {
    /// First passed at this evaluation.
    At(u64),
    /// Not passed up to this one, the last; or the run ended before it in numbers
    /// that were not finite.
    Beyond(u64),
}

impl std::fmt::Display for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(step) => write!(f, "{step}"),
            Self::Beyond(step) => write!(f, ">{step}"),
        }
    }
}

/// How soon the seeds of a cell passed a threshold of validation accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Reach {
    /// The arm.
    pub arm: String,
    /// Where arms meet.
    pub block: Point,
    /// The value of the selected axis.
    pub value: Option<Value>,
    /// It is the chosen one.
    pub chosen: bool,
    /// .90 or .95.
    pub threshold: f64,
    /// By seed, ascending; none where nothing is known of a seed.
    pub by_seed: Vec<(u64, Option<Steps>)>,
    /// Why nothing is known, by seed: "failed", "not finished" …
    pub unknown: Vec<(u64, &'static str)>,
    /// Seeds that passed it, of all that were planned.
    pub reached: Proportion,
    /// Kaplan and Meier's median over the seeds of which something is known; beyond
    /// the last evaluation if half of them are.
    pub median: Steps,
    /// The 95 % interval of the median (Brookmeyer and Crowley).
    pub interval: Ends,
}

/// Ends of an interval of steps; an open one is none.
pub type Ends = (Option<u64>, Option<u64>);

/// The curves of every cell: whole splits but tests, floors left out. What was found
/// inside networks is no part of them, weights on the way neither.
pub(super) fn build(runs: &[&Run], cells: &[Cell], compare: &Compare) -> Vec<Curve> {
    let by_cell = by_cell(runs, compare);
    let mut curves = Vec::new();
    for cell in cells {
        let runs: Vec<_> = done(&by_cell, cell)
            .map(|(seed, run)| (seed, vec![(None, run.metrics.as_slice())]))
            .collect();
        let columns = columns(&runs, |m| {
            !m.is_test() && m.is_whole() && !m.name.starts_with("floor.")
        });
        let place = key(&cell.point);
        for steps in columns.chunk_by(|a, b| a.same_metric(b)) {
            let metric = steps[0].id();
            let points: Vec<CurvePoint> = steps
                .iter()
                .filter_map(|column| {
                    let numbers: Vec<f64> = column.values.iter().map(|v| v.1).collect();
                    let step = column.step?;
                    let name = || format!("{place} {metric:?} {step}");
                    Some(CurvePoint {
                        step,
                        estimate: estimate(&numbers, &stream(numbers.len(), name))?,
                        values: column.values.clone(),
                    })
                })
                .collect();
            if points.is_empty() {
                continue;
            }
            curves.push(Curve {
                arm: cell.arm.clone(),
                block: cell.block.clone(),
                value: cell.value.clone(),
                chosen: cell.chosen,
                metric,
                points,
            });
        }
    }
    curves
}

/// Steps to each threshold, for every cell of which something is known.
///
/// A run that ended in a loss that was not finite never passed: left out, the arm
/// that diverges most would be the one whose median is made from its best seeds. It
/// counts as one that had not passed at the last evaluation. Of a seed that was lost
/// for other reasons (memory, a machine, still running) nothing is known: it stands
/// in the number of those planned, and not in the median.
pub(super) fn reach(runs: &[&Run], cells: &[Cell], compare: &Compare, split: &str) -> Vec<Reach> {
    let by_cell = by_cell(runs, compare);
    let last = |cell: &Cell| {
        let runs = done(&by_cell, cell);
        runs.filter_map(|(_, run)| last_evaluation(run, split))
            .max()
    };
    let mut all = Vec::new();
    for cell in cells {
        // A cell of which every seed diverged has no evaluation of its own: its runs
        // would have gone on for the steps that it names, else for as long as others
        // of its block, else as all others.
        let block = || cells.iter().filter(|c| c.block == cell.block);
        let planned = || cell.point.get(STEPS).and_then(Value::as_u64);
        let end = last(cell)
            .or_else(planned)
            .or_else(|| block().filter_map(last).max())
            .or_else(|| cells.iter().filter_map(last).max());
        for threshold in THRESHOLDS {
            let measured: BTreeMap<u64, Steps> = done(&by_cell, cell)
                .filter_map(|(seed, run)| Some((seed, first_above(run, split, threshold)?)))
                .collect();
            let steps = |seed: u64| {
                let diverged = cell.seeds.diverged(seed).then_some(end).flatten();
                measured.get(&seed).copied().or(diverged.map(Steps::Beyond))
            };
            let seeds = cell.seeds.all();
            let by_seed: Vec<_> = seeds.iter().map(|seed| (*seed, steps(*seed))).collect();
            let known: Vec<Steps> = by_seed.iter().filter_map(|s| s.1).collect();
            let Some((median, interval)) = median(&known) else {
                continue;
            };
            let hits = known.iter().filter(|s| matches!(s, Steps::At(_)));
            let unknown = by_seed.iter().filter(|s| s.1.is_none());
            all.push(Reach {
                arm: cell.arm.clone(),
                block: cell.block.clone(),
                value: cell.value.clone(),
                chosen: cell.chosen,
                threshold,
                reached: wilson(hits.count(), seeds.len()),
                unknown: unknown.map(|s| (s.0, cell.seeds.why_not(s.0))).collect(),
                by_seed,
                median,
                interval,
            });
        }
    }
    all
}

pub(super) type ByCell<'a> = BTreeMap<String, BTreeMap<u64, &'a Run>>;

pub(super) fn by_cell<'a>(runs: &[&'a Run], compare: &Compare) -> ByCell<'a> {
    let mut cells = ByCell::new();
    for run in runs {
        if let Some(seed) = compare.seed(&run.point) {
            let cell = cells.entry(key(&compare.cell(&run.point))).or_default();
            cell.insert(seed, run);
        }
    }
    cells
}

/// The runs that count in a cell: what its tally calls done.
pub(super) fn done<'a>(
    by_cell: &'a ByCell<'a>,
    cell: &'a Cell,
) -> impl Iterator<Item = (u64, &'a Run)> {
    let runs = &by_cell[&key(&cell.point)];
    cell.seeds.done.iter().map(|seed| (*seed, runs[seed]))
}

pub(super) fn first_above(run: &Run, split: &str, threshold: f64) -> Option<Steps> {
    let evaluations: BTreeMap<u64, f64> = evaluations(run, split).collect();
    let last = *evaluations.last_key_value()?.0;
    let first = evaluations.iter().find(|(_, v)| **v >= threshold);
    Some(first.map_or(Steps::Beyond(last), |(step, _)| Steps::At(*step)))
}

/// Accuracy on a split by step.
fn evaluations<'a>(run: &'a Run, split: &'a str) -> impl Iterator<Item = (u64, f64)> + 'a {
    run.metrics
        .iter()
        .filter(move |m| m.split == split && m.name == "accuracy" && m.is_whole())
        .map(|m| (m.step, m.value))
}

fn last_evaluation(run: &Run, split: &str) -> Option<u64> {
    evaluations(run, split).map(|(step, _)| step).max()
}

/// The median with its interval, seeds that did not pass counting as later than
/// their last evaluation; none without any seed.
fn median(seeds: &[Steps]) -> Option<(Steps, Ends)> {
    let duration = |steps: &Steps| match *steps {
        Steps::At(step) => Duration { step, passed: true },
        Steps::Beyond(step) => Duration {
            step,
            passed: false,
        },
    };
    let durations: Vec<Duration> = seeds.iter().map(duration).collect();
    let last = durations.iter().map(|d| d.step).max()?;
    let curve = kaplan_meier(&durations);
    let median = curve.median().map_or(Steps::Beyond(last), Steps::At);
    Some((median, curve.median_interval()))
}
