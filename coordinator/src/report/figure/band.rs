//! What a band covers, in words.

use crate::aggregate::stats::Method;
use crate::aggregate::{Band, Coverage};
use crate::report::tables::method_words;

/// "band: simultaneous 95 % over each curve (max-|t| sign flips)": the interval, its
/// method and its correction, of bands over at most `n` seeds.
pub(super) fn words<'a>(bands: impl IntoIterator<Item = &'a Band>, n: usize) -> String {
    let mut found: Vec<Coverage> = bands.into_iter().map(|band| band.coverage).collect();
    found.sort_unstable();
    found.dedup();
    let pointwise = |why: &str| {
        let method = method_words(n);
        format!("pointwise 95 % interval ({method}), no correction: {why}")
    };
    let one = |coverage: &Coverage| match coverage {
        Coverage::Simultaneous => {
            "simultaneous 95 % over each curve (max-|t| sign flips)".to_owned()
        }
        Coverage::FewSeeds => pointwise("fewer than 6 seeds"),
        Coverage::SeedsDiffer => pointwise("not the same seeds along a curve"),
        Coverage::NoSpread => pointwise("no spread"),
        Coverage::SharedNetworks => format!(
            "pointwise 95 % interval ({}), no correction: pairs of neighbouring seeds share a \
             network",
            Method::JackknifeT.words()
        ),
    };
    let words: Vec<String> = found.iter().map(one).collect();
    format!("band: {}", words.join("; elsewhere "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_method_and_correction_are_named() {
        let band = |coverage| Band {
            ends: vec![],
            coverage,
        };
        let few = band(Coverage::FewSeeds);
        assert_eq!(
            words([&few, &few], 5),
            "band: pointwise 95 % interval (Student's t), no correction: fewer than 6 seeds"
        );
        let all = words([&few, &band(Coverage::Simultaneous)], 8);
        let start = "band: simultaneous 95 % over each curve (max-|t| sign flips); elsewhere point";
        assert!(all.starts_with(start), "{all}");
    }
}
