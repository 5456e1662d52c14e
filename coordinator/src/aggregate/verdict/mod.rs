//! The verdict that was fixed before any run: does fine-tuning reuse pretrained
//! computation, above all in late layers?
//!
//! "Supported" iff three conditions hold, each shown by an interval above zero:
//! 1. L(U) > 0 in the fine-tuned network;
//! 2. L(U) is greater there than in its twin from scratch, paired;
//! 3. re-initialising the last third of blocks before fine-tuning harms more than
//!    re-initialising the first third, paired.
//!
//! None of them: "not supported"; some: "mixed"; one that can't be judged:
//! "undetermined", with the reason. All three must hold at once, so each is
//! judged at its full level (an intersection–union test, Berger 1982). Performance
//! confounds mechanism, so the whole is judged twice: at the final step, and at
//! the step at which a run first passed .95 validation accuracy.
//!
//! A sweep has one verdict, fixed beforehand to the first block that names both arms
//! (the first frozen set, say): to judge all of them and take the one that suits would
//! be many tries at one claim, and to pass over one that lacks evidence would be
//! another. Without evidence it is undetermined. The block is named, and so are those
//! that were not judged.

mod evidence;
mod judge;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub(super) use judge::{Splits, judge};

use super::stats::Method;
use crate::results::Point;

/// Validation accuracy at which networks are matched.
pub const MATCHED_AT: f64 = 0.95;

/// The arm that was fine-tuned.
pub const FINE_TUNED: &str = "pretrained";
/// Its twin.
pub const FROM_SCRATCH: &str = "scratch";

/// The one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All three conditions hold.
    Supported,
    /// Some hold.
    Mixed,
    /// None holds.
    NotSupported,
    /// A condition could not be judged.
    Undetermined,
}

impl Outcome {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Mixed => "mixed",
            Self::NotSupported => "not supported",
            Self::Undetermined => "undetermined",
        }
    }

    /// What follows from conditions; `None` stands for "can't be judged".
    fn of(holds: impl IntoIterator<Item = Option<bool>>) -> Self {
        let holds: Option<Vec<bool>> = holds.into_iter().collect();
        match holds {
            None => Self::Undetermined,
            Some(all) if all.iter().all(|h| *h) => Self::Supported,
            Some(all) if all.iter().any(|h| *h) => Self::Mixed,
            Some(_) => Self::NotSupported,
        }
    }
}

/// Which weights are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Those of the last step.
    Final,
    /// Those of the first evaluation at or above .95 validation accuracy.
    Matched,
}

impl When {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Final => "at the final step",
            Self::Matched => "at matched accuracy",
        }
    }
}

/// A seed that a condition could not use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unused {
    /// The seed.
    pub seed: u64,
    /// Why.
    pub why: String,
}

/// One condition, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Condition {
    /// "late_reuse", "more_than_scratch", "late_blocks_matter".
    pub name: &'static str,
    /// What must be above zero, in words.
    pub claim: String,
    /// Its estimate; none if it can't be judged.
    pub estimate: Option<f64>,
    /// Ends of the interval.
    pub interval: Option<(f64, f64)>,
    /// Its confidence; none without an interval.
    pub confidence: Option<f64>,
    /// Seeds behind it.
    pub n: usize,
    /// The interval's method.
    pub method: Option<&'static str>,
    /// Seeds that could not be used.
    pub left_out: Vec<Unused>,
    /// Whether the interval lies above zero; none if it can't be judged.
    pub holds: Option<bool>,
    /// Why it can't be judged, or is judged without an interval.
    pub reason: Option<String>,
}

/// Reuse in one layer of one arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReuse {
    /// The arm.
    pub arm: &'static str,
    /// The block.
    pub layer: usize,
    /// Mean effect of resetting it, as a share of the logit difference.
    pub reversion: f64,
    /// Mean effect of removing it.
    pub ablation: f64,
    /// U; none where the ablation's interval does not lie above zero.
    pub reuse: Option<f64>,
    /// Ends of its interval, of the confidence of a condition's.
    pub interval: Option<(f64, f64)>,
}

