//! The operations of a GPT-2, each in two implementations behind one function.
//!
//! *Fused*: own CPU kernels with their own backward pass, f32. *Composite*: built
//! from the tensor library's operations, for any device. The two are tested
//! against each other, forward and every gradient. One sweep uses one of them:
//! they agree to rounding, not to the bit.
//!
//! Beware of the tensor library's own fused operations (`LayerNorm`,
//! `softmax_last_dim`, …): they have no backward pass and stop the gradient
//! without a word. None is used here.
//!
//! B batch, T tokens, C width, F inner width, H heads, D = C / H, V vocabulary,
//! N rows. Weights of linear layers are (in, out).

mod collect;
mod composite;
mod fused;
mod kernels;
mod lean;
#[cfg(test)]
mod tests;

pub use collect::collecting;
#[cfg(test)]
pub(crate) use kernels::matrix::products_of_this_thread;
pub use seedbed_proto::job::Ops;

use candle_core::{Result, Tensor};

/// Lets NVIDIA GPUs round the factors of f32 products to TF32, or forbids it. This
/// holds for the whole process: a worker runs one job at a time.
pub fn round_products(allowed: bool) {
    candle_core::cuda::set_gemm_reduced_precision_f32(allowed);
}

/// Token plus position embedding: ids (B, T), wte (V, C), wpe (P, C) → (B, T, C).
pub fn embed(ops: Ops, ids: &Tensor, wte: &Tensor, wpe: &Tensor) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::embed(ids, wte, wpe),
        Ops::Composite => composite::embed(ids, wte, wpe),
    }
}

/// LayerNorm over the last axis: x (…, C) → (…, C).
pub fn layer_norm(
    ops: Ops,
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::layer_norm(x, gain, bias, epsilon),
        Ops::Composite => composite::layer_norm(x, gain, bias, epsilon),
    }
}

/// x·w + b: x (…, I), w (I, O), b (O) → (…, O).
pub fn linear(ops: Ops, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::linear(x, w, b),
        Ops::Composite => composite::linear(x, w, b),
    }
}

/// gelu(x·w + b), the tanh form: x (…, I), w (I, O), b (O) → (…, O).
pub fn linear_gelu(ops: Ops, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::linear_gelu(x, w, b),
        Ops::Composite => composite::linear(x, w, b)?.gelu(),
    }
}

/// Causal self-attention from the normed stream up to (not with) the output
/// projection: x (B, T, C), w (C, 3C) packs q, k, v, b (3C) → (B, T, C).
pub fn attention(ops: Ops, x: &Tensor, w: &Tensor, b: &Tensor, heads: usize) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::attention(x, w, b, heads),
        Ops::Composite => composite::attention(x, w, b, heads),
    }
}

/// [`attention`] of the last position alone, which needs only k and v of the
/// others: → (B, C). Exactly the last row, at a third of the cost.
pub fn attention_last(
    ops: Ops,
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    heads: usize,
) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::attention_last(x, w, b, heads),
        Ops::Composite => composite::attention_last(x, w, b, heads),
    }
}

/// Causal attention from the projections on, without a backward pass: q (B, S, C) of
/// the last S positions, k and v (B, T, C) of all → (B, S, C).
pub fn attend(ops: Ops, q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::attend(q, k, v, heads),
        Ops::Composite => mixed(&pattern(&scores(q, k, heads)?)?, v, heads),
    }
}

/// Scaled scores of the last S queries, -∞ where a key is later: q (B, S, C),
/// k (B, T, C) → (B, H, S, T).
pub fn scores(q: &Tensor, k: &Tensor, heads: usize) -> Result<Tensor> {
    composite::scores(q, k, heads)
}

/// Softmax over the keys: (B, H, S, T) → (B, H, S, T).
pub fn pattern(scores: &Tensor) -> Result<Tensor> {
    composite::pattern(scores)
}

/// Values mixed by a pattern, heads side by side: p (B, H, S, T), v (B, T, C) →
/// (B, S, C).
pub fn mixed(p: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    composite::mixed(p, v, heads)
}

/// [`attention`] with dropped probabilities: `kept` (B, H, S, T) is 0 or a scale
/// → (B, S, C), for the last S queries, all or one. Only the projections are
/// fused: no path of its own for what few sweeps ask for.
pub fn attention_dropping(
    ops: Ops,
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    heads: usize,
    kept: &Tensor,
) -> Result<Tensor> {
    composite::attend_dropping(&linear(ops, x, w, b)?, heads, kept)
}

/// Gain and bias (C) of a LayerNorm, and its epsilon.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Times the normed value.
    pub gain: &'a Tensor,
    /// Added to it.
    pub bias: &'a Tensor,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Weight (in, out) and bias (out) of a linear layer.
#[derive(Clone, Copy)]
pub struct Affine<'a> {
    /// What x is multiplied with.
    pub weight: &'a Tensor,
    /// What is added.
    pub bias: &'a Tensor,
}

/// The first half of a block: x + projection(attention(norm(x))), x (B, T, C).
///
/// The fused twin hands the gradients of its weights to [`collecting`] alone, which
/// must be running in the backward pass.
pub fn self_attention(
    ops: Ops,
    x: &Tensor,
    norm: Norm<'_>,
    qkv: Affine<'_>,
    projection: Affine<'_>,
    heads: usize,
) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::self_attention(x, norm, qkv, projection, heads),
        Ops::Composite => composite::self_attention(x, norm, qkv, projection, heads),
    }
}

/// The second half of a block: x + outer(gelu(inner(norm(x)))), x (…, C). Its
/// gradients go the way of [`self_attention`]'s.
pub fn mlp(
    ops: Ops,
    x: &Tensor,
    norm: Norm<'_>,
    inner: Affine<'_>,
    outer: Affine<'_>,
) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::mlp(x, norm, inner, outer),
        Ops::Composite => composite::mlp(x, norm, inner, outer),
    }
}

/// Dropout: x times `kept`, which is 0 or a scale for each of its elements.
pub fn dropped(x: &Tensor, kept: &Tensor) -> Result<Tensor> {
    lean::times_constant(x, kept)
}

/// Unembedding: x (N, C), w (V, C) → logits (N, V), f32.
pub fn logits(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    composite::logits(x, w)
}

/// Mean cross-entropy over the vocabulary: x (N, C), w (V, C), targets (N) → scalar.
pub fn head_loss(ops: Ops, x: &Tensor, w: &Tensor, targets: &Tensor) -> Result<Tensor> {
    match ops {
        Ops::Fused => fused::head_loss(x, w, targets),
        Ops::Composite => composite::head_loss(x, w, targets),
    }
}
