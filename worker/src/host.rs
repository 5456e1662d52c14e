//! What a running job sees of the world: the [`Host`] that decides when it hands
//! over a checkpoint and when it stops.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seedbed_proto::result::FailureReason;
use tokio_util::sync::CancellationToken;

use crate::heartbeat::Held;
use crate::job::{Directive, Host, JobError, Progress};
use crate::uploads::Uploads;

/// Shortest interval over which a speed is measured.
const SPEED_WINDOW: Duration = Duration::from_secs(1);

/// When a job hands over a checkpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckpointPolicy {
    /// So long after the last one.
    pub every: Option<Duration>,
    /// So many steps after the last one; 0 means "not by steps".
    pub every_steps: u64,
}

/// The host of one attempt.
pub struct AttemptHost {
    held: Arc<Held>,
    /// The worker is about to end: hand over a checkpoint and stop.
    drain: CancellationToken,
    policy: CheckpointPolicy,
    /// Where checkpoints wait for their upload.
    dir: PathBuf,
    uploads: Arc<Uploads>,
    clock: Mutex<Clock>,
}

struct Clock {
    /// Time and step of the first call.
    start: Option<(Instant, u64)>,
    window: (Instant, u64),
    steps_per_sec: f64,
    checkpoint: (Instant, u64),
    last_step: u64,
}

impl AttemptHost {
    /// A host for one attempt.
    pub fn new(
        held: Arc<Held>,
        drain: CancellationToken,
        policy: CheckpointPolicy,
        dir: PathBuf,
        uploads: Arc<Uploads>,
    ) -> Self {
        let now = Instant::now();
        Self {
            held,
            drain,
            policy,
            dir,
            uploads,
            clock: Mutex::new(Clock {
                start: None,
                window: (now, 0),
                steps_per_sec: 0.0,
                checkpoint: (now, 0),
                last_step: 0,
            }),
        }
    }

    /// Mean speed of the attempt so far; 0 before its second step.
    pub fn mean_steps_per_sec(&self) -> f64 {
        let clock = self.clock.lock().expect("no panic while held");
        match clock.start {
            Some((start, first)) if clock.last_step > first => {
                (clock.last_step - first) as f64 / start.elapsed().as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

impl Clock {
    fn tick(&mut self, now: Instant, step: u64) {
        self.last_step = step;
        if self.start.is_none() {
            self.start = Some((now, step));
            self.window = (now, step);
            self.checkpoint = (now, step);
        }
        let (since, from) = self.window;
        let elapsed = now - since;
        if elapsed >= SPEED_WINDOW && step > from {
            self.steps_per_sec = (step - from) as f64 / elapsed.as_secs_f64();
            self.window = (now, step);
        }
    }

    fn is_due(&mut self, now: Instant, step: u64, policy: &CheckpointPolicy) -> bool {
        let (since, from) = self.checkpoint;
        let by_time = policy.every.is_some_and(|every| now - since >= every);
        let by_steps = policy.every_steps > 0 && step.saturating_sub(from) >= policy.every_steps;
        // Without a new step there is nothing new to keep.
        let due = step > from && (by_time || by_steps);
        if due {
            self.checkpoint = (now, step);
        }
        due
    }
}

impl Host for AttemptHost {
    fn step(&self, progress: &Progress) -> Directive {
        let now = Instant::now();
        let mut clock = self.clock.lock().expect("no panic while held");
        clock.tick(now, progress.step);
        self.held.progressed(progress, clock.steps_per_sec);
        if self.held.dropped.is_cancelled() {
            Directive::Stop
        } else if self.drain.is_cancelled() {
            Directive::CheckpointAndStop
        } else if self.held.take_checkpoint_wish() || clock.is_due(now, progress.step, &self.policy)
        {
            Directive::Checkpoint
        } else {
            Directive::Continue
        }
    }

    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError> {
        let to = self.dir.join(format!("upload-{step}"));
        fs::rename(file, &to).map_err(|error| {
            JobError::new(
                FailureReason::Environment,
                format!(
                    "can't keep the checkpoint of step {step} at {}: {error}",
                    to.display()
                ),
            )
        })?;
        self.uploads.submit(step, to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(now: Instant) -> Clock {
        Clock {
            start: None,
            window: (now, 0),
            steps_per_sec: 0.0,
            checkpoint: (now, 0),
            last_step: 0,
        }
    }

    #[test]
    fn checkpoints_are_due_by_time_or_by_steps() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let policy = CheckpointPolicy {
            every: Some(Duration::from_secs(60)),
            every_steps: 100,
        };
        let mut clock = clock(start);
        let mut due = |secs, step| {
            clock.tick(at(secs), step);
            clock.is_due(at(secs), step, &policy)
        };
        // (seconds, step, due): a resumed run starts at step 500.
        for (secs, step, expect) in [
            (0, 500, false),
            (10, 599, false),
            (11, 600, true),
            (12, 601, false),
            (70, 602, false),
            (71, 603, true),
            (200, 603, false),
        ] {
            assert_eq!(due(secs, step), expect, "at {secs} s, step {step}");
        }
    }

    #[test]
    fn speed_is_measured_over_a_window() {
        let start = Instant::now();
        let mut clock = clock(start);
        for (millis, step, expect) in [
            (0, 0, 0.0),
            (500, 10, 0.0),
            (1000, 20, 20.0),
            (1500, 21, 20.0),
            (3000, 22, 1.0),
        ] {
            clock.tick(start + Duration::from_millis(millis), step);
            assert_eq!(clock.steps_per_sec, expect, "at {millis} ms");
        }
    }
}
