//! Cells: what the seeds of one point of the sweep have yielded.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::job::Moment;
use seedbed_proto::result::{FailureReason, JobPhase};
use serde_json::Value;

use super::stats::{BOOTSTRAP_FROM, Estimate, Proportion, estimate, pairs_mean, wilson};
use super::table::{Source, columns};
use crate::inspection::{neighbour, shares_networks};
use crate::results::{Found, Measured, Point, Run, Selection, label};
use crate::sweep::Compare;

/// Which number: a metric of a split, of a part of the network or the prompt
/// where it belongs to one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricId {
    /// "val", "test_iid" …
    pub split: String,
    /// "incongruent_accuracy" …
    pub name: String,
    /// Block.
    pub layer: Option<u32>,
    /// Attention head.
    pub head: Option<u32>,
    /// Prompt slot or stratum.
    pub slot: Option<String>,
    /// In which weights it was found, of what was found inside a network.
    pub weights: Option<Moment>,
}

impl MetricId {
    /// A metric of a whole split.
    pub fn whole(split: &str, name: &str) -> Self {
        Self {
            split: split.to_owned(),
            name: name.to_owned(),
            layer: None,
            head: None,
            slot: None,
            weights: None,
        }
    }

    /// Whether it is of the split as a whole.
    pub fn is_whole(&self) -> bool {
        self.layer.is_none() && self.head.is_none() && self.slot.is_none()
    }
}

/// Where the seeds of a cell are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeedTally {
    /// Their result is on record.
    pub done: Vec<u64>,
    /// They failed for good.
    pub failed: Vec<(u64, FailureReason)>,
    /// A person ended them.
    pub cancelled: Vec<u64>,
    /// They wait or run.
    pub unsettled: Vec<u64>,
    /// Several different runs stand at this seed: none of them is used.
    pub duplicate: Vec<u64>,
    /// The sweep has the seed, but not here.
    pub absent: Vec<u64>,
}

impl SeedTally {
    /// Seeds that should be here.
    pub fn expected(&self) -> usize {
        self.done.len() + self.lost()
    }

    /// Seeds that are not done.
    pub fn lost(&self) -> usize {
        self.failed.len()
            + self.cancelled.len()
            + self.unsettled.len()
            + self.duplicate.len()
            + self.absent.len()
    }

    /// All of them, ascending.
    pub fn all(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.failed.iter().map(|f| f.0).collect();
        for list in [
            &self.done,
            &self.cancelled,
            &self.unsettled,
            &self.duplicate,
            &self.absent,
        ] {
            seeds.extend(list);
        }
        seeds.sort_unstable();
        seeds
    }

    /// Whether a seed ended in a loss or gradient that was not finite.
    pub fn diverged(&self, seed: u64) -> bool {
        self.failed.contains(&(seed, FailureReason::NonFinite))
    }

    /// Why there is no number of a seed, in a word or two.
    pub fn why_not(&self, seed: u64) -> &'static str {
        if self.failed.iter().any(|f| f.0 == seed) {
            "failed"
        } else if self.cancelled.contains(&seed) {
            "cancelled"
        } else if self.unsettled.contains(&seed) {
            "not finished"
        } else if self.duplicate.contains(&seed) {
            "duplicate"
        } else if self.absent.contains(&seed) {
            "not planned"
        } else {
            "NA"
        }
    }

    /// Share of the seeds that are done, with its interval.
    pub fn success(&self) -> Proportion {
        wilson(self.done.len(), self.expected())
    }

    /// Why seeds are not done, in words; empty if all are.
    pub fn shortfall(&self) -> String {
        let list = |seeds: &[u64]| {
            let seeds: Vec<_> = seeds.iter().map(u64::to_string).collect();
            seeds.join(", ")
        };
        let mut parts = Vec::new();
        if !self.failed.is_empty() {
            let seeds: Vec<_> = self
                .failed
                .iter()
                .map(|(s, why)| format!("{s} ({why})"))
                .collect();
            parts.push(format!("failed: seed {}", seeds.join(", ")));
        }
        for (what, seeds) in [
            ("cancelled", &self.cancelled),
            ("not finished", &self.unsettled),
            ("several different runs, none used", &self.duplicate),
            ("not in the sweep here", &self.absent),
        ] {
            if !seeds.is_empty() {
                parts.push(format!("{what}: seed {}", list(seeds)));
            }
        }
        parts.join("; ")
    }
}

