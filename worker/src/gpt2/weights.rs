//! Weights in and out: `model.safetensors`, or its shards, in the Hugging Face layout.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::error::TensorProblem;
use super::{Config, LM_HEAD, ModelError, WTE, shards};
use crate::memory::mapped;

/// Every tensor of a network by name, f32 on the CPU.
pub type Weights = BTreeMap<String, Tensor>;

/// Hugging Face puts this before the names of everything but `lm_head`.
pub(super) const PREFIX: &str = "transformer.";

/// Reads the tensors that `config` names, from f32, f16 or bf16, with or without
/// the prefix. `path` is one file, or the index of several (`….index.json`). What
/// else there is (the masks `attn.bias`) is ignored.
///
/// # Errors
/// If a file is unreadable or incomplete, or a tensor is missing, has another shape
/// or type, or holds a value that is not finite.
pub fn read(path: &Path, config: &Config) -> Result<Weights, ModelError> {
    // A tied unembedding may be there, and must then be what it is tied to.
    let wanted = config.clone().untied().tensors();
    let mut weights = Weights::new();
    if shards::is_index(path) {
        for (shard, wanted) in shards::plan(path, &wanted)? {
            weights.extend(read_file(&shard, &wanted)?);
        }
    } else {
        weights = read_file(path, &wanted)?;
    }
    let missing = |name: &str, expected: Vec<usize>| {
        let problem = match name {
            LM_HEAD => TensorProblem::MissingHead { expected },
            _ => TensorProblem::Missing { expected },
        };
        Err(ModelError::tensor(path, name, problem))
    };
    for (name, shape) in config.tensors() {
        if !weights.contains_key(&name) {
            return missing(&name, shape);
        }
    }
    if config.tied
        && let Some(head) = weights.remove(LM_HEAD)
        && values(&head)? != values(&weights[WTE])?
    {
        let shape = head.dims().to_vec();
        return Err(ModelError::tensor(
            path,
            LM_HEAD,
            TensorProblem::NotTied { shape },
        ));
    }
    Ok(weights)
}

/// The weights of a folder: its `model.safetensors`, or else the index of its shards.
pub fn of_folder(folder: &Path) -> PathBuf {
    let single = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    match !single.exists() && index.exists() {
        true => index,
        false => single,
    }
}

/// Those of the wanted tensors that are in this file.
fn read_file(path: &Path, wanted: &[shards::Wanted]) -> Result<Weights, ModelError> {
    let bytes = mapped(path).map_err(|e| ModelError::io(path, e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| ModelError::Weights {
        path: path.to_path_buf(),
        problem: e.to_string(),
    })?;
    let mut weights = Weights::new();
    for (name, shape) in wanted {
        let prefixed = format!("{PREFIX}{name}");
        if let Ok(view) = file.tensor(name).or_else(|_| file.tensor(&prefixed)) {
            weights.insert(name.clone(), tensor(path, name, shape, &view)?);
        }
    }
    Ok(weights)
}

fn tensor(
    path: &Path,
    name: &str,
    shape: &[usize],
    view: &TensorView<'_>,
) -> Result<Tensor, ModelError> {
    let refuse = |problem| Err(ModelError::tensor(path, name, problem));
    let found = view.shape().to_vec();
    if found != shape {
        let expected = shape.to_vec();
        return refuse(TensorProblem::Shape { found, expected });
    }
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => {
            return refuse(TensorProblem::Type {
                shape: found,
                found: format!("{other:?}"),
            });
        }
    };
    let tensor =
        Tensor::from_raw_buffer(view.data(), dtype, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
    let values = values(&tensor)?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return refuse(TensorProblem::NotFinite {
            shape: found,
            at,
            value: values[at],
        });
    }
    Ok(tensor)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(tensor.flatten_all()?.to_vec1()?)
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
        let values = values(&tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?)?;
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
