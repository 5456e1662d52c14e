//! Token plus position embedding.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{View, slice, to_storage, wanted_sum};
use crate::ops::kernels::add_to;

pub(in crate::ops) fn embed(ids: &Tensor, wte: &Tensor, wpe: &Tensor) -> Result<Tensor> {
    ids.contiguous()?.apply_op3(wte, wpe, Embed)
}

struct Embed;

impl CustomOp3 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        ids: &CpuStorage,
        ids_layout: &Layout,
        wte: &CpuStorage,
        wte_layout: &Layout,
        wpe: &CpuStorage,
        wpe_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, t) = ids_layout.shape().dims2()?;
        let (vocab, c) = wte_layout.shape().dims2()?;
        if wpe_layout.shape().dims2()?.0 < t {
            bail!("embed: {t} tokens, position table {:?}", wpe_layout.shape());
        }
        let ids: &[u32] = slice(ids, ids_layout)?;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            bail!("embed: token id {id} in a vocabulary of {vocab}");
        }
        let (wte, wpe): (&[f32], &[f32]) = (slice(wte, wte_layout)?, slice(wpe, wpe_layout)?);
        let mut out = Vec::with_capacity(b * t * c);
        for (i, &id) in ids.iter().enumerate() {
            out.extend_from_slice(&wte[id as usize * c..][..c]);
            let at = out.len() - c;
            add_to(&mut out[at..], &wpe[i % t * c..][..c]);
        }
        Ok(to_storage(out, (b, t, c)))
    }

    fn bwd(
        &self,
        ids: &Tensor,
        wte: &Tensor,
        wpe: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, t, c) = grad.dims3()?;
        let grad = grad.contiguous()?;
        let (ids_view, grad_view) = (View::new(ids), View::new(&grad));
        let (ids, rows) = (ids_view.get::<u32>()?, grad_view.get::<f32>()?);
        // Onto what the unembedding has left, where the two are one: a table of its
        // own for a few rows would be most of the work.
        let scatter = |before: Option<Vec<f32>>, size: usize, row_of: &dyn Fn(usize) -> usize| {
            let mut sums = before.unwrap_or_else(|| vec![0.0; size]);
            for (i, row) in rows.chunks_exact(c).enumerate() {
                add_to(&mut sums[row_of(i) * c..][..c], row);
            }
            sums
        };
        Ok((
            None,
            wanted_sum(wte, |before| {
                scatter(before, wte.elem_count(), &|i| ids[i] as usize)
            })?,
            wanted_sum(wpe, |before| scatter(before, wpe.elem_count(), &|i| i % t))?,
        ))
    }
}
