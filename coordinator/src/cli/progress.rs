//! Progress of a sweep while one waits: a bar on a terminal, plain lines
//! elsewhere, JSON lines on request.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use futures::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use seedbed_proto::v1;

use super::pace::Pace;
use super::show;

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Ticks of work that nobody takes before it is said, and before it is said again.
const PATIENCE: u32 = 2;
const REPEAT: u32 = 12;
/// Said while work waits although there are workers.
const NO_TAKER: &str = "work waits, and no connected worker takes it: it may need another `engine` \
                        than they have, or wait for its next attempt";

/// How progress is shown.
#[derive(Debug)]
pub enum Progress {
    /// A bar that is redrawn.
    Bar(ProgressBar),
    /// A line now and then.
    Lines,
    /// One JSON object a line, for each change.
    Json,
}

impl Progress {
    /// What fits where standard error goes.
    pub fn new(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg}")
            .expect("the template is well-formed")
            .progress_chars("=> ");
        let bar = ProgressBar::new(0).with_style(style);
        bar.enable_steady_tick(Duration::from_secs(1));
        Self::Bar(bar)
    }

    /// Shows each status until there are no more, and answers with the last.
    /// `no_worker` is said while work waits and nobody is there to do it.
    ///
    /// # Errors
    /// If the stream breaks off.
    pub async fn follow<S, E>(
        self,
        updates: S,
        no_worker: &str,
    ) -> Result<Option<v1::SweepStatus>, E>
    where
        S: Stream<Item = Result<v1::SweepStatus, E>>,
    {
        let mut updates = std::pin::pin!(updates);
        let mut ticks = tokio::time::interval(LINE_EVERY);
        let mut latest: Option<v1::SweepStatus> = None;
        let mut idle_ticks = 0;
        let mut pace = Pace::new(LINE_EVERY);
        loop {
            tokio::select! {
                update = updates.next() => match update {
                    Some(status) => {
                        let status = status?;
                        self.update(&status, &pace);
                        latest = Some(status);
                    }
                    None => break,
                },
                _ = ticks.tick() => if let Some(status) = &latest {
                    pace.sample(status.steps_left);
                    self.tick(status, &pace);
                    if status.running > 0 || status.pending == 0 {
                        idle_ticks = 0;
                        continue;
                    }
                    idle_ticks += 1;
                    if idle_ticks % REPEAT == PATIENCE {
                        self.say(if status.workers > 0 { NO_TAKER } else { no_worker });
                    }
                }
            }
        }
        if let Self::Bar(bar) = &self {
            bar.finish_and_clear();
        }
        Ok(latest)
    }

    fn update(&self, status: &v1::SweepStatus, pace: &Pace) {
        match self {
            Self::Bar(bar) => {
                // In steps where there are any: jobs differ in length.
                bar.set_length(status.steps_total.max(1));
                bar.set_position(status.steps_total.saturating_sub(status.steps_left));
                bar.set_message(line(status, pace.steps_per_sec()));
            }
            Self::Lines => {}
            Self::Json => show::print(&show::status_json(status).to_string()),
        }
    }

    fn tick(&self, status: &v1::SweepStatus, pace: &Pace) {
        match self {
            Self::Lines => eprintln!("{}", line(status, pace.steps_per_sec())),
            Self::Bar(_) | Self::Json => {}
        }
    }

    fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Self::Lines | Self::Json => eprintln!("{text}"),
        }
    }
}

/// One line on where a sweep stands; at this many steps a second, if that is known
/// better than from what the workers say now.
pub fn line(status: &v1::SweepStatus, steps_per_sec: Option<f64>) -> String {
    let total = status.blocked
        + status.pending
        + status.running
        + status.done
        + status.failed
        + status.cancelled;
    let mut text = format!("{}/{total} jobs, {} running", status.done, status.running);
    let mut add = |part: std::fmt::Arguments<'_>| {
        write!(text, ", {part}").expect("a string takes everything");
    };
    if status.inspections > 0 {
        let (done, all) = (status.inspections_done, status.inspections);
        add(format_args!("{done}/{all} inspections"));
    }
    if status.failed > 0 {
        add(format_args!("{} failed", status.failed));
    }
    if status.cancelled > 0 {
        add(format_args!("{} cancelled", status.cancelled));
    }
    if let Some(r) = &status.replication {
        add(format_args!("{}", replication(r)));
    }
    let speed = steps_per_sec.unwrap_or(status.steps_per_sec);
    if speed > 0.0 {
        // Those of inspections are percents.
        if status.inspections == 0 {
            add(format_args!("{speed:.1} steps/s"));
        }
        let left_secs = status.steps_left as f64 / speed;
        add(format_args!("{} left", duration(left_secs)));
    }
    if let Some(job) = status
        .running_jobs
        .iter()
        .find(|j| !j.live_metric.is_empty())
    {
        add(format_args!(
            "{}: {} {:.3}",
            job.title, job.live_metric, job.live_value
        ));
    }
    text
}

/// How far a sweep that adds seeds by itself has got: "15 of at most 40 seeds,
/// half-width .031 for .020 after 2 of at most 7 looks".
fn replication(r: &v1::Replication) -> String {
    let looks = match (r.looks, r.half_width) {
        (0, _) => "no look yet".to_owned(),
        (n, None) => format!("no interval after {n} of at most {} looks", r.looks_max),
        (n, Some(half)) => format!(
            "half-width {half:.4} for {} after {n} of at most {} looks",
            r.half_width_wanted, r.looks_max
        ),
    };
    format!("{} of at most {} seeds, {looks}", r.seeds, r.seeds_max)
}

/// A duration for people: "45 s", "3 min 20 s", "2 h 05 min".
pub fn duration(secs: f64) -> String {
    let secs = secs.round().clamp(0.0, 1e9) as u64;
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} min", secs / 3600, secs % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let status = v1::SweepStatus {
            pending: 7,
            running: 2,
            done: 3,
            ..v1::SweepStatus::default()
        };
        assert_eq!(line(&status, None), "3/12 jobs, 2 running");
        let status = v1::SweepStatus {
            failed: 1,
            steps_per_sec: 8.0,
            steps_left: 1600,
            running_jobs: vec![v1::RunningJob {
                title: "scratch seed=1".into(),
                live_metric: "val.accuracy".into(),
                live_value: 0.8125,
                ..v1::RunningJob::default()
            }],
            ..status
        };
        assert_eq!(
            line(&status, None),
            "3/13 jobs, 2 running, 1 failed, 8.0 steps/s, 3 min 20 s left, \
             scratch seed=1: val.accuracy 0.812"
        );
        let status = v1::SweepStatus {
            inspections: 4,
            running_jobs: vec![],
            ..status
        };
        assert_eq!(
            line(&status, Some(16.0)),
            "3/13 jobs, 2 running, 0/4 inspections, 1 failed, 1 min 40 s left"
        );
    }

    #[test]
    fn durations_are_for_people() {
        let check = |secs: f64, expect: &str| assert_eq!(duration(secs), expect);
        check(0.4, "0 s");
        check(59.4, "59 s");
        check(200.0, "3 min 20 s");
        check(7500.0, "2 h 05 min");
        check(f64::NAN, "0 s");
    }
}
