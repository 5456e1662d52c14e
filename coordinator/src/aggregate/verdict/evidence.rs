//! What the runs say of their layers, at the final step and at matched accuracy.

use std::collections::BTreeMap;

use super::{MATCHED_AT, Unused, When};
use crate::aggregate::cells::{Cell, MetricId};
use crate::aggregate::curves::{ByCell, Steps, done, first_above};
use crate::results::Run;

/// One arm's blocks: a row for each seed, a column for each layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layers {
    /// Seeds, ascending.
    pub seeds: Vec<u64>,
    /// R_l of each seed.
    pub reversion: Vec<Vec<f64>>,
    /// A_l of each seed.
    pub ablation: Vec<Vec<f64>>,
    /// Seeds that could not be used.
    pub left_out: Vec<Unused>,
}

impl Layers {
    /// The rows of these seeds.
    pub fn only(&self, seeds: &[u64]) -> Self {
        let kept: Vec<usize> = (0..self.seeds.len())
            .filter(|i| seeds.contains(&self.seeds[*i]))
            .collect();
        let rows = |all: &[Vec<f64>]| kept.iter().map(|i| all[*i].clone()).collect();
        Self {
            seeds: kept.iter().map(|i| self.seeds[*i]).collect(),
            reversion: rows(&self.reversion),
            ablation: rows(&self.ablation),
            left_out: self.left_out.clone(),
        }
    }
}

/// Blocks that were measured in any run of the cell.
pub(super) fn depth(runs: &ByCell<'_>, cell: &Cell) -> usize {
    let layers = done(runs, cell).flat_map(|(_, run)| &run.metrics);
    let layers = layers.filter(|m| m.name == "reversion.block" || m.name == "ablation.block");
    layers
        .filter_map(|m| m.layer)
        .max()
        .map_or(0, |l| l as usize + 1)
}

/// The step of the weights that are meant, in one run.
///
/// # Errors
/// With the reason, if the run has no such weights.
pub(super) fn step(run: &Run, split: &str, when: When) -> Result<u64, String> {
    match (when, first_above(run, split, MATCHED_AT)) {
        (_, None) => Err(format!("no accuracy on {split}")),
        (When::Matched, Some(Steps::At(step))) => Ok(step),
        (When::Matched, Some(Steps::Beyond(_))) => {
            Err(format!("never passed {MATCHED_AT} on {split}"))
        }
        (When::Final, Some(_)) => {
            let steps = run
                .metrics
                .iter()
                .filter(|m| m.split == split)
                .map(|m| m.step);
            Ok(steps.max().unwrap_or(0))
        }
    }
}

/// R and A of every layer and seed of a cell; seeds without them, or with one
/// that is not a number in a layer that is `needed`, are left out.
pub(super) fn layers(
    runs: &ByCell<'_>,
    cell: &Cell,
    depth: usize,
    needed: impl Fn(usize) -> bool,
    split: &str,
    when: When,
) -> Layers {
    let mut layers = Layers::default();
    if depth == 0 {
        return layers;
    }
    for (seed, run) in done(runs, cell) {
        let mut leave_out = |why: String| layers.left_out.push(Unused { seed, why });
        let step = match step(run, split, when) {
            Ok(step) => step,
            Err(why) => {
                leave_out(format!("{}: {why}", cell.arm));
                continue;
            }
        };
        let of = |name: &str| -> Option<Vec<f64>> {
            let here = run.metrics.iter().filter(|m| {
                m.name == name && m.step == step && m.head.is_none() && m.slot.is_none()
            });
            let by_layer: BTreeMap<usize, f64> = here
                .filter_map(|m| Some((m.layer? as usize, m.value)))
                .collect();
            let value = |l| by_layer.get(&l).copied().unwrap_or(f64::NAN);
            (!by_layer.is_empty()).then(|| (0..depth).map(value).collect())
        };
        let (Some(reversion), Some(ablation)) = (of("reversion.block"), of("ablation.block"))
        else {
            leave_out(format!("{}: not inspected there", cell.arm));
            continue;
        };
        let missing =
            (0..depth).find(|l| needed(*l) && (reversion[*l].is_nan() || ablation[*l].is_nan()));
        if let Some(layer) = missing {
            leave_out(format!("{}: layer {layer} is not available", cell.arm));
            continue;
        }
        layers.seeds.push(seed);
        layers.reversion.push(reversion);
        layers.ablation.push(ablation);
    }
    layers.left_out.extend(lost(cell));
    layers
}

/// Seeds of a cell that are not done.
pub(super) fn lost(cell: &Cell) -> Vec<Unused> {
    let tally = &cell.seeds;
    let failed = tally.failed.iter().map(|f| (f.0, "failed"));
    let others = [
        (&tally.cancelled, "cancelled"),
        (&tally.unsettled, "not finished"),
        (&tally.duplicate, "several different runs"),
        (&tally.absent, "not in the sweep"),
    ];
    let others = others
        .into_iter()
        .flat_map(|(seeds, why)| seeds.iter().map(move |s| (*s, why)));
    failed
        .chain(others)
        .map(|(seed, why)| Unused {
            seed,
            why: format!("{}: {why}", cell.arm),
        })
        .collect()
}

/// A metric of a whole split at one step of a run.
pub(super) fn value(run: &Run, id: &MetricId, step: u64) -> Option<f64> {
    let found = run
        .metrics
        .iter()
        .find(|m| m.step == step && m.split == id.split && m.name == id.name && m.is_whole());
    found.map(|m| m.value).filter(|v| !v.is_nan())
}
