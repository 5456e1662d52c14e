//! Networks made of parts of two.

use candle_core::Tensor;

use super::{Block, HookError, Hooked, Linear, Norm, Result};
use crate::gpt2::weights::values;

/// A part of a network that can be taken from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Token and position embeddings; a tied unembedding stays.
    Embedding,
    /// The unembedding alone; a tied token embedding stays.
    Unembedding,
    /// The final LayerNorm.
    FinalNorm,
    /// A whole block.
    Block(usize),
    /// A block's attention, without its LayerNorm.
    Attention(usize),
    /// A block's MLP, without its LayerNorm.
    Mlp(usize),
    /// A block's two LayerNorms.
    Norms(usize),
    /// One head: its columns of q, k and v with their biases, and its rows of the
    /// output projection. The bias of that projection belongs to no head.
    Head(usize, usize),
}

impl Hooked {
    /// This network with a part of another one.
    ///
    /// # Errors
    /// If the networks differ in shape, or the part is not there.
    pub fn with(&self, part: Part, other: &Self) -> Result<Self> {
        self.same_shape(other)?;
        let mut net = self.clone();
        match part {
            Part::Embedding => {
                net.wte = other.wte.clone();
                net.wpe = other.wpe.clone();
            }
            Part::Unembedding => net.unembed = other.unembed.clone(),
            Part::FinalNorm => net.ln_f = other.ln_f.clone(),
            Part::Block(layer)
            | Part::Attention(layer)
            | Part::Mlp(layer)
            | Part::Norms(layer)
            | Part::Head(layer, _) => {
                let theirs = other.block(layer, "a block of another network")?.clone();
                let ours = &mut net.blocks[layer];
                match part {
                    Part::Attention(_) => {
                        (ours.q, ours.k, ours.v) = (theirs.q, theirs.k, theirs.v);
                        ours.o = theirs.o;
                    }
                    Part::Mlp(_) => (ours.fc, ours.proj) = (theirs.fc, theirs.proj),
                    Part::Norms(_) => (ours.ln_1, ours.ln_2) = (theirs.ln_1, theirs.ln_2),
                    Part::Head(_, head) => {
                        let range = self.columns_of(layer, head)?;
                        ours.q = ours.q.with_columns(&theirs.q, range)?;
                        ours.k = ours.k.with_columns(&theirs.k, range)?;
                        ours.v = ours.v.with_columns(&theirs.v, range)?;
                        ours.o.weight = mixed(&ours.o.weight, &theirs.o.weight, 0, range)?;
                    }
                    _ => *ours = theirs,
                }
            }
        }
        Ok(net)
    }

