//! LayerNorm over the last axis.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Kept, View, keep, kept, slice, to_storage, wanted};
use crate::ops::kernels::{add_to, norm, norm_backward};

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
    moments: Kept<Vec<[f32; 2]>>,
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
        let x: &[f32] = slice(x, x_layout)?;
        let (gain, bias) = (slice(gain, gain_layout)?, slice(bias, bias_layout)?);
        let mut out = vec![0.0; x.len()];
        let mut moments = vec![[0.0; 2]; x.len() / width];
        x.par_chunks(ROWS * width)
            .zip(out.par_chunks_mut(ROWS * width))
            .zip(moments.par_chunks_mut(ROWS))
            .for_each(|((x, out), moments)| norm(x, gain, bias, self.epsilon, out, moments));
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
        let width = gain.dim(0)?;
        let grad = grad.contiguous()?;
        let (x_view, gain_view, grad_view) = (View::new(x), View::new(gain), View::new(&grad));
        let (xs, gains) = (x_view.get::<f32>()?, gain_view.get::<f32>()?);
        let grad = grad_view.get::<f32>()?;
        let moments = kept(&self.moments)?;

        let want_x = x.track_op();
        let want_sums = gain.track_op() || bias.track_op();
        let mut x_grad = vec![0.0; if want_x { xs.len() } else { 0 }];
        let groups = moments.len().div_ceil(ROWS);
        // Of each group: gain's sums, then bias's.
        let mut sums = vec![0.0; if want_sums { groups * 2 * width } else { 0 }];
        let size = ROWS * width;
        let mut x_parts: Vec<_> = match want_x {
            true => x_grad.chunks_mut(size).map(Some).collect(),
            false => (0..groups).map(|_| None).collect(),
        };
        let mut sum_parts: Vec<_> = match want_sums {
            true => sums.chunks_mut(2 * width).map(Some).collect(),
            false => (0..groups).map(|_| None).collect(),
        };
        x_parts
            .par_iter_mut()
            .zip(&mut sum_parts)
            .zip(moments.par_chunks(ROWS))
            .zip(xs.par_chunks(size).zip(grad.par_chunks(size)))
            .for_each(|(((x_part, sum_part), moments), (x, grad))| {
                let sums = sum_part.as_deref_mut().map(|sums| sums.split_at_mut(width));
                norm_backward(x, gains, moments, grad, x_part.as_deref_mut(), sums);
            });
        let mut total = vec![0.0; 2 * width];
        for part in sums.chunks_exact(2 * width) {
            add_to(&mut total, part);
        }
        let of_bias = total.split_off(width);
        Ok((
            wanted(x, || x_grad)?,
            wanted(gain, || total)?,
            wanted(bias, || of_bias)?,
        ))
    }
}
