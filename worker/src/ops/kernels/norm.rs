//! LayerNorm of rows.

use super::rows::add;
use super::{dispatch, fma, sum_of, sum_of_pairs};

/// Mean and 1/√(variance + ε) of a row.
pub(in crate::ops) type Moments = [f32; 2];

dispatch! {
    /// Normalises each row of `width`; tells its moments.
    pub fn norm(
        x: &[f32],
        gain: &[f32],
        bias: &[f32],
        epsilon: f32,
        out: &mut [f32],
        moments: &mut [Moments],
    ) = forward;
}

dispatch! {
    /// From the gradient of the result: that of `x` (if wanted; plus the gradient
    /// that comes to `x` past the norm), and sums over the rows for gain and bias
    /// (added to what is there, if wanted).
    pub fn norm_backward(
        x: &[f32],
        gain: &[f32],
        moments: &[Moments],
        grad: &[f32],
        past: Option<&[f32]>,
        x_grad: Option<&mut [f32]>,
        sums: Option<(&mut [f32], &mut [f32])>,
    ) = backward;
}

#[inline(always)]
fn forward<const FMA: bool>(
    x: &[f32],
    gain: &[f32],
    bias: &[f32],
    epsilon: f32,
    out: &mut [f32],
    moments: &mut [Moments],
) {
    let width = gain.len();
    let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for ((x, out), moments) in rows.zip(moments) {
        let mean = sum_of(x, |v| v) / width as f32;
        let variance = sum_of(x, |v| (v - mean) * (v - mean)) / width as f32;
        let scale = 1.0 / (variance + epsilon).sqrt();
        *moments = [mean, scale];
        for (((out, &x), &gain), &bias) in out.iter_mut().zip(x).zip(gain).zip(bias) {
            *out = fma::<FMA>((x - mean) * scale, gain, bias);
        }
    }
}

#[inline(always)]
fn backward<const FMA: bool>(
    x: &[f32],
    gain: &[f32],
    moments: &[Moments],
    grad: &[f32],
    past: Option<&[f32]>,
    x_grad: Option<&mut [f32]>,
    sums: Option<(&mut [f32], &mut [f32])>,
) {
    let width = gain.len();
    if let Some((gain_sum, bias_sum)) = sums {
        let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
        for ((x, grad), &[mean, scale]) in rows.zip(moments) {
            let sums = gain_sum.iter_mut().zip(bias_sum.iter_mut());
            for (((gain_sum, bias_sum), &x), &g) in sums.zip(x).zip(grad) {
                *gain_sum = fma::<FMA>((x - mean) * scale, g, *gain_sum);
                *bias_sum += g;
            }
        }
    }
    let Some(x_grad) = x_grad else { return };
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
    let rows = rows.zip(x_grad.chunks_exact_mut(width)).zip(moments);
    for (i, (((x, grad), out), &[mean, scale])) in rows.enumerate() {
        // First the gradient of the normed value n, h = g·gain; then
        // dx = scale·(h - mean(h) - n·mean(h·n)).
        for ((out, &g), &gain) in out.iter_mut().zip(grad).zip(gain) {
            *out = g * gain;
        }
        let of_h = sum_of(out, |h| h) / width as f32;
        let of_hn = sum_of_pairs(out, x, |h, x| h * ((x - mean) * scale)) / width as f32;
        for (out, &x) in out.iter_mut().zip(x) {
            *out = scale * (*out - of_h - (x - mean) * scale * of_hn);
        }
        if let Some(past) = past {
            add::<FMA>(out, &past[i * width..][..width]);
        }
    }
}
