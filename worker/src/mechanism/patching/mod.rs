//! Activation patching: which activations carry what a counterfactual changes.
//!
//! A pair is a clean trial and one that differs in one thing. *Denoising* puts the
//! clean trial's activation into the corrupted run and asks how much of the answer
//! comes back: Σ[LD(corrupt | site ← clean) − LD(corrupt)] / Σ[LD(clean) −
//! LD(corrupt)]. *Noising* puts the corrupted trial's into the clean run and asks
//! how much is lost, over the same denominator. s in LD = s·Δ is the clean trial's
//! throughout; a ratio of sums, over pairs that the network solves both ways.
//!
//! A counterfactual that keeps the answer has no denominator of its own: its mean
//! change of LD is set against that of the task's `reference`.
//!
//! `patching.CF.DIRECTION.SITE.centre` is a map's centre of mass over layers, Σ l·|v|
//! / Σ |v| over all its cells: in blocks, 0 the first.

mod batch;
mod cells;
mod pairs;
mod run;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use cells::{Cell, HEADS, Maps, STREAM, patch};
pub use pairs::Pairs;

use super::readout::hooked;
use super::rows::{At, Rows};
use super::{Answer, MechanismError, Study};
use crate::gpt2::hooks::{Hooked, Site};
use crate::task::Counterfactual;

type Result<T> = std::result::Result<T, MechanismError>;

/// Answers [`Question::Patching`](seedbed_proto::job::Question::Patching).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer> {
    let net = hooked(study.subject, study.ops, study.device)?;
    let mut out = Rows::of_split(study);
    let mut all = study.task.kind().counterfactuals().to_vec();
    let reference = reference(&all);
    // It goes first: the others may need its denominator.
    all.sort_by_key(|counterfactual| Some(counterfactual.name) != reference);
    if all.is_empty() {
        out.note("patching", "the task has no counterfactuals");
    }
    let (answers, bytes) = (study.task.answers(), study.budget.bytes);
    let parts = all.len() as f64;
    let mut mean = None;
    for (i, counterfactual) in all.into_iter().enumerate() {
        let name = counterfactual.name;
        let pairs = pairs_of(study, name);
        let pulse = &mut *study.pulse;
        let mut pulse = |done: f64| Ok(pulse((i as f64 + done) / parts)?);
        let solved = pairs.solved(&net, answers, bytes, &mut || pulse(0.0))?;
        out.push(
            &format!("patching.{name}.solved_fraction"),
            At::WHOLE,
            solved.len() as f64 / pairs.count() as f64,
        );
        let pairs = pairs.only(&solved);
        let maps = match pairs.count() {
            0 => undefined(&net, &pairs),
            _ => patch(&net, &pairs, answers, &sites(), bytes, &mut pulse)?,
        };
        let own = denominators(&pairs, &maps);
        if Some(name) == reference {
            mean = own.whole();
        }
        let denominators = match counterfactual.flips {
            true => own,
            false => own.over_mean(mean),
        };
        let place = format!("patching.{name}");
        if pairs.count() == 0 {
            out.note(&place, "no pair is solved both ways");
        } else if denominators.whole().is_none() {
            out.note(&place, no_denominator(reference));
        }
        put(&mut out, name, &pairs, &maps, &denominators);
    }
    Ok(out.finish())
}

/// The counterfactual whose denominator serves those that keep the answer: `rel`, or
/// the first that turns it where the task has no `rel`.
fn reference(all: &[Counterfactual]) -> Option<&'static str> {
    let rel = all.iter().find(|c| c.name == "rel");
    rel.or_else(|| all.iter().find(|c| c.flips)).map(|c| c.name)
}

fn no_denominator(reference: Option<&str>) -> String {
    match reference {
        Some(name) => format!("no pair of {name} is solved both ways: no denominator"),
        None => "no counterfactual of the task turns the answer: no denominator".to_owned(),
    }
}

/// All sites, in the order of the maps.
fn sites() -> Vec<Site> {
    STREAM.into_iter().chain(HEADS).collect()
}

