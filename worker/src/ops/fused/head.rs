//! Unembedding and mean cross-entropy in one.
//!
//! The forward pass computes the gradients too, while a chunk of logits is at
//! hand: all logits at once would be the largest tensor of a training step.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{slice, to_storage, wanted};
use crate::ops::kernels::cross_entropy_row;
use crate::ops::kernels::matrix::{Matrix, MatrixMut, product};

pub(in crate::ops) fn head_loss(x: &Tensor, w: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let op = HeadLoss {
        want_x: x.track_op(),
        want_w: w.track_op(),
        gradients: Mutex::default(),
    };
    let targets = targets.contiguous()?;
    x.contiguous()?.apply_op3(&w.contiguous()?, &targets, op)
}

/// Rows of a chunk: about 8 million logits. A function of the vocabulary alone,
/// as the gradient of `w` is summed chunk by chunk.
fn chunk_rows(vocab: usize) -> usize {
    ((1 << 23) / vocab).clamp(64, 1024)
}

struct HeadLoss {
    want_x: bool,
    want_w: bool,
    /// Of x and w, for a gradient of 1 above; empty if not wanted. The backward pass
    /// takes them: the second is as large as the unembedding.
    gradients: Mutex<Option<(Vec<f32>, Vec<f32>)>>,
}

impl CustomOp3 for HeadLoss {
    fn name(&self) -> &'static str {
        "head-loss"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, c) = x_layout.shape().dims2()?;
        let (vocab, w_c) = w_layout.shape().dims2()?;
        if n == 0 || w_c != c || targets_layout.dims() != [n] {
            bail!(
                "head loss: x {:?}, unembedding {:?} and targets {:?} don't fit",
                x_layout.shape(),
                w_layout.shape(),
                targets_layout.shape()
            );
        }
        let targets: &[u32] = slice(targets, targets_layout)?;
        if let Some(id) = targets.iter().find(|&&id| id as usize >= vocab) {
            bail!("head loss: target {id} among {vocab} tokens");
        }
        let (x, w): (&[f32], &[f32]) = (slice(x, x_layout)?, slice(w, w_layout)?);
        let weight = 1.0 / n as f32;
        let rows = chunk_rows(vocab);
        let mut losses = vec![0.0f32; n];
        let mut x_grad = vec![0.0; if self.want_x { x.len() } else { 0 }];
        let mut w_grad = vec![0.0; if self.want_w { w.len() } else { 0 }];
        let mut buffer = vec![0.0; rows.min(n) * vocab];
        for from in (0..n).step_by(rows) {
            let count = rows.min(n - from);
            let x = Matrix::new(&x[from * c..][..count * c], c);
            let logits = &mut buffer[..count * vocab]; // (count, V)
            product(
                MatrixMut::new(logits, vocab),
                x,
                Matrix::new(w, c).t(),
                false,
            );
            logits
                .par_chunks_mut(vocab)
                .zip(&targets[from..][..count])
                .zip(&mut losses[from..][..count])
                .for_each(|((row, &target), loss)| {
                    *loss = cross_entropy_row(row, target as usize, weight);
                });
            let grad = Matrix::new(logits, vocab);
            if self.want_x {
                let out = MatrixMut::new(&mut x_grad[from * c..][..count * c], c);
                product(out, grad, Matrix::new(w, c), false);
            }
            if self.want_w {
                product(MatrixMut::new(&mut w_grad, c), grad.t(), x, from > 0);
            }
        }
        *self.gradients.lock().expect("no panic while held") = Some((x_grad, w_grad));
        let mean = losses.iter().map(|&l| f64::from(l)).sum::<f64>() / n as f64;
        Ok(to_storage(vec![mean as f32], ()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _targets: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let above = grad.to_scalar::<f32>()?;
        let taken = self.gradients.lock().expect("no panic while held").take();
        let Some((x_grad, w_grad)) = taken else {
            bail!("a head loss has one backward pass, after its forward pass");
        };
        let scaled = |mut values: Vec<f32>| {
            if above != 1.0 {
                values.par_iter_mut().for_each(|value| *value *= above);
            }
            values
        };
        Ok((
            wanted(x, || scaled(x_grad))?,
            wanted(w, || scaled(w_grad))?,
            None,
        ))
    }
}
