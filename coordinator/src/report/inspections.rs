//! What was asked of the networks, and what could not be answered.

use std::collections::BTreeMap;

use seedbed_proto::result::JobPhase;

use super::rows::inspections;
use super::table::Table;
use crate::aggregate::Analysis;
use crate::inspection::{AT, QUESTION};
use crate::results::{Run, SweepResults, label};

/// Question × weights × arm, with how many seeds have an answer.
pub(super) fn table(results: &SweepResults, a: &Analysis) -> Table {
    let mut table = Table::new("Questions about the networks")
        .text("question")
        .text("weights")
        .text("arm")
        .number("answered")
        .text("not answered");
    let mut rows: Vec<(Vec<String>, Vec<&Run>)> = vec![];
    for run in inspections(results) {
        let text = |axis: &str| run.point.get(axis).map(label).unwrap_or_default();
        let name = vec![text(QUESTION), text(AT), text(&a.compare.arms)];
        match rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, runs)) => runs.push(run),
            None => rows.push((name, vec![run])),
        }
    }
    let row = |(mut cells, runs): (Vec<String>, Vec<&Run>)| {
        let done = runs.iter().filter(|r| r.phase == JobPhase::Done).count();
        cells.push(format!("{done}/{}", runs.len()));
        let mut lost: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for run in runs.iter().filter(|r| r.phase != JobPhase::Done) {
            let why = match &run.failure {
                Some((reason, _)) => format!("failed ({reason})"),
                None => run.phase.to_string(),
            };
            let seed = run.point.get(&a.compare.replicate).map(label);
            lost.entry(why).or_default().extend(seed);
        }
        let lost: Vec<String> = lost
            .iter()
            .map(|(why, seeds)| format!("{why}: seed {}", seeds.join(", ")))
            .collect();
        cells.push(lost.join("; "));
        cells
    };
    table.section(rows.into_iter().map(row).collect());
    table.note(
        "One job for each question and network. Weights: of the last step, of the first \
         evaluation at or above .95, or of a step on the way. What failed said: under Provenance.",
    )
}

/// What is not available in answers, and why, with the runs that it is so in.
pub(super) fn notes(results: &SweepResults, a: &Analysis) -> Table {
    let mut table = Table::new("Not available")
        .text("what")
        .text("why")
        .text("where");
    /// What and why, and the seeds of each arm.
    type Row = ((String, String), BTreeMap<String, Vec<String>>);
    let mut rows: Vec<Row> = vec![];
    for run in inspections(results) {
        let text = |axis: &str| run.point.get(axis).map(label).unwrap_or_default();
        for note in &run.notes {
            let what = (note.place.clone(), note.reason.clone());
            let at = match rows.iter().position(|(known, _)| *known == what) {
                Some(at) => at,
                None => {
                    rows.push((what, BTreeMap::new()));
                    rows.len() - 1
                }
            };
            let seeds = rows[at].1.entry(text(&a.compare.arms)).or_default();
            let seed = text(&a.compare.replicate);
            if !seeds.contains(&seed) {
                seeds.push(seed);
            }
        }
    }
    let row = |((what, why), arms): Row| {
        let arms: Vec<String> = arms
            .iter()
            .map(|(arm, seeds)| format!("{arm}: seed {}", seeds.join(", ")))
            .collect();
        vec![what, why, arms.join("; ")]
    };
    table.section(rows.into_iter().map(row).collect());
    table
}
