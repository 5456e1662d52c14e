//! A success rate with its Wilson interval.

use statrs::distribution::{ContinuousCDF, Normal};

use super::CONFIDENCE;

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proportion {
    /// Successes.
    pub hits: usize,
    /// Trials.
    pub of: usize,
    /// Ends of the 95 % Wilson interval; the whole range of nothing.
    pub interval: (f64, f64),
}

/// The proportion with its Wilson interval, without continuity correction.
pub fn wilson(hits: usize, of: usize) -> Proportion {
    if of == 0 {
        return Proportion {
            hits,
            of,
            interval: (0.0, 1.0),
        };
    }
    let n = of as f64;
    let p = hits as f64 / n;
    let z = Normal::standard().inverse_cdf(0.5 + CONFIDENCE / 2.0);
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // At the ends the formula is 0 or 1 but for rounding.
    let low = if hits == 0 {
        0.0
    } else {
        (centre - half) / scale
    };
    let high = if hits == of {
        1.0
    } else {
        (centre + half) / scale
    };
    Proportion {
        hits,
        of,
        interval: (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hits: usize, of: usize, low: f64, high: f64) {
        let got = wilson(hits, of).interval;
        assert!(
            (got.0 - low).abs() < 1e-9 && (got.1 - high).abs() < 1e-9,
            "{hits}/{of}: got {got:?}, want ({low}, {high})"
        );
    }

    // numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0: binomtest(k, n).proportion_ci(method="wilson").
    #[test]
    fn agrees_with_scipy() {
        check(0, 5, 0.0, 0.43448246478317476);
        check(3, 10, 0.10779126740630102, 0.6032218525388546);
        check(10, 10, 0.7224672001371109, 1.0);
        check(9, 12, 0.46769466506643426, 0.9110583316059453);
    }

    #[test]
    fn nothing_tells_nothing() {
        check(0, 0, 0.0, 1.0);
    }
}
