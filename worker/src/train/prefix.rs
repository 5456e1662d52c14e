//! The frozen bottom of a network over a fixed set of prompts, computed once.
//!
//! What enters the first block that trains is the same at every step of a run, and
//! in all runs with the same frozen weights: it is kept in a file, mapped into
//! memory and shared by the jobs of a host. A file is named by the hash of all that
//! decides its bits, appears whole or not at all, and ends with the hash of what it
//! holds. It is a shortcut, never needed: where it can't be kept, training computes
//! the same bits again and again.
//!
//! N prompts, T tokens, C width.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;

use crate::gpt2::{Entry, Gpt2, WPE, WTE, block_of};
use crate::train::error::TrainError;
use crate::train::host::with_f32;
use crate::train::trainer::Halt;

/// Prompts in one forward pass.
const BATCH: usize = 64;

/// Bytes of the hash at the end of a file.
const HASH: usize = blake3::OUT_LEN;

/// Where streams are kept, for all jobs that share the directory.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
    bytes_max: u64,
}

/// The residual stream of N prompts at the entrance of one block: (N, T, C).
pub struct Streams {
    map: Mmap,
    /// T, C.
    shape: (usize, usize),
    block: usize,
}

impl Shelf {
    /// A shelf in a directory, which is made when it is needed; files that were
    /// not used for longest make room for new ones.
    pub fn new(dir: PathBuf, bytes_max: u64) -> Self {
        Self { dir, bytes_max }
    }

    /// What enters the first block of `model` that trains, for prompts of `len`
    /// tokens, `ids` (N·T): from the shelf, or computed and put there. Nothing if
    /// that is the first block, or the shelf can't hold it. `pulse` is called
    /// between two batches.
    ///
    /// # Errors
    /// [`Halt`], handed on from `pulse`, or if the model can't run the prompts.
    pub fn streams(
        &self,
        model: &Gpt2,
        ids: &[u32],
        len: usize,
        pulse: &mut dyn FnMut() -> Result<(), Halt>,
    ) -> Result<Option<Streams>, Halt> {
        let block = model.frozen_blocks();
        let shape = (len, model.config().width);
        let bytes = (ids.len() * shape.1 * size_of::<f32>() + HASH) as u64;
        if block == 0 || ids.is_empty() || bytes > self.bytes_max {
            return Ok(None);
        }
        let path = self.dir.join(name(model, block, ids, len)?);
        let open = |path: &Path| {
            let map = whole(path, bytes)?;
            Ok::<_, io::Error>(Streams { map, shape, block })
        };
        if let Ok(streams) = open(&path) {
            return Ok(Some(streams));
        }
        let kept = match self.keep(&path, bytes, model, block, ids, len, pulse) {
            Ok(()) => open(&path),
            Err(Stop::Disk(error)) => Err(error),
            Err(Stop::Halt(halt)) => return Err(halt),
        };
        match kept {
            Ok(streams) => Ok(Some(streams)),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "can't keep activations; computing them each time");
                Ok(None)
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn keep(
        &self,
        path: &Path,
        bytes: u64,
        model: &Gpt2,
        block: usize,
        ids: &[u32],
        len: usize,
        pulse: &mut dyn FnMut() -> Result<(), Halt>,
    ) -> Result<(), Stop> {
        fs::create_dir_all(&self.dir)?;
        self.make_room(bytes)?;
        // Of this process alone, and gone whatever happens.
        let file = tempfile::NamedTempFile::new_in(&self.dir)?;
        let mut out = BufWriter::new(file);
        let mut hasher = blake3::Hasher::new();
        for piece in ids.chunks(BATCH * len) {
            pulse().map_err(Stop::Halt)?;
            let ids = Tensor::from_slice(piece, (piece.len() / len, len), model.device());
            let stream = ids.map_err(TrainError::from).and_then(|ids| {
                let stream = model.stream(&ids, block)?; // (B, T, C)
                Ok(stream.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)
            });
            let stream = stream.map_err(|error| Stop::Halt(error.into()))?;
            let values = with_f32(&stream, |values| {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes());
                bytes.collect::<Vec<u8>>()
            });
            let values = values.map_err(|error| Stop::Halt(TrainError::from(error).into()))?;
            hasher.update(&values);
            out.write_all(&values)?;
        }
        out.write_all(hasher.finalize().as_bytes())?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes what was not used for longest until `bytes` more fit.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = vec![];
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another job may be faster.
            if let Ok(meta) = entry.metadata() {
                files.push((meta.modified()?, meta.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if total + bytes <= self.bytes_max {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= size,
            }
        }
        Ok(())
    }
}

enum Stop {
    Disk(io::Error),
    Halt(Halt),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Streams {
    /// The stream of some of the prompts: (B, T, C).
    ///
    /// # Errors
    /// If the tensor library refuses.
    pub fn rows(
        &self,
        rows: impl ExactSizeIterator<Item = usize>,
        device: &Device,
    ) -> Result<Entry, TrainError> {
        let (t, c) = self.shape;
        let (count, bytes) = (rows.len(), t * c * size_of::<f32>());
        let mut values = Vec::with_capacity(count * t * c);
        for row in rows {
            let (floats, _) = self.map[row * bytes..][..bytes].as_chunks::<4>();
            values.extend(floats.iter().map(|&float| f32::from_le_bytes(float)));
        }
        Ok(Entry::Stream {
            x: Tensor::from_vec(values, (count, t, c), device)?,
            block: self.block,
        })
    }
}

/// The name of the file: all that decides its bits, but for the kind of machine,
/// by which directories differ.
fn name(model: &Gpt2, block: usize, ids: &[u32], len: usize) -> Result<String, TrainError> {
    let mut hasher = blake3::Hasher::new_derive_key("seedbed 2026 frozen prefix streams");
    let numbers = [block, len, ids.len()].map(|n| (n as u64).to_le_bytes());
    hasher.update(&numbers.concat());
    hasher.update(
        &ids.iter()
            .flat_map(|id| id.to_le_bytes())
            .collect::<Vec<_>>(),
    );
    hasher.update(model.numeric_path().as_bytes());
    for param in model.params() {
        let below = match block_of(&param.name) {
            Some(layer) => layer < block,
            None => param.name == WTE || param.name == WPE,
        };
        if below {
            hasher.update(param.name.as_bytes());
            let tensor = param.tensor.to_device(&Device::Cpu)?.contiguous()?;
            with_f32(&tensor, |values| {
                for piece in values.chunks(1 << 16) {
                    let bytes = piece.iter().flat_map(|v| v.to_le_bytes());
                    hasher.update(&bytes.collect::<Vec<_>>());
                }
            })?;
        }
    }
    Ok(format!("{}.f32", hasher.finalize().to_hex()))
}

/// A file of the shelf that is there, of this length, and undamaged.
fn whole(path: &Path, bytes: u64) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: files of the shelf are never written once they have their name;
    // whoever removes one leaves the mapping as it is.
    let map = unsafe { Mmap::map(&file)? };
    let (values, hash) = match map.len().checked_sub(HASH) {
        Some(at) if map.len() as u64 == bytes => map.split_at(at),
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    if blake3::hash(values).as_bytes() != hash {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Used now, for making room; where that can't be noted, it chooses less well.
    // SAFETY: the descriptor is open, and no times are given: the system's own.
    let _ = unsafe { libc::futimens(file.as_raw_fd(), std::ptr::null()) };
    Ok(map)
}
