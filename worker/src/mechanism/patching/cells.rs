//! The cells of the maps: for each place, what a patch there does to LD.
//!
//! What is not affected by a patch is not computed: a pass enters at the block
//! after it, over the positions from it on, with keys and values of the earlier
//! ones from the recipient's own run; in the last block it goes on with the last
//! position alone; pairs whose two sides agree at the place are left out. All
//! cells that enter at the same block and position, of both directions, go through
//! together.
//!
//! P pairs of a chunk, T tokens, C width.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use super::batch::{DIRECTIONS, Direction, Piece};
use super::pairs::Pairs;
use super::run::{Run, differing, rows};
use crate::gpt2::hooks::{Edit, End, Hooked, Pass, Past, Point, Site, Start};
use crate::mechanism::MechanismError;
use crate::mechanism::readout::deltas;

type Result<T> = std::result::Result<T, MechanismError>;

/// Sites of the stream, patched by layer and slot.
pub const STREAM: [Site; 4] = [Site::ResidPre, Site::ResidMid, Site::AttnOut, Site::MlpOut];

/// Sites of a head, patched by layer and head, at all positions.
pub const HEADS: [Site; 5] = [Site::Z, Site::Q, Site::K, Site::V, Site::Pattern];

/// One cell of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What is patched.
    pub site: Site,
    /// Block.
    pub layer: usize,
    /// Head, for a site of heads.
    pub head: Option<usize>,
    /// Index of the slot, for a site of the stream.
    pub slot: Option<usize>,
}

/// Sums over the pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Maps {
    /// LD of each clean trial.
    pub clean: Vec<f64>,
    /// LD of each corrupted trial, by the clean one's correct side.
    pub corrupt: Vec<f64>,
    /// Σ [LD(corrupt | site ← clean) − LD(corrupt)] and
    /// Σ [LD(clean) − LD(clean | site ← corrupt)].
    pub cells: BTreeMap<Cell, [f64; 2]>,
}

/// Patches everything that `sites` names (of [`STREAM`] and [`HEADS`]).
///
/// # Errors
/// If a pass fails, a single pair does not fit into `bytes`, or the pulse says stop.
pub fn patch(
    net: &Hooked,
    pairs: &Pairs,
    answers: [u32; 2],
    sites: &[Site],
    bytes: u64,
    pulse: &mut dyn FnMut(f64) -> Result<()>,
) -> Result<Maps> {
    let pattern = sites.contains(&Site::Pattern);
    // Two runs, and for each head and direction one changed activation.
    let config = net.config();
    let scores = if pattern { pairs.len } else { 0 };
    let changed = config.heads * pairs.len * config.width.max(config.heads * scores);
    let pair_bytes = 4 * 2 * (Run::floats(net, pairs.len, pattern) + changed) as u64;
    // Half for the runs of a chunk, half for the passes over it.
    let chunk = (bytes / 2 / pair_bytes) as usize;
    if chunk == 0 {
        return Err(MechanismError::Invalid(format!(
            "patching holds {} KiB of activations for one pair of {} tokens, and as much again \
             to work with, more than the {} KiB that are allowed; raise `inspect.memory_mib` to {}",
            pair_bytes.div_ceil(1 << 10),
            pairs.len,
            bytes >> 10,
            (2 * pair_bytes).div_ceil(1 << 20)
        )));
    }
    let mut maps = Maps::default();
    let count = pairs.count();
    for from in (0..count).step_by(chunk) {
        let rows = from..count.min(from + chunk);
        let share = rows.len() as f64 / count as f64;
        let before = from as f64 / count as f64;
        let mut pulse = |done: f64| pulse(before + share * done);
        let run = |corrupt| {
            let ids = pairs.prompts(corrupt, &rows, net.device())?;
            Run::new(net, &ids, answers, pattern)
        };
        let mut work = Chunk {
            net,
            pairs,
            answers,
            bytes: bytes / 2,
            runs: [run(false)?, run(true)?],
            rows: rows.clone(),
            maps: &mut maps,
        };
        work.all(sites, &mut pulse)?;
    }
    Ok(maps)
}

/// Some pairs whose runs are held.
pub(super) struct Chunk<'a> {
    pub(super) net: &'a Hooked,
    pub(super) pairs: &'a Pairs,
    answers: [u32; 2],
    /// For one pass.
    pub(super) bytes: u64,
    /// Clean, corrupted.
    runs: [Run; 2],
    /// Which of the pairs.
    pub(super) rows: Range<usize>,
    pub(super) maps: &'a mut Maps,
}

