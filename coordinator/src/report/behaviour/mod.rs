//! The part of a report on behaviour beyond the headline: splits, psychometrics,
//! sample efficiency.

mod tables;
#[cfg(test)]
mod tests;

use super::figure::{self, Figure, Styles};
use super::table::Table;
use crate::aggregate::Analysis;

/// Name of each figure's file, and the figure; those for which the sweep has
/// something to show.
pub(super) fn figures(a: &Analysis, styles: &Styles) -> Vec<(&'static str, Figure)> {
    [
        ("splits", figure::splits(a, styles)),
        ("psychometric", figure::psychometric(a, styles)),
        ("sample_efficiency", figure::sample_efficiency(a, styles)),
    ]
    .into_iter()
    .filter_map(|(name, figure)| Some((name, figure?)))
    .collect()
}

/// The tables, in the order of the page; some may be empty.
pub(super) fn tables(a: &Analysis) -> [Table; 4] {
    [
        tables::splits(a),
        tables::psychometrics(a),
        tables::gating(a),
        tables::by_size(a),
    ]
}
