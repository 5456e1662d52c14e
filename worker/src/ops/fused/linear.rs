//! x·w + b, with or without a GELU behind it.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Kept, View, keep, kept, slice, to_storage, wanted};
use crate::ops::kernels::matrix::{Matrix, MatrixMut, new_product, product};
use crate::ops::kernels::{column_sums, gelu, gelu_backward};

/// Elements that one task passes through the GELU.
const GRAIN: usize = 1 << 14;

pub(in crate::ops) fn linear(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(w, b, Linear::default())
}

pub(in crate::ops) fn linear_gelu(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let op = Linear {
        gelu: true,
        ..Linear::default()
    };
    x.contiguous()?.apply_op3(w, b, op)
}

/// x·w + b for dense x (N, I) and w (I, O) → (N, O).
pub(super) fn affine(x: &[f32], w: &[f32], b: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (w.len() / b.len(), b.len());
    let rows = x.len() / inputs;
    let mut out = Vec::with_capacity(rows * outputs);
    for _ in 0..rows {
        out.extend_from_slice(b);
    }
    product(
        MatrixMut::new(&mut out, outputs),
        Matrix::new(x, inputs),
        Matrix::new(w, outputs),
        true,
    );
    out
}

/// Gradient of x (N, I): grad (N, O) times the transpose of w (I, O).
pub(super) fn input_gradient(grad: &[f32], w: &[f32], outputs: usize) -> Vec<f32> {
    new_product(Matrix::new(grad, outputs), Matrix::new(w, outputs).t())
}

/// Gradient of w (I, O): the transpose of x (N, I) times grad (N, O).
pub(super) fn weight_gradient(x: &[f32], grad: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    new_product(Matrix::new(x, inputs).t(), Matrix::new(grad, outputs))
}

#[derive(Default)]
struct Linear {
    gelu: bool,
    /// x·w + b, when a GELU follows.
    before: Kept<Vec<f32>>,
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (inputs, outputs) = w_layout.shape().dims2()?;
        let mut shape = x_layout.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == inputs && b_layout.dims() == [outputs] => *last = outputs,
            _ => candle_core::bail!(
                "linear: x {:?}, weight {:?} and bias {:?} don't fit",
                x_layout.shape(),
                w_layout.shape(),
                b_layout.shape()
            ),
        }
        let before = affine(
            slice(x, x_layout)?,
            slice(w, w_layout)?,
            slice(b, b_layout)?,
        );
        if !self.gelu {
            return Ok(to_storage(before, shape));
        }
        let mut out = vec![0.0; before.len()];
        let chunks = out.par_chunks_mut(GRAIN).zip(before.par_chunks(GRAIN));
        chunks.for_each(|(out, x)| gelu(x, out));
        keep(&self.before, before)?;
        Ok(to_storage(out, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (inputs, outputs) = w.dims2()?;
        let grad = grad.contiguous()?;
        let (x_view, w_view, grad_view) = (View::new(x), View::new(w), View::new(&grad));
        let (xs, ws) = (x_view.get()?, w_view.get()?);
        let through_gelu;
        let grad: &[f32] = if self.gelu {
            let mut values = grad_view.get::<f32>()?.to_vec();
            let chunks = values.par_chunks_mut(GRAIN);
            chunks
                .zip(kept(&self.before)?.par_chunks(GRAIN))
                .for_each(|(grad, x)| gelu_backward(x, grad));
            through_gelu = values;
            &through_gelu
        } else {
            grad_view.get()?
        };
        Ok((
            wanted(x, || input_gradient(grad, ws, outputs))?,
            wanted(w, || weight_gradient(xs, grad, inputs, outputs))?,
            wanted(b, || column_sums(grad, outputs))?,
        ))
    }
}
