//! Causal self-attention with its q, k, v projection.
//!
//! No transposed copies of the batch: a head is read from the packed projection
//! where it lies, rows 3C apart. The backward pass computes the probabilities
//! again from the kept log-sums, so that no (B, H, T, T) is held.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::linear::{affine, input_gradient, weight_gradient};
use super::{Kept, View, keep, kept, slice, to_storage, wanted, wanted_sum};
use crate::ops::kernels::small::{Left, Right, small_product};
use crate::ops::kernels::{column_sums, probabilities, softmax, softmax_backward, transpose};

/// Queries that are worked on together; keys after the last of them are left out.
const BAND: usize = 4;

pub(in crate::ops) fn attention(
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    heads: usize,
) -> Result<Tensor> {
    let op = Attention {
        heads,
        kept: Kept::new(),
    };
    x.contiguous()?.apply_op3(w, b, op)
}

struct Attention {
    heads: usize,
    kept: Kept<Forward>,
}

/// What the forward pass leaves for the backward pass.
pub(super) struct Forward {
    /// (B, T, 3C)
    qkv: Vec<f32>,
    /// ln Σ exp of each query's scores, (B, H, T).
    log_sums: Vec<f32>,
}

/// Heads of B sequences, joined again: x (B, T, C) → (B, T, C).
pub(super) fn attend(
    x: &[f32],
    w: &[f32],
    b: &[f32],
    t: usize,
    heads: usize,
) -> (Vec<f32>, Forward) {
    let c = w.len() / b.len();
    let sizes = Sizes::new(t, c, heads);
    let qkv = affine(x, w, b);
    let mut out = vec![0.0; x.len()];
    let mut log_sums = vec![0.0; x.len() / c * heads];
    qkv.par_chunks(t * 3 * c)
        .zip(out.par_chunks_mut(t * c))
        .zip(log_sums.par_chunks_mut(heads * t))
        .for_each(|((qkv, out), log_sums)| forward(sizes, qkv, out, log_sums));
    (out, Forward { qkv, log_sums })
}

/// From the gradient (B, T, C) of the result to that of qkv (B, T, 3C).
pub(super) fn attend_backward(kept: &Forward, grad: &[f32], t: usize, heads: usize) -> Vec<f32> {
    let Forward { qkv, log_sums } = kept;
    let c = heads * grad.len() / log_sums.len();
    let sizes = Sizes::new(t, c, heads);
    let mut qkv_grad = vec![0.0; qkv.len()];
    qkv.par_chunks(t * 3 * c)
        .zip(log_sums.par_chunks(heads * t))
        .zip(grad.par_chunks(t * c))
        .zip(qkv_grad.par_chunks_mut(t * 3 * c))
        .for_each(|(((qkv, log_sums), grad), out)| backward(sizes, qkv, log_sums, grad, out));
    qkv_grad
}

/// Refuses weights that do not fit x (B, T, C).
pub(super) fn check(x: &Shape, w: &Shape, b: &Shape, heads: usize) -> Result<()> {
    let (_, t, c) = x.dims3()?;
    if t == 0 || w.dims() != [c, 3 * c] || b.dims() != [3 * c] || !c.is_multiple_of(heads) {
        bail!("attention: x {x:?}, weight {w:?}, bias {b:?} and {heads} heads don't fit");
    }
    Ok(())
}

/// Sizes of one sequence.
#[derive(Clone, Copy)]
struct Sizes {
    t: usize,
    c: usize,
    heads: usize,
    /// C / H
    d: usize,
    /// T rounded up to whole vectors: the row length of score matrices.
    wide: usize,
    /// 1/√D
    scale: f32,
}

impl Sizes {
    fn new(t: usize, c: usize, heads: usize) -> Self {
        let d = c / heads;
        Self {
            t,
            c,
            heads,
            d,
            wide: t.next_multiple_of(8),
            scale: 1.0 / (d as f32).sqrt(),
        }
    }

    /// Part 0, 1, 2 (q, k, v) of a head within a sequence's packed (T, 3C).
    fn part<'a>(&self, packed: &'a [f32], head: usize, part: usize) -> &'a [f32] {
        &packed[part * self.c + head * self.d..]
    }

    /// A head's rows, transposed: (D, wide). Columns from T on stay as they are:
    /// zeros, in every head.
    fn transposed(&self, rows: &[f32], row: usize, out: &mut [f32]) {
        transpose(out, self.wide, rows, row, self.t, self.d);
    }

    /// Scores of queries from `i` on against the keys up to the last of them.
    fn scores(&self, out: &mut [f32], rows: usize, i: usize, q: &[f32], row: usize, kt: &[f32]) {
        let left = Left {
            data: &q[i * row..],
            row,
            step: 1,
        };
        let right = Right {
            data: kt,
            row: self.wide,
        };
        let keys = (i + rows).next_multiple_of(8).min(self.wide);
        small_product(out, self.wide, rows, keys, self.d, left, right);
    }
}