/// The verdict at one kind of weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// Which weights.
    pub when: When,
    /// The one word.
    pub outcome: Outcome,
    /// The three conditions.
    pub conditions: [Condition; 3],
    /// U by arm and layer; empty where nothing was inspected.
    pub layers: Vec<LayerReuse>,
    /// Seeds with which the layers were computed, by arm.
    pub seeds: Vec<(&'static str, Vec<u64>)>,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Of both judgements together: what both say, "undetermined" if one is, else
    /// "mixed".
    pub outcome: Outcome,
    /// A condition rests on fewer than 6 seeds.
    pub exploratory: bool,
    /// Where the arms meet.
    pub block: Point,
    /// Further blocks that name both arms: none of them was judged.
    pub blocks_not_judged: Vec<Point>,
    /// At the final step, and at matched accuracy.
    pub judgements: [Judgement; 2],
}

impl Verdict {
    fn of(block: Point, blocks_not_judged: Vec<Point>, judgements: [Judgement; 2]) -> Self {
        let [first, second] = &judgements;
        let outcome = match (first.outcome, second.outcome) {
            (Outcome::Undetermined, _) | (_, Outcome::Undetermined) => Outcome::Undetermined,
            (a, b) if a == b => a,
            _ => Outcome::Mixed,
        };
        let conditions = judgements.iter().flat_map(|j| &j.conditions);
        Self {
            outcome,
            exploratory: conditions
                .clone()
                .any(|c| c.holds.is_some() && c.n < super::stats::CONFIRMATORY_FROM),
            block,
            blocks_not_judged,
            judgements,
        }
    }

    /// Which blocks were not judged, in words; none if all were. `place` names a
    /// block.
    pub fn unjudged(&self, place: impl Fn(&Point) -> String) -> Option<String> {
        let others: Vec<String> = self.blocks_not_judged.iter().map(&place).collect();
        (!others.is_empty()).then(|| {
            format!(
                "the verdict is of {} alone, the sweep's first; not judged: {}",
                place(&self.block),
                others.join("; ")
            )
        })
    }

    /// Why conditions can't be judged, each reason once.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        for judgement in &self.judgements {
            let open = judgement.conditions.iter().filter(|c| c.holds.is_none());
            for reason in open.filter_map(|c| c.reason.as_ref()) {
                if !reasons.iter().any(|r| r == reason) {
                    reasons.push(reason.clone());
                }
            }
        }
        reasons
    }
}

impl Judgement {
    /// Nothing can be judged, for one reason.
    fn open(when: When, reason: &str) -> Self {
        let condition = |name, claim: &str| {
            let claim = (name, claim.to_owned());
            Condition::open(claim, None, 0, vec![], reason.to_owned())
        };
        Self {
            when,
            outcome: Outcome::Undetermined,
            conditions: [
                condition("late_reuse", "L(U) in the fine-tuned network"),
                condition("more_than_scratch", "L(U) − L(U) in the twin from scratch"),
                condition("late_blocks_matter", "harm of late − of early blocks"),
            ],
            layers: vec![],
            seeds: vec![],
        }
    }
}

impl Condition {
    fn judged(
        (name, claim): (&'static str, String),
        (estimate, interval, confidence): (f64, (f64, f64), f64),
        n: usize,
        method: Method,
        left_out: Vec<Unused>,
    ) -> Self {
        Self {
            name,
            claim,
            estimate: Some(estimate),
            interval: Some(interval),
            confidence: Some(confidence),
            n,
            method: Some(method.name()),
            left_out,
            holds: Some(interval.0 > 0.0),
            reason: None,
        }
    }

    /// Nothing differs in any seed: there is no interval, and nothing above zero.
    fn equal(
        (name, claim): (&'static str, String),
        n: usize,
        left_out: Vec<Unused>,
        reason: String,
    ) -> Self {
        Self {
            holds: Some(false),
            ..Self::open((name, claim), Some(0.0), n, left_out, reason)
        }
    }

    fn open(
        (name, claim): (&'static str, String),
        estimate: Option<f64>,
        n: usize,
        left_out: Vec<Unused>,
        reason: String,
    ) -> Self {
        Self {
            name,
            claim,
            estimate,
            interval: None,
            confidence: None,
            n,
            method: None,
            left_out,
            holds: None,
            reason: Some(reason),
        }
    }
}
