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
        let wanted = Wanted {
            model,
            block,
            ids,
            len,
        };
        if block == 0 || ids.is_empty() || wanted.bytes() > self.bytes_max {
            return Ok(None);
        }
        let path = self.dir.join(wanted.name()?);
        if let Ok(streams) = wanted.open(&path) {
            return Ok(Some(streams));
        }
        let kept = match self.keep(&path, &wanted, pulse) {
            Ok(()) => wanted.open(&path),
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

    fn keep(
        &self,
        path: &Path,
        wanted: &Wanted<'_>,
        pulse: &mut dyn FnMut() -> Result<(), Halt>,
    ) -> Result<(), Stop> {
        fs::create_dir_all(&self.dir)?;
        self.make_room(wanted.bytes())?;
        // Of this process alone, and gone whatever happens.
        let file = tempfile::NamedTempFile::new_in(&self.dir)?;
        let mut out = BufWriter::new(file);
        let mut hasher = blake3::Hasher::new();
        for piece in wanted.ids.chunks(BATCH * wanted.len) {
            pulse().map_err(Stop::Halt)?;
            let values = wanted.compute(piece);
            let values = values.map_err(|error| Stop::Halt(error.into()))?;
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

/// What is asked of a shelf.
struct Wanted<'a> {
    model: &'a Gpt2,
    block: usize,
    ids: &'a [u32],
    len: usize,
}

impl Wanted<'_> {
    /// Size of the file.
    fn bytes(&self) -> u64 {
        (self.ids.len() * self.model.config().width * size_of::<f32>() + HASH) as u64
    }

    fn open(&self, path: &Path) -> io::Result<Streams> {
        Ok(Streams {
            map: whole(path, self.bytes())?,
            shape: (self.len, self.model.config().width),
            block: self.block,
        })
    }

    /// The stream of some of the prompts, as it stands in the file.
    fn compute(&self, ids: &[u32]) -> Result<Vec<u8>, TrainError> {
        let shape = (ids.len() / self.len, self.len);
        let ids = Tensor::from_slice(ids, shape, self.model.device())?; // (B, T)
        let stream = self.model.stream(&ids, self.block)?; // (B, T, C)
        let stream = stream.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        Ok(with_f32(&stream, bytes_of)?)
    }

    /// The name of the file: all that decides its bits, but for the kind of machine,
    /// by which directories differ.
    fn name(&self) -> Result<String, TrainError> {
        let mut hasher = blake3::Hasher::new_derive_key("seedbed 2026 frozen prefix streams");
        let numbers = [self.block, self.len, self.ids.len()];
        hasher.update(&numbers.map(|n| (n as u64).to_le_bytes()).concat());
        for id in self.ids {
            hasher.update(&id.to_le_bytes());
        }
        hasher.update(self.model.numeric_path().as_bytes());
        for param in self.model.params() {
            let below = match block_of(&param.name) {
                Some(layer) => layer < self.block,
                None => param.name == WTE || param.name == WPE,
            };
            if below {
                hasher.update(param.name.as_bytes());
                let tensor = param.tensor.to_device(&Device::Cpu)?.contiguous()?;
                with_f32(&tensor, |values| {
                    for piece in values.chunks(1 << 16) {
                        hasher.update(&bytes_of(piece));
                    }
                })?;
            }
        }
        Ok(format!("{}.f32", hasher.finalize().to_hex()))
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
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
