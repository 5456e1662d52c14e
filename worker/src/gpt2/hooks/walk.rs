//! The forward pass itself: computes what is needed, and no more.
//!
//! An activation that an edit replaces as a whole is never computed, nor what only
//! leads to it. B batch, S positions, T keys, C width.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{End, HookError, Hooked, Linear, Norm, Pass, Past, Point, Result, Site, Start, Trace};
use crate::ops;

struct Walk<'a> {
    net: &'a Hooked,
    pass: &'a Pass<'a>,
    batch: usize,
    fired: Vec<bool>,
    reads: BTreeMap<Point, Tensor>,
    /// The block's normed stream, once it was needed.
    normed: Option<Tensor>,
}

pub(super) fn run(net: &Hooked, pass: &Pass<'_>) -> Result<Trace> {
    let (batch, width, layer) = entrance(net, pass)?;
    let to = pass.from + width;
    for edit in pass.edits {
        edit.check(net, batch, pass.from, to)?;
    }
    for point in pass.reads {
        if let Some(layer) = point.layer() {
            net.block(layer, &point.to_string())?;
        }
    }
    let mut walk = Walk {
        net,
        pass,
        batch,
        fired: vec![false; pass.edits.len()],
        reads: BTreeMap::new(),
        normed: None,
    };
    let out = walk.all(layer, to)?;
    if let Some((edit, _)) = pass
        .edits
        .iter()
        .zip(&walk.fired)
        .find(|(_, fired)| !**fired)
    {
        let point = edit.point.to_string();
        return Err(HookError::NotFired { point });
    }
    let unread = |point: &&Point| !walk.reads.contains_key(point);
    if let Some(point) = pass.reads.iter().find(unread) {
        let point = point.to_string();
        return Err(HookError::NotRead { point });
    }
    Ok(Trace {
        reads: walk.reads,
        out,
    })
}

/// Sequences, positions, and the block where the pass enters.
fn entrance(net: &Hooked, pass: &Pass<'_>) -> Result<(usize, usize, usize)> {
    let (batch, width, layer) = match pass.start {
        Start::Ids(ids) => {
            let (b, w) = ids.dims2()?;
            (b, w, 0)
        }
        Start::Stream(x, layer) => {
            let (b, w, c) = x.dims3()?;
            if c != net.config.width {
                return Err(HookError::Shape {
                    what: format!("the stream at the entrance of layer {layer}"),
                    found: vec![b, w, c],
                    expected: vec![b, w, net.config.width],
                });
            }
            (b, w, layer)
        }
    };
    if batch == 0 || width == 0 || pass.from + width > net.config.positions {
        return Err(HookError::Shape {
            what: format!(
                "a pass over positions {}..{} of a network of {}",
                pass.from,
                pass.from + width,
                net.config.positions
            ),
            found: vec![batch, width],
            expected: vec![1, 1],
        });
    }
    // One after the last is the entrance of the final LayerNorm.
    let mut ends = vec![layer];
    if let End::Block(end) = pass.end {
        ends.push(end);
    }
    let layers = net.config.layers;
    match ends.into_iter().find(|&end| end > layers) {
        Some(layer) => Err(HookError::Layer {
            what: "where a pass enters or ends".to_owned(),
            layer,
            layers,
        }),
        None => Ok((batch, width, layer)),
    }
}

