//! How well any model could correlate with the networks of an arm, given that they
//! differ from seed to seed: the [noise ceiling](super::stats::ceiling) of their
//! dissimilarities, by depth and slot.
//!
//! A ceiling belongs to one arm. What is compared, as `rsa.ft_sc`, is asked about its
//! first network that was trained (FT), and is read against that arm's ceiling: a
//! correlation within it is as high as one with these networks can be, so that what
//! is missing to 1 is their own variation and no difference of the other network.
//! The base in `pt_ft` is one network, without seeds, so the ceiling is FT's, too. Where
//! single networks are compared (`ft_ft`, `ft_sc`) the other one varies as well: such a
//! correlation stays below the ceiling of an ideal model even if nothing but seeds
//! differs, and `ft_ft` says by how much.
//!
//! [`asked`] says which files that takes, [`Asked::answer`] makes numbers of them:
//! both pure. In between somebody reads the files, one at a time.

use std::collections::BTreeMap;

use seedbed_proto::job::{Moment, Question};
use seedbed_proto::result::{Artifact, JobPhase};
use serde_json::{Value, json};

use super::cells::key;
use super::stats::{self, Ceiling, NoCeiling};
use super::{Analysis, Cell};
use crate::inspection::{AT, QUESTION, SPLIT, subject};
use crate::results::{Measured, Point, Run, SweepResults};

/// The file of an inspect job's maps, as its worker names it.
pub const ARRAYS: &str = "arrays.safetensors";
/// The array of dissimilarities in it.
pub const RDM: &str = "rsa.rdm";

/// The noise ceilings of one cell's networks.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseCeiling {
    /// The arm's label.
    pub arm: String,
    /// Where the arms meet.
    pub block: Point,
    /// All axes but the replicate.
    pub point: Point,
    /// The cell is the choice of its group.
    pub chosen: bool,
    /// Of which weights.
    pub weights: Moment,
    /// Whose trials were shown.
    pub split: &'static str,
    /// Seeds that should be there.
    pub planned: usize,
    /// By depth, then slot, in the template's order; one without a place where no
    /// place is known.
    pub places: Vec<CeilingAt>,
}

/// The noise ceiling at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct CeilingAt {
    /// Depth: 0 is what the embeddings yield.
    pub layer: Option<u32>,
    /// Token position.
    pub slot: Option<String>,
    /// Seeds behind it.
    pub n: usize,
    /// The ceiling, or why there is none.
    pub ceiling: Result<Ceiling, String>,
    /// Seeds that are not behind it, ascending, and why.
    pub left_out: Vec<(u64, String)>,
}

/// The dissimilarities of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct Rdms {
    /// Depths, slots, pairs of conditions.
    pub shape: [usize; 3],
    /// Row by row; NaN where a condition has no trial.
    pub data: Vec<f32>,
}

impl Rdms {
    /// The pairs at one place; widened, as all arithmetic is f64.
    fn at(&self, depth: usize, slot: usize) -> Vec<f64> {
        let [_, slots, pairs] = self.shape;
        let first = (depth * slots + slot) * pairs;
        let here = &self.data[first..first + pairs];
        here.iter().map(|d| f64::from(*d)).collect()
    }
}

/// What the noise ceilings of one cell's networks take.
#[derive(Debug)]
pub struct Asked<'a> {
    cell: &'a Cell,
    weights: Moment,
    layers: Vec<u32>,
    slots: Vec<&'a str>,
    lacking: BTreeMap<u64, String>,
    /// The file of each seed that has one, ascending.
    pub files: Vec<(u64, &'a Artifact)>,
}

/// The cells of which the dissimilarities were asked for, in the sweep's order;
/// nothing while tests are sealed. Where a network was asked about twice, beside
/// different partners, its own dissimilarities are the same: the first answer counts.
pub fn asked<'a>(a: &'a Analysis, results: &'a SweepResults) -> Vec<Asked<'a>> {
    if a.sealed() {
        return vec![];
    }
    let similarity = json!(Question::Similarity);
    let is_one = |run: &&Run| run.point.get(QUESTION) == Some(&similarity);
    let mut inspections: Vec<&Run> = results.inspections.iter().filter(is_one).collect();
    inspections.sort_by_key(|run| (arrays(run).is_none(), run.ordinal, run.key));
    let mut known: BTreeMap<(String, Moment), BTreeMap<u64, &Run>> = BTreeMap::new();
    for run in inspections {
        let about = subject(&run.point);
        let Some(seed) = a.compare.seed(&about) else {
            continue;
        };
        let at = run.point.get(AT).cloned().unwrap_or(Value::Null);
        if let Ok(weights @ (Moment::Final | Moment::Matched)) = serde_json::from_value(at) {
            let seeds = known.entry((key(&a.compare.cell(&about)), weights));
            seeds.or_default().entry(seed).or_insert(run);
        }
    }
    let mut all = vec![];
    for cell in &a.cells {
        for weights in [Moment::Final, Moment::Matched] {
            if let Some(runs) = known.get(&(key(&cell.point), weights)) {
                all.push(Asked::new(cell, weights, runs));
            }
        }
    }
    all
}

/// The maps of an inspection; none if it is not done, or has none.
fn arrays(run: &Run) -> Option<&Artifact> {
    let done = run.phase == JobPhase::Done;
    let mut files = run.artifacts.iter();
    files.find(|file| done && file.name == ARRAYS)
}

