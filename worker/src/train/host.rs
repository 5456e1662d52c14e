//! f32 tensors in main memory as slices, without a copy.

use candle_core::{CpuStorage, Result, Storage, Tensor, bail};

/// Calls `f` with the values of a contiguous f32 tensor that lies in main memory.
///
/// # Errors
/// If the tensor lies elsewhere, is not contiguous or not f32.
pub fn with_f32<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((from, to))) => Ok(f(&values[from..to])),
        (Storage::Cpu(CpuStorage::F32(_)), None) => bail!("the tensor is not contiguous"),
        _ => bail!("the tensor is not f32 in main memory"),
    }
}
