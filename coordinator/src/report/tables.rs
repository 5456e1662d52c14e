//! The tables of an analysis.

mod inference;
mod words;

pub(super) use inference::{equivalence, leave_one_out, looks, reuse, verdict, verdict_title};
pub(super) use words::{beyond_words, compared, methods_words, n_words, replicates, tests_words};

use super::SEALED;
use super::format::{
    number, or_na, p_value, percent, sentence, signed, signed_with_interval, with_interval, words,
};
use super::table::Table;
use crate::aggregate::stats;
use crate::aggregate::{Analysis, Cell, Comparison, Reach, Steps};
use crate::results::Point;

/// Stands before the chosen value of the selected axis.
const CHOSEN: &str = "*";
/// Stands before a choice that ends its grid.
const AT_EDGE: &str = "!";

/// Arm × selected axis × frozen set, with the floors in the same columns.
pub(super) fn surface(a: &Analysis) -> Table {
    let splits = shown_splits(a);
    let metric = words(&a.primary);
    let mut table = with_block_axes(
        Table::new(format!(
            "{}, mean over seeds and 95 % interval",
            sentence(&metric)
        ))
        .text("arm"),
        a,
    );
    let axis = a.compare.select.as_ref().map(|s| words(&s.axis));
    if let Some(axis) = &axis {
        table = table.number(axis.clone());
    }
    for split in &splits {
        table = table.number(split.clone());
    }
    let accuracy = extra_accuracy(a);
    if accuracy {
        table = table.number("accuracy");
    }
    table = table.number("n");

    for block in a.blocks() {
        let rows = a.cells.iter().filter(|c| &c.block == block).map(|cell| {
            let mut row = vec![cell.arm.clone()];
            row.extend(block_labels(a, block));
            if axis.is_some() {
                row.push(value(a, cell));
            }
            row.extend(splits.iter().map(|split| score(cell, split, &a.primary)));
            if accuracy {
                let e = cell.estimate(&a.headline_split, "accuracy");
                row.push(e.map_or_else(|| "–".to_owned(), |e| number(e.mean)));
            }
            row.push(n(a, cell));
            row
        });
        table.section(rows.collect());
    }
    let floors = floor_rows(a, &splits, accuracy, axis.is_some());
    table.section(floors);
    table.note(surface_note(a))
}

/// The paired differences that answer the question.
pub(super) fn differences(a: &Analysis) -> Table {
    let Some(baseline) = &a.baseline else {
        return Table::default();
    };
    let mut table = with_block_axes(
        Table::new(format!(
            "Paired difference in {} on {}: arm − {baseline}",
            words(&a.primary),
            a.headline_split
        ))
        .text("arm"),
        a,
    )
    .number("difference")
    .number("p")
    .number("p (Holm)")
    .number("g_z")
    .number("P(improve)")
    .number("pairs");
    let rows = a.headline().map(|c| {
        let mut row = vec![c.arm.clone()];
        row.extend(block_labels(a, &c.block));
        row.extend(difference(c));
        row
    });
    table.section(rows.collect());
    table.note(difference_note(a))
}

/// Steps until validation accuracy passed a threshold, at the chosen values.
pub(super) fn reach(a: &Analysis) -> Table {
    let mut table = with_block_axes(
        Table::new(format!(
            "Steps until accuracy on {} passed a threshold",
            a.selection_split
        ))
        .text("arm"),
        a,
    )
    .number("threshold")
    .number("median")
    .number("reached by")
    .text("each seed");
    for block in a.blocks() {
        let rows = a
            .reach
            .iter()
            .filter(|r| r.chosen && &r.block == block)
            .map(|r| {
                let mut row = vec![r.arm.clone()];
                row.extend(block_labels(a, block));
                row.push(number(r.threshold));
                row.push(median(r));
                row.push(format!("{}/{}", r.reached.hits, r.reached.of));
                row.push(each_seed(r));
                row
            });
        table.section(rows.collect());
    }
    table.note(
        "Reached by: of the seeds that were planned. Each seed: step. >T: not passed up to the \
         last evaluation, at step T, or ended before it by a loss that was not finite. Median: \
         Kaplan and Meier's, such seeds counting as later than T, those without a step left out; \
         its 95 % interval: Brookmeyer and Crowley's, –: open.",
    )
}

