//! Status for people and for programs.

use std::io::Write;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use seedbed_proto::result::FailureReason;
use seedbed_proto::v1;
use serde_json::{Value, json};

use super::progress;

/// Prints a line to standard output. A reader that went away (`| head`) is no
/// error.
pub fn print(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// A status as JSON.
pub fn status_json(status: &v1::SweepStatus) -> Value {
    json!({
        "sweep": status.name,
        "id": status.sweep_id,
        "jobs": {
            "blocked": status.blocked,
            "pending": status.pending,
            "running": status.running,
            "done": status.done,
            "failed": status.failed,
            "cancelled": status.cancelled,
        },
        "inspections": {
            "total": status.inspections,
            "done": status.inspections_done,
        },
        "workers": status.workers,
        "steps_per_sec": status.steps_per_sec,
        "steps_left": status.steps_left,
        "steps_total": status.steps_total,
        "diverged": status.diverged,
        "replication": status.replication.as_ref().map(replication_json),
        "running": status.running_jobs.iter().map(running_json).collect::<Vec<_>>(),
        "failed": status.failed_jobs.iter().map(failed_json).collect::<Vec<_>>(),
    })
}

fn replication_json(r: &v1::Replication) -> Value {
    json!({
        "seeds": r.seeds,
        "seeds_max": r.seeds_max,
        "metric": r.metric,
        "half_width": r.half_width,
        "half_width_wanted": r.half_width_wanted,
        "looks": r.looks,
        "looks_max": r.looks_max,
        "enough": r.enough,
    })
}

fn running_json(job: &v1::RunningJob) -> Value {
    json!({
        "job": job.job_key,
        "title": job.title,
        "step": job.step,
        "steps_total": job.steps_total,
        "steps_per_sec": job.steps_per_sec,
        "live_metric": job.live_metric,
        "live_value": job.live_value,
        "worker": job.worker,
        "attempt": job.attempt,
        "checkpoint_step": job.checkpoint_step,
    })
}

fn failed_json(job: &v1::FailedJob) -> Value {
    json!({
        "job": job.job_key,
        "title": job.title,
        "reason": reason(job),
        "message": job.message,
        "attempts": job.attempts,
    })
}

fn reason(job: &v1::FailedJob) -> &'static str {
    FailureReason::try_from(job.reason()).map_or("unknown", FailureReason::name)
}

/// All sweeps in a table.
pub fn list(statuses: &[v1::SweepStatus]) -> String {
    if statuses.is_empty() {
        return "no sweep was submitted yet".to_owned();
    }
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "sweep",
            "done",
            "running",
            "waiting",
            "failed",
            "cancelled",
            "steps/s",
            "left",
        ]);
    for s in statuses {
        let left = if s.steps_per_sec > 0.0 {
            progress::duration(s.steps_left as f64 / s.steps_per_sec)
        } else {
            String::new()
        };
        table.add_row([
            s.name.clone(),
            s.done.to_string(),
            s.running.to_string(),
            (s.pending + s.blocked).to_string(),
            s.failed.to_string(),
            s.cancelled.to_string(),
            format!("{:.1}", s.steps_per_sec),
            left,
        ]);
    }
    table.to_string()
}

/// One sweep with its running and failed jobs.
pub fn details(status: &v1::SweepStatus) -> String {
    let mut lines = vec![format!(
        "{}: {}; {} worker(s)",
        status.name,
        progress::line(status, None),
        status.workers
    )];
    for job in &status.running_jobs {
        let live = if job.live_metric.is_empty() {
            String::new()
        } else {
            format!(", {} {:.3}", job.live_metric, job.live_value)
        };
        lines.push(format!(
            "  running: {}: step {} of {}{live} ({}, attempt {})",
            job.title, job.step, job.steps_total, job.worker, job.attempt
        ));
    }
    lines.extend(failures(status));
    if status.diverged > 0 {
        lines.push(format!(
            "  {} result(s) contradict the one on record",
            status.diverged
        ));
    }
    lines.join("\n")
}

/// One line for each way in which jobs failed.
pub fn failures(status: &v1::SweepStatus) -> Vec<String> {
    let mut groups: Vec<(&v1::FailedJob, usize)> = vec![];
    for job in &status.failed_jobs {
        let same = |g: &&mut (&v1::FailedJob, usize)| {
            (g.0.reason, &g.0.message) == (job.reason, &job.message)
        };
        match groups.iter_mut().find(same) {
            Some((_, more)) => *more += 1,
            None => groups.push((job, 0)),
        }
    }
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|(job, more)| {
            let others = match more {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let message = job.message.lines().collect::<Vec<_>>().join(" ");
            format!(
                "  failed: {}{others}: {}: {message}",
                job.title,
                reason(job)
            )
        })
        .collect();
    let without_input = status
        .failed
        .saturating_sub(status.failed_jobs.len() as u64);
    if without_input > 0 {
        lines.push(format!(
            "  {without_input} job(s) could not start without the result of one that failed"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> v1::SweepStatus {
        v1::SweepStatus {
            name: "main".into(),
            done: 1,
            failed: 1,
            failed_jobs: vec![v1::FailedJob {
                title: "scratch seed=1".into(),
                reason: v1::FailureReason::NonFinite.into(),
                message: "loss is NaN\nat step 3".into(),
                attempts: 1,
                ..v1::FailedJob::default()
            }],
            ..v1::SweepStatus::default()
        }
    }

    #[test]
    fn a_failure_is_one_line_with_its_reason() {
        let expect = "  failed: scratch seed=1: non_finite: loss is NaN at step 3";
        assert_eq!(failures(&status()), [expect]);
        assert!(details(&status()).ends_with(expect));
    }

    #[test]
    fn what_failed_in_the_same_way_is_told_once() {
        let mut status = status();
        let job = status.failed_jobs[0].clone();
        let other = v1::FailedJob {
            message: "loss is NaN\nat step 4".into(),
            ..job.clone()
        };
        status.failed_jobs.extend([other, job.clone(), job]);
        status.failed = 10;
        let expect = [
            "  failed: scratch seed=1 and 2 more: non_finite: loss is NaN at step 3",
            "  failed: scratch seed=1: non_finite: loss is NaN at step 4",
            "  6 job(s) could not start without the result of one that failed",
        ];
        assert_eq!(failures(&status), expect);
    }

    #[test]
    fn json_and_table_name_the_sweep() {
        assert_eq!(status_json(&status())["failed"][0]["reason"], "non_finite");
        assert!(list(&[status()]).contains("main"));
        assert!(list(&[]).contains("no sweep"));
    }
}
