//! LayerNorm over the last axis.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Kept, View, keep, kept, slice, to_storage, wanted};
use crate::ops::kernels::{Moments, add_to, norm, norm_backward};

/// Rows of one task. The sums for gain and bias are taken over each such group
/// and then over the groups, whoever ran them.
const ROWS: usize = 64;

pub(in crate::ops) fn layer_norm(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let op = LayerNorm {
        epsilon: epsilon as f32,
        moments: Kept::new(),
    };
    x.contiguous()?.apply_op3(gain, bias, op)
}

struct LayerNorm {
    epsilon: f32,
    /// Of each row.
    moments: Kept<Vec<Moments>>,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = gain_layout.shape().dims1()?;
        if x_layout.dims().last() != Some(&width) || bias_layout.dims() != [width] {
            candle_core::bail!(
                "layer norm: x {:?}, gain {:?} and bias {:?} don't fit",
                x_layout.shape(),
                gain_layout.shape(),
                bias_layout.shape()
            );
        }
        let (out, moments) = normalise(
            slice(x, x_layout)?,
            slice(gain, gain_layout)?,
            slice(bias, bias_layout)?,
            self.epsilon,
        );
        keep(&self.moments, moments)?;
        Ok(to_storage(out, x_layout.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_view, gain_view, grad_view) = (View::new(x), View::new(gain), View::new(&grad));
        let back = Backward {
            x: x_view.get()?,
            gain: gain_view.get()?,
            moments: kept(&self.moments)?,
            past: None,
        };
        let want_sums = gain.track_op() || bias.track_op();
        let (x_grad, mut of_gain) = back.run(grad_view.get()?, x.track_op(), want_sums);
        let of_bias = of_gain.split_off(of_gain.len() / 2);
        Ok((
            wanted(x, || x_grad)?,
            wanted(gain, || of_gain)?,
            wanted(bias, || of_bias)?,
        ))
    }
}

/// Each row of x normalised, and its moments.
pub(super) fn normalise(
    x: &[f32],
    gain: &[f32],
    bias: &[f32],
    epsilon: f32,
) -> (Vec<f32>, Vec<Moments>) {
    let width = gain.len();
    let mut out = vec![0.0; x.len()];
    let mut moments = vec![[0.0; 2]; x.len() / width];
    x.par_chunks(ROWS * width)
        .zip(out.par_chunks_mut(ROWS * width))
        .zip(moments.par_chunks_mut(ROWS))
        .for_each(|((x, out), moments)| norm(x, gain, bias, epsilon, out, moments));
    (out, moments)
}

/// What the way back through a norm reads.
pub(super) struct Backward<'a> {
    pub x: &'a [f32],
    pub gain: &'a [f32],
    pub moments: &'a [Moments],
    /// The gradient that comes to x past the norm, if any does.
    pub past: Option<&'a [f32]>,
}

impl Backward<'_> {
    /// From the gradient of the result: that of x, and the sums for gain and then
    /// bias; empty what is not wanted.
    pub fn run(&self, grad: &[f32], want_x: bool, want_sums: bool) -> (Vec<f32>, Vec<f32>) {
        let width = self.gain.len();
        let size = ROWS * width;
        let groups = self.moments.len().div_ceil(ROWS);
        let mut x_grad = vec![0.0; if want_x { self.x.len() } else { 0 }];
        // Of each group: gain's sums, then bias's.
        let mut sums = vec![0.0; if want_sums { groups * 2 * width } else { 0 }];
        let mut x_parts: Vec<_> = x_grad.chunks_mut(size).map(Some).collect();
        let mut sum_parts: Vec<_> = sums.chunks_mut(2 * width).map(Some).collect();
        x_parts.resize_with(groups, || None);
        sum_parts.resize_with(groups, || None);
        x_parts
            .par_iter_mut()
            .zip(&mut sum_parts)
            .zip(self.moments.par_chunks(ROWS))
            .zip(self.x.par_chunks(size).zip(grad.par_chunks(size)))
            .enumerate()
            .for_each(|(i, (((x_part, sum_part), moments), (x, grad)))| {
                let past = self.past.map(|past| &past[i * size..][..x.len()]);
                let sums = sum_part.as_deref_mut().map(|sums| sums.split_at_mut(width));
                let x_part = x_part.as_deref_mut();
                norm_backward(x, self.gain, moments, grad, past, x_part, sums);
            });
        let mut total = vec![0.0; if want_sums { 2 * width } else { 0 }];
        for part in sums.chunks_exact(2 * width) {
            add_to(&mut total, part);
        }
        (x_grad, total)
    }
}