impl Walk<'_> {
    fn all(&mut self, layer: usize, to: usize) -> Result<Tensor> {
        let from = self.pass.from;
        let mut x = match self.pass.start {
            Start::Ids(ids) => self.embed(ids)?,
            Start::Stream(x, _) => x.clone(),
        }; // (B, S, C)
        let layers = self.net.config.layers;
        let end = match self.pass.end {
            End::Block(end) => end,
            End::All | End::Last => layers,
        };
        let mut first = from;
        for layer in layer..end {
            if self.only_last(layer) {
                first = to - 1;
            }
            x = self.block(layer, &x, first)?; // (B, S, C) from `first` on
        }
        if matches!(self.pass.end, End::Block(_)) {
            return Ok(x);
        }
        if self.pass.end == End::Last && first != to - 1 {
            x = x.narrow(1, to - 1 - first, 1)?;
            first = to - 1;
        }
        let net = self.net;
        let out = self.norm(
            &net.ln_f,
            Point::FinalScale,
            Point::FinalNormalized,
            &x,
            first,
        )?;
        match self.pass.end {
            End::Last => Ok(out.squeeze(1)?), // (B, C)
            _ => Ok(out),
        }
    }

    /// Whether no position but the last is needed of what this block computes.
    fn only_last(&self, layer: usize) -> bool {
        let reads_of_all = |point: &Point| {
            // What enters, and keys and values, are there for all positions anyway.
            let anyway = [
                Site::ResidPre,
                Site::Ln1Scale,
                Site::Ln1Normalized,
                Site::K,
                Site::V,
            ];
            matches!(point, Point::Block(l, site) if *l == layer && !anyway.contains(site))
        };
        self.pass.end == End::Last
            && layer + 1 == self.net.config.layers
            && !self.pass.reads.iter().any(reads_of_all)
    }

    fn embed(&mut self, ids: &Tensor) -> Result<Tensor> {
        let (net, from) = (self.net, self.pass.from);
        let (b, w) = ids.dims2()?;
        let c = net.config.width;
        let wpe = net.wpe.narrow(0, from, w)?.contiguous()?; // (W, C)
        if ![Point::Embed, Point::PosEmbed]
            .iter()
            .any(|&p| self.is_hooked(p))
        {
            return Ok(ops::embed(net.ops, ids, &net.wte, &wpe)?); // (B, W, C)
        }
        let tokens = self.make(Point::Embed, from, |_| {
            let rows = net.wte.index_select(&ids.flatten_all()?, 0)?;
            Ok(rows.reshape((b, w, c))?) // (B, W, C)
        })?;
        let places = self.make(Point::PosEmbed, from, |_| {
            Ok(wpe.unsqueeze(0)?.broadcast_as((b, w, c))?.contiguous()?) // (B, W, C)
        })?;
        Ok((tokens + places)?)
    }

    /// x (B, W, C) → (B, S, C), of positions from `first` on.
    fn block(&mut self, layer: usize, x: &Tensor, first: usize) -> Result<Tensor> {
        let (net, from) = (self.net, self.pass.from);
        let block = &net.blocks[layer];
        let at = |site| Point::Block(layer, site);
        let x = self.make(at(Site::ResidPre), from, |_| Ok(x.clone()))?; // (B, W, C)
        self.make(at(Site::ResidPost), first, |walk| {
            let mid = walk.make(at(Site::ResidMid), first, |walk| {
                let added = walk.make(at(Site::AttnOut), first, |walk| {
                    let z = walk.attention(layer, &x, first)?;
                    block.o.apply(net.ops, &z) // (B, S, C)
                })?;
                Ok((tail(&x, first - from)? + added)?) // (B, S, C)
            })?;
            let added = walk.make(at(Site::MlpOut), first, |walk| {
                let hidden = walk.hidden(layer, &mid, first)?; // (B, S, F)
                block.proj.apply(net.ops, &hidden) // (B, S, C)
            })?;
            Ok((mid + added)?)
        })
    }

    /// Mixed values of all heads: x (B, W, C) → z (B, S, C).
    fn attention(&mut self, layer: usize, x: &Tensor, first: usize) -> Result<Tensor> {
        let heads = self.net.config.heads;
        let at = |site| Point::Block(layer, site);
        let explicit = self.is_hooked(at(Site::AttnScores)) || self.is_hooked(at(Site::Pattern));
        self.normed = None;
        self.make(at(Site::Z), first, |walk| {
            if !explicit {
                let q = walk.query(layer, x, first)?; // (B, S, C)
                let k = walk.key_or_value(layer, 0, x)?; // (B, T, C)
                let v = walk.key_or_value(layer, 1, x)?; // (B, T, C)
                return Ok(ops::attend(walk.net.ops, &q, &k, &v, heads)?);
            }
            let pattern = walk.make(at(Site::Pattern), first, |walk| {
                let scores = walk.make(at(Site::AttnScores), first, |walk| {
                    let q = walk.query(layer, x, first)?;
                    let k = walk.key_or_value(layer, 0, x)?;
                    Ok(ops::scores(&q, &k, heads)?) // (B, H, S, T)
                })?;
                Ok(ops::pattern(&scores)?)
            })?;
            let v = walk.key_or_value(layer, 1, x)?;
            Ok(ops::mixed(&pattern, &v, heads)?)
        })
    }

    fn query(&mut self, layer: usize, x: &Tensor, first: usize) -> Result<Tensor> {
        let (net, from) = (self.net, self.pass.from);
        self.make(Point::Block(layer, Site::Q), first, |walk| {
            let normed = walk.attention_input(layer, x)?;
            let tail = tail(&normed, first - from)?;
            net.blocks[layer].q.apply(net.ops, &tail) // (B, S, C)
        })
    }

    /// Keys (part 0) or values (part 1) of all positions: (B, T, C).
    fn key_or_value(&mut self, layer: usize, part: usize, x: &Tensor) -> Result<Tensor> {
        let (net, from) = (self.net, self.pass.from);
        let block = &net.blocks[layer];
        let (site, linear) = [(Site::K, &block.k), (Site::V, &block.v)][part];
        let own = self.make(Point::Block(layer, site), from, |walk| {
            let normed = walk.attention_input(layer, x)?;
            linear.apply(net.ops, &normed) // (B, W, C)
        })?;
        match self.pass.past {
            _ if from == 0 => Ok(own),
            Some(past) => past.before(layer, part, &own, from),
            None => Past::default().before(layer, part, &own, from),
        }
    }

    /// The normed stream, computed once a block, and only if q, k or v needs it.
    fn attention_input(&mut self, layer: usize, x: &Tensor) -> Result<Tensor> {
        if let Some(normed) = &self.normed {
            return Ok(normed.clone());
        }
        let at = |site| Point::Block(layer, site);
        let (net, from) = (self.net, self.pass.from);
        let norm = &net.blocks[layer].ln_1;
        let normed = self.norm(norm, at(Site::Ln1Scale), at(Site::Ln1Normalized), x, from)?;
        self.normed = Some(normed.clone());
        Ok(normed)
    }

    /// The MLP's hidden layer after the GELU: mid (B, S, C) → (B, S, F).
    fn hidden(&mut self, layer: usize, mid: &Tensor, first: usize) -> Result<Tensor> {
        let net = self.net;
        let block = &net.blocks[layer];
        let at = |site| Point::Block(layer, site);
        let explicit = self.is_hooked(at(Site::MlpPre));
        self.make(at(Site::MlpPost), first, |walk| {
            let (scale, normalized) = (at(Site::Ln2Scale), at(Site::Ln2Normalized));
            if !explicit {
                let normed = walk.norm(&block.ln_2, scale, normalized, mid, first)?;
                let Linear { weight, bias } = &block.fc;
                return Ok(ops::linear_gelu(net.ops, &normed, weight, bias)?);
            }
            let before = walk.make(at(Site::MlpPre), first, |walk| {
                let normed = walk.norm(&block.ln_2, scale, normalized, mid, first)?;
                block.fc.apply(net.ops, &normed)
            })?;
            Ok(before.gelu()?)
        })
    }

    fn norm(
        &mut self,
        norm: &Norm,
        scale: Point,
        normalized: Point,
        x: &Tensor,
        first: usize,
    ) -> Result<Tensor> {
        let ops = self.net.ops;
        let explicit = self.is_hooked(scale);
        self.make(normalized, first, |walk| {
            if !explicit {
                return norm.apply(ops, x);
            }
            let scale = walk.make(scale, first, |_| norm.scale(x))?;
            norm.with_scale(x, &scale)
        })
    }

    /// Whether an edit or a read names this point.
    fn is_hooked(&self, point: Point) -> bool {
        self.pass.reads.contains(&point) || self.pass.edits.iter().any(|e| e.point == point)
    }

    /// An activation that begins at position `first`: computed unless an edit
    /// replaces it as a whole, then edited, then read.
    fn make(
        &mut self,
        point: Point,
        first: usize,
        compute: impl FnOnce(&mut Self) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let pass = self.pass;
        let mut edits = pass
            .edits
            .iter()
            .enumerate()
            .filter(|(_, e)| e.point == point);
        let mut x = match edits.clone().next() {
            Some((i, edit)) if edit.is_whole() => {
                self.fired[i] = true;
                edits.next();
                edit.whole(self.batch, pass.from, first)?
            }
            _ => compute(self)?,
        };
        for (i, edit) in edits {
            self.fired[i] = true;
            x = edit.apply(&x, self.net.config.heads, pass.from, first)?;
        }
        if pass.reads.contains(&point) {
            self.reads.insert(point, x.clone());
        }
        Ok(x)
    }
}

/// Positions without the first `skip`: (B, S, …).
fn tail(x: &Tensor, skip: usize) -> Result<Tensor> {
    let rest = x.dim(1)? - skip;
    Ok(x.narrow(1, skip, rest)?)
}
