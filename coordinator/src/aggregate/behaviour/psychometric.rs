//! Psychometric curves: P(right) by the signed evidence of one dimension.

use std::collections::BTreeMap;

use crate::aggregate::Analysis;
use crate::aggregate::stats::Estimate;
use crate::results::Point;

/// One psychometric curve of one cell: P(right) by signed bin of one dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Psychometric {
    /// The arm.
    pub arm: String,
    /// Where arms meet.
    pub block: Point,
    /// What the cue says.
    pub cue: String,
    /// "rel" or "irr".
    pub dimension: String,
    /// By bin, in ascending evidence for right.
    pub points: Vec<PsychometricPoint>,
}

/// P(right) in one bin.
#[derive(Debug, Clone, PartialEq)]
pub struct PsychometricPoint {
    /// "+5-16".
    pub bin: String,
    /// Least and largest difference of the bin, with the sign of the evidence.
    pub range: (f64, f64),
    /// Value by seed, ascending.
    pub values: Vec<(u64, f64)>,
    /// The mean over seeds.
    pub estimate: Estimate,
}

/// The psychometric curves of every chosen cell on a split, in the order of cells,
/// then cues, then relevant before irrelevant.
pub fn psychometric_curves(a: &Analysis, split: &str) -> Vec<Psychometric> {
    let mut curves = Vec::new();
    for cell in a.chosen() {
        let mut found: BTreeMap<(String, bool), Vec<PsychometricPoint>> = BTreeMap::new();
        for (id, summary) in &cell.summaries {
            if id.split != split || id.name != "psychometric.p_right" {
                continue;
            }
            let Some((cue, dimension, bin)) = id.slot.as_deref().and_then(curve_slot) else {
                continue;
            };
            let (Some(range), Some(estimate)) = (signed_range(bin), &summary.estimate) else {
                continue;
            };
            let irrelevant = dimension == "irr";
            found
                .entry((cue.to_owned(), irrelevant))
                .or_default()
                .push(PsychometricPoint {
                    bin: bin.to_owned(),
                    range,
                    values: summary.values.clone(),
                    estimate: estimate.clone(),
                });
        }
        for ((cue, irrelevant), mut points) in found {
            points.sort_by(|a, b| a.range.0.total_cmp(&b.range.0));
            curves.push(Psychometric {
                arm: cell.arm.clone(),
                block: cell.block.clone(),
                cue,
                dimension: if irrelevant { "irr" } else { "rel" }.to_owned(),
                points,
            });
        }
    }
    curves
}

/// "color.rel.-17-50" → ("color", "rel", "-17-50").
fn curve_slot(slot: &str) -> Option<(&str, &str, &str)> {
    let mut parts = slot.rsplitn(3, '.');
    let (bin, dimension, cue) = (parts.next()?, parts.next()?, parts.next()?);
    matches!(dimension, "rel" | "irr").then_some((cue, dimension, bin))
}

/// "-17-50" → (−50, −17); "+1-4" → (1, 4); "0" → (0, 0).
fn signed_range(bin: &str) -> Option<(f64, f64)> {
    if bin == "0" {
        return Some((0.0, 0.0));
    }
    let (low, high) = bin.get(1..)?.split_once('-')?;
    let (low, high): (f64, f64) = (low.parse().ok()?, high.parse().ok()?);
    match bin.as_bytes()[0] {
        b'+' => Some((low, high)),
        b'-' => Some((-high, -low)),
        _ => None,
    }
}
