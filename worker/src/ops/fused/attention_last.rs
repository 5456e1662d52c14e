//! Attention of the last position alone, with its projection.
//!
//! The last query sees every key, so there is no mask; earlier positions need
//! only k and v. Sequences are taken one at a time, so a head is a few dot
//! products.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::attention::check;
use super::{Kept, View, keep, kept, slice, to_storage, wanted, wanted_sum};
use crate::ops::kernels::matrix::{Matrix, MatrixMut, new_product, product};
use crate::ops::kernels::small::{Left, Right, small_product};
use crate::ops::kernels::{column_sums, dots, outer, softmax, softmax_backward};

pub(in crate::ops) fn attention_last(
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    heads: usize,
) -> Result<Tensor> {
    let op = AttentionLast {
        heads,
        kept: Kept::new(),
    };
    x.contiguous()?.apply_op3(w, b, op)
}

struct AttentionLast {
    heads: usize,
    kept: Kept<Forward>,
}

/// What the forward pass leaves for the backward pass.
pub(super) struct Forward {
    /// Of the last positions, (B, C).
    q: Vec<f32>,
    /// Of all, (B, T, 2C).
    kv: Vec<f32>,
    /// Probabilities (B, H, T).
    p: Vec<f32>,
}

/// x (B, T, C) with its last positions (B, C), which lie T·C apart.
fn last_rows(x: &[f32], t: usize, c: usize) -> Matrix<'_> {
    Matrix::strided(&x[(t - 1) * c..], x.len() / (t * c), c, t * c)
}

/// `rows` copies of a bias.
fn repeated(bias: &[f32], rows: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows * bias.len());
    for _ in 0..rows {
        out.extend_from_slice(bias);
    }
    out
}

/// One sequence: q (C), kv (T, 2C) → out (C), p (H, T).
fn forward(q: &[f32], kv: &[f32], out: &mut [f32], p: &mut [f32]) {
    let (c, t) = (q.len(), kv.len() / (2 * q.len()));
    let d = c / (p.len() / t);
    let scale = 1.0 / (d as f32).sqrt();
    for (head, p) in p.chunks_exact_mut(t).enumerate() {
        dots(p, &q[head * d..][..d], &kv[head * d..], 2 * c);
        softmax(p, scale);
        let left = Left {
            data: p,
            row: t,
            step: 1,
        };
        let right = Right {
            data: &kv[c + head * d..],
            row: 2 * c,
        };
        small_product(&mut out[head * d..], c, 1, d, t, left, right);
    }
}

/// One sequence: from the gradient (C) of the result to those of q (C) and kv (T, 2C).
fn backward(
    q: &[f32],
    kv: &[f32],
    p: &[f32],
    grad: &[f32],
    q_grad: &mut [f32],
    kv_grad: &mut [f32],
) {
    let (c, t) = (q.len(), kv.len() / (2 * q.len()));
    let d = c / (p.len() / t);
    let scale = 1.0 / (d as f32).sqrt();
    let mut ds = vec![0.0; t];
    for (head, p) in p.chunks_exact(t).enumerate() {
        let (q, grad) = (&q[head * d..][..d], &grad[head * d..][..d]);
        dots(&mut ds, grad, &kv[c + head * d..], 2 * c);
        softmax_backward(p, &mut ds, scale);
        let left = Left {
            data: &ds,
            row: t,
            step: 1,
        };
        let right = Right {
            data: &kv[head * d..],
            row: 2 * c,
        };
        small_product(&mut q_grad[head * d..], c, 1, d, t, left, right);
        outer(&mut kv_grad[head * d..], 2 * c, &ds, q);
        outer(&mut kv_grad[c + head * d..], 2 * c, p, grad);
    }
}

