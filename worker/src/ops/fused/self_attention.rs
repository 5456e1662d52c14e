//! The first half of a block: x + projection(attention(norm(x))), with its own way
//! back. No sequence knows of another one, so they are taken a piece at a time.

use candle_core::{Result, Shape, Tensor, bail};

use super::attention::{Forward, attend, attend_backward, check};
use super::layer_norm::{Backward, normalise};
use super::linear::{affine_onto, input_gradient, weight_gradient};
use super::pieces::{each, rows_of_piece};
use super::sublayer::{Pair, Sublayer, apply, give, give_halves};
use super::{Kept, View, keep, kept};
use crate::ops::kernels::{Moments, add_columns, add_to};
use crate::ops::{Affine, Norm};

pub(in crate::ops) fn self_attention(
    x: &Tensor,
    norm: Norm<'_>,
    qkv: Affine<'_>,
    projection: Affine<'_>,
    heads: usize,
) -> Result<Tensor> {
    let sublayer = SelfAttention {
        norm: Pair::new(norm.gain, norm.bias),
        qkv: Pair::new(qkv.weight, qkv.bias),
        projection: Pair::new(projection.weight, projection.bias),
        heads,
        epsilon: norm.epsilon as f32,
        kept: Kept::new(),
    };
    apply(x, sublayer)
}

struct SelfAttention {
    norm: Pair,
    /// (C, 3C)
    qkv: Pair,
    /// (C, C)
    projection: Pair,
    heads: usize,
    epsilon: f32,
    kept: Kept<Vec<Piece>>,
}

/// What the forward pass leaves of some sequences.
struct Piece {
    moments: Vec<Moments>,
    /// (B, T, C)
    normed: Vec<f32>,
    attention: Forward,
    /// The heads' results, joined: (B, T, C).
    joined: Vec<f32>,
}

/// Gradients of some sequences.
struct PieceGradients {
    /// (B, T, C), empty if not wanted.
    x: Vec<f32>,
    /// Of gain and bias, 2C, empty if not wanted.
    norm: Vec<f32>,
    /// (B, T, 3C), empty if not wanted.
    qkv: Vec<f32>,
}

impl Sublayer for SelfAttention {
    const NAME: &'static str = "self-attention";

    fn pairs(&self) -> [&Pair; 3] {
        [&self.norm, &self.qkv, &self.projection]
    }

    fn forward(&self, x: &[f32], shape: &Shape, keep_pieces: bool) -> Result<(Vec<f32>, Shape)> {
        let (qkv, projection) = (&self.qkv, &self.projection);
        check(shape, qkv.weight.shape(), qkv.bias.shape(), self.heads)?;
        let (_, t, c) = shape.dims3()?;
        if projection.weight.dims() != [c, c] {
            bail!(
                "attention: x {shape:?} and projection {:?} don't fit",
                projection.weight
            );
        }
        let views = self
            .pairs()
            .map(|pair| [&pair.weight, &pair.bias].map(View::new));
        let [[gain, bias], [w_in, b_in], [w_out, b_out]] = &views;
        let (gain, bias) = (gain.get()?, bias.get()?);
        let (w_in, b_in, w_out, b_out) = (w_in.get()?, b_in.get()?, w_out.get()?, b_out.get()?);

        let mut out = vec![0.0; x.len()];
        let size = rows_of_piece(t) * c;
        let pieces = each(x.chunks(size).zip(out.chunks_mut(size)), |(x, out)| {
            let (normed, moments) = normalise(x, gain, bias, self.epsilon);
            let (joined, attention) = attend(&normed, w_in, b_in, t, self.heads);
            affine_onto(out, x, &joined, w_out, b_out);
            keep_pieces.then_some(Piece {
                moments,
                normed,
                attention,
                joined,
            })
        });
        if let Some(pieces) = pieces.into_iter().collect() {
            keep(&self.kept, pieces)?;
        }
        Ok((out, shape.clone()))
    }

    fn backward(&self, x: &[f32], shape: &Shape, grad: &[f32], want_x: bool) -> Result<Vec<f32>> {
        let (_, t, c) = shape.dims3()?;
        let views = self.pairs().map(|pair| View::new(&pair.weight));
        let [gain, w_in, w_out] = &views;
        let (gain, w_in, w_out) = (gain.get::<f32>()?, w_in.get::<f32>()?, w_out.get::<f32>()?);
        let want_norm = self.norm.trains();
        let want_normed = want_x || want_norm;
        let want_qkv = want_normed || self.qkv.trains();

        let size = rows_of_piece(t) * c;
        let pieces = kept(&self.kept)?;
        let rows = || pieces.iter().zip(grad.chunks(size));
        let each_piece = rows().zip(x.chunks(size));
        let gradients = each(each_piece, |((piece, grad), x)| {
            let mut found = PieceGradients {
                x: vec![],
                norm: vec![],
                qkv: vec![],
            };
            if want_qkv {
                let of_joined = input_gradient(grad, w_out, c); // (B, T, C)
                found.qkv = attend_backward(&piece.attention, &of_joined, t, self.heads);
            }
            if want_normed {
                let of_normed = input_gradient(&found.qkv, w_in, 3 * c); // (B, T, C)
                let back = Backward {
                    x,
                    gain,
                    moments: &piece.moments,
                    past: Some(grad),
                };
                (found.x, found.norm) = back.run(&of_normed, want_x, want_norm);
            }
            found
        });

        give(&self.projection.weight, |sum| {
            let add = |sum, (piece, grad): (&Piece, &[f32])| {
                Some(weight_gradient(sum, &piece.joined, grad, c, c))
            };
            rows().fold(sum, add).unwrap_or_default()
        })?;
        give(&self.projection.bias, |sum| {
            let mut sum = sum.unwrap_or_else(|| vec![0.0; c]);
            rows().for_each(|(_, grad)| add_columns(&mut sum, grad));
            sum
        })?;
        give(&self.qkv.weight, |sum| {
            let add = |sum, (piece, grads): (&Piece, &PieceGradients)| {
                Some(weight_gradient(sum, &piece.normed, &grads.qkv, c, 3 * c))
            };
            pieces
                .iter()
                .zip(&gradients)
                .fold(sum, add)
                .unwrap_or_default()
        })?;
        give(&self.qkv.bias, |sum| {
            let mut sum = sum.unwrap_or_else(|| vec![0.0; 3 * c]);
            gradients
                .iter()
                .for_each(|grads| add_columns(&mut sum, &grads.qkv));
            sum
        })?;
        if want_norm {
            let mut sum = vec![0.0; 2 * c];
            gradients
                .iter()
                .for_each(|grads| add_to(&mut sum, &grads.norm));
            give_halves(&self.norm, sum)?;
        }
        let parts: Vec<_> = gradients.iter().map(|grads| &grads.x[..]).collect();
        Ok(parts.concat())
    }
}
