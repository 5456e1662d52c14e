//! Weights in and out: `model.safetensors` in the Hugging Face layout.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Config, LM_HEAD, ModelError};

/// Every tensor of a network by name, f32 on the CPU.
pub type Weights = BTreeMap<String, Tensor>;

/// Hugging Face puts this before the names of everything but `lm_head`.
const PREFIX: &str = "transformer.";

/// Reads the tensors that `config` names, from f32, f16 or bf16, with or without
/// the prefix. What else the file holds (the masks `attn.bias`) is ignored.
///
/// # Errors
/// If the file is unreadable or incomplete, or a tensor is missing, has another
/// shape or type, or holds a value that is not finite.
pub fn read(path: &Path, config: &Config) -> Result<Weights, ModelError> {
    let bytes = std::fs::read(path).map_err(|e| ModelError::io(path, e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| ModelError::Weights {
        path: path.to_path_buf(),
        problem: e.to_string(),
    })?;
    let mut weights = Weights::new();
    for (name, shape) in config.tensors() {
        let view = file
            .tensor(&name)
            .or_else(|_| file.tensor(&format!("{PREFIX}{name}")))
            .map_err(|_| ModelError::tensor(path, &name, missing(&name, &shape)))?;
        weights.insert(name.clone(), tensor(path, &name, &shape, &view)?);
    }
    Ok(weights)
}

fn missing(name: &str, shape: &[usize]) -> String {
    if name == LM_HEAD {
        "is missing, but config.json says that it is not tied (tie_word_embeddings)".to_owned()
    } else {
        format!(
            "of shape {shape:?} is missing; does config.json belong to these weights, and are \
             they a GPT-2's?"
        )
    }
}

fn tensor(
    path: &Path,
    name: &str,
    shape: &[usize],
    view: &TensorView<'_>,
) -> Result<Tensor, ModelError> {
    let refuse = |problem: String| Err(ModelError::tensor(path, name, problem));
    if view.shape() != shape {
        return refuse(format!(
            "has shape {:?}, config.json asks for {shape:?}",
            view.shape()
        ));
    }
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => return refuse(format!("is of type {other:?}, not F32, F16 or BF16")),
    };
    let tensor =
        Tensor::from_raw_buffer(view.data(), dtype, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return refuse(format!(
            "of shape {shape:?} holds {} at element {at}; the weights are damaged, or come from \
             a training that diverged",
            values[at]
        ));
    }
    Ok(tensor)
}

/// Writes weights so that `GPT2LMHeadModel.from_pretrained` opens them, all of
/// the file or nothing. Equal weights give equal bytes.
///
/// # Errors
/// If the file can't be written.
pub fn write(path: &Path, weights: &Weights) -> Result<(), ModelError> {
    let mut buffers = Vec::with_capacity(weights.len());
    for (name, tensor) in weights {
        let full = match name.as_str() {
            LM_HEAD => name.clone(),
            _ => format!("{PREFIX}{name}"),
        };
        let values = tensor
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        buffers.push((full, tensor.dims().to_vec(), bytes));
    }
    let mut views = Vec::with_capacity(buffers.len());
    for (name, shape, bytes) in &buffers {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
            .expect("the buffer was made from a tensor of this shape");
        views.push((name.as_str(), view));
    }
    // Without it `from_pretrained` refuses the file. One entry: its order is no matter.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| ModelError::Weights {
        path: path.to_path_buf(),
        problem: e.to_string(),
    })?;
    write_atomically(path, |file| file.write_all(&bytes))
}

/// Writes a file beside `path`, makes it durable, and renames it: after a crash
/// there is the old file or the new one.
pub(super) fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), ModelError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let attempt = || {
        let mut temp = tempfile::NamedTempFile::new_in(dir)?;
        fill(temp.as_file_mut())?;
        temp.as_file().sync_all()?;
        temp.persist(path)?;
        // The rename is durable only when the directory is.
        File::open(dir)?.sync_all()
    };
    attempt().map_err(|e| ModelError::io(path, e))
}