/// "1: 180, 2: >300, 3: failed".
fn each_seed(r: &Reach) -> String {
    let why = |seed: u64| {
        let found = r.unknown.iter().find(|u| u.0 == seed);
        found.map_or("NA", |u| u.1).to_owned()
    };
    let each = r.by_seed.iter().map(|(seed, steps)| {
        let steps = steps.as_ref().map(Steps::to_string);
        format!("{seed}: {}", steps.unwrap_or_else(|| why(*seed)))
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Seeds of which no step is known, by reason: "1 failed", "2 not finished".
pub(super) fn unknown(r: &Reach) -> Vec<String> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for (_, why) in &r.unknown {
        match reasons.iter_mut().find(|known| known.0 == *why) {
            Some(known) => known.1 += 1,
            None => reasons.push((why, 1)),
        }
    }
    reasons
        .iter()
        .map(|(why, n)| format!("{n} {why}"))
        .collect()
}

/// "160 [120, –]".
fn median(r: &Reach) -> String {
    let end = |step: Option<u64>| step.map_or_else(|| "–".to_owned(), |s| s.to_string());
    match r.interval {
        (None, None) => r.median.to_string(),
        (low, high) => format!("{} [{}, {}]", r.median, end(low), end(high)),
    }
}

/// Every seed of every arm at the chosen values, on the headline split.
pub(super) fn seeds(a: &Analysis, block: &Point) -> Table {
    let cells: Vec<&Cell> = a
        .cells
        .iter()
        .filter(|c| c.chosen && &c.block == block)
        .collect();
    let mut table = Table::new(format!(
        "{} on {} by seed: {}",
        sentence(&words(&a.primary)),
        a.headline_split,
        a.block_label(block)
    ))
    .text("seed");
    for cell in &cells {
        table = table.number(cell.arm.clone());
    }
    let summaries: Vec<_> = cells
        .iter()
        .map(|c| c.summary(&a.headline_split, &a.primary))
        .collect();
    let rows = a.seeds.iter().map(|seed| {
        let mut row = vec![seed.to_string()];
        row.extend(cells.iter().zip(&summaries).map(|(cell, summary)| {
            let value = summary.and_then(|s| s.values.iter().find(|v| v.0 == *seed));
            value.map_or_else(|| cell.seeds.why_not(*seed).to_owned(), |v| number(v.1))
        }));
        row
    });
    table.section(rows.collect());
    let line = |name: &str, pick: fn(&stats::Estimate) -> f64| {
        let mut row = vec![name.to_owned()];
        row.extend(summaries.iter().map(|s| {
            let e = s.and_then(|s| s.estimate.as_ref());
            or_na(e.map(pick), number)
        }));
        row
    };
    table.section(vec![
        line("mean", |e| e.mean),
        line("median", |e| e.median),
        line("interquartile mean", |e| e.iqm),
    ]);
    table
}

/// How many seeds of each cell came through; empty if all did.
pub(super) fn success(a: &Analysis) -> Table {
    let axis = a.compare.select.as_ref().map(|s| words(&s.axis));
    let mut table = with_block_axes(Table::new("Seeds that are not done").text("arm"), a);
    if let Some(axis) = &axis {
        table = table.number(axis.clone());
    }
    table = table.number("done").number("95 % interval").text("why");
    let rows = a.cells.iter().filter(|c| c.seeds.lost() > 0).map(|c| {
        let mut row = vec![c.arm.clone()];
        row.extend(block_labels(a, &c.block));
        if axis.is_some() {
            row.push(c.value_label());
        }
        let rate = c.seeds.success();
        row.push(format!("{}/{}", rate.hits, rate.of));
        row.push(format!(
            "[{}, {}]",
            number(rate.interval.0),
            number(rate.interval.1)
        ));
        row.push(c.seeds.shortfall());
        row
    });
    table.section(rows.collect());
    table.note("Success rate with its Wilson interval.")
}

pub(super) fn with_block_axes(mut table: Table, a: &Analysis) -> Table {
    for axis in &a.block_axes {
        table = table.text(axis.clone());
    }
    table
}

pub(super) fn block_labels<'a>(
    a: &'a Analysis,
    block: &'a Point,
) -> impl Iterator<Item = String> + 'a {
    a.block_axes.iter().map(|axis| a.axis_label(block, axis))
}

/// The selection's split, and the headline's where that is another.
fn shown_splits(a: &Analysis) -> Vec<String> {
    let mut splits = vec![a.selection_split.clone()];
    if a.headline_split != a.selection_split {
        splits.push(a.headline_split.clone());
    }
    splits
}

/// Whether plain accuracy stands beside the primary metric.
fn extra_accuracy(a: &Analysis) -> bool {
    a.primary != "accuracy"
        && a.cells
            .iter()
            .any(|c| c.summary(&a.headline_split, "accuracy").is_some())
}

fn value(a: &Analysis, cell: &Cell) -> String {
    let several = a
        .cells
        .iter()
        .any(|c| c.arm == cell.arm && c.block == cell.block && c.value != cell.value);
    match (cell.chosen && several, cell.at_edge) {
        (true, true) => format!("{CHOSEN}{AT_EDGE} {}", cell.value_label()),
        (true, false) => format!("{CHOSEN} {}", cell.value_label()),
        _ => cell.value_label(),
    }
}

fn score(cell: &Cell, split: &str, metric: &str) -> String {
    cell.estimate(split, metric)
        .map_or_else(|| "–".to_owned(), with_interval)
}

