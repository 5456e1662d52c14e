//! A network whose activations can be read and replaced by name.
//!
//! [`Hooked`] is a network for evaluation alone, in f32; a [`Pass`] is one way
//! through it: where it enters and ends, which [`Edit`]s it makes and which
//! [`Point`]s it reads, all of it data. A pass may be over a *window* of the
//! positions, with keys and values of earlier ones from another pass, and may enter
//! at any block: what an intervention can't change is not computed again.
//!
//! Nothing is left to chance: an edit that did not fire, or a point that was not
//! read, is an error that names it.
//!
//! ```no_run
//! use candle_core::Tensor;
//! use seedbed_worker::gpt2::hooks::{Edit, End, HookError, Hooked, Pass, Start};
//!
//! /// What comes of head 2's output at position 7, taken from another run.
//! fn patched(net: &Hooked, ids: &Tensor, other: &Tensor) -> Result<Tensor, HookError> {
//!     let z = "blocks.3.attn.hook_z".parse()?;
//!     let reads = [z];
//!     let theirs = net.run(&Pass::new(Start::Ids(other), End::Last).reading(&reads))?;
//!     let value = theirs.get(z)?.narrow(1, 7, 1)?.narrow(2, 2 * 32, 32)?;
//!     let edits = [Edit::new(z, value).position(7).head(2)];
//!     Ok(net.run(&Pass::new(Start::Ids(ids), End::Last).editing(&edits))?.out)
//! }
//! ```

mod edit;
mod error;
mod parts;
mod pass;
mod point;
mod walk;

pub use edit::Edit;
pub use error::HookError;
pub use parts::Part;
pub use pass::{End, Pass, Past, Start, Trace};
pub use point::{Point, Site};

use candle_core::{D, DType, Device, Tensor};

use super::{Config, LM_HEAD, ModelError, WPE, WTE, Weights};
use crate::ops::{self, Ops};

type Result<T> = std::result::Result<T, HookError>;

/// A network for evaluation, in f32. Clones share its weights.
#[derive(Clone)]
pub struct Hooked {
    config: Config,
    ops: Ops,
    device: Device,
    wte: Tensor,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: Norm,
    unembed: Tensor,
}

/// One block; q, k and v have projections of their own.
#[derive(Clone)]
struct Block {
    ln_1: Norm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    ln_2: Norm,
    fc: Linear,
    proj: Linear,
}

/// x·weight + bias, weight (in, out).
#[derive(Clone)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

/// A LayerNorm.
#[derive(Clone)]
struct Norm {
    gain: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Hooked {
    /// Builds the network. A tied unembedding counts as a tensor of its own.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape, or fused operations are asked
    /// for on a device that is not the CPU.
    pub fn new(config: &Config, weights: &Weights, ops: Ops, device: &Device) -> Result<Self> {
        if ops == Ops::Fused && !device.is_cpu() {
            let text = format!(
                "engine: fused operations run on the cpu, not on {:?}; use `ops: composite`",
                device.location()
            );
            return Err(ModelError::Request(text).into());
        }
        let shapes = config.clone().untied().tensors();
        let find = |name: &str| -> Result<Tensor> {
            let given = match weights.get(name) {
                None if name == LM_HEAD && config.tied => weights.get(WTE),
                given => given,
            };
            let (_, shape) = shapes
                .iter()
                .find(|(n, _)| n == name)
                .expect("only the configuration's tensors are asked for");
            let Some(given) = given.filter(|t| t.dims() == shape) else {
                let text = format!("the weights have no tensor {name:?} of shape {shape:?}");
                return Err(ModelError::Request(text).into());
            };
            let tensor = given.detach().to_dtype(DType::F32)?.to_device(device)?;
            Ok(tensor.contiguous()?)
        };
        let norm = |name: &str| -> Result<Norm> {
            Ok(Norm {
                gain: find(&format!("{name}.weight"))?,
                bias: find(&format!("{name}.bias"))?,
                epsilon: config.epsilon,
            })
        };
        let linear = |name: &str| -> Result<Linear> {
            Ok(Linear {
                weight: find(&format!("{name}.weight"))?,
                bias: find(&format!("{name}.bias"))?,
            })
        };
        let block = |layer: usize| -> Result<Block> {
            let packed = linear(&format!("h.{layer}.attn.c_attn"))?;
            let part = |i: usize| packed.columns(i * config.width, config.width);
            Ok(Block {
                ln_1: norm(&format!("h.{layer}.ln_1"))?,
                q: part(0)?,
                k: part(1)?,
                v: part(2)?,
                o: linear(&format!("h.{layer}.attn.c_proj"))?,
                ln_2: norm(&format!("h.{layer}.ln_2"))?,
                fc: linear(&format!("h.{layer}.mlp.c_fc"))?,
                proj: linear(&format!("h.{layer}.mlp.c_proj"))?,
            })
        };
        Ok(Self {
            wte: find(WTE)?,
            wpe: find(WPE)?,
            blocks: (0..config.layers).map(block).collect::<Result<_>>()?,
            ln_f: norm("ln_f")?,
            unembed: find(LM_HEAD)?,
            config: config.clone(),
            ops,
            device: device.clone(),
        })
    }

    /// Its shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where its tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Goes through the network.
    ///
    /// # Errors
    /// If the pass does not fit the network, or did not do what it was asked.
    pub fn run(&self, pass: &Pass<'_>) -> Result<Trace> {
        walk::run(self, pass)
    }

    /// Logits over the vocabulary: x (N, C), from [`End::Last`] → (N, V).
    ///
    /// # Errors
    /// If the tensor library refuses.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::logits(&x.contiguous()?, &self.unembed)?)
    }

