//! What the two halves of a block have in common: each is one operation, from the
//! stream that enters to the stream that leaves.
//!
//! An operation of the tensor library has three arguments at most, and a half has
//! seven. So its weights are part of the operation, which hands their gradients to
//! whoever [collects](crate::ops::collecting) them; the graph knows the stream, and
//! one weight that trains, by which it sees that there is something to do.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{View, hand_over, slice, to_storage, to_tensor};

/// Weight (in, out) and bias (out), or gain and bias of a norm, both (C).
#[derive(Clone)]
pub(super) struct Pair {
    pub weight: Tensor,
    pub bias: Tensor,
}

impl Pair {
    pub fn new(weight: &Tensor, bias: &Tensor) -> Self {
        Self {
            weight: weight.clone(),
            bias: bias.clone(),
        }
    }

    /// Whether one of them trains.
    pub fn trains(&self) -> bool {
        self.weight.track_op() || self.bias.track_op()
    }
}

/// A half of a block.
pub(super) trait Sublayer: Send + Sync + 'static {
    const NAME: &'static str;

    /// All its weights.
    fn pairs(&self) -> [&Pair; 3];

    /// The stream that leaves, for the dense stream x of this shape that enters,
    /// and its shape. Leaves behind what `backward` needs if `keep`.
    fn forward(&self, x: &[f32], shape: &Shape, keep: bool) -> Result<(Vec<f32>, Shape)>;

    /// Hands over the gradients of the weights, and answers with that of x if
    /// `want_x`.
    fn backward(&self, x: &[f32], shape: &Shape, grad: &[f32], want_x: bool) -> Result<Vec<f32>>;
}

/// Runs a half of a block on the stream x.
pub(super) fn apply(x: &Tensor, sublayer: impl Sublayer) -> Result<Tensor> {
    let trains = |pair: &&Pair| pair.trains();
    let anchor = sublayer.pairs().into_iter().find(trains).map(|pair| {
        let tracked = if pair.weight.track_op() {
            &pair.weight
        } else {
            &pair.bias
        };
        tracked.clone()
    });
    let keep = x.track_op() || anchor.is_some();
    let anchor = anchor.unwrap_or_else(|| x.clone());
    x.contiguous()?.apply_op2(&anchor, Op { sublayer, keep })
}

struct Op<S> {
    sublayer: S,
    keep: bool,
}

impl<S: Sublayer> CustomOp2 for Op<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, x_layout)?;
        let (out, shape) = self.sublayer.forward(x, x_layout.shape(), self.keep)?;
        Ok(to_storage(out, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _anchor: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_view, grad_view) = (View::new(x), View::new(&grad));
        let want_x = x.track_op();
        let (xs, grad) = (x_view.get()?, grad_view.get()?);
        let x_grad = self.sublayer.backward(xs, x.shape(), grad, want_x)?;
        Ok((want_x.then(|| to_tensor(x_grad, x)).transpose()?, None))
    }
}

/// Computes the gradient of `of`, added to what there is, if it trains, and hands it
/// over.
pub(super) fn give(of: &Tensor, add: impl FnOnce(Option<Vec<f32>>) -> Vec<f32>) -> Result<()> {
    if of.track_op() && hand_over(of, add).is_some() {
        bail!("a fused half of a block trains variables, in a backward pass that collects");
    }
    Ok(())
}

/// The same for a gradient of two parts that are computed as one.
pub(super) fn give_halves(pair: &Pair, mut both: Vec<f32>) -> Result<()> {
    let of_bias = both.split_off(both.len() / 2);
    give(&pair.weight, |before| plus(before, both))?;
    give(&pair.bias, |before| plus(before, of_bias))
}

/// What there is, plus what comes.
pub(super) fn plus(before: Option<Vec<f32>>, mut more: Vec<f32>) -> Vec<f32> {
    if let Some(before) = before {
        super::add_to(&mut more, &before);
    }
    more
}
