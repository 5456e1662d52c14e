//! The network, from token ids to losses.
//!
//! Read from top to bottom. B batch, T tokens, C width, V vocabulary.

use std::collections::BTreeSet;
use std::ops::Range;

use candle_core::{DType, Device, Tensor, Var};
use seedbed_proto::job::Dtype;

use super::dropout::{Dropout, Place};
use super::freeze::decays;
use super::{Config, LM_HEAD, ModelError, WPE, WTE, Weights, block_of};
use crate::ops::{self, Ops};

type Result<T> = std::result::Result<T, ModelError>;

/// Where a batch enters the network.
#[derive(Debug, Clone)]
pub enum Entry {
    /// At the bottom: token ids (B, T) u32.
    Ids(Tensor),
    /// At the bottom, in training alone: token ids (B, T) u32, and what is dropped
    /// on the way.
    Dropping(Tensor, Dropout),
    /// At the entrance of a block: the residual stream there, from
    /// [`Gpt2::stream`], for blocks below that do not train.
    Stream {
        /// (B, T, C).
        x: Tensor,
        /// The block, from 0.
        block: usize,
    },
}

impl Entry {
    fn dropout(&self) -> Option<Dropout> {
        match self {
            Self::Dropping(_, dropout) => Some(*dropout),
            Self::Ids(_) | Self::Stream { .. } => None,
        }
    }
}

impl From<&Tensor> for Entry {
    fn from(ids: &Tensor) -> Self {
        Self::Ids(ids.clone())
    }
}

/// A GPT-2 whose weights train, or stay as they are, one tensor at a time.
pub struct Gpt2 {
    config: Config,
    params: Vec<Param>,
    /// With gradients.
    pub(super) train: Net,
    /// The same memory without: evaluation builds no graph.
    eval: Net,
    /// The compute type that was asked for: TF32 shows in no tensor's type.
    dtype: Dtype,
    device: Device,
}

/// One tensor of the network.
pub struct Param {
    /// Its name in the Hugging Face layout.
    pub name: String,
    /// The weights, f32.
    pub tensor: Tensor,
    /// The same weights as a variable, if they train: write through this.
    pub var: Option<Var>,
    /// Weight decay applies.
    pub decay: bool,
}

impl Param {
    /// Whether it trains.
    pub fn trainable(&self) -> bool {
        self.var.is_some()
    }
}

