//! Learning: metrics by step, and the steps until a threshold was passed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cells::{Cell, MetricId, key};
use super::stats::{Estimate, Proportion, estimate, wilson};
use crate::results::{Point, Run};
use crate::sweep::Compare;

/// Thresholds of validation accuracy.
const THRESHOLDS: [f64; 2] = [0.90, 0.95];

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
    /// Not passed up to this one, the last.
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
    /// By seed, ascending.
    pub by_seed: Vec<(u64, Steps)>,
    /// Seeds that passed it.
    pub reached: Proportion,
    /// The median; beyond the last evaluation if half of the seeds are.
    pub median: Steps,
}

/// The curves of every cell: whole splits but tests, floors left out.
pub(super) fn build(runs: &[&Run], cells: &[Cell], compare: &Compare) -> Vec<Curve> {
    let by_cell = by_cell(runs, compare);
    let mut curves = Vec::new();
    for cell in cells {
        let mut metrics: BTreeMap<MetricId, BTreeMap<u64, BTreeMap<u64, f64>>> = BTreeMap::new();
        for (seed, run) in done(&by_cell, cell) {
            for m in &run.metrics {
                let id = MetricId::of(m);
                if m.is_test() || m.value.is_nan() || !id.is_whole() || m.name.starts_with("floor.")
                {
                    continue;
                }
                let steps = metrics.entry(id).or_default();
                steps.entry(m.step).or_default().insert(seed, m.value);
            }
        }
        for (metric, steps) in metrics {
            let stream = format!("{} {metric:?}", key(&cell.point));
            let points = steps
                .into_iter()
                .filter_map(|(step, values)| {
                    let numbers: Vec<f64> = values.values().copied().collect();
                    Some(CurvePoint {
                        step,
                        estimate: estimate(&numbers, &format!("{stream} {step}"))?,
                        values: values.into_iter().collect(),
                    })
                })
                .collect();
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

/// Steps to each threshold, for every cell that measured accuracy on the split.
pub(super) fn reach(runs: &[&Run], cells: &[Cell], compare: &Compare, split: &str) -> Vec<Reach> {
    let by_cell = by_cell(runs, compare);
    let mut all = Vec::new();
    for cell in cells {
        for threshold in THRESHOLDS {
            let by_seed: Vec<(u64, Steps)> = done(&by_cell, cell)
                .filter_map(|(seed, run)| Some((seed, first_above(run, split, threshold)?)))
                .collect();
            let Some(median) = median(&by_seed) else {
                continue;
            };
            let hits = by_seed.iter().filter(|s| matches!(s.1, Steps::At(_)));
            all.push(Reach {
                arm: cell.arm.clone(),
                block: cell.block.clone(),
                value: cell.value.clone(),
                chosen: cell.chosen,
                threshold,
                reached: wilson(hits.count(), by_seed.len()),
                by_seed,
                median,
            });
        }
    }
    all
}

type ByCell<'a> = BTreeMap<String, BTreeMap<u64, &'a Run>>;

fn by_cell<'a>(runs: &[&'a Run], compare: &Compare) -> ByCell<'a> {
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
fn done<'a>(by_cell: &'a ByCell<'a>, cell: &'a Cell) -> impl Iterator<Item = (u64, &'a Run)> {
    let runs = &by_cell[&key(&cell.point)];
    cell.seeds.done.iter().map(|seed| (*seed, runs[seed]))
}

fn first_above(run: &Run, split: &str, threshold: f64) -> Option<Steps> {
    let evaluations: BTreeMap<u64, f64> = run
        .metrics
        .iter()
        .filter(|m| m.split == split && m.name == "accuracy" && MetricId::of(m).is_whole())
        .map(|m| (m.step, m.value))
        .collect();
    let last = *evaluations.last_key_value()?.0;
    let first = evaluations.iter().find(|(_, v)| **v >= threshold);
    Some(first.map_or(Steps::Beyond(last), |(step, _)| Steps::At(*step)))
}

/// The upper of the two middle ones where n is even: a step that was evaluated.
fn median(by_seed: &[(u64, Steps)]) -> Option<Steps> {
    let mut steps: Vec<Steps> = by_seed.iter().map(|s| s.1).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied()
}