/// Heads of the last positions of B sequences, joined again: x (B, T, C) → (B, C).
pub(super) fn attend(
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    t: usize,
    heads: usize,
) -> (Vec<f32>, Forward) {
    let c = w.len() / bias.len();
    let batch = x.len() / (t * c);
    let mut q = repeated(&bias[..c], batch);
    let of_q = Matrix::strided(w, c, c, 3 * c);
    product(MatrixMut::new(&mut q, c), last_rows(x, t, c), of_q, true);
    let mut kv = repeated(&bias[c..], batch * t);
    let of_kv = Matrix::strided(&w[c..], c, 2 * c, 3 * c);
    product(
        MatrixMut::new(&mut kv, 2 * c),
        Matrix::new(x, c),
        of_kv,
        true,
    );
    let mut out = vec![0.0; batch * c];
    let mut p = vec![0.0; batch * heads * t];
    q.par_chunks(c)
        .zip(kv.par_chunks(t * 2 * c))
        .zip(out.par_chunks_mut(c))
        .zip(p.par_chunks_mut(heads * t))
        .for_each(|(((q, kv), out), p)| forward(q, kv, out, p));
    (out, Forward { q, kv, p })
}

/// Gradients of q (B, C) and kv (B, T, 2C).
pub(super) struct Gradients {
    q: Vec<f32>,
    kv: Vec<f32>,
    t: usize,
    c: usize,
}

impl Gradients {
    /// From the gradient (B, C) of the result.
    pub fn new(kept: &Forward, grad: &[f32], t: usize, c: usize) -> Self {
        let Forward { q, kv, p } = kept;
        let mut q_grad = vec![0.0; q.len()];
        let mut kv_grad = vec![0.0; kv.len()];
        let heads_t = p.len() * c / q.len();
        q.par_chunks(c)
            .zip(kv.par_chunks(t * 2 * c))
            .zip(p.par_chunks(heads_t))
            .zip(grad.par_chunks(c))
            .zip(q_grad.par_chunks_mut(c))
            .zip(kv_grad.par_chunks_mut(t * 2 * c))
            .for_each(|(((((q, kv), p), grad), q_grad), kv_grad)| {
                backward(q, kv, p, grad, q_grad, kv_grad);
            });
        Self {
            q: q_grad,
            kv: kv_grad,
            t,
            c,
        }
    }

    /// Of x (B, T, C).
    pub fn of_x(&self, w: &[f32]) -> Vec<f32> {
        let (t, c, rows) = (self.t, self.c, self.q.len() / self.c);
        let w_kv = Matrix::strided(&w[c..], c, 2 * c, 3 * c);
        let mut out = new_product(Matrix::new(&self.kv, 2 * c), w_kv.t());
        let last = MatrixMut::strided(&mut out[(t - 1) * c..], rows, c, t * c);
        let w_q = Matrix::strided(w, c, c, 3 * c);
        product(last, Matrix::new(&self.q, c), w_q.t(), true);
        out
    }

    /// Of the weight (C, 3C), added to what there is.
    pub fn of_w(&self, before: Option<Vec<f32>>, x: &[f32]) -> Vec<f32> {
        let (t, c) = (self.t, self.c);
        let add = before.is_some();
        let mut out = before.unwrap_or_else(|| vec![0.0; c * 3 * c]);
        let part = MatrixMut::strided(&mut out, c, c, 3 * c);
        product(part, last_rows(x, t, c).t(), Matrix::new(&self.q, c), add);
        let part = MatrixMut::strided(&mut out[c..], c, 2 * c, 3 * c);
        product(
            part,
            Matrix::new(x, c).t(),
            Matrix::new(&self.kv, 2 * c),
            add,
        );
        out
    }

    /// Of the bias (3C).
    pub fn of_b(&self) -> Vec<f32> {
        let mut out = column_sums(&self.q, self.c);
        out.extend(column_sums(&self.kv, 2 * self.c));
        out
    }
}

impl CustomOp3 for AttentionLast {
    fn name(&self) -> &'static str {
        "attention-last"
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
        Ok(to_storage(out, (batch, c)))
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
        let (xs, ws) = (x_view.get()?, w_view.get()?);
        let gradients = Gradients::new(kept(&self.kept)?, grad_view.get()?, t, c);
        Ok((
            wanted(x, || gradients.of_x(ws))?,
            wanted_sum(w, |before| gradients.of_w(before, xs))?,
            wanted(b, || gradients.of_b())?,
        ))
    }
}