impl Gpt2 {
    /// Builds the network from `weights`; those that train are copied. The
    /// unembedding is untied exactly if there is a tensor [`LM_HEAD`].
    ///
    /// # Errors
    /// If a tensor is missing, or the engine can't run.
    pub fn new(
        config: &Config,
        weights: &Weights,
        trainable: &BTreeSet<String>,
        ops: Ops,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self> {
        let refuse = |why: String| Err(ModelError::Request(format!("engine: {why}")));
        if ops == Ops::Fused && !(device.is_cpu() && dtype == Dtype::F32) {
            return refuse(format!(
                "fused operations run on the cpu in f32, not on {:?} in {dtype:?}; use \
                 `ops: composite`",
                device.location()
            ));
        }
        if dtype == Dtype::Tf32 && !device.is_cuda() {
            return refuse(format!(
                "only an NVIDIA GPU rounds products to TF32, not {:?}; use `dtype: f32`",
                device.location()
            ));
        }
        let config = match weights.contains_key(LM_HEAD) {
            true => config.clone().untied(),
            false => config.clone(),
        };
        let mut params = Vec::new();
        for (name, shape) in config.tensors() {
            let given = weights.get(&name).filter(|t| t.dims() == shape);
            let Some(given) = given else {
                return Err(ModelError::Request(format!(
                    "the weights have no tensor {name:?} of shape {shape:?}"
                )));
            };
            let tensor = given.to_dtype(DType::F32)?.to_device(device)?;
            let (tensor, var) = match trainable.contains(&name) {
                true => {
                    // It copies: training doesn't reach into the given weights.
                    let var = Var::from_tensor(&tensor)?;
                    (var.as_tensor().clone(), Some(var))
                }
                false => (tensor, None),
            };
            params.push(Param {
                decay: decays(&name, shape.len()),
                name,
                tensor,
                var,
            });
        }
        let activations = match dtype {
            Dtype::F32 | Dtype::Tf32 => DType::F32,
            Dtype::Bf16 => DType::BF16,
        };
        let net = |detach: bool| {
            let find = |name: &str| {
                let at = params
                    .binary_search_by(|p| p.name.as_str().cmp(name))
                    .expect("the network asks for the configuration's tensors only");
                let tensor = &params[at].tensor;
                if detach {
                    tensor.detach()
                } else {
                    tensor.clone()
                }
            };
            Net::new(&config, find, ops, activations)
        };
        let (train, eval) = (net(false), net(true));
        Ok(Self {
            config,
            params,
            train,
            eval,
            dtype,
            device: device.clone(),
        })
    }

    /// The shape of the network; `tied` says how it really is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What decides the bits of a result besides weights and machine.
    pub fn numeric_path(&self) -> String {
        let (ops, dtype) = (self.eval.ops, self.dtype);
        format!("{ops:?} {dtype:?} {:?}", self.device.location())
    }

    /// Where the tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Every tensor, sorted by name.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The weights as they are now, apart from the network's.
    ///
    /// # Errors
    /// If they can't be copied to the CPU.
    pub fn weights(&self) -> Result<Weights> {
        let copy = |p: &Param| {
            Ok((
                p.name.clone(),
                p.tensor.detach().copy()?.to_device(&Device::Cpu)?,
            ))
        };
        self.params.iter().map(copy).collect()
    }

    /// How many blocks from the first on do not train, nor the embeddings below
    /// them: what enters the next one is the same all through a run. The last block
    /// is not among them, as it computes one position only.
    pub fn frozen_blocks(&self) -> usize {
        let lowest = (self.params.iter())
            .filter(|p| p.trainable() && p.name != LM_HEAD && !p.name.starts_with("ln_f."))
            .map(|p| block_of(&p.name))
            .min();
        let frozen = match lowest {
            Some(block) => block.unwrap_or(0),
            None => self.config.layers,
        };
        frozen.min(self.config.layers - 1)
    }

    /// The residual stream at the entrance of a block, without gradients: ids
    /// (B, T) → (B, T, C).
    ///
    /// # Errors
    /// If the ids don't fit the network.
    pub fn stream(&self, ids: &Tensor, block: usize) -> Result<Tensor> {
        self.check(ids)?;
        let x = self.eval.embed(ids)?; // (B, T, C)
        self.eval.blocks(x, 0..block, None)
    }

    /// Logits at the last position, without gradients: (B, T) → (B, V).
    ///
    /// # Errors
    /// If the ids don't fit the network.
    pub fn logits_last(&self, entry: impl Into<Entry>) -> Result<Tensor> {
        let entry = entry.into();
        if entry.dropout().is_some() {
            let text = "an evaluation with dropout".to_owned();
            return Err(ModelError::Request(text));
        }
        let x = self.eval.last(self.enter(&self.eval, entry)?, None)?; // (B, C)
        Ok(ops::logits(&x, &self.eval.unembed)?)
    }

    /// Mean cross-entropy of the answers at the last position over the whole
    /// vocabulary: (B, T), answers (B) → scalar.
    ///
    /// # Errors
    /// If the batch doesn't fit the network.
    pub fn answer_loss(&self, entry: impl Into<Entry>, answers: &Tensor) -> Result<Tensor> {
        let x = self.train_last(entry.into())?; // (B, C)
        Ok(ops::head_loss(
            self.train.ops,
            &x,
            &self.train.unembed,
            answers,
        )?)
    }

    /// Mean cross-entropy between two tokens alone at the last position: (B, T),
    /// right (B) u32 with 0 for `pair[0]` and 1 for `pair[1]` → scalar.
    ///
    /// # Errors
    /// If the ids don't fit the network.
    pub fn two_way_loss(
        &self,
        entry: impl Into<Entry>,
        right: &Tensor,
        pair: [u32; 2],
    ) -> Result<Tensor> {
        let x = self.train_last(entry.into())?; // (B, C)
        let pair = Tensor::new(&pair, &self.device)?;
        let unembed = self.train.unembed.index_select(&pair, 0)?; // (2, C)
        Ok(ops::head_loss(self.train.ops, &x, &unembed, right)?)
    }

    /// Mean cross-entropy of every next token: (B, T), targets (B, T) → scalar.
    ///
    /// # Errors
    /// If the ids don't fit the network.
    pub fn full_loss(&self, entry: impl Into<Entry>, targets: &Tensor) -> Result<Tensor> {
        let entry = entry.into();
        let dropout = entry.dropout();
        let x = self.enter(&self.train, entry)?; // (B, T, C)
        let x = self.train.all(x, dropout.as_ref())?; // (B, T, C)
        let x = x.flatten_to(1)?; // (B·T, C)
        Ok(ops::head_loss(
            self.train.ops,
            &x,
            &self.train.unembed,
            &targets.flatten_all()?,
        )?)
    }

    /// Gradients of a loss in the order of those [`Self::params`] that train.
    ///
    /// # Errors
    /// If one of them gets none: it would silently never train.
    pub fn gradients(&self, loss: &Tensor) -> Result<Vec<Tensor>> {
        let params = self.params.iter().filter(|p| p.trainable());
        let tensors: Vec<_> = params.clone().map(|p| &p.tensor).collect();
        let (grads, collected) = ops::collecting(&tensors, || loss.backward());
        let mut grads = grads?;
        let gradient = |(p, collected): (&Param, Option<Vec<f32>>)| {
            let collected = collected.map(|g| Tensor::from_vec(g, p.tensor.shape(), &self.device));
            match (collected.transpose()?, grads.remove(&p.tensor)) {
                (Some(one), Some(other)) => Ok((one + other)?),
                (Some(one), None) | (None, Some(one)) => Ok(one),
                (None, None) => Err(ModelError::NoGradient(p.name.clone())),
            }
        };
        params.zip(collected).map(gradient).collect()
    }

    /// The final stream at the last position, with gradients: (B, C).
    pub(super) fn train_last(&self, entry: Entry) -> Result<Tensor> {
        let dropout = entry.dropout();
        let x = self.enter(&self.train, entry)?; // (B, T, C)
        self.train.last(x, dropout.as_ref())
    }

    /// The stream at the entrance of a block, and that block.
    fn enter(&self, net: &Net, entry: Entry) -> Result<(Tensor, usize)> {
        match entry {
            Entry::Ids(ids) => {
                self.check(&ids)?;
                Ok((net.embed(&ids)?, 0))
            }
            Entry::Dropping(ids, dropout) => {
                self.check(&ids)?;
                Ok((dropout.all(Place::Embedding, &net.embed(&ids)?)?, 0))
            }
            Entry::Stream { x, block } if block <= self.frozen_blocks() => {
                Ok((x.to_dtype(net.dtype)?, block))
            }
            Entry::Stream { block, .. } => Err(ModelError::Request(format!(
                "a stream that enters at block {block}, over weights that train"
            ))),
        }
    }

    /// A batch that would reach outside the position table is an error with a name.
    fn check(&self, ids: &Tensor) -> Result<()> {
        let (b, t) = ids.dims2()?;
        if b == 0 || t == 0 || t > self.config.positions {
            return Err(ModelError::Request(format!(
                "a batch of {b} sequences of {t} tokens doesn't fit a model of {} positions",
                self.config.positions
            )));
        }
        Ok(())
    }
}

/// The layers, with or without gradients.
pub(super) struct Net {
    wte: Tensor,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    pub(super) unembed: Tensor,
    ops: Ops,
    dtype: DType,
}

impl Net {
    fn new(config: &Config, find: impl Fn(&str) -> Tensor, ops: Ops, dtype: DType) -> Self {
        let linear = |name: &str| Linear {
            weight: find(&format!("{name}.weight")),
            bias: find(&format!("{name}.bias")),
        };
        let norm = |name: &str| LayerNorm {
            gain: find(&format!("{name}.weight")),
            bias: find(&format!("{name}.bias")),
            epsilon: config.epsilon,
        };
        let block = |layer: usize| Block {
            ln_1: norm(&format!("h.{layer}.ln_1")),
            c_attn: linear(&format!("h.{layer}.attn.c_attn")),
            attn_proj: linear(&format!("h.{layer}.attn.c_proj")),
            ln_2: norm(&format!("h.{layer}.ln_2")),
            c_fc: linear(&format!("h.{layer}.mlp.c_fc")),
            mlp_proj: linear(&format!("h.{layer}.mlp.c_proj")),
            heads: config.heads,
            layer,
        };
        let wte = find(WTE);
        Self {
            // One tensor for both, or its gradient would be in two parts.
            unembed: if config.tied {
                wte.clone()
            } else {
                find(LM_HEAD)
            },
            wte,
            wpe: find(WPE),
            blocks: (0..config.layers).map(block).collect(),
            ln_f: norm("ln_f"),
            ops,
            dtype,
        }
    }

