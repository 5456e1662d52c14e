//! Weights in and out: `model.safetensors`, or its shards, in the Hugging Face layout.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use super::error::TensorProblem;
use super::{Config, LM_HEAD, ModelError, WTE, shards};

/// Every tensor of a network by name, f32 on the CPU.
pub type Weights = BTreeMap<String, Tensor>;

/// Hugging Face puts this before the names of everything but `lm_head`.
pub(super) const PREFIX: &str = "transformer.";

/// More than any network's: names and shapes of a million tensors.
const HEADER_BYTES_MAX: u64 = 100_000_000;

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
    let mut file = Archive::open(path)?;
    let mut weights = Weights::new();
    for (name, shape) in wanted {
        let prefixed = format!("{PREFIX}{name}");
        let found = file.info(name).or_else(|| file.info(&prefixed));
        if let Some(info) = found {
            weights.insert(name.clone(), file.tensor(name, shape, &info)?);
        }
    }
    Ok(weights)
}

/// A safetensors file whose tensors are read one by one. It is anyone's, and may be
/// cut while it is read: an error then, where a mapping would end the process.
struct Archive<'a> {
    path: &'a Path,
    file: File,
    /// Where the tensors begin.
    start: u64,
    header: Metadata,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path) -> Result<Self, ModelError> {
        let io = |e| ModelError::io(path, e);
        let broken = |problem: String| ModelError::Weights {
            path: path.to_path_buf(),
            problem,
        };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        if size < length.len() as u64 {
            return Err(broken(format!("it has {size} bytes and no header")));
        }
        file.read_exact(&mut length).map_err(io)?;
        let start = u64::from_le_bytes(length).saturating_add(8);
        if start > size.min(HEADER_BYTES_MAX) {
            return Err(broken(format!(
                "its header ends at {start} of {size} bytes"
            )));
        }
        let mut header = vec![0; start as usize - length.len()];
        file.read_exact(&mut header).map_err(io)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|e| broken(e.to_string()))?;
        let end = start.saturating_add(header.data_len() as u64);
        if end != size {
            return Err(broken(format!(
                "it has {size} bytes, its header says {end}"
            )));
        }
        Ok(Self {
            path,
            file,
            start,
            header,
        })
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.header.info(name).cloned()
    }

    fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        info: &TensorInfo,
    ) -> Result<Tensor, ModelError> {
        let refuse = |problem| Err(ModelError::tensor(self.path, name, problem));
        let found = info.shape.clone();
        if found != shape {
            let expected = shape.to_vec();
            return refuse(TensorProblem::Shape { found, expected });
        }
        let dtype = match info.dtype {
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
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0; to - from];
        (self.file.seek(SeekFrom::Start(self.start + from as u64)))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| ModelError::io(self.path, e))?;
        let tensor =
            Tensor::from_raw_buffer(&bytes, dtype, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        drop(bytes);
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
}

/// The numbers of a tensor in f32, row by row, wherever it lives.
pub fn values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    tensor.flatten_all()?.to_vec1()
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
        let values = values(tensor)?;
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
