//! What LD becomes when parts of a network come from another one.
//!
//! A batch holds the streams of both networks, so that every mixed network is
//! entered at the block where it begins to differ. B trials, T tokens, C width, L
//! layers.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use super::readout::{Trials, floats};
use super::{MechanismError, Stop};
use crate::gpt2::hooks::{Edit, End, Hooked, Part, Pass, Point, Site, Start};

type Result<T> = std::result::Result<T, MechanismError>;

/// Some trials, seen by two networks.
pub(super) struct Batch<'a> {
    trials: Trials<'a>,
    /// Which of the trials.
    pub rows: Range<usize>,
    ids: Tensor,
    /// The streams of the network under study at depths 0 to L: (B, T, C) each.
    pub ours: Vec<Tensor>,
    /// Those of the other network.
    pub theirs: Vec<Tensor>,
}

/// Numbers that one sequence takes in a batch.
pub(super) fn floats_of_batch(net: &Hooked, len: usize) -> usize {
    let config = net.config();
    2 * (config.layers + 1) * len * config.width + floats(config, len)
}

impl<'a> Batch<'a> {
    /// Runs both networks over some trials.
    pub fn new(
        trials: Trials<'a>,
        rows: Range<usize>,
        net: &Hooked,
        other: &Hooked,
    ) -> Result<Self> {
        let ids = trials.prompts(&rows, net.device())?;
        Ok(Self {
            ours: streams(net, &ids)?,
            theirs: streams(other, &ids)?,
            ids,
            trials,
            rows,
        })
    }

    /// LD of each trial, intact.
    pub fn intact(&self, net: &Hooked) -> Result<Vec<f64>> {
        // The way of every mixed network, so that equal networks give equal bits.
        let last = net.config().layers - 1;
        self.lds(net, &self.ours[last], last, &[])
    }

    /// Σ LD of a network that is entered at a depth with these streams.
    pub fn from(&self, net: &Hooked, streams: &[Tensor], depth: usize) -> Result<f64> {
        Ok(self.lds(net, &streams[depth], depth, &[])?.iter().sum())
    }

    /// Σ LD of our network with edits that begin in a layer.
    pub fn edited(&self, net: &Hooked, layer: usize, edits: &[Edit]) -> Result<f64> {
        let lds = self.lds(net, &self.ours[layer], layer, edits)?;
        Ok(lds.iter().sum())
    }

    /// Σ LD of our network with a part of the other.
    pub fn with(&self, net: &Hooked, part: Part, other: &Hooked) -> Result<f64> {
        let mixed = net.with(part, other)?;
        fired(&mixed, part, other)?;
        match part {
            Part::Block(layer)
            | Part::Attention(layer)
            | Part::Mlp(layer)
            | Part::Norms(layer)
            | Part::Head(layer, _) => self.from(&mixed, &self.ours, layer),
            Part::Unembedding | Part::FinalNorm => {
                self.from(&mixed, &self.ours, net.config().layers - 1)
            }
            Part::Embedding => {
                let pass = Pass::new(Start::Ids(&self.ids), End::Last);
                let out = mixed.run(&pass)?.out;
                Ok(self.trials.ld(&mixed, &self.rows, &out)?.iter().sum())
            }
        }
    }

    fn lds(&self, net: &Hooked, x: &Tensor, depth: usize, edits: &[Edit]) -> Result<Vec<f64>> {
        let pass = Pass::new(Start::Stream(x, depth), End::Last).editing(edits);
        let out = net.run(&pass)?.out;
        self.trials.ld(net, &self.rows, &out)
    }
}

/// Requires that a mixed network has the other's part. A stream that is handed over
/// needs no such look: it is where the pass begins.
pub(super) fn fired(mixed: &Hooked, part: Part, other: &Hooked) -> Result<()> {
    match mixed.has(part, other)? {
        true => Ok(()),
        false => Err(MechanismError::NotFired(format!("{part:?}"))),
    }
}

/// The streams that enter each block, and the one that leaves the last.
pub(super) fn streams(net: &Hooked, ids: &Tensor) -> Result<Vec<Tensor>> {
    let layers = net.config().layers;
    let reads: Vec<_> = (0..layers)
        .map(|layer| Point::Block(layer, Site::ResidPre))
        .collect();
    let pass = Pass::new(Start::Ids(ids), End::Block(layers)).reading(&reads);
    let mut trace = net.run(&pass)?;
    let mut all = vec![];
    for point in reads {
        all.push(trace.take(point)?);
    }
    all.push(trace.out);
    Ok(all)
}

/// Tells the pulse of each piece of work on a batch: one pass, or two where a batch
/// is made.
pub(super) struct Pieces<'a> {
    done: usize,
    total: usize,
    pulse: &'a mut dyn FnMut(f64) -> std::result::Result<(), Stop>,
}

