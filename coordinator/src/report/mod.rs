//! What people and programs read: tables, figures, tidy files, one offline page.
//!
//! Everything is a pure function of an [`Analysis`](crate::aggregate::Analysis)
//! and the results behind it; only [`write()`] touches files. All files are
//! byte-identical for equal results, but for `provenance.json` and what follows
//! [`PROVENANCE_MARK`] in `report.md` and `report.html`: those say where and when
//! the results came about.

mod answer;
mod behaviour;
mod ceilings;
mod columnar;
mod export;
mod figure;
mod figures;
mod format;
mod html;
mod inspections;
mod markdown;
mod mechanisms;
mod methods;
mod provenance;
mod rows;
mod table;
mod tables;
mod terminal;
mod tidy;
mod write;

pub use export::{Export, export};
pub use terminal::terminal;
pub use write::{ReportError, write};

/// Stands on a line of its own in `report.md` and `report.html`. What is above
/// is a function of the sweep and its results alone; what follows (hosts,
/// attempts, times, what failed runs said) is not.
pub const PROVENANCE_MARK: &str = "<!-- provenance: what follows depends on machines and times -->";

/// In place of test results while runs are unsettled.
pub(crate) const SEALED: &str = "sealed until every run has settled";

#[cfg(test)]
mod tests;
