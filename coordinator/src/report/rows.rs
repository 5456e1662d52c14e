//! The columns that name a run or a cell in every tidy file.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::results::{Point, Run, SweepResults, label};
use crate::sweep::Compare;

/// Which axes stand in which column, the same for every file of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    arms: String,
    replicate: String,
    /// Axes beyond arm, seed, learning rate and frozen set, by name.
    pub others: Vec<String>,
}

impl Axes {
    /// The axes of a sweep.
    pub fn of(results: &SweepResults, compare: &Compare) -> Self {
        let named = [
            compare.arms.as_str(),
            &compare.replicate,
            "learning_rate",
            "frozen",
        ];
        let others: BTreeSet<&String> = results
            .runs
            .iter()
            .flat_map(|r| r.point.keys())
            .filter(|axis| !named.contains(&axis.as_str()))
            .collect();
        Self {
            arms: compare.arms.clone(),
            replicate: compare.replicate.clone(),
            others: others.into_iter().cloned().collect(),
        }
    }

    /// The arm.
    pub fn arm(&self, point: &Point) -> String {
        text(point.get(&self.arms))
    }

    /// The seed; none where the replicate is no whole number.
    pub fn seed(&self, point: &Point) -> Option<u64> {
        point.get(&self.replicate).and_then(Value::as_u64)
    }

    /// The learning rate.
    pub fn learning_rate(point: &Point) -> Option<f64> {
        point.get("learning_rate").and_then(Value::as_f64)
    }

    /// The frozen set.
    pub fn frozen(point: &Point) -> String {
        text(point.get("frozen"))
    }

    /// The value of a further axis.
    pub fn other(&self, point: &Point, axis: &str) -> String {
        text(point.get(axis))
    }
}

/// The runs in the sweep's order.
pub(super) fn runs(results: &SweepResults) -> Vec<&Run> {
    crate::aggregate::in_order(results)
}

/// The inspections in the sweep's order, whatever order they came in.
pub(super) fn inspections(results: &SweepResults) -> Vec<&Run> {
    let mut inspections: Vec<&Run> = results.inspections.iter().collect();
    inspections.sort_by_key(|run| (run.ordinal, run.key));
    inspections
}

fn text(value: Option<&Value>) -> String {
    value.map(label).unwrap_or_default()
}