/// Depths and slots, in the order in which the worker tells of them, which is that of
/// its arrays.
fn places(metrics: &[Measured]) -> (Vec<u32>, Vec<&str>) {
    let (mut layers, mut slots) = (vec![], vec![]);
    for m in metrics.iter().filter(|m| m.name.starts_with("rsa.")) {
        if let (Some(layer), Some(slot)) = (m.layer, m.slot.as_deref()) {
            if !layers.contains(&layer) {
                layers.push(layer);
            }
            if !slots.contains(&slot) {
                slots.push(slot);
            }
        }
    }
    (layers, slots)
}

impl<'a> Asked<'a> {
    fn new(cell: &'a Cell, weights: Moment, runs: &BTreeMap<u64, &'a Run>) -> Self {
        let (mut files, mut lacking) = (vec![], BTreeMap::new());
        for seed in cell.seeds.all() {
            let why = match runs.get(&seed) {
                _ if !cell.seeds.done.contains(&seed) => cell.seeds.why_not(seed).to_owned(),
                None => "not inspected".to_owned(),
                Some(run) => match arrays(run) {
                    Some(file) => {
                        files.push((seed, file));
                        continue;
                    }
                    None if run.phase == JobPhase::Done => "no arrays".to_owned(),
                    None => format!("inspection {}", run.phase),
                },
            };
            lacking.insert(seed, why);
        }
        // Of the first seed that was compared with anything: without a comparison
        // there is no metric that would name a place.
        let named = files.iter().map(|(seed, _)| places(&runs[seed].metrics));
        let (layers, slots) = named
            .into_iter()
            .find(|p| !p.0.is_empty())
            .unwrap_or_default();
        Self {
            cell,
            weights,
            layers,
            slots,
            lacking,
            files,
        }
    }

    /// The noise ceilings, from what [`Self::files`] hold by seed, or why one of them
    /// holds nothing; in any order.
    pub fn answer(mut self, read: Vec<(u64, Result<Rdms, String>)>) -> NoiseCeiling {
        let read: BTreeMap<u64, Result<Rdms, String>> = read.into_iter().collect();
        let mut rdms: BTreeMap<u64, Rdms> = BTreeMap::new();
        for (seed, found) in read {
            let shape = rdms.values().next().map(|first| first.shape);
            match found.and_then(|found| self.fitting(found, shape)) {
                Ok(found) => drop(rdms.insert(seed, found)),
                Err(why) => drop(self.lacking.insert(seed, why)),
            }
        }
        let places = match self.layers.is_empty() {
            true => vec![self.nowhere()],
            false => self.everywhere(&rdms),
        };
        NoiseCeiling {
            arm: self.cell.arm.clone(),
            block: self.cell.block.clone(),
            point: self.cell.point.clone(),
            chosen: self.cell.chosen,
            weights: self.weights,
            split: SPLIT,
            planned: self.cell.seeds.expected(),
            places,
        }
    }

    /// What was read, if it is of the places that are known and of as many pairs as
    /// that of an earlier seed.
    fn fitting(&self, found: Rdms, earlier: Option<[usize; 3]>) -> Result<Rdms, String> {
        let [depths, slots, pairs] = found.shape;
        let whole = depths * slots * pairs == found.data.len();
        let named =
            self.layers.is_empty() || (depths, slots) == (self.layers.len(), self.slots.len());
        if whole && named && earlier.is_none_or(|shape| shape == found.shape) {
            Ok(found)
        } else {
            Err(format!(
                "array of another shape, {depths} × {slots} × {pairs}"
            ))
        }
    }

    fn everywhere(&self, rdms: &BTreeMap<u64, Rdms>) -> Vec<CeilingAt> {
        let mut places = vec![];
        for (depth, layer) in self.layers.iter().enumerate() {
            for (at, slot) in self.slots.iter().enumerate() {
                let mut left_out = self.lacking.clone();
                let mut here = vec![];
                for (seed, rdms) in rdms {
                    let distances = rdms.at(depth, at);
                    if stats::has_order(&distances) {
                        here.push(distances);
                    } else {
                        left_out.insert(*seed, "nothing to rank".to_owned());
                    }
                }
                let ceiling = match stats::noise_ceiling(&here) {
                    // The position shows the same to all networks.
                    Err(NoCeiling::FewSeeds) if here.is_empty() && !rdms.is_empty() => {
                        Err(format!("{NO_ORDER}, in every seed that was read"))
                    }
                    other => other.map_err(|why| why.to_string()),
                };
                places.push(CeilingAt {
                    layer: Some(*layer),
                    slot: Some((*slot).to_owned()),
                    n: here.len(),
                    ceiling,
                    left_out: left_out.into_iter().collect(),
                });
            }
        }
        places
    }

    /// What stands where the places are not known.
    fn nowhere(&self) -> CeilingAt {
        let why = match self.files.is_empty() {
            true => NoCeiling::FewSeeds.to_string(),
            false => "no network was compared with another, which names the positions".to_owned(),
        };
        CeilingAt {
            layer: None,
            slot: None,
            n: 0,
            ceiling: Err(why),
            left_out: self.lacking.clone().into_iter().collect(),
        }
    }
}

/// Why one network's dissimilarities can't be ranked, as the worker says it.
const NO_ORDER: &str = "fewer than 3 pairs of conditions with a distance, or all are equal";

#[cfg(test)]
mod tests;