/// The first trials of the split that have this counterfactual.
fn pairs_of(study: &Study<'_>, which: &str) -> Pairs {
    let (task, split) = (study.task, study.split);
    let mut pairs = Pairs::default();
    for (i, trial) in split.trials.iter().enumerate().take(study.budget.items) {
        if pairs.count() == study.budget.pairs {
            break;
        }
        let Some(other) = task.kind().counterfactual(trial, which) else {
            continue;
        };
        let clean = &split.ids[i * split.prompt_len..][..split.prompt_len];
        let slots = task.slot_positions(trial).into_iter();
        let places = slots.map(|(slot, at)| (slot.to_owned(), at));
        let right = [trial.right, other.right];
        pairs.push([clean, &task.prompt(&other)], right, places);
    }
    pairs
}

/// Every cell without a value, for a network that solves no pair.
fn undefined(net: &Hooked, pairs: &Pairs) -> Maps {
    let (layers, heads) = (net.config().layers, net.config().heads);
    let mut maps = Maps::default();
    for layer in 0..layers {
        let cell = |site, head, slot| Cell {
            site,
            layer,
            head,
            slot,
        };
        let stream = STREAM
            .into_iter()
            .flat_map(|site| (0..pairs.slots.len()).map(move |slot| cell(site, None, Some(slot))));
        let heads = HEADS
            .into_iter()
            .flat_map(|site| (0..heads).map(move |head| cell(site, Some(head), None)));
        maps.cells
            .extend(stream.chain(heads).map(|cell| (cell, [f64::NAN; 2])));
    }
    maps
}

/// What effects are divided by: Σ[LD(clean) − LD(corrupt)], and over how many pairs.
#[derive(Debug, Clone)]
struct Denominators {
    /// Of all pairs, then of those that have a slot.
    sums: Vec<(f64, usize)>,
}

fn denominators(pairs: &Pairs, maps: &Maps) -> Denominators {
    let mut sums = vec![(0.0, 0); 1 + pairs.slots.len()];
    for (i, places) in pairs.places.iter().enumerate() {
        let mut add = |at: usize| {
            sums[at].0 += maps.clean[i] - maps.corrupt[i];
            sums[at].1 += 1;
        };
        add(0);
        for &(slot, _) in places {
            add(1 + slot);
        }
    }
    Denominators { sums }
}

impl Denominators {
    /// Mean of LD(clean) − LD(corrupt), if there are pairs.
    fn whole(&self) -> Option<f64> {
        let (sum, count) = self.sums[0];
        (count > 0 && sum.is_finite()).then(|| sum / count as f64)
    }

    /// As many pairs, each with this mean.
    fn over_mean(&self, mean: Option<f64>) -> Self {
        let mean = mean.unwrap_or(f64::NAN);
        let sum = |&(_, count): &(f64, usize)| (mean * count as f64, count);
        Self {
            sums: self.sums.iter().map(sum).collect(),
        }
    }

    fn of(&self, cell: &Cell) -> f64 {
        let (sum, count) = self.sums[cell.slot.map_or(0, |slot| 1 + slot)];
        if count == 0 { f64::NAN } else { sum }
    }
}

/// The cells' ratios as rows, and each map's centre.
fn put(out: &mut Rows, name: &str, pairs: &Pairs, maps: &Maps, denominators: &Denominators) {
    for (direction, word) in ["denoising", "noising"].into_iter().enumerate() {
        let mut centres = BTreeMap::<Site, Centre>::new();
        for (cell, effects) in &maps.cells {
            let at = At {
                layer: Some(cell.layer),
                head: cell.head,
                slot: cell.slot.map(|slot| pairs.slots[slot].as_str()),
            };
            let value = effects[direction] / denominators.of(cell);
            let name = format!("patching.{name}.{word}.{}", cell.site.short());
            out.push(&name, at, value);
            centres.entry(cell.site).or_default().add(cell.layer, value);
        }
        for (site, centre) in centres {
            let name = format!("patching.{name}.{word}.{}.centre", site.short());
            out.push(&name, At::WHOLE, centre.value());
            // Why there is no map at all is said once, of the counterfactual.
            if centre.weight == 0.0 {
                out.note(&name, "no patch of this site changes LD: no centre");
            }
        }
    }
}

/// Centre of mass of a map over layers.
#[derive(Debug, Clone, Copy, Default)]
struct Centre {
    /// Σ l·|v|.
    moment: f64,
    /// Σ |v|.
    weight: f64,
}

impl Centre {
    fn add(&mut self, layer: usize, value: f64) {
        self.moment += layer as f64 * value.abs();
        self.weight += value.abs();
    }

    /// In blocks; NaN where all cells are 0, or one is NaN.
    fn value(self) -> f64 {
        self.moment / self.weight
    }
}
