//! Floors: what a shortcut that ignores the cue would score on the very trials.

use std::collections::BTreeMap;

use super::cells::key;
use crate::results::{Point, Run};
use crate::sweep::Compare;

/// What one shortcut scores on one split.
#[derive(Debug, Clone, PartialEq)]
pub struct Floor {
    /// Where the arms meet; a floor is a property of its trials.
    pub block: Point,
    /// "val", "test_iid" …
    pub split: String,
    /// "one_dimension", "sum" …
    pub shortcut: String,
    /// "accuracy", "incongruent_accuracy".
    pub metric: String,
    /// The least and the greatest that runs reported; equal unless their trials
    /// differ.
    pub range: (f64, f64),
}

impl Floor {
    /// The shortcut in words: "one dimension".
    pub fn words(&self) -> String {
        self.shortcut.replace('_', " ")
    }
}

/// Smallest and largest value over runs, by shortcut, split and metric.
type Extremes<'a> = BTreeMap<[&'a str; 3], (f64, f64)>;

/// The floors that runs reported as `floor.SHORTCUT.METRIC`.
pub(super) fn build(runs: &[&Run], compare: &Compare, sealed: bool) -> Vec<Floor> {
    let mut blocks: Vec<(Point, Extremes<'_>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let block = compare.block(&run.point);
        let place = *places.entry(key(&block)).or_insert_with(|| {
            blocks.push((block, BTreeMap::new()));
            blocks.len() - 1
        });
        for m in &run.metrics {
            let Some((shortcut, metric)) = m
                .name
                .strip_prefix("floor.")
                .and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            if m.value.is_nan() || (sealed && m.is_test()) {
                continue;
            }
            let range = blocks[place]
                .1
                .entry([&m.split, shortcut, metric])
                .or_insert((m.value, m.value));
            *range = (range.0.min(m.value), range.1.max(m.value));
        }
    }
    blocks
        .into_iter()
        .flat_map(|(block, floors)| {
            floors
                .into_iter()
                .map(move |([split, shortcut, metric], range)| Floor {
                    block: block.clone(),
                    split: split.to_owned(),
                    shortcut: shortcut.to_owned(),
                    metric: metric.to_owned(),
                    range,
                })
        })
        .collect()
}
