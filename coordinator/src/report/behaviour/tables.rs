//! Tables of behaviour, at the chosen values.

use crate::aggregate::behaviour::{EFFICIENT, Needed, TRAIN_SET, TrainSet, efficiency};
use crate::aggregate::{Analysis, Cell, Comparison, MetricId, Summary};
use crate::report::format::{
    number, or_na, p_value, sentence, signed_with_interval, with_interval, words,
};
use crate::report::table::Table;
use crate::report::tables::{
    beyond_words, block_labels, methods_words, range, replicates, with_block_axes,
};

/// Accuracy on every split, the floors of its trials beside, and the paired
/// difference from the baseline.
pub(super) fn splits(a: &Analysis) -> Table {
    let splits = a.splits();
    if splits.len() < 3 {
        // The first table has them all.
        return Table::default();
    }
    let title = format!("{} by split", sentence(&words(&a.primary)));
    let mut table = with_block_axes(Table::new(title).text("split").text("arm"), a)
        .number("mean")
        .number("highest floor");
    if let Some(baseline) = &a.baseline {
        table = table.number(format!("arm − {baseline}")).number("p");
    }
    table = table.number("n");
    let cells: Vec<&Cell> = a
        .blocks()
        .into_iter()
        .flat_map(|block| a.chosen().filter(move |c| &c.block == block))
        .collect();
    for split in &splits {
        let rows = cells.iter().filter_map(|cell| {
            let metric = a.measure_of(&cell.block);
            let summary = cell.summary(split, metric)?;
            let mut row = vec![split.clone(), cell.arm.clone()];
            row.extend(block_labels(a, &cell.block));
            row.push(mean(Some(summary)));
            row.push(highest_floor(a, cell, split, metric));
            if a.baseline.is_some() {
                row.extend(difference(a.comparison(cell, split, metric)));
            }
            row.push(format!(
                "{}/{}",
                summary.values.len(),
                cell.seeds.expected()
            ));
            Some(row)
        });
        table.section(rows.collect());
    }
    let instead = a.blocks().iter().any(|b| a.measure_of(b) != a.primary);
    let of = |cell: &&Cell| replicates([*cell], &splits, a.measure_of(&cell.block));
    let n: Vec<usize> = cells.iter().flat_map(of).collect();
    let beyond = cells
        .iter()
        .map(|cell| beyond_words([*cell], &splits, a.measure_of(&cell.block)));
    table.note(format!(
        "{}Interval: {}.{} Highest floor: the best of the shortcuts on the very trials. p: \
         sign-flip test, two-sided, as it is: one test a row, exploratory.",
        if instead {
            "Plain accuracy where a task has no incongruent trials. "
        } else {
            ""
        },
        methods_words(n),
        beyond.max().unwrap_or_default()
    ))
}

