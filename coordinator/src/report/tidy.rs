//! Tidy CSV files: one observation a row.

use std::io::Write;

use super::rows::{Axes, runs};
use crate::aggregate::stats::{BOOTSTRAP_FROM, Estimate};
use crate::aggregate::{Analysis, Cell, Comparison, Curve, MetricId};
use crate::results::{Measured, Point, SweepResults, label};

/// `metrics.csv`: every metric of every run; tests only once they are unsealed.
pub(super) fn metrics(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = run_head(&axes);
    head.extend(
        [
            "step", "split", "layer", "head", "slot", "metric", "value", "job_key",
        ]
        .map(own),
    );
    out.write_record(&head)?;
    for run in runs(results) {
        let place = run_columns(&axes, &run.point);
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

/// `runs.csv`: every run with its phase.
pub(super) fn runs_table(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = run_head(&axes);
    head.extend(["ordinal", "phase", "failure", "artifacts", "job_key"].map(own));
    out.write_record(&head)?;
    for run in runs(results) {
        let mut row = run_columns(&axes, &run.point);
        let artifacts: Vec<_> = run
            .artifacts
            .iter()
            .map(|f| format!("{}={}", f.name, f.digest))
            .collect();
        row.extend([
            run.ordinal.to_string(),
            run.phase.to_string(),
            run.failure
                .as_ref()
                .map(|f| f.0.to_string())
                .unwrap_or_default(),
            artifacts.join(" "),
            run.key.to_string(),
        ]);
        out.write_record(&row)?;
    }
    out.flush()?;
    Ok(())
}

/// `cells.csv`: every metric of every cell at its final step.
pub(super) fn cells(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = cell_head(&axes);
    head.extend(["chosen", "at_edge"].map(own));
    head.extend(METRIC.map(own));
    head.extend(["step", "planned"].map(own));
    head.extend(ESTIMATE.map(own));
    head.push(own("weights"));
    out.write_record(&head)?;
    for cell in &a.cells {
        for (id, summary) in &cell.summaries {
            let mut row = cell_columns(&axes, cell);
            row.extend([cell.chosen.to_string(), cell.at_edge.to_string()]);
            row.extend(metric_columns(id));
            row.extend([maybe(summary.step), cell.seeds.expected().to_string()]);
            row.extend(estimate_columns(summary.estimate.as_ref()));
            row.push(maybe(id.weights));
            out.write_record(&row)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// `comparisons.csv`: every paired comparison.
pub(super) fn comparisons(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = vec![own("arm"), own("baseline"), own("frozen")];
    head.extend(axes.others.iter().cloned());
    head.extend(["basis", "arm_value", "baseline_value"].map(own));
    head.extend(METRIC.map(own));
    head.push(own("step"));
    head.extend(ESTIMATE.map(own));
    head.extend(
        [
            "left_out",
            "t",
            "g_z",
            "p_improve",
            "p",
            "p_method",
            "p_adjusted",
            "adjustment",
            "family",
            "equivalence_margin",
            "p_no_loss",
            "p_equivalent",
            "confidence",
            "weights",
        ]
        .map(own),
    );
    out.write_record(&head)?;
    for c in &a.comparisons {
        out.write_record(comparison_row(&axes, c, a.confidence))?;
    }
    out.flush()?;
    Ok(())
}

/// `learning_curves.csv`: every metric of every cell by step, tests left out.
pub(super) fn curves(results: &SweepResults, a: &Analysis, to: impl Write) -> csv::Result<()> {
    let axes = Axes::of(results, &a.compare);
    let mut out = csv::Writer::from_writer(to);
    let mut head = vec![own("arm"), own(select_name(a)), own("frozen")];
    head.extend(axes.others.iter().cloned());
    head.extend(["chosen", "split", "metric", "step"].map(own));
    head.extend(ESTIMATE.map(own));
    out.write_record(&head)?;
    for curve in &a.curves {
        for point in &curve.points {
            let mut row = curve_columns(&axes, curve);
            row.push(point.step.to_string());
            row.extend(estimate_columns(Some(&point.estimate)));
            out.write_record(&row)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Whether a metric may leave the coordinator.
pub(super) fn shown(m: &Measured, a: &Analysis) -> bool {
    !(a.sealed() && m.is_test())
}

const METRIC: [&str; 5] = ["split", "metric", "layer", "head", "slot"];
const ESTIMATE: [&str; 8] = [
    "n", "mean", "low", "high", "interval", "sd", "median", "iqm",
];

pub(super) fn run_head(axes: &Axes) -> Vec<String> {
    let mut head = ["arm", "seed", "learning_rate", "frozen"].map(own).to_vec();
    head.extend(axes.others.iter().cloned());
    head
}

pub(super) fn run_columns(axes: &Axes, point: &Point) -> Vec<String> {
    let mut row = vec![
        axes.arm(point),
        maybe(axes.seed(point)),
        maybe(Axes::learning_rate(point)),
        Axes::frozen(point),
    ];
    row.extend(axes.others.iter().map(|axis| axes.other(point, axis)));
    row
}

fn cell_head(axes: &Axes) -> Vec<String> {
    let mut head = ["arm", "learning_rate", "frozen"].map(own).to_vec();
    head.extend(axes.others.iter().cloned());
    head
}

fn cell_columns(axes: &Axes, cell: &Cell) -> Vec<String> {
    let mut row = vec![
        cell.arm.clone(),
        maybe(Axes::learning_rate(&cell.point)),
        Axes::frozen(&cell.point),
    ];
    row.extend(axes.others.iter().map(|axis| axes.other(&cell.point, axis)));
    row
}

fn select_name(a: &Analysis) -> &str {
    a.compare
        .select
        .as_ref()
        .map_or("learning_rate", |s| &s.axis)
}

fn curve_columns(axes: &Axes, curve: &Curve) -> Vec<String> {
    let value = match &curve.value {
        Some(value) => label(value),
        None => maybe(Axes::learning_rate(&curve.block)),
    };
    let mut row = vec![curve.arm.clone(), value, Axes::frozen(&curve.block)];
    row.extend(
        axes.others
            .iter()
            .map(|axis| axes.other(&curve.block, axis)),
    );
    row.extend([
        curve.chosen.to_string(),
        curve.metric.split.clone(),
        curve.metric.name.clone(),
    ]);
    row
}

fn comparison_row(axes: &Axes, c: &Comparison, confidence: f64) -> Vec<String> {
    let mut row = vec![c.arm.clone(), c.baseline.clone(), Axes::frozen(&c.block)];
    row.extend(axes.others.iter().map(|axis| axes.other(&c.block, axis)));
    row.push(own(c.basis.name()));
    row.extend(
        [&c.arm_value, &c.baseline_value].map(|v| v.as_ref().map(label).unwrap_or_default()),
    );
    row.extend(metric_columns(&c.metric));
    row.push(maybe(c.step));
    row.extend(estimate_columns(c.result.as_ref().map(|r| &r.difference)));
    let left_out: Vec<_> = c.left_out.iter().map(|l| l.seed.to_string()).collect();
    row.push(left_out.join(" "));
    let r = c.result.as_ref();
    row.extend([
        maybe(r.and_then(|r| r.t)),
        maybe(r.and_then(|r| r.g_z)),
        maybe(r.map(|r| r.p_improve)),
        maybe(r.map(|r| r.p)),
        own(if c.pairs.len() >= BOOTSTRAP_FROM {
            "sign_flip_10000_draws"
        } else {
            "sign_flip_exact"
        }),
        maybe(c.p_adjusted),
        own(c.family.adjustment()),
        own(c.family.name()),
    ]);
    let equivalence = r.and_then(|r| r.equivalence);
    row.extend([
        maybe(equivalence.map(|e| e.margin)),
        maybe(equivalence.map(|e| e.p_lower)),
        maybe(equivalence.map(|e| e.p())),
        maybe(r.and_then(|r| r.difference.interval).map(|_| confidence)),
        maybe(c.metric.weights),
    ]);
    row
}

fn metric_columns(id: &MetricId) -> [String; 5] {
    [
        id.split.clone(),
        id.name.clone(),
        maybe(id.layer),
        maybe(id.head),
        id.slot.clone().unwrap_or_default(),
    ]
}

fn estimate_columns(e: Option<&Estimate>) -> [String; 8] {
    let Some(e) = e else {
        return Default::default();
    };
    [
        e.n.to_string(),
        real(e.mean),
        maybe(e.interval.map(|i| i.0)),
        maybe(e.interval.map(|i| i.1)),
        e.interval.map_or("", |_| e.method.name()).to_owned(),
        maybe(e.sd),
        real(e.median),
        real(e.iqm),
    ]
}

pub(super) fn own(text: &str) -> String {
    text.to_owned()
}

pub(super) fn maybe(value: Option<impl ToString>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

/// The shortest text that reads back as the same number; empty if not available.
pub(super) fn real(value: f64) -> String {
    if value.is_nan() {
        String::new()
    } else {
        value.to_string()
    }
}
