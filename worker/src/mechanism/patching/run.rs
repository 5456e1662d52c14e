//! The activations of one side of some pairs, and what follows from changing them.
//!
//! P pairs, T tokens, C width, H heads.

use candle_core::Tensor;

use crate::gpt2::hooks::{End, Hooked, Pass, Point, Site, Start};
use crate::gpt2::weights::values;
use crate::mechanism::MechanismError;
use crate::mechanism::readout::deltas;

type Result<T> = std::result::Result<T, MechanismError>;

/// Where a run's activations are kept: those of a layer by site.
const KEPT: [Site; 8] = [
    Site::ResidPre,
    Site::K,
    Site::V,
    Site::AttnOut,
    Site::ResidMid,
    Site::MlpOut,
    Site::Z,
    Site::Q,
];

/// One side of P pairs: all that patches take from it or give to it.
pub(super) struct Run {
    layers: Vec<Vec<(Site, Tensor)>>,
    /// The stream after the last block (P, T, C).
    last: Tensor,
    /// Δ of each pair.
    pub deltas: Vec<f64>,
}

impl Run {
    /// Numbers that one sequence takes in a run.
    pub fn floats(net: &Hooked, len: usize, pattern: bool) -> usize {
        let config = net.config();
        let scores = if pattern { config.heads * len } else { 0 };
        config.layers * len * (KEPT.len() * config.width + scores)
    }

    /// Runs prompts (P, T).
    pub fn new(net: &Hooked, ids: &Tensor, answers: [u32; 2], pattern: bool) -> Result<Self> {
        let mut sites = KEPT.to_vec();
        if pattern {
            sites.push(Site::Pattern);
        }
        let layers = net.config().layers;
        let block = |layer| sites.iter().map(move |&site| Point::Block(layer, site));
        let reads: Vec<_> = (0..layers).flat_map(block).collect();
        let pass = Pass::new(Start::Ids(ids), End::Block(layers)).reading(&reads);
        let mut trace = net.run(&pass)?;
        let mut take = |layer: usize| {
            let take = |&site: &Site| Ok((site, trace.take(Point::Block(layer, site))?));
            sites.iter().map(take).collect::<Result<_>>()
        };
        let kept = (0..layers).map(&mut take).collect::<Result<_>>()?;
        let (_, t, _) = trace.out.dims3()?;
        let end = trace.out.narrow(1, t - 1, 1)?.squeeze(1)?; // (P, C)
        Ok(Self {
            deltas: deltas(net, &net.finish(&end)?, answers)?,
            layers: kept,
            last: trace.out,
        })
    }

    /// An activation; the stream before the block after the last is what it leaves.
    pub fn get(&self, layer: usize, site: Site) -> &Tensor {
        let Some(sites) = self.layers.get(layer) else {
            return &self.last;
        };
        let (_, tensor) = sites
            .iter()
            .find(|(s, _)| *s == site)
            .expect("a run keeps the sites that its plan needs");
        tensor
    }

    /// Of one position: (P, 1, C).
    pub fn at(&self, layer: usize, site: Site, position: usize) -> Result<Tensor> {
        Ok(self.get(layer, site).narrow(1, position, 1)?.contiguous()?)
    }
}

/// Pairs whose rows differ in any bit: (P, …) each. An edit that changes nothing
/// needs no pass: its effect is 0.
pub(super) fn differing(one: &Tensor, other: &Tensor) -> Result<Vec<u32>> {
    let rows = one.dim(0)?;
    let (one, other) = (values(one)?, values(other)?);
    let width = one.len() / rows.max(1);
    let differs = |&i: &usize| {
        let pairs = one[i * width..][..width]
            .iter()
            .zip(&other[i * width..][..width]);
        pairs.into_iter().any(|(a, b)| a.to_bits() != b.to_bits())
    };
    Ok((0..rows).filter(differs).map(|i| i as u32).collect())
}

/// Some rows of a tensor; all of them at no cost.
pub(super) fn rows(x: &Tensor, which: &[u32]) -> Result<Tensor> {
    if which.len() == x.dim(0)? {
        return Ok(x.clone());
    }
    let which = Tensor::new(which, x.device())?;
    Ok(x.contiguous()?.index_select(&which, 0)?)
}