impl<'a> Pieces<'a> {
    /// So many are to come; `pulse` takes the share of the batch that is done.
    pub fn new(
        total: usize,
        pulse: &'a mut dyn FnMut(f64) -> std::result::Result<(), Stop>,
    ) -> Self {
        Self {
            done: 0,
            total,
            pulse,
        }
    }

    /// One more is done.
    ///
    /// # Errors
    /// If the pulse says stop.
    pub fn step(&mut self) -> Result<()> {
        self.done += 1;
        Ok((self.pulse)(self.done as f64 / self.total as f64)?)
    }
}

/// Pieces of [`Sums::curves`].
pub(super) fn pieces_of_curves(layers: usize) -> usize {
    layers + 2 * (layers + 1)
}

/// Sums of LD over trials by name, layer and head, in order.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<(&'static str, Option<usize>, Option<usize>), f64>);

impl Sums {
    /// Adds to one.
    pub fn add(&mut self, name: &'static str, layer: Option<usize>, head: Option<usize>, sum: f64) {
        *self.0.entry((name, layer, head)).or_default() += sum;
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<usize>, Option<usize>, f64)> {
        self.0
            .iter()
            .map(|(&(name, layer, head), &sum)| (name, layer, head, sum))
    }

    /// The curves that any two networks have: `block` (layer), and `suffix` and
    /// `prefix` (depth k): blocks from k on with the final LayerNorm and the
    /// unembedding are the other's; embeddings and blocks below k are.
    pub fn curves(
        &mut self,
        batch: &Batch<'_>,
        net: &Hooked,
        other: &Hooked,
        pieces: &mut Pieces<'_>,
    ) -> Result<()> {
        let layers = net.config().layers;
        for layer in 0..layers {
            let sum = batch.with(net, Part::Block(layer), other)?;
            self.add("block", Some(layer), None, sum);
            pieces.step()?;
        }
        for depth in 0..=layers {
            let suffix = batch.from(other, &batch.ours, depth)?;
            self.add("suffix", Some(depth), None, suffix);
            pieces.step()?;
            let prefix = batch.from(net, &batch.theirs, depth)?;
            self.add("prefix", Some(depth), None, prefix);
            pieces.step()?;
        }
        Ok(())
    }
}

/// LD over trials: mean and 95 % interval (Student's t).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    /// Mean.
    pub mean: f64,
    /// Lower end; NaN for fewer than two trials.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Of these values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let half = match values.len() {
            0 | 1 => f64::NAN,
            _ => t_975(n - 1.0) * (squares / (n - 1.0) / n).sqrt(),
        };
        Self {
            mean,
            low: mean - half,
            high: mean + half,
        }
    }

    /// What is lost of the mean when it becomes `value`: undefined where the interval
    /// includes 0, or there is none.
    pub fn loss(&self, value: f64) -> f64 {
        if self.excludes_zero() {
            (self.mean - value) / self.mean
        } else {
            f64::NAN
        }
    }

    /// Whether ratios to the mean mean anything.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }

    /// In words, for a note.
    pub fn why_undefined(&self) -> String {
        format!(
            "LD's 95 % interval over trials, {:.4} to {:.4}, includes 0",
            self.low, self.high
        )
    }
}

/// The .975 quantile of Student's t: Abramowitz and Stegun 26.7.5, right to 1e-3
/// from 5 degrees of freedom on, where trials are counted in hundreds.
fn t_975(freedom: f64) -> f64 {
    let z = 1.959_963_984_540_054_f64;
    let terms = [
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
        (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5)
            - 1920.0 * z.powi(3)
            - 945.0 * z)
            / 92160.0,
    ];
    let powers = (1..).map(|i| freedom.powi(-i));
    z + terms
        .into_iter()
        .zip(powers)
        .map(|(term, power)| term * power)
        .sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expect, within) in [
            (5.0, 2.570_582, 1.5e-3),
            (10.0, 2.228_139, 1e-4),
            (30.0, 2.042_272, 1e-6),
            (1000.0, 1.962_339, 1e-6),
        ] {
            assert!(
                (t_975(freedom) - expect).abs() < within,
                "{freedom}: {}",
                t_975(freedom)
            );
        }
    }

    #[test]
    fn a_ratio_to_what_may_be_zero_is_not_a_number() {
        let sure = Interval::of(&[1.0, 1.2, 0.8, 1.1, 0.9, 1.0]);
        assert!(sure.excludes_zero() && (sure.loss(0.25) - 0.75).abs() < 1e-12);
        let unsure = Interval::of(&[1.0, -1.2, 0.8, -0.9, 1.0, -0.2]);
        assert!(unsure.loss(0.25).is_nan());
        assert!(unsure.why_undefined().contains("includes 0"));
        assert!(Interval::of(&[3.0]).loss(0.0).is_nan());
        assert!(Interval::of(&[]).loss(0.0).is_nan());
    }
}
