//! x·w + b, with or without a GELU behind it.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Kept, View, keep, kept, slice, to_storage, wanted, wanted_sum};
use crate::ops::kernels::matrix::{Matrix, MatrixMut, new_product, product};
use crate::ops::kernels::{column_sums, gelu, gelu_and_slope, sum_into, times};

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
    add_product(&mut out, x, w, outputs);
    out
}

/// out = plus + x·w + b for dense x (N, I), w (I, O), plus and out (N, O).
pub(super) fn affine_onto(out: &mut [f32], plus: &[f32], x: &[f32], w: &[f32], b: &[f32]) {
    let outputs = b.len();
    for (out, plus) in out
        .chunks_exact_mut(outputs)
        .zip(plus.chunks_exact(outputs))
    {
        sum_into(out, plus, b);
    }
    add_product(out, x, w, outputs);
}

/// out += x·w
fn add_product(out: &mut [f32], x: &[f32], w: &[f32], outputs: usize) {
    product(
        MatrixMut::new(out, outputs),
        Matrix::new(x, w.len() / outputs),
        Matrix::new(w, outputs),
        true,
    );
}

/// Gradient of x (N, I): grad (N, O) times the transpose of w (I, O).
pub(super) fn input_gradient(grad: &[f32], w: &[f32], outputs: usize) -> Vec<f32> {
    new_product(Matrix::new(grad, outputs), Matrix::new(w, outputs).t())
}

/// Gradient of w (I, O): the transpose of x (N, I) times grad (N, O), added to what
/// there is.
pub(super) fn weight_gradient(
    before: Option<Vec<f32>>,
    x: &[f32],
    grad: &[f32],
    inputs: usize,
    outputs: usize,
) -> Vec<f32> {
    let (x, grad) = (Matrix::new(x, inputs).t(), Matrix::new(grad, outputs));
    match before {
        Some(mut sum) => {
            product(MatrixMut::new(&mut sum, outputs), x, grad, true);
            sum
        }
        None => new_product(x, grad),
    }
}

/// Passes values through the GELU.
pub(super) fn through_gelu(mut x: Vec<f32>) -> Vec<f32> {
    x.par_chunks_mut(GRAIN).for_each(gelu);
    x
}

/// The same, and the GELU's slopes there.
pub(super) fn through_gelu_with_slopes(mut x: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
    let mut out = vec![0.0; x.len()];
    let chunks = out.par_chunks_mut(GRAIN).zip(x.par_chunks_mut(GRAIN));
    chunks.for_each(|(out, x)| gelu_and_slope(x, out));
    (out, x)
}

/// From the gradient of the GELU's result to that of its argument, in place.
pub(super) fn back_through_gelu(grad: &mut [f32], slopes: &[f32]) {
    let chunks = grad.par_chunks_mut(GRAIN).zip(slopes.par_chunks(GRAIN));
    chunks.for_each(|(grad, slopes)| times(grad, slopes));
}

#[derive(Default)]
struct Linear {
    gelu: bool,
    /// Of the GELU at x·w + b, when one follows.
    slopes: Kept<Vec<f32>>,
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
        let (out, slopes) = through_gelu_with_slopes(before);
        keep(&self.slopes, slopes)?;
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
            back_through_gelu(&mut values, kept(&self.slopes)?);
            through_gelu = values;
            &through_gelu
        } else {
            grad_view.get()?
        };
        Ok((
            wanted(x, || input_gradient(grad, ws, outputs))?,
            wanted_sum(w, |before| {
                weight_gradient(before, xs, grad, inputs, outputs)
            })?,
            wanted(b, || column_sums(grad, outputs))?,
        ))
    }
}
