//! `mechanisms.csv`, `mechanisms.parquet`: every number that was found inside a
//! network, one a row; `inspections.csv`: which inspect jobs there were;
//! `map_similarity.csv`: how alike patching maps are.

use std::io::Write;

use parquet::errors::ParquetError;

use super::columnar;
use super::format::{number, or_na};
use super::rows::{Axes, inspections};
use super::table::Table;
use super::tidy::{self, maybe, own, real, shown};
use crate::aggregate::mechanism::{MapSimilarity, map_similarities};
use crate::aggregate::{Analysis, MetricId};
use crate::inspection::{AT, QUESTION, STEP};
use crate::results::{Run, SweepResults, label};

/// `mechanisms.csv`.
pub(super) fn csv(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = tidy::run_head(&axes);
    head.extend(
        [
            "question", "weights", "step", "split", "layer", "head", "slot", "metric", "value",
            "job_key",
        ]
        .map(own),
    );
    out.write_record(&head)?;
    for run in inspections(results) {
        let mut place = tidy::run_columns(&axes, &run.point);
        place.extend([text(run, QUESTION), text(run, AT)]);
        let key = run.key.to_string();
        for m in run.metrics.iter().filter(|m| shown(m, a)) {
            out.write_record(place.iter().map(String::as_str).chain([
                m.step.to_string().as_str(),
                &m.split,
                &maybe(m.layer),
                &maybe(m.head),
                m.slot.as_deref().unwrap_or_default(),
                &m.name,
                &real(m.value),
                &key,
            ]))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// `mechanisms.parquet`: the same rows.
pub(super) fn parquet(
    results: &SweepResults,
    a: &Analysis,
    to: impl Write + Send,
) -> Result<(), ParquetError> {
    let extra: [columnar::Extra; 2] = [
        ("question", |run| text(run, QUESTION)),
        ("weights", |run| text(run, AT)),
    ];
    columnar::metric_rows(&inspections(results), results, a, &extra, to)
}

/// `inspections.csv`: every inspect job with its phase.
pub(super) fn jobs(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = tidy::run_head(&axes);
    head.extend(
        [
            "question",
            "weights",
            "step",
            "phase",
            "failure",
            "notes",
            "artifacts",
            "job_key",
        ]
        .map(own),
    );
    out.write_record(&head)?;
    for run in inspections(results) {
        let mut row = tidy::run_columns(&axes, &run.point);
        let artifacts = run.artifacts.iter();
        let artifacts: Vec<_> = artifacts
            .map(|f| format!("{}={}", f.name, f.digest))
            .collect();
        let notes = run.notes.iter();
        let notes: Vec<_> = notes
            .map(|n| format!("{}: {}", n.place, n.reason))
            .collect();
        row.extend([
            text(run, QUESTION),
            text(run, AT),
            text(run, STEP),
            own(run.phase.name()),
            run.failure.as_ref().map_or("", |f| f.0.name()).to_owned(),
            notes.join("; "),
            artifacts.join(" "),
            run.key.to_string(),
        ]);
        out.write_record(&row)?;
    }
    out.flush()?;
    Ok(())
}

/// `map_similarity.csv`: every two arms and every arm with itself, by patching map.
pub(super) fn similarity(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = ["arm", "other", "frozen"].map(own).to_vec();
    head.extend(axes.others.iter().cloned());
    head.extend(
        [
            "split",
            "metric",
            "weights",
            "positions",
            "spearman",
            "cosine",
            "seed_pairs",
            "seed_spearman",
            "seed_cosine",
        ]
        .map(own),
    );
    out.write_record(&head)?;
    for s in map_similarities(a) {
        let mut row = vec![s.arm, s.other, Axes::frozen(&s.block)];
        row.extend(axes.others.iter().map(|axis| axes.other(&s.block, axis)));
        row.extend([
            s.split,
            s.metric,
            maybe(s.weights),
            s.positions.to_string(),
            maybe(s.means.spearman),
            maybe(s.means.cosine),
            s.pairs.to_string(),
            maybe(s.seeds.spearman),
            maybe(s.seeds.cosine),
        ]);
        out.write_record(&row)?;
    }
    out.flush()?;
    Ok(())
}

/// How alike the denoising maps of the cue and of the relevant numbers are, arm by
/// arm; all others stand in the file.
pub(super) fn alike(a: &Analysis) -> Table {
    const SITES: [&str; 4] = ["resid_pre", "attn_out", "mlp_out", "z"];
    let mut table = Table::new("How alike patching maps are")
        .text("map")
        .text("weights")
        .text("arms");
    let blocks = a.blocks().len() > 1;
    if blocks {
        table = table.text("where");
    }
    table = table
        .number("Spearman")
        .number("cosine")
        .number("Spearman, seeds")
        .number("cosine, seeds")
        .number("centre of mass");
    let all = map_similarities(a);
    for change in ["cue", "rel"] {
        for site in SITES {
            let name = format!("patching.{change}.denoising.{site}");
            let row = |s: &MapSimilarity| {
                let within = s.arm == s.other;
                let mut row = vec![
                    format!("{change}, {site}"),
                    maybe(s.weights),
                    if within {
                        format!("{}, between seeds", s.arm)
                    } else {
                        format!("{} and {}", s.arm, s.other)
                    },
                ];
                if blocks {
                    row.push(a.block_label(&s.block));
                }
                let value = |v| or_na(v, number);
                let means = [s.means.spearman, s.means.cosine];
                row.extend(means.map(|v| if within { "–".to_owned() } else { value(v) }));
                row.extend([s.seeds.spearman, s.seeds.cosine].map(value));
                row.push(if within {
                    centre(a, s)
                } else {
                    "–".to_owned()
                });
                row
            };
            let here = all.iter().filter(|s| s.metric == name);
            table.section(here.map(row).collect());
        }
    }
    table.note(
        "Denoising, over layer and slot (z: head). Spearman, cosine: of the two maps averaged \
         over seeds. Seeds: mean over all pairs of two different seeds, within an arm the \
         reference for those between arms. Centre of mass: mean layer, weighted by the map. No \
         interval, no test. All maps: map_similarity.csv.",
    )
}

/// The mean over seeds of a map's centre of mass over layers, where it was measured.
fn centre(a: &Analysis, s: &MapSimilarity) -> String {
    let here = |c: &&crate::aggregate::Cell| c.chosen && c.block == s.block && c.arm == s.arm;
    let id = MetricId {
        weights: s.weights,
        ..MetricId::whole(&s.split, &format!("{}.centre", s.metric))
    };
    let cell = a.cells.iter().find(here);
    let mean = cell.and_then(|c| Some(c.summaries.get(&id)?.estimate.as_ref()?.mean));
    mean.map_or_else(|| "–".to_owned(), number)
}

fn text(run: &Run, axis: &str) -> String {
    run.point.get(axis).map(label).unwrap_or_default()
}
