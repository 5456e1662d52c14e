//! `mechanisms.csv`, `mechanisms.parquet`: every number that was found inside a
//! network, one a row; and which inspect jobs there were.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

use super::columnar;
use super::rows::{Axes, inspections};
use super::tidy::{self, maybe, own, real, shown};
use crate::aggregate::Analysis;
use crate::inspection::{AT, QUESTION, STEP};
use crate::results::{Run, SweepResults, label};

/// Inspections whose metrics make one batch.
const RUNS_PER_BATCH: usize = 16;

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
    let axes = Axes::of(results, &a.compare);
    let runs = inspections(results);
    let mut batches = runs.chunks(RUNS_PER_BATCH).map(|c| batch(c, &axes, a));
    match batches.next() {
        Some(first) => columnar::write(first?, batches, to),
        None => columnar::write(batch(&[], &axes, a)?, std::iter::empty(), to),
    }
}

fn batch(runs: &[&Run], axes: &Axes, a: &Analysis) -> Result<RecordBatch, ArrowError> {
    let extra: [columnar::Extra; 2] = [
        ("question", |run| text(run, QUESTION)),
        ("weights", |run| text(run, AT)),
    ];
    columnar::metric_batch(runs, axes, a, &extra)
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

fn text(run: &Run, axis: &str) -> String {
    run.point.get(axis).map(label).unwrap_or_default()
}