    /// Through some blocks: (B, T, C) → (B, T, C).
    fn blocks(
        &self,
        mut x: Tensor,
        which: Range<usize>,
        dropout: Option<&Dropout>,
    ) -> Result<Tensor> {
        for block in &self.blocks[which] {
            x = block.all(self.ops, &x, dropout)?;
        }
        Ok(x)
    }

    /// The final stream at every position, from the entrance of a block on:
    /// (B, T, C) → (B, T, C).
    pub(super) fn all(
        &self,
        (x, from): (Tensor, usize),
        dropout: Option<&Dropout>,
    ) -> Result<Tensor> {
        let x = self.blocks(x, from..self.blocks.len(), dropout)?; // (B, T, C)
        self.ln_f.apply(self.ops, &x)
    }

    /// The final stream at the last position: (B, T, C) → (B, C).
    fn last(&self, (x, from): (Tensor, usize), dropout: Option<&Dropout>) -> Result<Tensor> {
        let last = self.blocks.len() - 1;
        let x = self.blocks(x, from..last, dropout)?; // (B, T, C)
        let x = self.blocks[last].last(self.ops, &x, dropout)?; // (B, C)
        self.ln_f.apply(self.ops, &x)
    }

    pub(super) fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let x = ops::embed(self.ops, ids, &self.wte, &self.wpe)?; // (B, T, C)
        Ok(x.to_dtype(self.dtype)?)
    }
}

