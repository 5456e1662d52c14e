//! Causal attention from q, k and v on, of the last positions.
//!
//! For evaluation alone, where k and v of earlier positions may come from another
//! pass: it has no backward pass, and the tensor library says so if one is asked for.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{slice, to_storage};
use crate::ops::kernels::small::{Left, Right, small_product};
use crate::ops::kernels::softmax;

/// Queries that are worked on together; keys after the last of them are left out.
const BAND: usize = 4;

/// q (B, S, C) of the last S of T positions, k and v (B, T, C) → (B, S, C).
pub(in crate::ops) fn attend(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    let (k, v) = (k.contiguous()?, v.contiguous()?);
    q.contiguous()?.apply_op3(&k, &v, Attend { heads })
}

struct Attend {
    heads: usize,
}

/// One sequence: q (S, C), k and v (T, C) → out (S, C).
fn forward(heads: usize, c: usize, [q, k, v]: [&[f32]; 3], out: &mut [f32]) {
    let (s, t, d) = (q.len() / c, k.len() / c, c / heads);
    let scale = 1.0 / (d as f32).sqrt();
    let wide = t.next_multiple_of(8);
    let mut kt = vec![0.0; d * wide];
    let mut scores = vec![0.0; BAND.min(s) * wide];
    for head in 0..heads {
        let at = head * d;
        for (j, row) in k.chunks_exact(c).enumerate() {
            for (e, &value) in row[at..][..d].iter().enumerate() {
                kt[e * wide + j] = value;
            }
        }
        for i in (0..s).step_by(BAND) {
            let rows = BAND.min(s - i);
            // Keys that the first of these queries sees.
            let seen = t - s + i + 1;
            let left = Left {
                data: &q[i * c + at..],
                row: c,
                step: 1,
            };
            let right = Right {
                data: &kt,
                row: wide,
            };
            let keys = (seen + rows - 1).next_multiple_of(8).min(wide);
            small_product(&mut scores, wide, rows, keys, d, left, right);
            for (r, scores) in scores.chunks_exact_mut(wide).take(rows).enumerate() {
                let (seen, unseen) = scores.split_at_mut(seen + r);
                softmax(seen, scale);
                unseen[..rows - r - 1].fill(0.0);
            }
            let left = Left {
                data: &scores,
                row: wide,
                step: 1,
            };
            let right = Right {
                data: &v[at..],
                row: c,
            };
            let out = &mut out[i * c + at..];
            small_product(out, c, rows, d, seen + rows - 1, left, right);
        }
    }
}

impl CustomOp3 for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, s, c) = q_layout.shape().dims3()?;
        let (_, t, _) = k_layout.shape().dims3()?;
        if k_layout.dims() != [batch, t, c]
            || v_layout.dims() != [batch, t, c]
            || s == 0
            || s > t
            || !c.is_multiple_of(self.heads)
        {
            bail!(
                "attend: q {:?}, k {:?}, v {:?} and {} heads don't fit",
                q_layout.shape(),
                k_layout.shape(),
                v_layout.shape(),
                self.heads
            );
        }
        let (q, k): (&[f32], &[f32]) = (slice(q, q_layout)?, slice(k, k_layout)?);
        let v: &[f32] = slice(v, v_layout)?;
        let mut out = vec![0.0; batch * s * c];
        q.par_chunks(s * c)
            .zip(k.par_chunks(t * c))
            .zip(v.par_chunks(t * c))
            .zip(out.par_chunks_mut(s * c))
            .for_each(|(((q, k), v), out)| forward(self.heads, c, [q, k, v], out));
        Ok(to_storage(out, (batch, s, c)))
    }
}
