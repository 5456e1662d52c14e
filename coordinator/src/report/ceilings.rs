//! `noise_ceiling.csv`, and the table of the last position.

use std::io::Write;

use super::format::number;
use super::rows::Axes;
use super::table::Table;
use super::tidy::{maybe, own, real};
use crate::aggregate::ceilings::CeilingAt;
use crate::aggregate::stats::Ceiling;
use crate::aggregate::{Analysis, NoiseCeiling};
use crate::results::SweepResults;

/// The position of the figure and the table.
pub(super) const LAST: &str = "last";

/// `noise_ceiling.csv`: every cell, depth and slot, the missing ones with a reason.
pub(super) fn csv(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = ["arm", "learning_rate", "frozen"].map(own).to_vec();
    head.extend(axes.others.iter().cloned());
    head.extend(
        [
            "chosen", "weights", "split", "layer", "slot", "planned", "n", "lower", "upper",
            "left_out", "reason",
        ]
        .map(own),
    );
    out.write_record(&head)?;
    for c in &a.ceilings {
        let mut cell = vec![
            c.arm.clone(),
            maybe(Axes::learning_rate(&c.point)),
            Axes::frozen(&c.point),
        ];
        cell.extend(axes.others.iter().map(|axis| axes.other(&c.point, axis)));
        cell.extend([c.chosen.to_string(), c.weights.to_string(), own(c.split)]);
        for at in &c.places {
            let end = |pick: fn(&Ceiling) -> f64| {
                let ceiling = at.ceiling.as_ref();
                ceiling.map_or_else(|_| String::new(), |c| real(pick(c)))
            };
            let mut row = cell.clone();
            row.extend([
                maybe(at.layer),
                maybe(at.slot.as_ref()),
                c.planned.to_string(),
                at.n.to_string(),
                end(|c| c.lower),
                end(|c| c.upper),
                left_out(at),
                maybe(at.ceiling.as_ref().err()),
            ]);
            out.write_record(&row)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// The noise ceilings of the chosen cells at the last position.
pub(super) fn table(a: &Analysis) -> Table {
    let mut table = Table::new("Noise ceiling of RSA over seeds, at the last position")
        .text("arm")
        .text("weights");
    let blocks = a.blocks().len() > 1;
    if blocks {
        table = table.text("where");
    }
    table = table
        .number("depth")
        .number("lower")
        .number("upper")
        .number("n")
        .text("left out");
    for c in a.ceilings.iter().filter(|c| c.chosen) {
        let here = c
            .places
            .iter()
            .filter(|at| at.slot.as_deref().is_none_or(|s| s == LAST));
        table.section(here.map(|at| row(a, c, at, blocks)).collect());
    }
    table.note(
        "How well any model's dissimilarities could correlate (Spearman) with those of an arm's \
         networks, given how these differ from seed to seed (Nili et al. 2014). Each seed's are \
         turned into ranks, ties (within 1e-5 of the largest) sharing theirs, and correlated with \
         the mean of the ranks of all seeds (upper) and of the other seeds (lower); means over \
         the n seeds, of those planned. A pairing is read against the arm that it is asked \
         about; between two single networks (ft_ft, ft_sc) both vary, so that it stays below \
         even where only seeds differ. All positions: noise_ceiling.csv.",
    )
}

fn row(a: &Analysis, c: &NoiseCeiling, at: &CeilingAt, blocks: bool) -> Vec<String> {
    let mut row = vec![c.arm.clone(), c.weights.to_string()];
    if blocks {
        row.push(a.block_label(&c.block));
    }
    row.push(at.layer.map_or_else(|| "–".to_owned(), |l| l.to_string()));
    let (ends, why) = match &at.ceiling {
        Ok(c) => ([c.lower, c.upper].map(number), None),
        Err(why) => (["NA", "NA"].map(own), Some(why)),
    };
    row.extend(ends);
    row.push(format!("{}/{}", at.n, c.planned));
    // What is so in every seed, the reason has said.
    let apart = at.n > 0 || at.left_out.windows(2).any(|pair| pair[0].1 != pair[1].1);
    let seeds = Some(left_out(at)).filter(|text| !text.is_empty() && apart);
    let seeds = seeds.map(|text| format!("seed {text}"));
    let parts: Vec<String> = why.cloned().into_iter().chain(seeds).collect();
    row.push(parts.join("; "));
    row
}

/// "3 (failed), 5 (arrays no longer stored)".
fn left_out(at: &CeilingAt) -> String {
    let each = at
        .left_out
        .iter()
        .map(|(seed, why)| format!("{seed} ({why})"));
    each.collect::<Vec<_>>().join(", ")
}
