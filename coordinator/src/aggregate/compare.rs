//! How a point of a sweep falls into arm, replicate, cell and block.

use super::stats::CONFIDENCE;
use crate::results::{Point, label};
use crate::sweep::Compare;

impl Compare {
    /// The replicate's number at a point.
    pub(super) fn seed(&self, point: &Point) -> Option<u64> {
        point.get(&self.replicate)?.as_u64()
    }

    /// The label of a point's arm.
    pub(super) fn arm(&self, point: &Point) -> String {
        point
            .get(&self.arms)
            .map_or_else(|| "all".to_owned(), label)
    }

    /// The point without its replicate: a cell.
    pub(super) fn cell(&self, point: &Point) -> Point {
        without(point, &[&self.replicate])
    }

    /// The point without replicate and selected axis: what a choice is made for.
    pub(super) fn group(&self, point: &Point) -> Point {
        without(point, &[&self.replicate, self.select_axis()])
    }

    /// The point without replicate, selected axis and arm: where arms meet.
    pub(super) fn block(&self, point: &Point) -> Point {
        without(point, &[&self.replicate, self.select_axis(), &self.arms])
    }

    /// The selected axis; the empty name, which no axis has, if there is none.
    pub(super) fn select_axis(&self) -> &str {
        self.select.as_ref().map_or("", |s| s.axis.as_str())
    }

    /// Confidence of the intervals of differences: 95 %, shared out over the
    /// looks of a sweep that adds seeds until an interval is narrow enough.
    pub(super) fn confidence(&self) -> f64 {
        let looks = self.until.as_ref().map_or(1, |until| until.sizes().count());
        1.0 - (1.0 - CONFIDENCE) / looks as f64
    }

    /// Split and name of the metric that decides.
    pub(super) fn criterion(&self) -> (String, String) {
        let by = self.select.as_ref().map_or("", |s| s.by.as_str());
        let (split, name) = by
            .split_once('.')
            .unwrap_or(("val", "incongruent_accuracy"));
        (split.to_owned(), name.to_owned())
    }
}

fn without(point: &Point, axes: &[&str]) -> Point {
    let mut point = point.clone();
    point.retain(|axis, _| !axes.contains(&axis.as_str()));
    point
}
