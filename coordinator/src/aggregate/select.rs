//! Which value of the selected axis (the learning rate) won, on validation alone.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::result::JobPhase;
use serde_json::Value;

use super::cells::key;
use super::in_order;
use super::measure::less_is_better;
use super::stats::mean;
use crate::results::{Choice, Point, Run, Selection, SweepResults};
use crate::sweep::Compare;

/// The selection that the runs call for; `None` while any of them is unsettled,
/// or if none is done.
///
/// Per group (every axis but replicate and selected one) the winner is, among
/// the values with the most finished seeds, the one with the best mean over
/// seeds at the final step: a learning rate at which seeds fail does not win by
/// the luck of those that are left. Of equals the one that the sweep names first
/// wins.
///
/// Nothing of a test split is read. The record has the latest record's version
/// if it says the same, else the next one. A sweep that selects over nothing
/// gets a record without choices: it says that all runs have settled.
pub fn select(results: &SweepResults, compare: &Compare) -> Option<Selection> {
    let runs = in_order(results);
    let settled = |r: &&Run| {
        matches!(
            r.phase,
            JobPhase::Done | JobPhase::Failed | JobPhase::Cancelled
        )
    };
    if !runs.iter().all(settled) || !runs.iter().any(|r| r.phase == JobPhase::Done) {
        return None;
    }
    let (axis, by) = match &compare.select {
        Some(s) => (s.axis.clone(), s.by.clone()),
        None => (String::new(), String::new()),
    };
    let mut selection = Selection {
        version: 1,
        axis,
        by,
        choices: choices(&runs, compare),
    };
    if let Some(last) = results.selections.last() {
        selection.version = last.version;
        if selection != *last {
            selection.version += 1;
        }
    }
    Some(selection)
}

/// A value of the selected axis with what its seeds yielded.
type Candidate = (Value, BTreeMap<u64, f64>);

pub(super) fn choices(runs: &[&Run], compare: &Compare) -> Vec<Choice> {
    if compare.select.is_none() {
        return Vec::new();
    }
    let (split, name) = compare.criterion();
    let mut groups: Vec<(Point, Vec<Candidate>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let Some(value) = run.point.get(compare.select_axis()) else {
            continue;
        };
        let group = compare.group(&run.point);
        let place = *places.entry(key(&group)).or_insert_with(|| {
            groups.push((group, Vec::new()));
            groups.len() - 1
        });
        let candidates = &mut groups[place].1;
        let at = match candidates.iter().position(|c| c.0 == *value) {
            Some(at) => at,
            None => {
                candidates.push((value.clone(), BTreeMap::new()));
                candidates.len() - 1
            }
        };
        let score = final_value(run, &split, &name);
        if let (Some(seed), Some(score)) = (compare.seed(&run.point), score) {
            candidates[at].1.insert(seed, score);
        }
    }
    let sign = if less_is_better(&name) { -1.0 } else { 1.0 };
    groups
        .into_iter()
        .filter_map(|(group, candidates)| choose(group, &candidates, sign))
        .collect()
}

fn choose(group: Point, candidates: &[Candidate], sign: f64) -> Option<Choice> {
    let (best, mean) = winner(candidates, sign, None)?;
    let (value, seeds) = &candidates[best];
    let all: BTreeSet<u64> = candidates
        .iter()
        .flat_map(|c| c.1.keys().copied())
        .collect();
    let without = all.into_iter().filter_map(|seed| {
        let (other, _) = winner(candidates, sign, Some(seed))?;
        (other != best).then(|| (seed, candidates[other].0.clone()))
    });
    Some(Choice {
        group,
        value: value.clone(),
        mean,
        seeds: seeds.keys().copied().collect(),
        at_edge: at_edge(value, candidates),
        without: without.collect(),
    })
}

/// Index and mean of the best candidate, one seed left out.
fn winner(candidates: &[Candidate], sign: f64, without: Option<u64>) -> Option<(usize, f64)> {
    let mut best: Option<(usize, usize, f64)> = None;
    for (i, candidate) in candidates.iter().enumerate() {
        let kept = candidate
            .1
            .iter()
            .filter(|(seed, _)| Some(**seed) != without);
        let scores: Vec<f64> = kept.map(|(_, score)| *score).collect();
        let Some(score) = mean(&scores) else {
            continue;
        };
        let wins = best.is_none_or(|(_, old, mean)| {
            let new = scores.len();
            new > old || (new == old && sign * score > sign * mean)
        });
        if wins {
            best = Some((i, scores.len(), score));
        }
    }
    best.map(|(i, _, mean)| (i, mean))
}

/// Whether the value ends a grid of several: by size for numbers, else by the
/// sweep's order.
fn at_edge(value: &Value, candidates: &[Candidate]) -> bool {
    if candidates.len() < 2 {
        return false;
    }
    let numbers: Option<Vec<f64>> = candidates.iter().map(|c| c.0.as_f64()).collect();
    match (numbers, value.as_f64()) {
        (Some(numbers), Some(value)) => {
            numbers.iter().all(|n| *n >= value) || numbers.iter().all(|n| *n <= value)
        }
        _ => [candidates.first(), candidates.last()]
            .into_iter()
            .flatten()
            .any(|c| c.0 == *value),
    }
}

/// A run's metric of a whole split at its last step; `None` if it is not done or
/// the metric is not available there.
pub(super) fn final_value(run: &Run, split: &str, name: &str) -> Option<f64> {
    if run.phase != JobPhase::Done {
        return None;
    }
    run.metrics
        .iter()
        .filter(|m| !m.is_test() && m.split == split && m.name == name)
        .filter(|m| m.is_whole())
        .max_by_key(|m| m.step)
        .map(|m| m.value)
        .filter(|v| !v.is_nan())
}
