//! The one place that reads the time of day. Everything else gets a [`Micros`].

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment: microseconds since 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    /// This many seconds later (earlier, if negative); stays within what a
    /// moment can be.
    pub fn plus_secs(self, secs: f64) -> Self {
        // The cast saturates, NaN becomes 0.
        Self(self.0.saturating_add((secs * 1e6).round() as i64))
    }

    /// Seconds from an earlier moment to this one; negative if it is later.
    pub fn secs_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e6
    }
}

impl fmt::Display for Micros {
    /// RFC 3339.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment:.6}"),
            Err(_) => write!(f, "{} µs since 1970", self.0),
        }
    }
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Micros;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when told to, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at this moment.
    pub const fn at(start: Micros) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves it on.
    pub fn advance_secs(&self, secs: f64) {
        let to = self.now().plus_secs(secs);
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_add_and_print() {
        let start = Micros(1_700_000_000_000_000);
        assert_eq!(start.plus_secs(1.5).secs_since(start), 1.5);
        assert_eq!(start.plus_secs(-1.0), Micros(1_699_999_999_000_000));
        assert_eq!(start.to_string(), "2023-11-14T22:13:20.000000Z");
        assert_eq!(start.plus_secs(f64::INFINITY), Micros(i64::MAX));
    }

    #[test]
    fn a_manual_clock_stands_until_moved() {
        let clock = ManualClock::at(Micros(0));
        assert_eq!(clock.now(), Micros(0));
        clock.advance_secs(2.0);
        assert_eq!(clock.now(), Micros(2_000_000));
        assert!(SystemClock.now() > clock.now());
    }
}