/// One metric of a cell at its final step, or in the weights that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The last step at which the cell measured it; none of weights that stand at
    /// another step in each seed.
    pub step: Option<u64>,
    /// Value by seed, ascending.
    pub values: Vec<(u64, f64)>,
    /// Finished seeds without a value there.
    pub unavailable: Vec<u64>,
    /// The mean over seeds; none if no seed has a value.
    pub estimate: Option<Estimate>,
}

/// A point of the sweep without its seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// All axes but the replicate.
    pub point: Point,
    /// The arm's label.
    pub arm: String,
    /// All axes but replicate, arm and the selected one.
    pub block: Point,
    /// The value of the selected axis; none if nothing is selected over.
    pub value: Option<Value>,
    /// It is the choice of its group, or its group has no other value.
    pub chosen: bool,
    /// It was chosen at an end of its grid.
    pub at_edge: bool,
    /// Where its seeds are.
    pub seeds: SeedTally,
    /// Its metrics at the final step, and what was found inside its networks, final
    /// and matched ones each by themselves; floors are kept apart.
    pub summaries: BTreeMap<MetricId, Summary>,
}

impl Cell {
    /// The value of the selected axis as text.
    pub fn value_label(&self) -> String {
        self.value.as_ref().map_or_else(|| "–".to_owned(), label)
    }

    /// A metric of a whole split at its final step.
    pub fn summary(&self, split: &str, name: &str) -> Option<&Summary> {
        self.summaries.get(&MetricId::whole(split, name))
    }

    /// The estimate of a metric of a whole split at its final step.
    pub fn estimate(&self, split: &str, name: &str) -> Option<&Estimate> {
        self.summary(split, name)?.estimate.as_ref()
    }
}

/// The cells in the order in which the sweep first mentions them.
pub(super) fn build(
    runs: &[&Run],
    found: &Found<'_>,
    compare: &Compare,
    selection: Option<&Selection>,
    seeds: &[u64],
    notes: &mut Vec<String>,
) -> Vec<Cell> {
    let mut cells: Vec<(Point, BTreeMap<u64, Vec<&Run>>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let Some(seed) = compare.seed(&run.point) else {
            notes.push(format!(
                "run {} has no whole number at axis {:?} and is left out",
                run.key, compare.replicate
            ));
            continue;
        };
        let point = compare.cell(&run.point);
        let place = *places.entry(key(&point)).or_insert_with(|| {
            cells.push((point, BTreeMap::new()));
            cells.len() - 1
        });
        cells[place].1.entry(seed).or_default().push(run);
    }

    let mut grids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (point, _) in &cells {
        let value = point
            .get(compare.select_axis())
            .map(label)
            .unwrap_or_default();
        grids
            .entry(key(&compare.group(point)))
            .or_default()
            .insert(value);
    }

    cells
        .into_iter()
        .map(|(point, by_seed)| {
            let group = compare.group(&point);
            let value = point.get(compare.select_axis()).cloned();
            let choice = selection.and_then(|s| s.choices.iter().find(|c| c.group == group));
            let chosen = match (&value, selection, choice) {
                (None, _, _) => true,
                (Some(value), Some(_), Some(choice)) => choice.value == *value,
                (Some(_), Some(_), None) => false,
                (Some(_), None, _) => grids[&key(&group)].len() == 1,
            };
            let tally = tally(&by_seed, seeds);
            let done: Vec<(u64, &Run)> = tally.done.iter().map(|s| (*s, by_seed[s][0])).collect();
            Cell {
                arm: compare.arm(&point),
                block: compare.block(&point),
                at_edge: chosen && choice.is_some_and(|c| c.at_edge),
                chosen,
                value,
                summaries: summaries(&done, found, &point, selection.is_none()),
                seeds: tally,
                point,
            }
        })
        .collect()
}

