//! The second half of a block: x + mlp(norm(x)), with its own way back.
//!
//! No position knows of another one, so rows are taken a piece at a time.

use candle_core::{Result, Shape, Tensor, bail};

use super::layer_norm::{Backward, normalise};
use super::linear::{
    affine, affine_onto, back_through_gelu, input_gradient, through_gelu, through_gelu_with_slopes,
    weight_gradient,
};
use super::pieces::{each, rows_of_piece};
use super::sublayer::{Pair, Sublayer, apply, give, give_halves};
use super::{Kept, View, keep, kept};
use crate::ops::kernels::{Moments, add_columns, add_to};
use crate::ops::{Affine, Norm};

pub(in crate::ops) fn mlp(
    x: &Tensor,
    norm: Norm<'_>,
    inner: Affine<'_>,
    outer: Affine<'_>,
) -> Result<Tensor> {
    let sublayer = Mlp {
        norm: Pair::new(norm.gain, norm.bias),
        inner: Pair::new(inner.weight, inner.bias),
        outer: Pair::new(outer.weight, outer.bias),
        epsilon: norm.epsilon as f32,
        kept: Kept::new(),
    };
    apply(x, sublayer)
}

struct Mlp {
    norm: Pair,
    /// (C, F)
    inner: Pair,
    /// (F, C)
    outer: Pair,
    epsilon: f32,
    kept: Kept<Vec<Piece>>,
}

/// What the forward pass leaves of some rows.
struct Piece {
    moments: Vec<Moments>,
    /// (N, C)
    normed: Vec<f32>,
    /// After the GELU, and its slopes: (N, F).
    hidden: Vec<f32>,
    slopes: Vec<f32>,
}

/// Gradients of some rows.
struct PieceGradients {
    /// (N, C), empty if not wanted.
    x: Vec<f32>,
    /// Of gain and bias, 2C, empty if not wanted.
    norm: Vec<f32>,
    /// Before the GELU, (N, F), empty if not wanted.
    before: Vec<f32>,
}

impl Sublayer for Mlp {
    const NAME: &'static str = "mlp";

    fn pairs(&self) -> [&Pair; 3] {
        [&self.norm, &self.inner, &self.outer]
    }

    fn forward(&self, x: &[f32], shape: &Shape, keep_pieces: bool) -> Result<(Vec<f32>, Shape)> {
        let c = self.norm.weight.dim(0)?;
        let (inner, outer) = (self.inner.weight.dims(), self.outer.weight.dims());
        let fit = matches!((inner, outer), (&[i, f], &[g, o]) if i == c && o == c && f == g);
        if shape.dims().last() != Some(&c) || !fit {
            bail!("mlp: x {shape:?}, norm of {c} and weights {inner:?} and {outer:?} don't fit");
        }
        let views = self
            .pairs()
            .map(|pair| [&pair.weight, &pair.bias].map(View::new));
        let [[gain, bias], [w_in, b_in], [w_out, b_out]] = &views;
        let (gain, bias) = (gain.get()?, bias.get()?);
        let (w_in, b_in, w_out, b_out) = (w_in.get()?, b_in.get()?, w_out.get()?, b_out.get()?);

        let mut out = vec![0.0; x.len()];
        let size = rows_of_piece(1) * c;
        let pieces = each(x.chunks(size).zip(out.chunks_mut(size)), |(x, out)| {
            let (normed, moments) = normalise(x, gain, bias, self.epsilon);
            let before = affine(&normed, w_in, b_in);
            if !keep_pieces {
                affine_onto(out, x, &through_gelu(before), w_out, b_out);
                return None;
            }
            let (hidden, slopes) = through_gelu_with_slopes(before);
            affine_onto(out, x, &hidden, w_out, b_out);
            Some(Piece {
                moments,
                normed,
                hidden,
                slopes,
            })
        });
        if let Some(pieces) = pieces.into_iter().collect() {
            keep(&self.kept, pieces)?;
        }
        Ok((out, shape.clone()))
    }

    fn backward(&self, x: &[f32], _: &Shape, grad: &[f32], want_x: bool) -> Result<Vec<f32>> {
        let views = self.pairs().map(|pair| View::new(&pair.weight));
        let [gain, w_in, w_out] = &views;
        let (gain, w_in, w_out) = (gain.get::<f32>()?, w_in.get::<f32>()?, w_out.get::<f32>()?);
        let c = gain.len();
        let f = w_in.len() / c;
        let want_norm = self.norm.trains();
        let want_normed = want_x || want_norm;
        let want_before = want_normed || self.inner.trains();

        let size = rows_of_piece(1) * c;
        let pieces = kept(&self.kept)?;
        let rows = || pieces.iter().zip(grad.chunks(size));
        let each_piece = rows().zip(x.chunks(size));
        let gradients = each(each_piece, |((piece, grad), x)| {
            let mut found = PieceGradients {
                x: vec![],
                norm: vec![],
                before: vec![],
            };
            if want_before {
                found.before = input_gradient(grad, w_out, c); // (N, F)
                back_through_gelu(&mut found.before, &piece.slopes);
            }
            if want_normed {
                let of_normed = input_gradient(&found.before, w_in, f); // (N, C)
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

        give(&self.outer.weight, |sum| {
            let add = |sum, (piece, grad): (&Piece, &[f32])| {
                Some(weight_gradient(sum, &piece.hidden, grad, f, c))
            };
            rows().fold(sum, add).unwrap_or_default()
        })?;
        give(&self.outer.bias, |sum| {
            let mut sum = sum.unwrap_or_else(|| vec![0.0; c]);
            rows().for_each(|(_, grad)| add_columns(&mut sum, grad));
            sum
        })?;
        give(&self.inner.weight, |sum| {
            let add = |sum, (piece, grads): (&Piece, &PieceGradients)| {
                Some(weight_gradient(sum, &piece.normed, &grads.before, c, f))
            };
            pieces
                .iter()
                .zip(&gradients)
                .fold(sum, add)
                .unwrap_or_default()
        })?;
        give(&self.inner.bias, |sum| {
            let mut sum = sum.unwrap_or_else(|| vec![0.0; f]);
            gradients
                .iter()
                .for_each(|grads| add_columns(&mut sum, &grads.before));
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
