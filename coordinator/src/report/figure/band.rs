//! What a band covers, in words.

use std::collections::BTreeMap;

use crate::aggregate::stats::Method;
use crate::aggregate::{Band, Coverage};
use crate::report::tables::methods_words;

/// "band: simultaneous 95 % over each curve (max-|t| sign flips)": the interval, its
/// method and its correction, of bands with the numbers of seeds along them.
pub(super) fn words<'a>(bands: impl IntoIterator<Item = (&'a Band, Vec<usize>)>) -> String {
    let mut found: BTreeMap<Coverage, Vec<usize>> = BTreeMap::new();
    for (band, seeds) in bands {
        found.entry(band.coverage).or_default().extend(seeds);
    }
    let pointwise = |seeds: &[usize], why: &str| {
        let method = methods_words(seeds.iter().copied());
        format!("pointwise 95 % interval ({method}), no correction: {why}")
    };
    let one = |(coverage, seeds): (&Coverage, &Vec<usize>)| match coverage {
        Coverage::Simultaneous => {
            "simultaneous 95 % over each curve (max-|t| sign flips)".to_owned()
        }
        Coverage::FewSeeds => pointwise(seeds, "fewer than 6 seeds"),
        Coverage::SeedsDiffer => pointwise(seeds, "not the same seeds along a curve"),
        Coverage::NoSpread => pointwise(seeds, "no spread"),
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
            words([(&few, vec![5, 4]), (&few, vec![3])]),
            "band: pointwise 95 % interval (Student's t), no correction: fewer than 6 seeds"
        );
        let all = words([(&few, vec![5]), (&band(Coverage::Simultaneous), vec![24])]);
        let start = "band: simultaneous 95 % over each curve (max-|t| sign flips); elsewhere point";
        assert!(all.starts_with(start), "{all}");
        assert!(all.contains("Student's t") && !all.contains("BCa"), "{all}");
        let ragged = band(Coverage::SeedsDiffer);
        let both = words([(&ragged, vec![24, 19])]);
        assert!(both.contains("Student's t below 20 seeds, BCa"), "{both}");
    }
}
