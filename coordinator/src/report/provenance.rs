//! Where and when the results came about: the part of a report that two runs of
//! the same sweep don't share.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::format::count;
use super::rows::runs;
use super::table::Table;
use crate::results::{Attempt, SweepResults};

/// `provenance.json`.
pub(super) fn json(results: &SweepResults) -> Value {
    let failures: Vec<Value> = runs(results)
        .into_iter()
        .chain(&results.inspections)
        .filter_map(|run| {
            let (reason, message) = run.failure.as_ref()?;
            Some(json!({
                "job_key": run.key.to_string(),
                "point": run.point,
                "reason": reason.name(),
                "message": message,
            }))
        })
        .collect();
    json!({
        "sweep": results.name,
        "sweep_id": results.sweep_id.to_string(),
        "failures": failures,
        "selections": results.selections,
        "attempts": attempts(results),
    })
}

/// One line about all attempts.
pub(super) fn summary(results: &SweepResults) -> String {
    let attempts = attempts(results);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut secs = 0.0;
    let mut resumed = 0;
    for attempt in &attempts {
        *outcomes.entry(&attempt.outcome).or_insert(0) += 1;
        if let Some(p) = &attempt.provenance {
            secs += p.wall_secs;
            resumed += usize::from(p.resumed_from_step > 0);
        }
    }
    let outcomes: Vec<_> = outcomes
        .iter()
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    if attempts.is_empty() {
        return "No attempt is on record.".to_owned();
    }
    format!(
        "{}: {}. {resumed} went on from a checkpoint. {secs:.0} s of work in all.",
        count(attempts.len(), "attempt"),
        outcomes.join(", ")
    )
}

/// The machines and programs behind the results.
pub(super) fn machines(results: &SweepResults) -> Table {
    let mut table = Table::new("Machines and programs")
        .text("host")
        .text("device")
        .text("processor")
        .number("threads")
        .text("version")
        .number("attempts")
        .number("seconds");
    let mut machines: BTreeMap<[String; 5], (usize, f64)> = BTreeMap::new();
    for p in results
        .attempts
        .iter()
        .filter_map(|a| a.provenance.as_ref())
    {
        let machine = machines
            .entry([
                p.host.clone(),
                p.device.clone(),
                p.cpu_fingerprint.clone(),
                p.threads.to_string(),
                p.version.clone(),
            ])
            .or_default();
        machine.0 += 1;
        machine.1 += p.wall_secs;
    }
    let rows = machines.into_iter().map(|(machine, (n, secs))| {
        let mut row = machine.to_vec();
        row.extend([n.to_string(), format!("{secs:.0}")]);
        row
    });
    table.section(rows.collect());
    table
}

/// Attempts that ended without a result, with what the worker said.
pub(super) fn failures(results: &SweepResults) -> Table {
    let mut table = Table::new("Attempts that ended without a result")
        .text("job")
        .number("attempt")
        .text("worker")
        .text("outcome")
        .text("message");
    let rows = attempts(results)
        .into_iter()
        .filter(|a| !matches!(a.outcome.as_str(), "done" | "running"))
        .map(|a| {
            vec![
                a.job_key.short(),
                a.attempt.to_string(),
                a.worker.clone(),
                a.outcome.clone(),
                a.message.clone(),
            ]
        });
    table.section(rows.collect());
    table
}

fn attempts(results: &SweepResults) -> Vec<&Attempt> {
    let mut attempts: Vec<_> = results.attempts.iter().collect();
    attempts.sort_by(|a, b| {
        (a.job_key, a.attempt, &a.started_at).cmp(&(b.job_key, b.attempt, &b.started_at))
    });
    attempts
}
