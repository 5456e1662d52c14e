//! What a network does: measures of its answers, and the floors beside them.
//!
//! Everything here is computed from the logits at the last position of each
//! prompt; Δ = logit(right) − logit(left), s = ±1 is the correct side.

mod floors;
mod measures;
#[cfg(test)]
mod tests;

pub use floors::floors;
pub use measures::{Readout, measure};

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
