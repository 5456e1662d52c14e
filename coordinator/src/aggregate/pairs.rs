//! Arms against the baseline, within seeds.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cells::{Cell, MetricId, key, stream};
use super::measure::scale;
use super::stats::{Paired, benjamini_hochberg, holm, paired_at};
use crate::inspection::{is_mechanism, shares_networks};
use crate::results::{Point, Selection, label};
use crate::sweep::Compare;

/// At which values of the selected axis the arms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Each arm at its own chosen value.
    Chosen,
    /// Both at the same value, whatever was chosen: metrics of whole splits.
    Equal,
    /// Each seed at the value that the other seeds choose, so that no seed has a
    /// say in the value at which it is measured.
    LeaveOneOut,
}

impl Basis {
    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Equal => "equal",
            Self::LeaveOneOut => "leave_one_seed_out",
        }
    }
}

/// The family within which p values are adjusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The primary metric on the headline split at the chosen values: Holm.
    Confirmatory,
    /// All other behaviour: Benjamini–Hochberg.
    Exploratory,
    /// What was found inside the networks, thousands of numbers: Benjamini–Hochberg
    /// among themselves, so that asking does not change what is said of behaviour.
    Mechanism,
}

impl Family {
    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmatory => "confirmatory",
            Self::Exploratory => "exploratory",
            Self::Mechanism => "mechanism",
        }
    }

    /// The adjustment's name in files.
    pub const fn adjustment(self) -> &'static str {
        match self {
            Self::Confirmatory => "holm",
            Self::Exploratory | Self::Mechanism => "benjamini_hochberg",
        }
    }
}

/// The twins of one seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The seed.
    pub seed: u64,
    /// The arm's value.
    pub arm: f64,
    /// The baseline's value.
    pub baseline: f64,
}

/// A seed without its twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The seed.
    pub seed: u64,
    /// The arm or arms in which it has no value.
    pub missing_in: String,
}

/// One arm against the baseline, on one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Where they meet.
    pub block: Point,
    /// The arm.
    pub arm: String,
    /// What it is compared with.
    pub baseline: String,
    /// How the values of the selected axis were taken.
    pub basis: Basis,
    /// The arm's value of the selected axis.
    pub arm_value: Option<Value>,
    /// The baseline's.
    pub baseline_value: Option<Value>,
    /// The metric.
    pub metric: MetricId,
    /// The arm's final step; none of weights that stand at another step in each
    /// seed.
    pub step: Option<u64>,
    /// Seeds with both twins, ascending.
    pub pairs: Vec<Pair>,
    /// Seeds without.
    pub left_out: Vec<LeftOut>,
    /// The statistics; refused (none) below two pairs, and where neighbouring seeds
    /// share a network: neither t nor a sign flip holds for such differences.
    pub result: Option<Paired>,
    /// Its family.
    pub family: Family,
    /// p adjusted within the family.
    pub p_adjusted: Option<f64>,
}

/// What the sweep asks.
pub(super) struct Question<'a> {
    /// The arm that the others are compared with.
    pub baseline: &'a str,
    /// The metric of the confirmatory family.
    pub headline: MetricId,
    /// What is compared with what.
    pub compare: &'a Compare,
    /// The selection on record.
    pub selection: Option<&'a Selection>,
}

/// Every arm against the baseline: at the chosen values, and at every value that
/// both have.
pub(super) fn build(
    cells: &[Cell],
    question: &Question<'_>,
    notes: &mut Vec<String>,
) -> Vec<Comparison> {
    let baseline = question.baseline;
    let confidence = question.compare.confidence();
    let mut by_block: BTreeMap<String, Vec<&Cell>> = BTreeMap::new();
    for cell in cells.iter().filter(|c| c.arm == baseline) {
        by_block.entry(key(&cell.block)).or_default().push(cell);
    }
    let headline = &question.headline;
    let mut comparisons = Vec::new();
    for basis in [Basis::Chosen, Basis::Equal] {
        for cell in cells.iter().filter(|c| c.arm != baseline) {
            let twin = by_block.get(&key(&cell.block)).and_then(|twins| {
                twins.iter().find(|twin| match basis {
                    Basis::Chosen => cell.chosen && twin.chosen,
                    Basis::Equal => cell.value.is_some() && cell.value == twin.value,
                    // Made from the chosen ones, below.
                    Basis::LeaveOneOut => false,
                })
            });
            let Some(twin) = twin else { continue };
            // At every value that both have: of whole splits alone. Strata, layers
            // and heads at all of them would be most of a large sweep's rows, and
            // nobody's question.
            let asked =
                |id: &&MetricId| id.split != "train" && (basis == Basis::Chosen || id.is_whole());
            for id in cell.summaries.keys().filter(asked) {
                let mut comparison = compare(cell, twin, id, basis, confidence);
                if basis == Basis::Chosen && id == headline {
                    comparison.family = Family::Confirmatory;
                    note(&comparison, notes);
                }
                comparisons.push(comparison);
            }
        }
    }
    let chosen: Vec<Comparison> = comparisons
        .iter()
        .filter(|c| c.family == Family::Confirmatory)
        .cloned()
        .collect();
    let left_out = chosen.iter().map(|c| leave_one_out(cells, question, c));
    comparisons.extend(left_out.flatten());
    let looks = question
        .compare
        .until
        .as_ref()
        .map_or(1, |u| u.sizes().count());
    adjust(&mut comparisons, Family::Confirmatory, |p| {
        // At whichever look one stopped: Boole's inequality over all of them.
        let all: Vec<f64> = p.iter().map(|p| (p * looks as f64).min(1.0)).collect();
        holm(&all)
    });
    adjust(&mut comparisons, Family::Exploratory, benjamini_hochberg);
    adjust(&mut comparisons, Family::Mechanism, benjamini_hochberg);
    comparisons
}

