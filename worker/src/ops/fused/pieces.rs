//! Work on rows that do not know of each other, a piece at a time.
//!
//! A piece's activations fit the cache of a core from one operation to the next,
//! and threads take whole pieces, so that they wait for each other once a layer.
//! How the rows are cut is a function of shapes alone: the bits of a product may
//! depend on its sizes.

use rayon::prelude::*;

use crate::ops::kernels::matrix::alone;

/// Rows of a piece.
const ROWS: usize = 512;

/// Rows of a piece that holds whole groups of so many rows.
pub(super) fn rows_of_piece(group: usize) -> usize {
    (ROWS / group).max(1) * group
}

/// Runs `work` on each piece; the answers in the order of the pieces.
pub(super) fn each<T: Send, R: Send>(
    pieces: impl Iterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = rayon::current_num_threads();
    if threads == 1 {
        return pieces.map(work).collect();
    }
    let pieces: Vec<T> = pieces.collect();
    // With a piece for everybody, sharing a product costs more than it brings.
    let plenty = pieces.len() >= threads;
    let work = |piece| match plenty {
        true => alone(|| work(piece)),
        false => work(piece),
    };
    pieces.into_par_iter().map(work).collect()
}
