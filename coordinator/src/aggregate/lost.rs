//! Seeds that are not done, a line for each kind: a sweep that lost many must not
//! bury what else there is to know.

use super::cells::{Cell, SeedTally};
use crate::results::label;
use crate::sweep::Compare;

/// Cells that a line names; all of them stand in the report's table.
const NAMED_MAX: usize = 3;

/// A kind of loss, and the seeds of a cell that it struck, in words.
type Kind = (&'static str, fn(&SeedTally) -> Vec<String>);

const KINDS: [Kind; 5] = [
    ("failed", |t| {
        let failed = t.failed.iter();
        failed
            .map(|(seed, why)| format!("{seed} ({why})"))
            .collect()
    }),
    ("cancelled", |t| texts(&t.cancelled)),
    ("not finished", |t| texts(&t.unsettled)),
    ("several different runs, none used", |t| texts(&t.duplicate)),
    ("not in the sweep there", |t| texts(&t.absent)),
];

fn texts(seeds: &[u64]) -> Vec<String> {
    seeds.iter().map(u64::to_string).collect()
}

/// "failed: 2 seeds in 1 of 4 cells (scratch, frozen none: seed 3 (non_finite), 5
/// (bug))".
pub(super) fn lines(cells: &[Cell], compare: &Compare) -> Vec<String> {
    let lines = KINDS.iter().filter_map(|(kind, seeds)| {
        let struck: Vec<(&Cell, Vec<String>)> = cells
            .iter()
            .map(|cell| (cell, seeds(&cell.seeds)))
            .filter(|(_, seeds)| !seeds.is_empty())
            .collect();
        let n: usize = struck.iter().map(|s| s.1.len()).sum();
        let mut named: Vec<String> = struck
            .iter()
            .take(NAMED_MAX)
            .map(|(cell, seeds)| format!("{}: seed {}", name(cell, compare), seeds.join(", ")))
            .collect();
        let more = struck.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        (n > 0).then(|| {
            format!(
                "{kind}: {n} {} in {} of {} cells ({})",
                if n == 1 { "seed" } else { "seeds" },
                struck.len(),
                cells.len(),
                named.join("; ")
            )
        })
    });
    lines.collect()
}

/// "scratch, frozen none, learning_rate 0.0005".
fn name(cell: &Cell, compare: &Compare) -> String {
    let axes = cell.point.iter().filter(|(axis, _)| **axis != compare.arms);
    let axes = axes.map(|(axis, value)| format!("{axis} {}", label(value)));
    let parts: Vec<String> = std::iter::once(cell.arm.clone()).chain(axes).collect();
    parts.join(", ")
}