fn compare(cell: &Cell, twin: &Cell, id: &MetricId, basis: Basis, confidence: f64) -> Comparison {
    let (arm, base) = (values(cell, id), values(twin, id));
    between(cell, twin, id, basis, confidence, (arm, base))
}

/// The values of a metric by seed.
fn values(cell: &Cell, id: &MetricId) -> BTreeMap<u64, f64> {
    cell.summaries
        .get(id)
        .map(|s| s.values.iter().copied().collect())
        .unwrap_or_default()
}

/// The comparison again, each seed at the value that the other seeds choose; none
/// where nothing is selected over.
fn leave_one_out(
    cells: &[Cell],
    question: &Question<'_>,
    chosen: &Comparison,
) -> Option<Comparison> {
    let selection = question.selection?;
    let of = |arm: &str| -> Option<(&Cell, BTreeMap<u64, f64>)> {
        let here: Vec<&Cell> = cells
            .iter()
            .filter(|c| c.arm == arm && c.block == chosen.block)
            .collect();
        let cell = *here.iter().find(|c| c.chosen)?;
        let group = question.compare.group(&cell.point);
        let choice = selection.choices.iter().find(|c| c.group == group)?;
        let taken = cell.seeds.all().into_iter().filter_map(|seed| {
            let value = choice.without.get(&seed).unwrap_or(&choice.value);
            let at = here.iter().find(|c| c.value.as_ref() == Some(value))?;
            Some((seed, *values(at, &chosen.metric).get(&seed)?))
        });
        (here.len() > 1).then(|| (cell, taken.collect()))
    };
    let ((cell, arm), (twin, base)) = (of(&chosen.arm)?, of(&chosen.baseline)?);
    let confidence = question.compare.confidence();
    let both = (arm, base);
    Some(between(
        cell,
        twin,
        &chosen.metric,
        Basis::LeaveOneOut,
        confidence,
        both,
    ))
}

fn between(
    cell: &Cell,
    twin: &Cell,
    id: &MetricId,
    basis: Basis,
    confidence: f64,
    (arm, base): (BTreeMap<u64, f64>, BTreeMap<u64, f64>),
) -> Comparison {
    let mut pairs = Vec::new();
    let mut left_out = Vec::new();
    // Every seed of the sweep stands in each cell's tally, as done or as lost.
    for seed in cell.seeds.all() {
        match (arm.get(&seed), base.get(&seed)) {
            (Some(a), Some(b)) => pairs.push(Pair {
                seed,
                arm: *a,
                baseline: *b,
            }),
            (a, b) => {
                let missing: Vec<_> = [(a, &cell.arm), (b, &twin.arm)]
                    .into_iter()
                    .filter(|(value, _)| value.is_none())
                    .map(|(_, arm)| arm.as_str())
                    .collect();
                left_out.push(LeftOut {
                    seed,
                    missing_in: missing.join(" and "),
                });
            }
        }
    }
    let differences: Vec<f64> = pairs.iter().map(|p| p.arm - p.baseline).collect();
    let name = || format!("{} {} {id:?}", key(&cell.point), key(&twin.point));
    let stream = stream(differences.len(), name);
    Comparison {
        block: cell.block.clone(),
        arm: cell.arm.clone(),
        baseline: twin.arm.clone(),
        basis,
        arm_value: cell.value.clone(),
        baseline_value: twin.value.clone(),
        metric: id.clone(),
        step: cell.summaries.get(id).and_then(|s| s.step),
        result: (!shares_networks(&id.name))
            .then(|| paired_at(&differences, &stream, confidence, scale(&id.name)))
            .flatten(),
        pairs,
        left_out,
        family: match is_mechanism(&id.name) {
            true => Family::Mechanism,
            false => Family::Exploratory,
        },
        p_adjusted: None,
    }
}

fn note(c: &Comparison, notes: &mut Vec<String>) {
    let frozen = c.block.get("frozen").map_or_else(|| "–".to_owned(), label);
    let what = format!("{} against {}, frozen {frozen}", c.arm, c.baseline);
    if !c.left_out.is_empty() {
        let seeds: Vec<_> = c
            .left_out
            .iter()
            .map(|l| format!("{} (no value in {})", l.seed, l.missing_in))
            .collect();
        notes.push(format!(
            "{what}: paired over the {} seeds that both arms have; left out: seed {}",
            c.pairs.len(),
            seeds.join(", ")
        ));
    }
    if c.result.is_none() {
        notes.push(format!(
            "{what}: not compared, a paired difference needs at least 2 seeds with both twins and has {}",
            c.pairs.len()
        ));
    }
}

fn adjust(comparisons: &mut [Comparison], family: Family, method: impl Fn(&[f64]) -> Vec<f64>) {
    let members: Vec<usize> = (0..comparisons.len())
        .filter(|i| comparisons[*i].family == family && comparisons[*i].result.is_some())
        .collect();
    let p: Vec<f64> = members
        .iter()
        .filter_map(|i| comparisons[*i].result.as_ref().map(|r| r.p))
        .collect();
    for (i, adjusted) in members.into_iter().zip(method(&p)) {
        comparisons[i].p_adjusted = Some(adjusted);
    }
}
