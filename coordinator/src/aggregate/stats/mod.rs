//! The statistics of a replicated comparison, as pure functions of numbers.
//!
//! Which interval is used follows from n alone: below 20 replicates Student's t
//! (a percentile bootstrap of a nominal 95 % covers .72 at n=3 and .88 at n=10),
//! from 20 on the BCa bootstrap. What shares networks with its neighbours has an
//! interval of its own ([`jackknife`]). A quantity that is not defined is `None`, never
//! infinite: with zero spread a t statistic says nothing.

pub mod bootstrap;
pub mod ceiling;
pub mod correlation;
pub mod equivalence;
pub mod jackknife;
pub mod joint;
pub mod maxt;
pub mod multiplicity;
pub mod paired;
#[cfg(test)]
mod parity;
pub mod proportion;
pub mod signflip;
pub mod summary;
pub mod survival;

pub use ceiling::{Ceiling, NoCeiling, has_order, noise_ceiling};
pub use correlation::{cosine, pearson, ranks};
pub use equivalence::{Equivalence, tost};
pub use jackknife::pairs_mean;
pub use joint::{JointEstimate, joint};
pub use maxt::{Position, max_t};
pub use multiplicity::{benjamini_hochberg, holm};
pub use paired::{Paired, Scale, paired, paired_at};
pub use proportion::{Proportion, wilson};
pub use summary::{Estimate, Method, estimate, estimate_at, interquartile_mean, mean, median, sd};
pub use survival::{Survival, kaplan_meier};

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// From this many replicates on the interval is a BCa bootstrap.
pub const BOOTSTRAP_FROM: usize = 20;

/// Resamples of a bootstrap, and draws of a sign-flip test that is not exact.
pub const RESAMPLES: usize = 10_000;

/// Fewer replicates than this make a result exploratory.
pub const CONFIRMATORY_FROM: usize = 6;
