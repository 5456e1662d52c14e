//! What a network does: measures of its answers, and the floors beside them.
//!
//! Everything here is computed from the logits at the last position of each
//! prompt; Δ = logit(right) − logit(left), s = ±1 is the correct side.

mod bins;
mod floors;
mod measures;
pub mod psychometric;
#[cfg(test)]
mod tests;

pub use bins::binned;
pub use floors::floors;
pub use measures::{Readout, measure};
pub use psychometric::psychometrics;

/// Sums a value over the trials that belong, in their order.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// NaN where nothing belongs: "not available".
    fn value(self) -> f64 {
        self.sum / self.count as f64
    }
}

/// The two-way choice: 1 where the answer's logit is the larger one, one half
/// where the two are equal.
fn hit(row: &Readout, right: bool) -> f64 {
    let toward = if right { row.delta() } else { -row.delta() };
    match toward.partial_cmp(&0.0) {
        Some(std::cmp::Ordering::Greater) => 1.0,
        Some(std::cmp::Ordering::Equal) => 0.5,
        _ => 0.0,
    }
}
