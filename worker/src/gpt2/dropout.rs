//! Dropout: which activations of a sequence are left out in training.
//!
//! One rate for the places of GPT-2, as in Hugging Face's network: the sum of the
//! embeddings, the attention probabilities, and what attention and MLP add to the
//! stream. What is kept is scaled by 1 / (1 - rate). Frozen blocks drop like all
//! others; evaluation never does.
//!
//! A mask is a pure function of (run seed, step, row of the batch, place), and of
//! the element's index in the whole activation. So a resumed run, another
//! micro-batch, another number of threads or the other implementation of the
//! operations draws the same; and the last position alone drops what it drops
//! among all positions.
//!
//! B batch, T tokens, C width, H heads, S queries.

use std::fmt;
use std::ops::Range;
use std::slice::from_ref;

use candle_core::{Device, Result, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use seedbed_proto::seed::{Purpose, derive_seed};

use crate::ops;

/// The dropout of one forward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    rate: f64,
    seed: u64,
    step: u64,
    first_row: usize,
}

/// Where activations are dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Token plus position embedding.
    Embedding,
    /// Attention probabilities of a block.
    Attention(usize),
    /// What the attention of a block adds to the stream.
    AttentionOut(usize),
    /// What the MLP of a block adds to the stream.
    MlpOut(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedding => f.write_str("embd"),
            Self::Attention(layer) => write!(f, "h.{layer}.attn"),
            Self::AttentionOut(layer) => write!(f, "h.{layer}.attn.c_proj"),
            Self::MlpOut(layer) => write!(f, "h.{layer}.mlp.c_proj"),
        }
    }
}

impl Dropout {
    /// That of the rows of step `step`'s batch from `first_row` on; none at rate 0.
    pub fn new(rate: f64, seed: u64, step: u64, first_row: usize) -> Option<Self> {
        (rate > 0.0).then_some(Self {
            rate,
            seed,
            step,
            first_row,
        })
    }

    /// Drops from the stream at every position: x (B, T, C) → (B, T, C).
    pub(super) fn all(&self, place: Place, x: &Tensor) -> Result<Tensor> {
        let (b, t, c) = x.dims3()?;
        let kept = self.kept(place, b, from_ref(&(0..t * c)), x.device())?;
        ops::dropped(x, &kept.reshape((b, t, c))?.to_dtype(x.dtype())?)
    }

    /// Drops from the stream at the last of `t` positions: x (B, C) → (B, C).
    pub(super) fn last(&self, place: Place, x: &Tensor, t: usize) -> Result<Tensor> {
        let (b, c) = x.dims2()?;
        let kept = self.kept(place, b, from_ref(&((t - 1) * c..t * c)), x.device())?;
        ops::dropped(x, &kept.to_dtype(x.dtype())?) // (B, C)
    }

    /// What is kept of the attention probabilities of the last S of T queries:
    /// (B, H, S, T) for x (B, T, C).
    pub(super) fn attention(
        &self,
        layer: usize,
        x: &Tensor,
        heads: usize,
        s: usize,
    ) -> Result<Tensor> {
        let (b, t, _) = x.dims3()?;
        let of_head = |head: usize| (head * t + t - s) * t..(head + 1) * t * t;
        let spans: Vec<_> = (0..heads).map(of_head).collect();
        let kept = self.kept(Place::Attention(layer), b, &spans, x.device())?;
        kept.reshape((b, heads, s, t))?.to_dtype(x.dtype())
    }

    /// 0 or 1 / (1 - rate) for the elements in these spans of each row: (B, N).
    fn kept(
        &self,
        place: Place,
        rows: usize,
        spans: &[Range<usize>],
        device: &Device,
    ) -> Result<Tensor> {
        let name = format!("{place}/{}", self.step);
        let key = derive_seed(self.seed, Purpose::Dropout, &name);
        let scale = (1.0 / (1.0 - self.rate)) as f32;
        let dropped_below = (self.rate * (1u64 << 32) as f64) as u32;
        let width: usize = spans.iter().map(Range::len).sum();
        let mut all = vec![0.0; rows * width];
        all.par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, out)| {
                let mut rng = ChaCha8Rng::from_seed(key);
                rng.set_stream((self.first_row + row) as u64);
                let mut out = out.iter_mut();
                for span in spans {
                    // An element's word does not depend on which others are drawn.
                    rng.set_word_pos(span.start as u128);
                    for value in out.by_ref().take(span.len()) {
                        if rng.next_u32() >= dropped_below {
                            *value = scale;
                        }
                    }
                }
            });
        Tensor::from_vec(all, (rows, width), device)
    }
}
