//! The operations built from the tensor library's, with its automatic backward.
//!
//! Parameters are f32 and are cast to the type of the activations where they are
//! used, so that mixed precision is the caller's choice of that type alone.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::{layer_norm_slow, softmax};

use super::lean::{product, times_constant};
use super::{Affine, Norm};

pub(super) fn embed(ids: &Tensor, wte: &Tensor, wpe: &Tensor) -> Result<Tensor> {
    let (b, t) = ids.dims2()?;
    let c = wte.dim(1)?;
    let tokens = wte
        .index_select(&ids.flatten_all()?, 0)?
        .reshape((b, t, c))?; // (B, T, C)
    tokens.broadcast_add(&wpe.narrow(0, 0, t)?)
}

pub(super) fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    // In f32 whatever the activations are: their variance needs it.
    layer_norm_slow(&x.to_dtype(DType::F32)?, gain, bias, epsilon as f32)?.to_dtype(x.dtype())
}

pub(super) fn linear(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (inputs, outputs) = w.dims2()?;
    let mut shape = x.dims().to_vec();
    let rows = x.elem_count() / inputs;
    *shape.last_mut().expect("x has an axis of inputs") = outputs;
    product(&x.reshape((rows, inputs))?, &w.to_dtype(x.dtype())?)? // (N, O)
        .broadcast_add(&b.to_dtype(x.dtype())?)?
        .reshape(shape) // (…, O)
}

pub(super) fn attention(x: &Tensor, w: &Tensor, b: &Tensor, heads: usize) -> Result<Tensor> {
    let (_, t, c) = x.dims3()?;
    let qkv = linear(x, w, b)?; // (B, T, 3C)
    let part = |i: usize| split(&qkv.narrow(D::Minus1, i * c, c)?, heads);
    let (q, k, v) = (part(0)?, part(1)?, part(2)?); // (B, H, T, D)
    attend(&q, &k, &v, Some(&causal(t, x.dtype(), x.device())?), None)
}

pub(super) fn attention_last(x: &Tensor, w: &Tensor, b: &Tensor, heads: usize) -> Result<Tensor> {
    let (_, t, c) = x.dims3()?;
    let last = x.narrow(1, t - 1, 1)?; // (B, 1, C)
    // Copied out: a GPU's product takes no columns of a wider matrix.
    let columns = |from: usize, count: usize| w.narrow(1, from, count)?.contiguous();
    let q = linear(&last, &columns(0, c)?, &b.narrow(0, 0, c)?)?; // (B, 1, C)
    let q = split(&q, heads)?; // (B, H, 1, D)
    let kv = linear(x, &columns(c, 2 * c)?, &b.narrow(0, c, 2 * c)?)?; // (B, T, 2C)
    let k = split(&kv.narrow(D::Minus1, 0, c)?, heads)?; // (B, H, T, D)
    let v = split(&kv.narrow(D::Minus1, c, c)?, heads)?; // (B, H, T, D)
    attend(&q, &k, &v, None, None)?.squeeze(1) // (B, C)
}

pub(super) fn self_attention(
    x: &Tensor,
    norm: Norm<'_>,
    qkv: Affine<'_>,
    projection: Affine<'_>,
    heads: usize,
) -> Result<Tensor> {
    let normed = layer_norm(x, norm.gain, norm.bias, norm.epsilon)?; // (B, T, C)
    let joined = attention(&normed, qkv.weight, qkv.bias, heads)?; // (B, T, C)
    x + linear(&joined, projection.weight, projection.bias)?
}

pub(super) fn mlp(
    x: &Tensor,
    norm: Norm<'_>,
    inner: Affine<'_>,
    outer: Affine<'_>,
) -> Result<Tensor> {
    let normed = layer_norm(x, norm.gain, norm.bias, norm.epsilon)?; // (…, C)
    let hidden = linear(&normed, inner.weight, inner.bias)?.gelu()?; // (…, F)
    x + linear(&hidden, outer.weight, outer.bias)?
}

/// Attention from the packed projection on, some of whose probabilities are
/// dropped: qkv (B, T, 3C), kept (B, H, S, T) → (B, S, C). S queries, the last
/// ones: all, or one.
pub(super) fn attend_dropping(qkv: &Tensor, heads: usize, kept: &Tensor) -> Result<Tensor> {
    let (_, t, width) = qkv.dims3()?;
    let (c, s) = (width / 3, kept.dim(2)?);
    let part = |i: usize| qkv.narrow(D::Minus1, i * c, c);
    let q = split(&part(0)?.narrow(1, t - s, s)?, heads)?; // (B, H, S, D)
    let (k, v) = (split(&part(1)?, heads)?, split(&part(2)?, heads)?); // (B, H, T, D)
    let mask = causal(t, qkv.dtype(), qkv.device())?.narrow(0, t - s, s)?; // (S, T)
    attend(&q, &k, &v, Some(&mask), Some(kept))
}

/// (B, T, C) → (B, H, T, D).
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, t, c) = x.dims3()?;
    x.reshape((b, t, heads, c / heads))?
        .transpose(1, 2)?
        .contiguous()
}

/// softmax(q·kᵀ/√D)·v, with heads joined again: (B, S, C) for S queries. `kept`
/// scales the probabilities.
fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    kept: Option<&Tensor>,
) -> Result<Tensor> {
    let (b, h, s, d) = q.dims4()?;
    let scores = (q.matmul(&k.t()?.contiguous()?)? / (d as f64).sqrt())?; // (B, H, S, T)
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    // In f32 whatever the activations are, as the sum of many small terms needs it.
    let p = softmax(&scores.to_dtype(DType::F32)?, D::Minus1)?.to_dtype(v.dtype())?; // (B, H, S, T)
    let p = match kept {
        Some(kept) => times_constant(&p, kept)?,
        None => p,
    };
    p.matmul(v)? // (B, H, S, D)
        .transpose(1, 2)?
        .reshape((b, s, h * d)) // (B, S, C)
}

pub(super) fn scores(q: &Tensor, k: &Tensor, heads: usize) -> Result<Tensor> {
    let (s, t) = (q.dim(1)?, k.dim(1)?);
    let (q, k) = (split(q, heads)?, split(k, heads)?); // (B, H, S, D), (B, H, T, D)
    let mask = causal(t, q.dtype(), q.device())?.narrow(0, t - s, s)?; // (S, T)
    let d = q.dim(3)? as f64;
    (q.matmul(&k.t()?.contiguous()?)? / d.sqrt())?.broadcast_add(&mask) // (B, H, S, T)
}

pub(super) fn pattern(scores: &Tensor) -> Result<Tensor> {
    softmax(scores, D::Minus1)
}

pub(super) fn mixed(p: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, _, s, _) = p.dims4()?;
    let c = v.dim(2)?;
    p.contiguous()?
        .matmul(&split(v, heads)?)? // (B, H, S, D)
        .transpose(1, 2)?
        .reshape((b, s, c)) // (B, S, C)
}

/// 0 where token i may look at token j, -∞ after it: (T, T).
fn causal(t: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = (0..t)
        .flat_map(|i| (0..t).map(move |j| if j > i { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(values, (t, t), device)?.to_dtype(dtype)
}

pub(super) fn logits(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    product(x, &w.to_dtype(x.dtype())?.t()?)?.to_dtype(DType::F32)
}

pub(super) fn head_loss(x: &Tensor, w: &Tensor, targets: &Tensor) -> Result<Tensor> {
    candle_nn::loss::cross_entropy(&logits(x, w)?, targets)
}
