//! What a network answers: logit differences over trials, in batches.
//!
//! Δ = logit(right) − logit(left); LD = s·Δ with s = ±1 the correct side.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::{MechanismError, Study, Subject};
use crate::gpt2::Config;
use crate::gpt2::hooks::{Edit, End, Hooked, Pass, Start};
use crate::ops::Ops;

type Result<T> = std::result::Result<T, MechanismError>;

/// Sequences in one forward pass.
const BATCH: usize = 256;

/// The subject's network.
pub(super) fn hooked(subject: &Subject, ops: Ops, device: &Device) -> Result<Hooked> {
    Ok(Hooked::new(&subject.config, &subject.weights, ops, device)?)
}

/// Prompts that are shown, and which side of each is right.
#[derive(Clone, Copy)]
pub(super) struct Trials<'a> {
    /// Token ids (N·T).
    pub ids: &'a [u32],
    /// T.
    pub len: usize,
    /// Of each trial 0 where left is the answer, 1 where right is.
    pub right: &'a [u8],
    /// Token ids of left and right.
    pub answers: [u32; 2],
}

impl<'a> Trials<'a> {
    /// The first trials of the study's split, as many as its budget allows.
    pub fn of(study: &Study<'a>) -> Self {
        let (split, items) = (study.split, study.budget.items);
        let count = items.min(split.trials.len());
        Self {
            ids: &split.ids[..count * split.prompt_len],
            len: split.prompt_len,
            right: &split.right[..count],
            answers: study.task.answers(),
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.right.len()
    }

    /// +1 where right is the answer, −1 where left is.
    pub fn sign(&self, trial: usize) -> f64 {
        sign(self.right[trial] == 1)
    }

    /// Batches of trials whose activations, `floats` numbers a sequence, fit into
    /// `bytes`.
    ///
    /// # Errors
    /// If not even one sequence does.
    pub fn batches(
        &self,
        floats: usize,
        bytes: u64,
    ) -> Result<impl Iterator<Item = Range<usize>> + use<>> {
        let sequence = 4 * floats.max(1) as u64;
        let fit = (bytes / sequence).min(BATCH as u64) as usize;
        if fit == 0 {
            return Err(MechanismError::Invalid(format!(
                "one sequence of {} tokens takes {} KiB of activations, more than the {} KiB \
                 that are allowed; raise `inspect.memory_mib` to {}",
                self.len,
                sequence.div_ceil(1 << 10),
                bytes >> 10,
                sequence.div_ceil(1 << 20)
            )));
        }
        let count = self.count();
        let from = (0..count).step_by(fit);
        Ok(from.map(move |from| from..count.min(from + fit)))
    }

    /// The prompts of some trials: (B, T) u32.
    pub fn prompts(&self, rows: &Range<usize>, device: &Device) -> Result<Tensor> {
        let ids = &self.ids[rows.start * self.len..rows.end * self.len];
        Ok(Tensor::from_slice(ids, (rows.len(), self.len), device)?)
    }

    /// LD of some trials, from what [`End::Last`] gives: (B, C) → B numbers.
    pub fn ld(&self, net: &Hooked, rows: &Range<usize>, out: &Tensor) -> Result<Vec<f64>> {
        let deltas = deltas(net, out, self.answers)?;
        let signed = |(delta, trial): (f64, usize)| self.sign(trial) * delta;
        Ok(deltas.into_iter().zip(rows.clone()).map(signed).collect())
    }

    /// LD of every trial, with these edits in place, which are the same for all.
    pub fn lds(
        &self,
        net: &Hooked,
        edits: &[Edit],
        bytes: u64,
        pulse: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Vec<f64>> {
        let mut lds = Vec::with_capacity(self.count());
        for rows in self.batches(floats(net.config(), self.len), bytes)? {
            let ids = self.prompts(&rows, net.device())?;
            let out = net
                .run(&Pass::new(Start::Ids(&ids), End::Last).editing(edits))?
                .out;
            lds.extend(self.ld(net, &rows, &out)?);
            pulse()?;
        }
        Ok(lds)
    }
}

/// Numbers that a sequence takes at the widest place of a pass.
pub(super) fn floats(config: &Config, len: usize) -> usize {
    len * (8 * config.width + 2 * config.inner)
}

/// ±1 for the side that is right.
pub(super) fn sign(right: bool) -> f64 {
    if right { 1.0 } else { -1.0 }
}

/// Δ of each row: out (B, C) from [`End::Last`] → B numbers.
pub(super) fn deltas(net: &Hooked, out: &Tensor, answers: [u32; 2]) -> Result<Vec<f64>> {
    let directions = net.directions(&answers)?; // (2, C)
    let logits = out.contiguous()?.matmul(&directions.t()?)?; // (B, 2)
    let pair = |row: Vec<f32>| f64::from(row[1]) - f64::from(row[0]);
    Ok(logits.to_vec2()?.into_iter().map(pair).collect())
}
