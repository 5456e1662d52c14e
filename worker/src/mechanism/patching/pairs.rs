//! Pairs of trials that differ in one thing, and which of them a network solves.

use candle_core::Device;

use crate::gpt2::hooks::Hooked;
use crate::mechanism::MechanismError;
use crate::mechanism::readout::{Trials, sign};

/// Clean trials with a counterfactual each, of equal length T.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pairs {
    /// Tokens in each prompt.
    pub len: usize,
    /// Clean prompts (N·T).
    pub clean: Vec<u32>,
    /// Corrupted prompts (N·T).
    pub corrupt: Vec<u32>,
    /// Of each clean trial 1 where right is the answer.
    pub right: Vec<u8>,
    /// Of each corrupted trial 1 where right is the answer.
    pub corrupt_right: Vec<u8>,
    /// Names of the slots, in the order of the maps.
    pub slots: Vec<String>,
    /// For each pair the token position of each slot it has: (slot, position).
    pub places: Vec<Vec<(usize, usize)>>,
}

impl Pairs {
    /// How many.
    pub fn count(&self) -> usize {
        self.right.len()
    }

    /// +1 where the clean trial's answer is right, −1 where it is left.
    pub fn sign(&self, pair: usize) -> f64 {
        sign(self.right[pair] == 1)
    }

    /// Adds a pair.
    pub fn push(
        &mut self,
        [clean, corrupt]: [&[u32]; 2],
        right: [bool; 2],
        places: impl IntoIterator<Item = (String, usize)>,
    ) {
        self.len = clean.len();
        self.clean.extend_from_slice(clean);
        self.corrupt.extend_from_slice(corrupt);
        self.right.push(u8::from(right[0]));
        self.corrupt_right.push(u8::from(right[1]));
        let mut slot = |name: String| match self.slots.iter().position(|s| *s == name) {
            Some(at) => at,
            None => {
                self.slots.push(name);
                self.slots.len() - 1
            }
        };
        let places = places
            .into_iter()
            .map(|(name, at)| (slot(name), at))
            .collect();
        self.places.push(places);
    }

    /// Token positions of any slot of any pair, ascending.
    pub fn positions(&self) -> Vec<usize> {
        let mut all: Vec<_> = self.places.iter().flatten().map(|&(_, at)| at).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Some of the pairs.
    #[must_use]
    pub fn only(&self, which: &[usize]) -> Self {
        let ids = |ids: &[u32]| {
            let rows = which.iter().map(|&i| &ids[i * self.len..][..self.len]);
            rows.flatten().copied().collect()
        };
        Self {
            len: self.len,
            clean: ids(&self.clean),
            corrupt: ids(&self.corrupt),
            right: which.iter().map(|&i| self.right[i]).collect(),
            corrupt_right: which.iter().map(|&i| self.corrupt_right[i]).collect(),
            slots: self.slots.clone(),
            places: which.iter().map(|&i| self.places[i].clone()).collect(),
        }
    }

    /// The pairs both of whose trials the network answers right.
    pub(super) fn solved(
        &self,
        net: &Hooked,
        answers: [u32; 2],
        bytes: u64,
        pulse: &mut dyn FnMut() -> Result<(), MechanismError>,
    ) -> Result<Vec<usize>, MechanismError> {
        let mut both = vec![true; self.count()];
        for (ids, right) in [
            (&self.clean, &self.right),
            (&self.corrupt, &self.corrupt_right),
        ] {
            let trials = Trials {
                ids,
                len: self.len,
                right,
                answers,
            };
            let lds = trials.lds(net, &[], bytes, pulse)?;
            for (both, ld) in both.iter_mut().zip(lds) {
                *both &= ld > 0.0;
            }
        }
        Ok((0..self.count()).filter(|&i| both[i]).collect())
    }

    /// The first position at which a pair of this range differs; the last one if
    /// none does.
    pub(super) fn first_difference(&self, rows: &std::ops::Range<usize>) -> usize {
        let t = self.len;
        let differs = |&at: &usize| {
            (rows.clone()).any(|i| self.clean[i * t + at] != self.corrupt[i * t + at])
        };
        (0..t).find(differs).unwrap_or(t - 1)
    }

    pub(super) fn prompts(
        &self,
        corrupt: bool,
        rows: &std::ops::Range<usize>,
        device: &Device,
    ) -> candle_core::Result<candle_core::Tensor> {
        let ids = if corrupt { &self.corrupt } else { &self.clean };
        let ids = &ids[rows.start * self.len..rows.end * self.len];
        candle_core::Tensor::from_slice(ids, (rows.len(), self.len), device)
    }
}