/// One block: x + attention(ln_1 x), then x + mlp(ln_2 x).
struct Block {
    ln_1: LayerNorm,
    c_attn: Linear,
    attn_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    mlp_proj: Linear,
    heads: usize,
    layer: usize,
}

impl Block {
    /// (B, T, C) → (B, T, C).
    fn all(&self, ops: Ops, x: &Tensor, dropout: Option<&Dropout>) -> Result<Tensor> {
        let Some(dropout) = dropout else {
            let (norm, qkv, out) = (
                self.ln_1.parts(),
                self.c_attn.parts(),
                self.attn_proj.parts(),
            );
            let x = ops::self_attention(ops, x, norm, qkv, out, self.heads)?;
            return self.add_mlp(ops, &x);
        };
        let normed = self.ln_1.apply(ops, x)?;
        let Linear { weight, bias } = &self.c_attn;
        let kept = dropout.attention(self.layer, &normed, self.heads, x.dim(1)?)?; // (B, H, T, T)
        let heads = ops::attention_dropping(ops, &normed, weight, bias, self.heads, &kept)?;
        let added = self.attn_proj.apply(ops, &heads)?;
        let x = (x + dropout.all(Place::AttentionOut(self.layer), &added)?)?;
        Ok((&x + dropout.all(Place::MlpOut(self.layer), &self.mlp(ops, &x)?)?)?)
    }

    /// The last position alone: (B, T, C) → (B, C). Exact: no other position of a
    /// last block is read, so they contribute k and v and nothing else.
    fn last(&self, ops: Ops, x: &Tensor, dropout: Option<&Dropout>) -> Result<Tensor> {
        let normed = self.ln_1.apply(ops, x)?; // (B, T, C)
        let Linear { weight, bias } = &self.c_attn;
        let t = x.dim(1)?;
        let x = x.narrow(1, t - 1, 1)?.squeeze(1)?; // (B, C)
        let Some(dropout) = dropout else {
            let heads = ops::attention_last(ops, &normed, weight, bias, self.heads)?; // (B, C)
            return self.add_mlp(ops, &(x + self.attn_proj.apply(ops, &heads)?)?);
        };
        let kept = dropout.attention(self.layer, &normed, self.heads, 1)?; // (B, H, 1, T)
        let heads = ops::attention_dropping(ops, &normed, weight, bias, self.heads, &kept)?;
        let added = self.attn_proj.apply(ops, &heads.squeeze(1)?)?; // (B, C)
        let x = (x + dropout.last(Place::AttentionOut(self.layer), &added, t)?)?;
        let added = self.mlp(ops, &x)?;
        Ok((&x + dropout.last(Place::MlpOut(self.layer), &added, t)?)?)
    }

    /// x + mlp(ln_2 x): (…, C) → (…, C).
    fn add_mlp(&self, ops: Ops, x: &Tensor) -> Result<Tensor> {
        let (inner, outer) = (self.c_fc.parts(), self.mlp_proj.parts());
        Ok(ops::mlp(ops, x, self.ln_2.parts(), inner, outer)?)
    }

    /// What the MLP adds to the stream: (…, C) → (…, C).
    fn mlp(&self, ops: Ops, x: &Tensor) -> Result<Tensor> {
        let normed = self.ln_2.apply(ops, x)?;
        let hidden = ops::linear_gelu(ops, &normed, &self.c_fc.weight, &self.c_fc.bias)?; // (…, F)
        self.mlp_proj.apply(ops, &hidden)
    }
}

/// x·weight + bias, weight (in, out).
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn parts(&self) -> ops::Affine<'_> {
        ops::Affine {
            weight: &self.weight,
            bias: &self.bias,
        }
    }

    fn apply(&self, ops: Ops, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(ops, x, &self.weight, &self.bias)?)
    }
}

struct LayerNorm {
    gain: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    fn parts(&self) -> ops::Norm<'_> {
        ops::Norm {
            gain: &self.gain,
            bias: &self.bias,
            epsilon: self.epsilon,
        }
    }

    fn apply(&self, ops: Ops, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(
            ops,
            x,
            &self.gain,
            &self.bias,
            self.epsilon,
        )?)
    }
}