impl Chunk<'_> {
    fn all(&mut self, sites: &[Site], pulse: &mut dyn FnMut(f64) -> Result<()>) -> Result<()> {
        let side = |i: usize| {
            let lds = self.runs[i].deltas.iter().zip(self.rows.clone());
            lds.map(|(delta, pair)| self.pairs.sign(pair) * delta)
                .collect::<Vec<_>>()
        };
        let (clean, corrupt) = (side(0), side(1));
        self.maps.clean.extend(clean);
        self.maps.corrupt.extend(corrupt);

        let stream: Vec<_> = STREAM.into_iter().filter(|s| sites.contains(s)).collect();
        let heads: Vec<_> = HEADS.into_iter().filter(|s| sites.contains(s)).collect();
        let layers = self.net.config().layers;
        let steps = ((layers + 1) * 2) as f64;
        for layer in 0..=layers {
            for position in self.pairs.positions() {
                self.stream_cells(&stream, layer, position)?;
                pulse((2 * layer) as f64 / steps)?;
            }
            for &site in heads.iter().filter(|_| layer < layers) {
                self.head_cells(site, layer)?;
                pulse((2 * layer + 1) as f64 / steps)?;
            }
        }
        pulse(1.0)
    }

    /// The run that is changed, and the one that gives.
    pub(super) fn sides(&self, direction: Direction) -> [&Run; 2] {
        let [clean, corrupt] = &self.runs;
        match direction {
            Direction::Denoising => [corrupt, clean],
            Direction::Noising => [clean, corrupt],
        }
    }

    /// All cells whose effect is a new row of the stream that enters `layer`.
    fn stream_cells(&mut self, sites: &[Site], layer: usize, position: usize) -> Result<()> {
        let layers = self.net.config().layers;
        let mut pieces = vec![];
        for &site in sites {
            let of = match site {
                Site::ResidPre => Some(layer).filter(|&l| l < layers),
                _ => layer.checked_sub(1),
            };
            let Some(of) = of else { continue };
            let cell = Cell {
                site,
                layer: of,
                head: None,
                slot: None,
            };
            self.declare(cell, position);
            // After the last block nothing but the last position is read.
            if layer == layers && position + 1 < self.pairs.len {
                continue;
            }
            for direction in DIRECTIONS {
                let [to, from] = self.sides(direction);
                let row = self.new_row(site, of, position, to, from)?; // (P, 1, C)
                let which = differing(&row, &to.at(layer, Site::ResidPre, position)?)?;
                if !which.is_empty() {
                    pieces.push(Piece {
                        cell,
                        position: Some(position),
                        direction,
                        new: rows(&row, &which)?,
                        which,
                    });
                }
            }
        }
        self.in_batches(pieces, self.pairs.len - position, |chunk, batch| {
            chunk.finish_rows(layer, position, batch)
        })
    }

    /// The row of the stream that leaves a block (or enters it, for
    /// [`Site::ResidPre`]) when one of its activations is replaced: (P, 1, C).
    fn new_row(
        &self,
        site: Site,
        layer: usize,
        position: usize,
        to: &Run,
        from: &Run,
    ) -> Result<Tensor> {
        let new = from.at(layer, site, position)?;
        if site == Site::ResidPre {
            return Ok(new);
        }
        let mut edits = vec![Edit::new(Point::Block(layer, site), new)];
        if site == Site::MlpOut {
            // What it is added to stays: no need to compute it again.
            let mid = to.at(layer, Site::ResidMid, position)?;
            edits.push(Edit::new(Point::Block(layer, Site::ResidMid), mid));
        }
        let enters = to.at(layer, Site::ResidPre, position)?;
        // Attention is replaced by all of these edits, so that no past is read.
        let past = Past::default();
        let pass = Pass::new(Start::Stream(&enters, layer), End::Block(layer + 1));
        Ok(self
            .net
            .run(&pass.window(position, &past).editing(&edits))?
            .out)
    }

    /// From new rows at `position` of the stream that enters `layer` to Δ.
    fn finish_rows(&self, layer: usize, position: usize, batch: &[Piece]) -> Result<Vec<f64>> {
        let new = |piece: &Piece| Ok(piece.new.clone());
        let new = cat(batch.iter().map(new))?; // (B, 1, C)
        if layer == self.net.config().layers {
            let out = self.net.finish(&new.squeeze(1)?)?;
            return deltas(self.net, &out, self.answers);
        }
        // Only the new row has other queries, keys and values in this block.
        let own = self.net.projections(layer, &new)?; // (B, 1, C) each
        let mut edits = vec![];
        for (site, own) in [Site::Q, Site::K, Site::V].into_iter().zip(own) {
            let value = self.with_later(batch, layer, site, position, own)?;
            edits.push(Edit::new(Point::Block(layer, site), value));
        }
        let x = self.with_later(batch, layer, Site::ResidPre, position, new)?;
        let past = self.past(batch, layer, position)?;
        let pass = Pass::new(Start::Stream(&x, layer), End::Last);
        let pass = pass.window(position, &past).editing(&edits);
        let out = self.net.run(&pass)?.out;
        deltas(self.net, &out, self.answers)
    }

    /// A new row (B, 1, C) at a position, and after it what the recipients have:
    /// (B, T - position, C).
    fn with_later(
        &self,
        batch: &[Piece],
        layer: usize,
        site: Site,
        position: usize,
        new: Tensor,
    ) -> Result<Tensor> {
        let later = position + 1..self.pairs.len;
        if later.is_empty() {
            return Ok(new);
        }
        let later = self.of_recipients(batch, layer, site, later)?;
        Ok(Tensor::cat(&[new, later], 1)?)
    }

    /// All heads of one site of a layer.
    fn head_cells(&mut self, site: Site, layer: usize) -> Result<()> {
        let config = self.net.config();
        let (heads, width) = (config.heads, config.width / config.heads);
        let t = self.pairs.len;
        // In the last block only the last query is read.
        let only_last = layer + 1 == config.layers && ![Site::K, Site::V].contains(&site);
        let first = if only_last {
            t - 1
        } else {
            self.pairs.first_difference(&self.rows)
        };
        let axis = if site == Site::Pattern { 2 } else { 1 };
        let every: Vec<u32> = (0..self.rows.len() as u32).collect();
        let mut pieces = vec![];
        for head in 0..heads {
            for direction in DIRECTIONS {
                let [to, from] = self.sides(direction);
                let part = |run: &Run| run.get(layer, site).narrow(axis, first, t - first);
                let (to, from) = (part(to)?, part(from)?);
                let new = match site {
                    Site::Pattern => with_range(&to, &from, 1, head, 1)?,
                    _ => with_range(&to, &from, 2, head * width, width)?,
                };
                pieces.push(Piece {
                    cell: Cell {
                        site,
                        layer,
                        head: Some(head),
                        slot: None,
                    },
                    position: None,
                    direction,
                    which: every.clone(),
                    new,
                });
            }
        }
        for piece in &pieces {
            self.maps.cells.entry(piece.cell).or_default();
        }
        self.in_batches(pieces, t - first, |chunk, batch| {
            chunk.finish_heads(site, layer, first, batch)
        })
    }

    /// From a new activation of a head's site, from position `first` on, to Δ.
    fn finish_heads(
        &self,
        site: Site,
        layer: usize,
        first: usize,
        batch: &[Piece],
    ) -> Result<Vec<f64>> {
        let window = first..self.pairs.len;
        let new = cat(batch.iter().map(|piece| Ok(piece.new.clone())))?;
        let mut edits = vec![Edit::new(Point::Block(layer, site), new)];
        // What else attention reads is the recipient's, and not computed again.
        let others: &[Site] = match site {
            Site::Z => &[],
            Site::Pattern => &[Site::V],
            _ => &[Site::Q, Site::K, Site::V],
        };
        for &other in others.iter().filter(|&&other| other != site) {
            let value = self.of_recipients(batch, layer, other, window.clone())?;
            edits.push(Edit::new(Point::Block(layer, other), value));
        }
        let x = self.of_recipients(batch, layer, Site::ResidPre, window)?;
        let past = self.past(batch, layer, first)?;
        let pass = Pass::new(Start::Stream(&x, layer), End::Last);
        let out = self
            .net
            .run(&pass.window(first, &past).editing(&edits))?
            .out;
        deltas(self.net, &out, self.answers)
    }

    /// An activation of the runs that are changed, one after the other, of some
    /// positions: (B, positions, C).
    fn of_recipients(
        &self,
        batch: &[Piece],
        layer: usize,
        site: Site,
        positions: Range<usize>,
    ) -> Result<Tensor> {
        cat(batch.iter().map(|piece| {
            let [to, _] = self.sides(piece.direction);
            let all = to.get(layer, site);
            rows(
                &all.narrow(1, positions.start, positions.len())?,
                &piece.which,
            )
        }))
    }

    /// Keys and values before a position, from a layer on.
    fn past(&self, batch: &[Piece], layer: usize, position: usize) -> Result<Past> {
        let mut past = Past::default();
        for layer in (layer..self.net.config().layers).filter(|_| position > 0) {
            let of = |site| self.of_recipients(batch, layer, site, 0..position);
            past.insert(layer, of(Site::K)?, of(Site::V)?);
        }
        Ok(past)
    }

    /// Cells that there are even where no pair changes: their effect is 0 then.
    fn declare(&mut self, cell: Cell, position: usize) {
        for places in &self.pairs.places[self.rows.clone()] {
            for &(slot, _) in places.iter().filter(|&&(_, at)| at == position) {
                let slot = Some(slot);
                self.maps.cells.entry(Cell { slot, ..cell }).or_default();
            }
        }
    }
}

/// `one`, with a range of `other` along an axis.
fn with_range(
    one: &Tensor,
    other: &Tensor,
    axis: usize,
    from: usize,
    count: usize,
) -> Result<Tensor> {
    let end = from + count;
    let parts = [
        one.narrow(axis, 0, from)?,
        other.narrow(axis, from, count)?,
        one.narrow(axis, end, one.dim(axis)? - end)?,
    ];
    let parts: Vec<_> = parts.iter().filter(|part| part.elem_count() > 0).collect();
    Ok(Tensor::cat(&parts, axis)?)
}

/// One after the other, along the first axis.
fn cat(parts: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let parts = parts.collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}
