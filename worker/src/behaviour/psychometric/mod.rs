//! Psychometrics of one evaluation: per cue the fitted function, over both cues
//! the gating matrix.
//!
//! Only tasks whose trials have two numeric dimensions get any of it
//! ([`EvalSplit::evidence`]). A quantity that is not defined is NaN in its metric,
//! and a note says why; separable choices are flagged, not refused: soft choices
//! and the prior keep the estimate finite, but its slope then tells how large Δ is
//! more than which choices were made.

mod ascent;
pub mod fit;
pub mod gating;
mod linear;
pub mod separation;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use seedbed_proto::result::{Metric, Note};

use self::fit::{Choice, Fit, FitError, Model};
use super::Readout;
use crate::task::EvalSplit;

/// What an evaluation says of the evidence that moved its answers.
#[derive(Debug, Default)]
pub struct Psychometrics {
    /// `psychometric.*` and `intrusion` with the cue as slot; `gating_index` and
    /// `gating.w*` of the whole split where it has two cues.
    pub metrics: Vec<Metric>,
    /// Why something is not available.
    pub notes: Vec<Note>,
}

/// One cue's trials.
#[derive(Default)]
struct OfCue {
    choices: Vec<Choice>,
    deltas: Vec<([f64; 2], f64)>,
    signs: Vec<([f64; 2], Option<bool>)>,
    x_max: f64,
}

/// Fits the answers of a split; nothing where its trials have no evidence.
///
/// # Panics
/// If there is not one readout for each trial: a bug of the caller.
pub fn psychometrics(split: &EvalSplit, rows: &[Readout], step: u64) -> Psychometrics {
    let mut found = Psychometrics::default();
    let Some(evidence) = &split.evidence else {
        return found;
    };
    assert_eq!(rows.len(), evidence.len(), "one readout for each trial");
    let mut cues: BTreeMap<&str, OfCue> = BTreeMap::new();
    for ((row, &x), cue) in rows.iter().zip(evidence).zip(&split.contexts) {
        let delta = row.delta();
        let choice = Choice::soft(x, delta);
        let of = cues.entry(cue).or_default();
        of.choices.push(choice);
        of.deltas.push((choice.z, delta));
        let decided = (delta != 0.0).then_some(delta > 0.0);
        of.signs.push((choice.z, decided));
        of.x_max = of.x_max.max(x[0].abs());
    }
    for (cue, of) in &cues {
        let fitted = fit::fit(&of.choices, Model::default());
        for (name, value) in describe(&fitted, of) {
            if value.is_nan() {
                let place = format!("{} {name} {cue}", split.name);
                found.notes.push(Note::new(place, why_not(name, &fitted)));
            }
            found.metrics.push(Metric {
                slot: Some((*cue).to_owned()),
                ..Metric::of(split.name, step, name, value)
            });
        }
    }
    if cues.len() == 2 {
        let by_cue: Vec<_> = cues
            .values()
            .map(|of| gating::weights(&of.deltas))
            .collect();
        let w = match by_cue[..] {
            [Some(first), Some(second)] => Some(gating::matrix([first, second])),
            _ => None,
        };
        let index = w.and_then(gating::index).unwrap_or(f64::NAN);
        let [[w11, w12], [w21, w22]] = w.unwrap_or([[f64::NAN; 2]; 2]);
        let values = [
            ("gating_index", index),
            ("gating.w11", w11),
            ("gating.w12", w12),
            ("gating.w21", w21),
            ("gating.w22", w22),
        ];
        let whole = values.map(|(name, value)| Metric::of(split.name, step, name, value));
        found.metrics.extend(whole);
        if index.is_nan() {
            let place = format!("{} gating_index", split.name);
            let why = match w {
                Some(_) => "the evidence does not move the answer at all".to_owned(),
                None => FitError::Design.to_string(),
            };
            found.notes.push(Note::new(place, why));
        }
    }
    found
}

/// Why a value of a cue is not available.
fn why_not(name: &str, fitted: &Result<Fit, FitError>) -> String {
    match fitted {
        Err(error) => error.to_string(),
        Ok(fit) if !fit.follows_relevant() => {
            "the slope of the relevant evidence is not above 0 by its 95 % interval".to_owned()
        }
        // What is left is the threshold: an intrusion needs no more than the slope.
        Ok(fit) if fit.lapses_hide_75() => "lapses keep P(right) below .75".to_owned(),
        Ok(_) => format!("{name} lies beyond the evidence that was shown"),
    }
}

/// The metrics of one cue.
fn describe(fitted: &Result<Fit, FitError>, of: &OfCue) -> [(&'static str, f64); 8] {
    let value = |pick: &dyn Fn(&Fit) -> Option<f64>| {
        fitted.as_ref().ok().and_then(pick).unwrap_or(f64::NAN)
    };
    [
        ("psychometric.slope_rel", value(&|f| Some(f.slopes[0]))),
        ("psychometric.slope_irr", value(&|f| Some(f.slopes[1]))),
        ("psychometric.bias", value(&|f| Some(f.bias))),
        ("psychometric.lapse_left", value(&|f| Some(f.lapse_left))),
        ("psychometric.lapse_right", value(&|f| Some(f.lapse_right))),
        (
            "psychometric.threshold_75",
            value(&|f| f.threshold_75(of.x_max)),
        ),
        (
            "psychometric.separated",
            f64::from(separation::is_separated(&of.signs)),
        ),
        ("intrusion", value(&Fit::intrusion)),
    ]
}