    /// Rows of the unembedding: (len(tokens), C).
    ///
    /// # Errors
    /// If a token is not in the vocabulary.
    pub fn directions(&self, tokens: &[u32]) -> Result<Tensor> {
        let tokens = Tensor::new(tokens, &self.device)?;
        Ok(self.unembed.index_select(&tokens, 0)?)
    }

    /// The final LayerNorm's gain and bias, (C) each.
    pub fn final_norm(&self) -> (&Tensor, &Tensor) {
        (&self.ln_f.gain, &self.ln_f.bias)
    }

    /// Output projection of a block's attention: weight (C, C), whose rows are the
    /// heads' one after the other, and bias (C).
    ///
    /// # Errors
    /// If there is no such layer.
    pub fn output_projection(&self, layer: usize) -> Result<(&Tensor, &Tensor)> {
        let block = self.block(layer, "the output projection")?;
        Ok((&block.o.weight, &block.o.bias))
    }

    /// Queries, keys and values of a stream that enters a block: (B, S, C) → (B, S, C)
    /// each, heads side by side.
    ///
    /// # Errors
    /// If there is no such layer.
    pub fn projections(&self, layer: usize, x: &Tensor) -> Result<[Tensor; 3]> {
        let block = self.block(layer, "queries, keys and values")?;
        let normed = block.ln_1.apply(self.ops, x)?;
        let of = |linear: &Linear| linear.apply(self.ops, &normed);
        Ok([of(&block.q)?, of(&block.k)?, of(&block.v)?])
    }

    /// The final LayerNorm of any stream: (…, C) → (…, C).
    ///
    /// # Errors
    /// If the tensor library refuses.
    pub fn finish(&self, x: &Tensor) -> Result<Tensor> {
        self.ln_f.apply(self.ops, x)
    }

    /// Width of an activation, of all heads where it has heads.
    fn width(&self, point: Point) -> usize {
        match point {
            Point::FinalScale => 1,
            Point::Block(_, Site::Ln1Scale | Site::Ln2Scale) => 1,
            Point::Block(_, Site::MlpPre | Site::MlpPost) => self.config.inner,
            _ => self.config.width,
        }
    }

    fn block(&self, layer: usize, what: &str) -> Result<&Block> {
        self.blocks.get(layer).ok_or_else(|| HookError::Layer {
            what: what.to_owned(),
            layer,
            layers: self.blocks.len(),
        })
    }
}

impl Linear {
    fn apply(&self, ops: Ops, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(ops, x, &self.weight, &self.bias)?)
    }

    fn columns(&self, from: usize, count: usize) -> Result<Self> {
        Ok(Self {
            weight: self.weight.narrow(1, from, count)?.contiguous()?,
            bias: self.bias.narrow(0, from, count)?.contiguous()?,
        })
    }
}

impl Norm {
    fn apply(&self, ops: Ops, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(
            ops,
            x,
            &self.gain,
            &self.bias,
            self.epsilon,
        )?)
    }

    /// √(variance + ε): (…, C) → (…, 1).
    fn scale(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        Ok((variance + self.epsilon)?.sqrt()?)
    }

    /// With a scale that is given: x (…, C), scale (…, 1) → (…, C).
    fn with_scale(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let normed = centred.broadcast_div(scale)?.broadcast_mul(&self.gain)?;
        Ok(normed.broadcast_add(&self.bias)?)
    }
}
