//! `report.md`.

use super::table::Table;
use super::{
    PROVENANCE_MARK, answer, behaviour, ceilings, inspections, mechanisms, provenance, tables,
};
use crate::aggregate::Analysis;
use crate::results::SweepResults;

/// The report as Markdown.
pub(super) fn markdown(a: &Analysis, results: &SweepResults) -> String {
    let mut text = format!("# {}\n\n**{}**\n\n", a.name, answer::question(a));
    if let (Some(v), Some(title)) = (&a.verdict, tables::verdict_title(a)) {
        text.push_str(&format!("- {title}: **{}**\n", v.outcome.words()));
    }
    for line in answer::answer(a) {
        text.push_str(&format!("- {line}\n"));
    }
    if a.verdict.is_some() {
        text.push_str("\n## The verdict\n\n");
        for t in [tables::verdict(a), tables::reuse(a)] {
            text.push_str(&table(&t));
        }
    }
    text.push_str("\n## Results\n\n");
    for t in [
        tables::surface(a),
        tables::differences(a),
        tables::equivalence(a),
        tables::leave_one_out(a),
        tables::reach(a),
        tables::looks(a),
    ] {
        text.push_str(&table(&t));
    }
    let behaviour: String = behaviour::tables(a).iter().map(table).collect();
    if !behaviour.is_empty() {
        text.push_str(&format!("## Behaviour\n\n{behaviour}"));
    }
    text.push_str("## Every seed\n\n");
    for block in a.blocks() {
        text.push_str(&table(&tables::seeds(a, block)));
    }
    text.push_str(&table(&tables::success(a)));
    let asked = [
        mechanisms::alike(a),
        ceilings::table(a),
        inspections::table(results, a),
        inspections::notes(results, a),
    ];
    if asked.iter().any(|t| !t.is_empty()) {
        text.push_str("## Inside the networks\n\n");
        for t in &asked {
            text.push_str(&table(t));
        }
    }
    if !a.notes.is_empty() {
        text.push_str("## Notes\n\n");
        for note in &a.notes {
            text.push_str(&format!("- {note}\n"));
        }
        text.push('\n');
    }
    text.push_str(
        "## Files\n\n\
         `report.html` has the figures. `metrics.parquet` (and, up to a million rows, \
         `metrics.csv`) holds every metric of every run, `runs.csv` every run, \
         `mechanisms.csv` (and `.parquet`) every number from inside a network, `inspections.csv` \
         every question, `map_similarity.csv` how alike patching maps are, \
         `noise_ceiling.csv` the noise ceiling of RSA over seeds, `cells.csv` the means over seeds, \
         `comparisons.csv` every paired comparison, `learning_curves.csv` the metrics by step, `verdict.json` the \
         verdict with all its numbers, `methods.txt` a paragraph for a paper, `figures/` every \
         figure as a file of its own.\n\n",
    );
    text.push_str(&format!(
        "## The sweep\n\n```yaml\n{}\n```\n\n",
        results.yaml.trim_end()
    ));
    text.push_str(&format!("{PROVENANCE_MARK}\n\n## Provenance\n\n"));
    text.push_str(&format!("{}\n\n", provenance::summary(results)));
    for t in [provenance::machines(results), provenance::failures(results)] {
        text.push_str(&table(&t));
    }
    text.push_str("Each attempt with its times: `provenance.json`.\n");
    text
}

/// A table with its title and note; nothing if it has no rows.
pub(super) fn table(table: &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    let mut text = format!("**{}**\n\n", table.title);
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> = cells.collect();
        format!("| {} |\n", cells.join(" | "))
    };
    text.push_str(&line(&mut table.columns.iter().map(|c| escape(&c.head))));
    text.push_str(&line(
        &mut table
            .columns
            .iter()
            .map(|c| if c.numeric { "---:" } else { "---" }.to_owned()),
    ));
    for row in table.sections.iter().flatten() {
        text.push_str(&line(&mut row.iter().map(|cell| escape(cell))));
    }
    text.push('\n');
    if !table.note.is_empty() {
        text.push_str(&format!("{}\n\n", escape(&table.note)));
    }
    text
}

/// What would break a row or be taken for emphasis.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('*', "\\*")
        .replace('_', "\\_")
        .replace('<', "&lt;")
        .replace(['\n', '\r'], " ")
}