/// A text that is equal for equal points.
pub(super) fn key(point: &Point) -> String {
    serde_json::to_string(point).expect("a map with text keys is JSON")
}

fn tally(by_seed: &BTreeMap<u64, Vec<&Run>>, seeds: &[u64]) -> SeedTally {
    let mut tally = SeedTally::default();
    for seed in seeds {
        match by_seed.get(seed).map(Vec::as_slice) {
            None | Some([]) => tally.absent.push(*seed),
            Some([run]) => match run.phase {
                JobPhase::Done => tally.done.push(*seed),
                JobPhase::Failed => {
                    let why = run.failure.as_ref().map_or(FailureReason::Bug, |f| f.0);
                    tally.failed.push((*seed, why));
                }
                JobPhase::Cancelled => tally.cancelled.push(*seed),
                JobPhase::Blocked | JobPhase::Pending | JobPhase::Running => {
                    tally.unsettled.push(*seed);
                }
            },
            Some(_) => tally.duplicate.push(*seed),
        }
    }
    tally
}

fn summaries(
    done: &[(u64, &Run)],
    found: &Found<'_>,
    point: &Point,
    sealed: bool,
) -> BTreeMap<MetricId, Summary> {
    let keep = |m: &Measured| !(m.name.starts_with("floor.") || (sealed && m.is_test()));
    let all: Vec<_> = done
        .iter()
        .map(|(seed, run)| (*seed, sources(run, found)))
        .collect();
    let columns = columns(&all, keep);
    let place = key(point);
    // The final step is the cell's, so that a seed that lacks it is missed and not
    // read at an earlier one. Matched weights have no step in common: they are one
    // column whatever the steps.
    let last = columns
        .chunk_by(|a, b| a.same_metric(b))
        .filter_map(<[_]>::last);
    last.map(|column| {
        let id = column.id();
        let values = column.values.clone();
        let numbers: Vec<f64> = values.iter().map(|v| v.1).collect();
        let unavailable = done
            .iter()
            .map(|d| d.0)
            .filter(|seed| values.iter().all(|v| v.0 != *seed))
            .collect();
        let estimate = if shares_networks(&id.name) {
            pairs_mean(&pairs(&values, done))
        } else {
            let stream = stream(numbers.len(), || format!("{place} {id:?}"));
            estimate(&numbers, &stream)
        };
        let summary = Summary {
            step: column.step,
            estimate,
            values,
            unavailable,
        };
        (id, summary)
    })
    .collect()
}

/// Each seed's value with the two seeds whose networks it is of.
fn pairs(values: &[(u64, f64)], done: &[(u64, &Run)]) -> Vec<(u64, u64, f64)> {
    let seeds: Vec<u64> = done.iter().map(|d| d.0).collect();
    let pair = |(seed, value): &(u64, f64)| Some((*seed, neighbour(*seed, &seeds)?, *value));
    values.iter().filter_map(pair).collect()
}

/// A run's own metrics, and what was found inside its final and matched weights;
/// that of weights on the way stands in mechanisms.csv alone.
fn sources<'a>(run: &'a Run, found: &Found<'a>) -> Vec<Source<'a>> {
    let asked = found.of(run).iter();
    let asked = asked.filter(|(at, _)| *at != Moment::Step);
    let asked = asked.map(|(at, metrics)| (Some(*at), *metrics));
    std::iter::once((None, run.metrics.as_slice()))
        .chain(asked)
        .collect()
}

/// The name of the resamples; nothing below the number from which there are any:
/// making it would take longer than what it is for.
pub(super) fn stream(n: usize, name: impl FnOnce() -> String) -> String {
    if n >= BOOTSTRAP_FROM {
        name()
    } else {
        String::new()
    }
}
