//! The life of a job as one table: phase × event → phase. Pure: no clock, no IO.
//!
//! ```text
//!            InputsDone        Leased          Completed
//!  Blocked ────────────▶ Pending ──────▶ Running ──────────▶ Done
//!     │                   ▲ ▲               │               │
//!     │ InputFailed       │ └── Requeued ───┤               │
//!     ▼                   └───────────── WeightsWanted ─────┘
//!  Failed ◀─────────── Exhausted ───────────┘
//! ```
//! `Cancelled` takes whatever has no end yet; `Retried` brings back what failed
//! or was cancelled (as `Blocked`: whether its inputs are done is then looked at
//! as for a new job). `WeightsWanted` alone leaves `Done`: the result stays on
//! record, and the job is done again for the files that were dropped from it.
//! `Restored` takes it back there, with that result, when these are not needed any
//! more or can't be had: it is neither cancelled nor does it fail.

use seedbed_proto::result::JobPhase;

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The last input that was missing is done (or there are none).
    InputsDone,
    /// An input failed for good, or was cancelled.
    InputFailed,
    /// A worker took it.
    Leased,
    /// The result is on record.
    Completed,
    /// The attempt ended without a result, and another one may be made.
    Requeued,
    /// The attempt ended without a result, and it was the last one.
    Exhausted,
    /// A person ended it.
    Cancelled,
    /// A person wants it again.
    Retried,
    /// A question needs weights of its result that were dropped.
    WeightsWanted,
    /// What it was done again for is not needed any more, or can't be had.
    Restored,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::InputsDone,
        Self::InputFailed,
        Self::Leased,
        Self::Completed,
        Self::Requeued,
        Self::Exhausted,
        Self::Cancelled,
        Self::Retried,
        Self::WeightsWanted,
        Self::Restored,
    ];
}

/// An event that a job in this phase must not see: a bug of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} can't take the event {event:?}")]
pub struct IllegalTransition {
    /// The phase that it was in.
    pub from: JobPhase,
    /// The event that came.
    pub event: Event,
}

/// The phase after an event.
///
/// # Errors
/// Whatever is not listed.
pub const fn next(from: JobPhase, event: Event) -> Result<JobPhase, IllegalTransition> {
    use JobPhase::{Blocked, Cancelled, Done, Failed, Pending, Running};
    match (from, event) {
        (Blocked, Event::InputsDone) => Ok(Pending),
        (Blocked, Event::InputFailed) => Ok(Failed),
        (Pending, Event::Leased) => Ok(Running),
        (Running, Event::Completed) => Ok(Done),
        (Running, Event::Requeued) => Ok(Pending),
        (Running, Event::Exhausted) => Ok(Failed),
        (Blocked | Pending | Running, Event::Cancelled) => Ok(Cancelled),
        (Failed | Cancelled, Event::Retried) => Ok(Blocked),
        (Done, Event::WeightsWanted) => Ok(Pending),
        (Blocked | Pending | Running, Event::Restored) => Ok(Done),
        (from, event) => Err(IllegalTransition { from, event }),
    }
}

/// The phases that may see this event, each with the phase after it: for
/// statements that move many jobs at once.
pub fn moves(event: Event) -> impl Iterator<Item = (JobPhase, JobPhase)> {
    JobPhase::ALL
        .into_iter()
        .filter_map(move |from| next(from, event).ok().map(|to| (from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, so that a change of it is a change of this text.
    #[test]
    fn every_pair_is_what_the_table_says() {
        let mut table = String::new();
        for from in JobPhase::ALL {
            for event in Event::ALL {
                if let Ok(to) = next(from, event) {
                    table += &format!("{from} {event:?} {to}\n");
                }
            }
        }
        assert_eq!(
            table,
            "blocked InputsDone pending\n\
             blocked InputFailed failed\n\
             blocked Cancelled cancelled\n\
             blocked Restored done\n\
             pending Leased running\n\
             pending Cancelled cancelled\n\
             pending Restored done\n\
             running Completed done\n\
             running Requeued pending\n\
             running Exhausted failed\n\
             running Cancelled cancelled\n\
             running Restored done\n\
             done WeightsWanted pending\n\
             failed Retried blocked\n\
             cancelled Retried blocked\n"
        );
    }

    #[test]
    fn nothing_else_leaves_done_and_an_illegal_event_is_named() {
        for event in Event::ALL {
            if event == Event::WeightsWanted {
                continue;
            }
            let error = next(JobPhase::Done, event).expect_err("done is the end");
            assert!(error.to_string().contains("done"), "{error}");
        }
    }

    #[test]
    fn moves_lists_what_cancel_takes() {
        let from: Vec<_> = moves(Event::Cancelled).map(|(from, _)| from).collect();
        use JobPhase::{Blocked, Pending, Running};
        assert_eq!(from, [Blocked, Pending, Running]);
    }
}