/// Slopes, bias, lapses, threshold and intrusion of every arm and cue.
pub(super) fn psychometrics(a: &Analysis) -> Table {
    let split = &a.headline_split;
    let mut table = with_block_axes(
        Table::new(format!("Psychometric function on {split}, mean over seeds"))
            .text("arm")
            .text("cue"),
        a,
    );
    for head in [
        "β relevant",
        "β irrelevant",
        "intrusion",
        "bias",
        "λ left",
        "λ right",
        "75 % at",
        "separated",
    ] {
        table = table.number(head);
    }
    let mut undefined = false;
    for block in a.blocks() {
        let mut rows = Vec::new();
        for cell in a.chosen().filter(|c| &c.block == block) {
            for cue in cues(cell, split) {
                let of = |name: &str| of_cue(cell, split, name, cue);
                let bare = |name: &str| {
                    let e = of(name).and_then(|s| s.estimate.as_ref());
                    or_na(e.map(|e| e.mean), number)
                };
                let mut row = vec![cell.arm.clone(), cue.to_owned()];
                row.extend(block_labels(a, block));
                row.push(mean(of("psychometric.slope_rel")));
                row.push(mean(of("psychometric.slope_irr")));
                for name in ["intrusion", "psychometric.threshold_75"] {
                    undefined |= of(name).is_some_and(|s| !s.unavailable.is_empty());
                }
                row.push(some_of(of("intrusion"), mean(of("intrusion"))));
                row.push(bare("psychometric.bias"));
                row.push(bare("psychometric.lapse_left"));
                row.push(bare("psychometric.lapse_right"));
                let threshold = of("psychometric.threshold_75");
                row.push(some_of(threshold, bare("psychometric.threshold_75")));
                row.push(count(of("psychometric.separated")));
                rows.push(row);
            }
        }
        table.section(rows);
    }
    let few = if undefined {
        " (k): over k seeds only, the others have no value: their relevant slope is not above 0, \
         or the threshold lies beyond the evidence shown."
    } else {
        ""
    };
    table.note(format!(
        "P(right) = λ right + (1 − λ left − λ right)·σ(bias + β·z), z = sign(x)·ln(1 + |x|)/ln 51, \
         fitted to σ(Δ) of each seed. Intrusion: β irrelevant/β relevant, 0 for perfect gating, 1 \
         for a network blind to the cue. 75 % at: the relevant difference at which P(right) = \
         .75. Separated: seeds whose choices a plane tells apart without an error; their slopes \
         say how large Δ is, held by the prior.{few}"
    ))
}

/// The gating index and its matrix.
pub(super) fn gating(a: &Analysis) -> Table {
    let split = &a.headline_split;
    let title = format!("Gating on {split}, mean over seeds");
    let mut table = with_block_axes(Table::new(title).text("arm"), a).number("index");
    for head in ["W11", "W12", "W21", "W22"] {
        table = table.number(head);
    }
    for block in a.blocks() {
        let rows = a.chosen().filter(|c| &c.block == block).filter_map(|cell| {
            let index = cell.summary(split, "gating_index")?;
            let mut row = vec![cell.arm.clone()];
            row.extend(block_labels(a, block));
            row.push(some_of(Some(index), mean(Some(index))));
            row.extend(["w11", "w12", "w21", "w22"].map(|w| {
                let e = cell.estimate(split, &format!("gating.{w}"));
                or_na(e.map(|e| e.mean), number)
            }));
            Some(row)
        });
        table.section(rows.collect());
    }
    table.note(
        "W[cue, dimension]: least squares of Δ on z of both dimensions under each cue, cues and \
         dimensions in alphabetical order. Index: (|W11| + |W22| − |W12| − |W21|)/Σ|W|, 1 for \
         perfect gating, 0 for a network blind to the cue.",
    )
}