/// Seeds behind the headline's mean, of those that should be there.
fn n(a: &Analysis, cell: &Cell) -> String {
    let behind = cell
        .summary(&a.headline_split, &a.primary)
        .map_or(cell.seeds.done.len(), |s| s.values.len());
    format!("{behind}/{}", cell.seeds.expected())
}

fn floor_rows(a: &Analysis, splits: &[String], accuracy: bool, axis: bool) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for block in a.blocks() {
        let mut shortcuts: Vec<&str> = Vec::new();
        for floor in a.floors.iter().filter(|f| &f.block == block) {
            if !shortcuts.contains(&floor.shortcut.as_str()) {
                shortcuts.push(&floor.shortcut);
            }
        }
        for shortcut in shortcuts {
            let show = |split: &str, metric: &str| {
                let of = |f: &&crate::aggregate::Floor| {
                    &f.block == block
                        && f.shortcut == shortcut
                        && f.split == split
                        && f.metric == metric
                };
                a.floors
                    .iter()
                    .find(of)
                    .map_or_else(|| "–".to_owned(), |f| range(f.range))
            };
            let mut row = vec![format!("floor: {}", words(shortcut))];
            row.extend(block_labels(a, block));
            if axis {
                row.push(String::new());
            }
            row.extend(splits.iter().map(|split| show(split, &a.primary)));
            if accuracy {
                row.push(show(&a.headline_split, "accuracy"));
            }
            row.push(String::new());
            rows.push(row);
        }
    }
    once_where_equal(rows, a.block_axes.len())
}

/// Floors are the same wherever the trials are: one row then stands for all.
fn once_where_equal(rows: Vec<Vec<String>>, block_axes: usize) -> Vec<Vec<String>> {
    let bare: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let mut row = row.clone();
            row[1..=block_axes].fill(String::new());
            row
        })
        .collect();
    let mut merged: Vec<Vec<String>> = Vec::new();
    for row in &bare {
        if !merged.contains(row) {
            merged.push(row.clone());
        }
    }
    let names: std::collections::BTreeSet<&String> = merged.iter().map(|row| &row[0]).collect();
    if names.len() == merged.len() {
        merged
    } else {
        rows
    }
}

pub(super) fn range((low, high): (f64, f64)) -> String {
    if number(low) == number(high) {
        number(low)
    } else {
        format!("{}–{}", number(low), number(high))
    }
}

fn difference(c: &Comparison) -> [String; 6] {
    let pairs = if c.left_out.is_empty() {
        c.pairs.len().to_string()
    } else {
        format!("{} of {}", c.pairs.len(), c.pairs.len() + c.left_out.len())
    };
    match &c.result {
        Some(r) => [
            signed_with_interval(&r.difference),
            p_value(r.p),
            or_na(c.p_adjusted, p_value),
            or_na(r.g_z, signed),
            number(r.p_improve),
            pairs,
        ],
        None => ["NA", "NA", "NA", "NA", "NA"]
            .map(str::to_owned)
            .into_iter()
            .chain([pairs])
            .collect::<Vec<_>>()
            .try_into()
            .expect("five and one are six"),
    }
}

fn surface_note(a: &Analysis) -> String {
    let mut note = String::new();
    if extra_accuracy(a) {
        note.push_str(&format!(
            "accuracy: over all trials of {}. ",
            a.headline_split
        ));
    }
    let splits = shown_splits(a);
    note.push_str(&format!(
        "n: seeds behind the mean of those planned. Interval: {}.{}",
        methods_words(replicates(&a.cells, &splits, &a.primary)),
        beyond_words(&a.cells, &splits, &a.primary)
    ));
    let marked = a.cells.iter().any(|c| value(a, c).contains(CHOSEN));
    if let Some(select) = &a.compare.select {
        match &a.selection {
            Some(s) if marked => note.push_str(&format!(
                " {CHOSEN}: chosen by the mean of {} over seeds (selection {}).",
                select.by, s.version
            )),
            Some(_) => {}
            None => note.push_str(&format!(" Test splits: {SEALED}.")),
        }
        if a.cells.iter().any(|c| c.at_edge) {
            note.push_str(&format!(
                " {AT_EDGE}: the choice is at an end of its grid, a wider grid may do better."
            ));
        }
    } else if a.sealed() {
        note.push_str(&format!(" Test splits: {SEALED}."));
    }
    note
}

fn difference_note(a: &Analysis) -> String {
    let mut note = format!(
        "Paired by seed. Interval: {}, {}; p: {}, two-sided; Holm within this table.",
        percent(a.confidence),
        methods_words(compared(a)),
        tests_words(compared(a))
    );
    if a.exploratory() {
        note.push_str(&format!(
            " Exploratory: fewer than {} pairs.",
            stats::CONFIRMATORY_FROM
        ));
    }
    note
}
