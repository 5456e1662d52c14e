//! Parts of cells, gathered into passes that fit into memory.

use candle_core::Tensor;

use super::cells::{Cell, Chunk};
use crate::mechanism::MechanismError;
use crate::mechanism::readout::floats;

type Result<T> = std::result::Result<T, MechanismError>;

/// Positions times sequences in one pass: enough for full speed, few enough for
/// the caches.
const ROWS: usize = 1 << 13;

/// Which run is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The corrupted run gets what the clean one has.
    Denoising = 0,
    /// The clean run gets what the corrupted one has.
    Noising = 1,
}

/// Both.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Denoising, Direction::Noising];

/// A part of a cell: some pairs, with what is new for them.
pub(super) struct Piece {
    /// The cell; that of a stream's site has no slot yet: pairs may differ in it.
    pub cell: Cell,
    /// Where, for a site of the stream.
    pub position: Option<usize>,
    /// Who gives.
    pub direction: Direction,
    /// Pairs of the chunk.
    pub which: Vec<u32>,
    /// What is new: a row of the stream (n, 1, C), or a head's site in whole.
    pub new: Tensor,
}

impl Piece {
    /// The first `count` pairs, if any are wanted, and the others.
    fn split(self, count: usize) -> Result<(Option<Self>, Self)> {
        if count == 0 {
            return Ok((None, self));
        }
        let (one, other) = self.which.split_at(count);
        let part = |which: &[u32], from: usize| -> Result<Self> {
            Ok(Self {
                cell: self.cell,
                position: self.position,
                direction: self.direction,
                which: which.to_vec(),
                new: self.new.narrow(0, from, which.len())?,
            })
        };
        Ok((Some(part(one, 0)?), part(other, count)?))
    }
}

impl Chunk<'_> {
    /// Hands pieces on in batches that fit into memory, over `window` positions,
    /// and adds up what comes back: Δ of each pair of each piece.
    pub(super) fn in_batches(
        &mut self,
        pieces: Vec<Piece>,
        window: usize,
        run: impl Fn(&Self, &[Piece]) -> Result<Vec<f64>>,
    ) -> Result<()> {
        let (layers, t) = (self.net.config().layers, self.pairs.len);
        // The pass itself, and the past of every layer, once more where it is joined.
        let past = 2 * (layers + 1) * t * self.net.config().width;
        let bytes = 4 * (floats(self.net.config(), window) + past) as u64;
        let most = ((self.bytes / bytes) as usize)
            .min(ROWS.div_ceil(window))
            .max(1);
        let mut batch: Vec<Piece> = vec![];
        let mut size = 0;
        for mut piece in pieces {
            while size + piece.which.len() > most {
                let (head, tail) = piece.split(most - size)?;
                batch.extend(head);
                let deltas = run(self, &batch)?;
                self.count(&batch, &deltas);
                batch.clear();
                size = 0;
                piece = tail;
            }
            size += piece.which.len();
            batch.push(piece);
        }
        if size > 0 {
            let deltas = run(self, &batch)?;
            self.count(&batch, &deltas);
        }
        Ok(())
    }

    /// Adds the effects of a batch to its cells.
    fn count(&mut self, batch: &[Piece], deltas: &[f64]) {
        let mut deltas = deltas.iter();
        for piece in batch {
            for (&i, delta) in piece.which.iter().zip(&mut deltas) {
                let pair = self.rows.start + i as usize;
                let [to, _] = self.sides(piece.direction);
                let change = self.pairs.sign(pair) * (delta - to.deltas[i as usize]);
                let effect = match piece.direction {
                    Direction::Denoising => change,
                    Direction::Noising => -change,
                };
                let mut add = |slot| {
                    let cell = Cell { slot, ..piece.cell };
                    self.maps.cells.entry(cell).or_default()[piece.direction as usize] += effect;
                };
                let Some(position) = piece.position else {
                    add(None);
                    continue;
                };
                for &(slot, at) in &self.pairs.places[pair] {
                    if at == position {
                        add(Some(slot));
                    }
                }
            }
        }
    }
}