    /// Whether a part of this network is that of another one, number by number.
    ///
    /// # Errors
    /// If the networks differ in shape, or the part is not there.
    pub fn has(&self, part: Part, other: &Self) -> Result<bool> {
        self.same_shape(other)?;
        for (one, other) in self.tensors(part)?.iter().zip(&other.tensors(part)?) {
            // Tensors that are shared need no look.
            if one.id() != other.id() && values(one)? != values(other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The tensors of a part; a head's are cut out of its block's.
    fn tensors(&self, part: Part) -> Result<Vec<Tensor>> {
        let linear = |l: &Linear| [l.weight.clone(), l.bias.clone()];
        let norm = |n: &Norm| [n.gain.clone(), n.bias.clone()];
        let attention = |b: &Block| [&b.q, &b.k, &b.v, &b.o].map(linear).concat();
        let mlp = |b: &Block| [&b.fc, &b.proj].map(linear).concat();
        let norms = |b: &Block| [&b.ln_1, &b.ln_2].map(norm).concat();
        let block = |layer: usize| self.block(layer, "a part of a block");
        Ok(match part {
            Part::Embedding => vec![self.wte.clone(), self.wpe.clone()],
            Part::Unembedding => vec![self.unembed.clone()],
            Part::FinalNorm => norm(&self.ln_f).into(),
            Part::Block(layer) => {
                let b = block(layer)?;
                [attention(b), mlp(b), norms(b)].concat()
            }
            Part::Attention(layer) => attention(block(layer)?),
            Part::Mlp(layer) => mlp(block(layer)?),
            Part::Norms(layer) => norms(block(layer)?),
            Part::Head(layer, head) => {
                let b = block(layer)?;
                let (from, width) = self.columns_of(layer, head)?;
                let mut all = vec![b.o.weight.narrow(0, from, width)?];
                for projection in [&b.q, &b.k, &b.v] {
                    all.push(projection.weight.narrow(1, from, width)?);
                    all.push(projection.bias.narrow(0, from, width)?);
                }
                all
            }
        })
    }

    /// The first column of a head, and how many it has.
    fn columns_of(&self, layer: usize, head: usize) -> Result<(usize, usize)> {
        let heads = self.config.heads;
        if head >= heads {
            return Err(HookError::Head {
                point: format!("a head of layer {layer}"),
                head,
                reason: format!("there are {heads}"),
            });
        }
        let width = self.config.width / heads;
        Ok((head * width, width))
    }

    /// The network (1 − α)·this + α·other, tensor by tensor.
    ///
    /// # Errors
    /// If the networks differ in shape.
    pub fn between(&self, other: &Self, alpha: f64) -> Result<Self> {
        self.same_shape(other)?;
        let mix = |one: &Tensor, other: &Tensor| -> Result<Tensor> {
            Ok(((one * (1.0 - alpha))? + (other * alpha)?)?)
        };
        let linear = |one: &Linear, other: &Linear| -> Result<Linear> {
            Ok(Linear {
                weight: mix(&one.weight, &other.weight)?,
                bias: mix(&one.bias, &other.bias)?,
            })
        };
        let norm = |one: &Norm, other: &Norm| -> Result<Norm> {
            Ok(Norm {
                gain: mix(&one.gain, &other.gain)?,
                bias: mix(&one.bias, &other.bias)?,
                epsilon: one.epsilon,
            })
        };
        let block = |(one, other): (&Block, &Block)| -> Result<Block> {
            Ok(Block {
                ln_1: norm(&one.ln_1, &other.ln_1)?,
                q: linear(&one.q, &other.q)?,
                k: linear(&one.k, &other.k)?,
                v: linear(&one.v, &other.v)?,
                o: linear(&one.o, &other.o)?,
                ln_2: norm(&one.ln_2, &other.ln_2)?,
                fc: linear(&one.fc, &other.fc)?,
                proj: linear(&one.proj, &other.proj)?,
            })
        };
        let blocks = self.blocks.iter().zip(&other.blocks).map(block);
        Ok(Self {
            wte: mix(&self.wte, &other.wte)?,
            wpe: mix(&self.wpe, &other.wpe)?,
            blocks: blocks.collect::<Result<_>>()?,
            ln_f: norm(&self.ln_f, &other.ln_f)?,
            unembed: mix(&self.unembed, &other.unembed)?,
            ..self.clone()
        })
    }

    /// Requires that parts can be exchanged, and streams handed over.
    ///
    /// # Errors
    /// With the first field that differs.
    pub fn same_shape(&self, other: &Self) -> Result<()> {
        let fields = |net: &Self| {
            let c = &net.config;
            [
                ("the number of layers", c.layers),
                ("the number of heads", c.heads),
                ("the width", c.width),
                ("the inner width", c.inner),
                ("the number of positions", c.positions),
                ("the vocabulary", c.vocab),
            ]
        };
        for ((field, one), (_, other)) in fields(self).into_iter().zip(fields(other)) {
            if one != other {
                return Err(HookError::Shapes { field, one, other });
            }
        }
        Ok(())
    }
}

impl Linear {
    fn with_columns(&self, other: &Self, range: (usize, usize)) -> Result<Self> {
        Ok(Self {
            weight: mixed(&self.weight, &other.weight, 1, range)?,
            bias: mixed(&self.bias, &other.bias, 0, range)?,
        })
    }
}

/// `ours`, with a range (from, count) of `theirs` along an axis.
fn mixed(
    ours: &Tensor,
    theirs: &Tensor,
    axis: usize,
    (from, count): (usize, usize),
) -> Result<Tensor> {
    let end = from + count;
    let parts = [
        ours.narrow(axis, 0, from)?,
        theirs.narrow(axis, from, count)?,
        ours.narrow(axis, end, ours.dim(axis)? - end)?,
    ];
    let parts: Vec<_> = parts.iter().filter(|p| p.elem_count() > 0).collect();
    Ok(Tensor::cat(&parts, axis)?.contiguous()?)
}
