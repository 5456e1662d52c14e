//! The fused operations: custom operations of the tensor library whose forward
//! and backward passes are [`kernels`](super::kernels).
//!
//! A backward pass computes the gradient of an argument only if something below
//! it trains (`track_op`). What it needs of the forward pass beyond arguments and
//! result stays in the operation, which the graph owns.

mod attend;
mod attention;
mod attention_last;
mod embed;
mod head;
mod layer_norm;
mod linear;
mod mlp;
mod pieces;
mod self_attention;
mod sublayer;

pub(super) use attend::attend;
pub(super) use attention::attention;
pub(super) use attention_last::attention_last;
pub(super) use embed::embed;
pub(super) use head::head_loss;
pub(super) use layer_norm::layer_norm;
pub(super) use linear::{linear, linear_gelu};
pub(super) use mlp::mlp;
pub(super) use self_attention::self_attention;

use std::sync::OnceLock;

use candle_core::{
    CpuStorage, Device, Layout, Result, Shape, Storage, StorageRef, Tensor, WithDType, bail,
};

use super::collect::hand_over;
use super::kernels::add_to;

/// The elements of a dense tensor during a forward pass.
fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("fused operations take contiguous tensors, not {layout:?}"),
    }
}

/// The elements of a dense tensor during a backward pass.
struct View<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> View<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    fn get<T: WithDType>(&self) -> Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => slice(storage, self.layout),
            _ => bail!("fused operations run on the cpu only"),
        }
    }
}

/// What a forward pass leaves for the backward pass.
type Kept<T> = OnceLock<T>;

fn keep<T>(kept: &Kept<T>, value: T) -> Result<()> {
    match kept.set(value) {
        Ok(()) => Ok(()),
        Err(_) => bail!("a fused operation is applied once"),
    }
}

fn kept<T>(kept: &Kept<T>) -> Result<&T> {
    match kept.get() {
        Some(value) => Ok(value),
        None => bail!("a fused operation's backward pass ran before its forward pass"),
    }
}

fn to_storage(values: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), shape.into())
}

fn to_tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), &Device::Cpu)
}

/// Computes a gradient if `of` leads to something that trains.
fn wanted(of: &Tensor, gradient: impl FnOnce() -> Vec<f32>) -> Result<Option<Tensor>> {
    wanted_sum(of, |before| {
        let mut gradient = gradient();
        if let Some(before) = before {
            add_to(&mut gradient, &before);
        }
        gradient
    })
}

/// The same, for a gradient that is cheaper to add to what there is (which has the
/// shape of `of`) than to compute on its own.
fn wanted_sum(
    of: &Tensor,
    add: impl FnOnce(Option<Vec<f32>>) -> Vec<f32>,
) -> Result<Option<Tensor>> {
    if !of.track_op() {
        return Ok(None);
    }
    match hand_over(of, add) {
        Some(add) => to_tensor(add(None), of).map(Some),
        None => Ok(None),
    }
}