/// One sequence: qkv (T, 3C) → out (T, C), log-sums (H, T).
fn forward(s: Sizes, qkv: &[f32], out: &mut [f32], log_sums: &mut [f32]) {
    let row = 3 * s.c;
    let mut kt = vec![0.0; s.d * s.wide];
    let mut scores = vec![0.0; BAND * s.wide];
    for head in 0..s.heads {
        let [q, k, v] = [0, 1, 2].map(|part| s.part(qkv, head, part));
        s.transposed(k, row, &mut kt);
        for i in (0..s.t).step_by(BAND) {
            let rows = BAND.min(s.t - i);
            s.scores(&mut scores, rows, i, q, row, &kt);
            for (r, scores) in scores.chunks_exact_mut(s.wide).take(rows).enumerate() {
                let (seen, unseen) = scores.split_at_mut(i + r + 1);
                log_sums[head * s.t + i + r] = softmax(seen, s.scale);
                unseen[..rows - r - 1].fill(0.0);
            }
            let left = Left {
                data: &scores,
                row: s.wide,
                step: 1,
            };
            let right = Right { data: v, row };
            let out = &mut out[i * s.c + head * s.d..];
            small_product(out, s.c, rows, s.d, i + rows, left, right);
        }
    }
}

/// One sequence: from the gradient (T, C) of the result to that of qkv (T, 3C).
fn backward(s: Sizes, qkv: &[f32], log_sums: &[f32], grad: &[f32], out: &mut [f32]) {
    let row = 3 * s.c;
    let mut kt = vec![0.0; s.d * s.wide];
    let mut vt = vec![0.0; s.d * s.wide];
    // Probabilities, and gradients of the scores; 0 above the diagonal's bands.
    let mut p = vec![0.0; s.t * s.wide];
    let mut ds = vec![0.0; s.t * s.wide];
    for head in 0..s.heads {
        let [q, k, v] = [0, 1, 2].map(|part| s.part(qkv, head, part));
        let grad = &grad[head * s.d..];
        s.transposed(k, row, &mut kt);
        s.transposed(v, row, &mut vt);
        for i in (0..s.t).step_by(BAND) {
            let rows = BAND.min(s.t - i);
            let (p, ds) = (&mut p[i * s.wide..], &mut ds[i * s.wide..]);
            s.scores(p, rows, i, q, row, &kt);
            s.scores(ds, rows, i, grad, s.c, &vt);
            let pairs = p.chunks_exact_mut(s.wide).zip(ds.chunks_exact_mut(s.wide));
            for (r, (p, ds)) in pairs.take(rows).enumerate() {
                let (p, unseen) = p.split_at_mut(i + r + 1);
                unseen[..rows - r - 1].fill(0.0);
                let (ds, unseen) = ds.split_at_mut(i + r + 1);
                unseen[..rows - r - 1].fill(0.0);
                probabilities(p, s.scale, log_sums[head * s.t + i + r]);
                softmax_backward(p, ds, s.scale);
            }
            // dq = ds·k
            let left = Left {
                data: ds,
                row: s.wide,
                step: 1,
            };
            let right = Right { data: k, row };
            let out = &mut out[i * row + head * s.d..];
            small_product(out, row, rows, s.d, i + rows, left, right);
        }
        for j in (0..s.t).step_by(BAND) {
            let rows = BAND.min(s.t - j);
            // dk = dsᵀ·q and dv = pᵀ·grad, over the queries that saw these keys.
            for (part, scores, right, right_row) in [(1, &ds, q, row), (2, &p, grad, s.c)] {
                let left = Left {
                    data: &scores[j * s.wide + j..],
                    row: 1,
                    step: s.wide,
                };
                let right = Right {
                    data: &right[j * right_row..],
                    row: right_row,
                };
                let out = &mut out[j * row + part * s.c + head * s.d..];
                small_product(out, row, rows, s.d, s.t - j, left, right);
            }
        }
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        check(
            x_layout.shape(),
            w_layout.shape(),
            b_layout.shape(),
            self.heads,
        )?;
        let (batch, t, c) = x_layout.shape().dims3()?;
        let (out, forward) = attend(
            slice(x, x_layout)?,
            slice(w, w_layout)?,
            slice(b, b_layout)?,
            t,
            self.heads,
        );
        keep(&self.kept, forward)?;
        Ok(to_storage(out, (batch, t, c)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, t, c) = x.dims3()?;
        let grad = grad.contiguous()?;
        let (x_view, w_view, grad_view) = (View::new(x), View::new(w), View::new(&grad));
        let qkv_grad = attend_backward(kept(&self.kept)?, grad_view.get()?, t, self.heads);
        let (xs, ws) = (x_view.get()?, w_view.get()?);
        Ok((
            wanted(x, || input_gradient(&qkv_grad, ws, 3 * c))?,
            wanted_sum(w, |before| weight_gradient(before, xs, &qkv_grad, c, 3 * c))?,
            wanted(b, || column_sums(&qkv_grad, 3 * c))?,
        ))
    }
}