/// Accuracy by size of the training set.
pub(super) fn by_size(a: &Analysis) -> Table {
    let all = efficiency(a);
    let title = format!(
        "{} on {} by trials in the training set",
        sentence(&words(&a.primary)),
        a.headline_split
    );
    let mut table = Table::new(title).text("arm");
    let axes: Vec<&String> = a.block_axes.iter().filter(|x| *x != TRAIN_SET).collect();
    for axis in &axes {
        table = table.text((*axis).clone());
    }
    table = table.number("trials").number("mean");
    if let Some(baseline) = &a.baseline {
        table = table.number(format!("arm − {baseline}")).number("p");
    }
    table = table
        .number("n")
        .text(format!("seeds that reach {}", number(EFFICIENT)));
    for e in &all {
        let rows = e.sizes.iter().map(|(size, cell)| {
            let metric = a.measure_of(&cell.block);
            // None where every seed was lost, which is a row, too.
            let summary = cell.summary(&a.headline_split, metric);
            let values = summary.map_or(&[][..], |s| &s.values);
            let mut row = vec![e.arm.clone()];
            row.extend(axes.iter().map(|axis| a.axis_label(&e.block, axis)));
            row.push(size.to_string());
            row.push(mean(summary));
            if let Some(baseline) = &a.baseline {
                let compared = a.comparison(cell, &a.headline_split, metric);
                row.extend(match compared {
                    None if &cell.arm != baseline => ["NA".to_owned(), "NA".to_owned()],
                    compared => difference(compared),
                });
            }
            row.push(format!("{}/{}", values.len(), cell.seeds.expected()));
            let reached = values.iter().filter(|v| v.1 >= EFFICIENT).count();
            // A seed that failed has not reached it.
            row.push(format!("{reached}/{}", cell.seeds.expected()));
            row
        });
        table.section(rows.collect());
    }
    let curves = all.iter().flat_map(|e| e.curve(a));
    let n = curves.filter_map(|(_, s)| s.estimate.as_ref().map(|e| e.n));
    let n: Vec<usize> = n.collect();
    let needed: Vec<String> = all
        .iter()
        .map(|e| {
            let place: Vec<String> = axes
                .iter()
                .filter(|axis| e.block.contains_key(**axis))
                .map(|axis| format!("{axis} {}", a.axis_label(&e.block, axis)))
                .collect();
            let median = match e.median() {
                None => "unknown".to_owned(),
                Some(Needed::Beyond) => "more than any here".to_owned(),
                Some(Needed::Unknown(size)) => format!("unknown, as no seed is done at {size}"),
                Some(Needed::At(TrainSet::Online)) => "only online".to_owned(),
                Some(Needed::At(size)) => size.to_string(),
            };
            let seeds = match (e.by_seed.len(), a.seeds.len()) {
                (known @ 1.., planned) if known < planned => {
                    format!(" over {known} of {planned} seeds")
                }
                _ => String::new(),
            };
            format!("{} ({}) {median}{seeds}", e.arm, place.join(", "))
        })
        .collect();
    table.note(format!(
        "Median over seeds of the fewest trials that suffice for {}, right-censored: {}. \
         Interval: {}.",
        number(EFFICIENT),
        needed.join("; "),
        methods_words(n)
    ))
}

/// The cues of which a cell has a fit on a split.
fn cues<'a>(cell: &'a Cell, split: &'a str) -> impl Iterator<Item = &'a str> {
    cell.summaries
        .keys()
        .filter(move |id| id.split == split && id.name == "psychometric.slope_rel")
        .filter_map(|id| id.slot.as_deref())
}

fn of_cue<'a>(cell: &'a Cell, split: &str, name: &str, cue: &str) -> Option<&'a Summary> {
    let mut id = MetricId::whole(split, name);
    id.slot = Some(cue.to_owned());
    cell.summaries.get(&id)
}

fn mean(summary: Option<&Summary>) -> String {
    let e = summary.and_then(|s| s.estimate.as_ref());
    e.map_or_else(|| "NA".to_owned(), with_interval)
}

/// A text with the number of seeds behind it, where some have no value.
fn some_of(summary: Option<&Summary>, text: String) -> String {
    match summary {
        Some(s) if !s.unavailable.is_empty() && !s.values.is_empty() => {
            format!("{text} ({})", s.values.len())
        }
        _ => text,
    }
}

/// "5/6" of a flag.
fn count(summary: Option<&Summary>) -> String {
    summary.map_or_else(
        || "NA".to_owned(),
        |s| {
            let set = s.values.iter().filter(|v| v.1 > 0.5).count();
            format!("{set}/{}", s.values.len())
        },
    )
}

fn highest_floor(a: &Analysis, cell: &Cell, split: &str, metric: &str) -> String {
    let floors = a.floors_of(&cell.block, split, metric);
    let best = floors.max_by(|x, y| x.range.1.total_cmp(&y.range.1));
    best.map_or_else(
        || "–".to_owned(),
        |f| format!("{} ({})", range(f.range), f.words()),
    )
}

/// Difference and p; of the baseline itself, nothing.
fn difference(comparison: Option<&Comparison>) -> [String; 2] {
    match comparison.map(|c| &c.result) {
        None => [String::new(), String::new()],
        Some(None) => ["NA".to_owned(), "NA".to_owned()],
        Some(Some(r)) => [signed_with_interval(&r.difference), p_value(r.p)],
    }
}
