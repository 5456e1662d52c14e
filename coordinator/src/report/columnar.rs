//! The same tidy rows as Parquet.

use std::io::Write;
use std::iter::repeat_n;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::rows::{Axes, runs};
use super::tidy::shown;
use crate::aggregate::Analysis;
use crate::results::{Measured, Run, SweepResults};

/// Rows of one batch: what is in memory as columns while a file is written.
const ROWS_PER_BATCH: usize = 16_384;

/// `metrics.parquet`: the rows of `metrics.csv`.
pub(super) fn metrics(
    results: &SweepResults,
    a: &Analysis,
    to: impl Write + Send,
) -> Result<(), ParquetError> {
    metric_rows(&runs(results), results, a, &[], to)
}

/// `runs.parquet`: the rows of `runs.csv` but for the artifacts.
pub(super) fn runs_table(
    results: &SweepResults,
    a: &Analysis,
    to: impl Write + Send,
) -> Result<(), ParquetError> {
    let axes = Axes::of(results, &a.compare);
    let runs = runs(results);
    let mut columns = run_columns(&runs, &axes);
    columns.extend([
        ("ordinal", u64s(runs.iter().map(|r| Some(r.ordinal)))),
        ("phase", texts(runs.iter().map(|r| Some(r.phase.name())))),
        (
            "failure",
            texts(runs.iter().map(|r| r.failure.as_ref().map(|f| f.0.name()))),
        ),
        (
            "job_key",
            texts(runs.iter().map(|r| Some(r.key.to_string()))),
        ),
    ]);
    write(
        RecordBatch::try_from_iter_with_nullable(nullable(columns))?,
        std::iter::empty(),
        to,
    )
}

/// A further column: what each run has there.
pub(super) type Extra = (&'static str, fn(&Run) -> String);

/// A metric of a run.
type Row<'a> = (&'a Run, &'a Measured);

/// Writes the metrics of these runs, one a row; further columns stand after the axes.
pub(super) fn metric_rows(
    runs: &[&Run],
    results: &SweepResults,
    a: &Analysis,
    extra: &[Extra],
    to: impl Write + Send,
) -> Result<(), ParquetError> {
    let axes = Axes::of(results, &a.compare);
    let mut rows = runs
        .iter()
        .flat_map(|run| run.metrics.iter().map(move |m| (*run, m)))
        .filter(|(_, m)| shown(m, a));
    let mut next = || {
        let rows: Vec<Row<'_>> = rows.by_ref().take(ROWS_PER_BATCH).collect();
        metric_batch(&rows, &axes, extra)
    };
    // The first one says what the columns are, rows or not.
    let first = next()?;
    let rest = std::iter::from_fn(|| {
        let batch = next();
        let more = batch.as_ref().map_or(true, |batch| batch.num_rows() > 0);
        more.then_some(batch)
    });
    write(first, rest, to)
}

fn metric_batch(rows: &[Row<'_>], axes: &Axes, extra: &[Extra]) -> Result<RecordBatch, ArrowError> {
    // What belongs to a run is made once for it, and taken for each of its rows.
    let by_run = || rows.chunk_by(|(a, _), (b, _)| std::ptr::eq(*a, *b));
    let text = |of: &dyn Fn(&Run) -> String| -> ArrayRef {
        let of: Vec<(String, usize)> = by_run().map(|r| (of(r[0].0), r.len())).collect();
        texts(of.iter().flat_map(|(text, n)| repeat_n(Some(text), *n)))
    };
    let points = || rows.iter().map(|(run, _)| &run.point);
    let metrics = || rows.iter().map(|(_, m)| *m);
    let mut columns = vec![
        ("arm", text(&|r| axes.arm(&r.point))),
        ("seed", u64s(points().map(|p| axes.seed(p)))),
        ("learning_rate", f64s(points().map(Axes::learning_rate))),
        ("frozen", text(&|r| Axes::frozen(&r.point))),
    ];
    for axis in &axes.others {
        columns.push((axis, text(&|r| axes.other(&r.point, axis))));
    }
    columns.extend(extra.iter().map(|(name, of)| (*name, text(of))));
    columns.extend([
        ("step", u64s(metrics().map(|m| Some(m.step)))),
        ("split", texts(metrics().map(|m| Some(&m.split)))),
        ("layer", u32s(metrics().map(|m| m.layer))),
        ("head", u32s(metrics().map(|m| m.head))),
        ("slot", texts(metrics().map(|m| m.slot.as_ref()))),
        ("metric", texts(metrics().map(|m| Some(&m.name)))),
        (
            "value",
            f64s(metrics().map(|m| Some(m.value).filter(|v| !v.is_nan()))),
        ),
        ("job_key", text(&|r| r.key.to_string())),
    ]);
    RecordBatch::try_from_iter_with_nullable(nullable(columns))
}

fn run_columns<'a>(runs: &[&Run], axes: &'a Axes) -> Vec<(&'a str, ArrayRef)> {
    let points = || runs.iter().map(|r| &r.point);
    let mut columns = vec![
        ("arm", texts(points().map(|p| Some(axes.arm(p))))),
        ("seed", u64s(points().map(|p| axes.seed(p)))),
        ("learning_rate", f64s(points().map(Axes::learning_rate))),
        ("frozen", texts(points().map(|p| Some(Axes::frozen(p))))),
    ];
    for axis in &axes.others {
        let values = texts(points().map(|p| Some(axes.other(p, axis))));
        columns.push((axis, values));
    }
    columns
}

/// Every column may be null, so that the schema never depends on the values.
fn nullable(columns: Vec<(&str, ArrayRef)>) -> impl Iterator<Item = (&str, ArrayRef, bool)> {
    columns.into_iter().map(|(name, array)| (name, array, true))
}

fn write(
    first: RecordBatch,
    rest: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    to: impl Write + Send,
) -> Result<(), ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(to, first.schema(), Some(properties))?;
    writer.write(&first)?;
    for batch in rest {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn u64s(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.collect::<UInt64Array>())
}

fn u32s(values: impl Iterator<Item = Option<u32>>) -> ArrayRef {
    Arc::new(values.collect::<UInt32Array>())
}

fn f64s(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}
