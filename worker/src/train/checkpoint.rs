//! A run between two steps, in one file that proves its own content.
//!
//! The file is in the safetensors format: weights that train, both moments, the
//! files that the run keeps, and the measures so far, as the bytes of a JSON text;
//! its metadata say whose checkpoint it is. Every f64 is stored as its bits, so a
//! resumed run continues with the very numbers. Frozen weights are not in it: they
//! follow from the job's inputs.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, View};
use seedbed_proto::JobKey;
use seedbed_proto::result::Metric;
use serde::{Deserialize, Serialize};

use crate::memory::mapped;
use crate::train::host::with_f32;
use crate::train::optimizer::Moments;

/// The format, in the metadata; another one is refused.
const FORMAT: &str = "seedbed checkpoint 2";

/// The tensor that holds the measures so far: their number has no limit, that of
/// bytes in a header has.
const RECORD: &str = "record";

/// A run between two steps.
#[derive(Debug, Clone)]
pub struct Checkpoint<'a> {
    /// What has been measured.
    pub record: Record,
    /// The weights that train, by name, in main memory.
    pub weights: BTreeMap<String, Tensor>,
    /// Their moments, by the same names: borrowed from the optimizer to be written.
    pub moments: BTreeMap<String, Cow<'a, Moments>>,
    /// Files that belong to the result already, by name.
    pub kept: BTreeMap<String, Kept>,
}

/// A file, or a part of one, as it lies on the disk: never in memory as a whole.
#[derive(Debug, Clone)]
pub struct Kept {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl Kept {
    /// A whole file.
    ///
    /// # Errors
    /// If it can't be read.
    ///
    /// # Safety
    /// That of [`mapped`]: the file is the worker's own, and written by nobody.
    pub unsafe fn file(path: &Path) -> io::Result<Self> {
        // SAFETY: the caller's promise.
        let map = Arc::new(unsafe { mapped(path) }?);
        let range = 0..map.len();
        Ok(Self { map, range })
    }

    /// Its content.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

/// What a run has measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Updates made.
    pub step: u64,
    /// Whether the measures that are due at this step are in `metrics`.
    pub measured: bool,
    /// In the order in which they were measured.
    pub metrics: Vec<Metric>,
    /// One point per update.
    pub curve: Vec<Point>,
}

/// One update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Mean loss of the batch, before the update.
    pub loss: f64,
    /// The rate of the update.
    pub learning_rate: f64,
    /// Norm of the gradient, before clipping.
    pub grad_norm: f64,
}

/// A checkpoint that can't be used or made.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file can't be read or written.
    #[error("checkpoint {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Truncated, damaged, or not a checkpoint of this program.
    #[error("checkpoint {} is damaged or of another program: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The checkpoint of another job.
    #[error("checkpoint {} belongs to job {found}, not to {expected}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: JobKey,
    },
    /// Whole and this job's, but not of the weights that this program trains.
    #[error("checkpoint {} does not fit its job: {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// [`Record`] with every f64 as its bits; JSON would round the last one.
#[derive(Serialize, Deserialize)]
struct Stored {
    step: u64,
    measured: bool,
    metrics: Vec<(Metric, u64)>,
    curve: Vec<[u64; 3]>,
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        let bits = |m: &Metric| (m.clone(), m.value.to_bits());
        let point = |p: &Point| [p.loss, p.learning_rate, p.grad_norm].map(f64::to_bits);
        Self {
            step: record.step,
            measured: record.measured,
            metrics: record.metrics.iter().map(bits).collect(),
            curve: record.curve.iter().map(point).collect(),
        }
    }
}

impl From<Stored> for Record {
    fn from(stored: Stored) -> Self {
        let value = |(metric, bits)| Metric {
            value: f64::from_bits(bits),
            ..metric
        };
        let point = |bits: [u64; 3]| {
            let [loss, learning_rate, grad_norm] = bits.map(f64::from_bits);
            Point {
                loss,
                learning_rate,
                grad_norm,
            }
        };
        Self {
            step: stored.step,
            measured: stored.measured,
            metrics: stored.metrics.into_iter().map(value).collect(),
            curve: stored.curve.into_iter().map(point).collect(),
        }
    }
}

/// A tensor of the file.
enum Piece<'a> {
    Tensor(&'a Tensor),
    Floats(&'a [f32], [usize; 1]),
    Bytes(&'a [u8], [usize; 1]),
}

impl View for Piece<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Tensor(_) | Self::Floats(..) => Dtype::F32,
            Self::Bytes(..) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Tensor(tensor) => tensor.dims(),
            Self::Floats(_, shape) | Self::Bytes(_, shape) => shape,
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Cow::Owned(match self {
            Self::Tensor(tensor) => {
                with_f32(tensor, bytes).expect("`write` lets only contiguous f32 on the CPU in")
            }
            Self::Floats(values, _) => bytes(values),
            Self::Bytes(values, _) => return Cow::Borrowed(values),
        })
    }

    fn data_len(&self) -> usize {
        let values: usize = self.shape().iter().product();
        match self {
            Self::Tensor(_) | Self::Floats(..) => 4 * values,
            Self::Bytes(..) => values,
        }
    }
}

impl Checkpoint<'_> {
    /// Writes the file beside its place and then moves it there, so that a crash
    /// leaves either no file or a complete one.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, key: JobKey, path: &Path) -> Result<(), CheckpointError> {
        let record = serde_json::to_vec(&Stored::from(&self.record))
            .expect("a record has string keys and no infinite number");
        let mut pieces = self.pieces(path)?;
        pieces.insert(RECORD.to_owned(), Piece::Bytes(&record, [record.len()]));
        let digest = digest(&key.to_string(), &pieces);
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("job".to_owned(), key.to_string()),
            ("blake3".to_owned(), digest),
        ]);
        let part = path.with_extension("part");
        safetensors::serialize_to_file(pieces, Some(metadata), &part)
            .map_err(io::Error::other)
            .and_then(|()| File::open(&part)?.sync_all())
            .and_then(|()| fs::rename(&part, path))
            .map_err(|source| CheckpointError::Io {
                path: path.to_owned(),
                source,
            })
    }

    fn pieces(&self, path: &Path) -> Result<BTreeMap<String, Piece<'_>>, CheckpointError> {
        let mut pieces = BTreeMap::new();
        for (name, tensor) in &self.weights {
            // Checked here, because a view can't answer with an error.
            with_f32(tensor, |_| ()).map_err(|e| CheckpointError::Io {
                path: path.to_owned(),
                source: io::Error::other(format!("{name}: {e}")),
            })?;
            pieces.insert(format!("weight/{name}"), Piece::Tensor(tensor));
        }
        for (name, moments) in &self.moments {
            for (kind, values) in [("first", &moments.first), ("second", &moments.second)] {
                let piece = Piece::Floats(values, [values.len()]);
                pieces.insert(format!("{kind}/{name}"), piece);
            }
        }
        for (name, kept) in &self.kept {
            let bytes = kept.bytes();
            let piece = Piece::Bytes(bytes, [bytes.len()]);
            pieces.insert(format!("kept/{name}"), piece);
        }
        Ok(pieces)
    }
}

impl Checkpoint<'static> {
    /// Reads a checkpoint of this job, and verifies its content.
    ///
    /// # Errors
    /// If it can't be read, is damaged, or belongs to another job.
    ///
    /// # Safety
    /// That of [`mapped`], as long as what it keeps is in use: the file is the
    /// worker's own, and written by nobody.
    pub unsafe fn read(key: JobKey, path: &Path) -> Result<Self, CheckpointError> {
        let damaged = |why: String| CheckpointError::Damaged {
            path: path.to_owned(),
            why,
        };
        // SAFETY: the caller's promise.
        let whole = unsafe { Kept::file(path) }.map_err(|source| CheckpointError::Io {
            path: path.to_owned(),
            source,
        })?;
        let bytes = whole.bytes();
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let field = |name: &str| {
            let value = metadata.get(name).map(String::as_str);
            value.ok_or_else(|| damaged(format!("its metadata have no {name:?}")))
        };
        if field("format")? != FORMAT {
            return Err(damaged(format!("its format is not {FORMAT:?}")));
        }
        let job = field("job")?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let mut tensors: BTreeMap<String, _> = tensors.tensors().into_iter().collect();
        if digest(job, &tensors) != field("blake3")? {
            return Err(damaged("its content does not have its hash".to_owned()));
        }
        if job != key.to_string() {
            return Err(CheckpointError::Foreign {
                path: path.to_owned(),
                found: job.to_owned(),
                expected: key,
            });
        }
        let record = tensors.remove(RECORD);
        let record = record.ok_or_else(|| damaged(format!("it has no {RECORD:?}")))?;
        let record: Stored =
            serde_json::from_slice(record.data()).map_err(|e| damaged(e.to_string()))?;
        let mut checkpoint = Self {
            record: record.into(),
            weights: BTreeMap::new(),
            moments: BTreeMap::new(),
            kept: BTreeMap::new(),
        };
        for (name, view) in &tensors {
            checkpoint
                .insert(name, view.shape(), view.data(), &whole)
                .map_err(damaged)?;
        }
        Ok(checkpoint)
    }

    /// Takes in a tensor, whose data are a part of the `whole` file.
    fn insert(
        &mut self,
        name: &str,
        shape: &[usize],
        data: &[u8],
        whole: &Kept,
    ) -> Result<(), String> {
        let (kind, name) = name
            .split_once('/')
            .ok_or_else(|| format!("it holds an unknown tensor {name:?}"))?;
        let floats = || -> Vec<f32> {
            let (fours, _) = data.as_chunks::<4>();
            fours.iter().map(|four| f32::from_le_bytes(*four)).collect()
        };
        match kind {
            "weight" => {
                let tensor = Tensor::from_vec(floats(), shape, &Device::Cpu);
                let tensor = tensor.map_err(|e| format!("{name}: {e}"))?;
                self.weights.insert(name.to_owned(), tensor);
            }
            "first" | "second" => {
                let entry = self.moments.entry(name.to_owned()).or_default().to_mut();
                match kind {
                    "first" => entry.first = floats(),
                    _ => entry.second = floats(),
                }
            }
            // A name is never a path: it will be a file in the work directory.
            "kept" if Path::new(name).file_name() == Some(name.as_ref()) => {
                let from = data.as_ptr().addr() - whole.map.as_ptr().addr();
                let kept = Kept {
                    map: whole.map.clone(),
                    range: from..from + data.len(),
                };
                self.kept.insert(name.to_owned(), kept);
            }
            _ => return Err(format!("it holds an unknown tensor {kind}/{name}")),
        }
        Ok(())
    }
}

/// Over the job and, in the order of names, each tensor's name, shape and
/// bytes; the file's own layout is left to the library.
fn digest<V: View>(job: &str, pieces: &BTreeMap<String, V>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("seedbed v1 checkpoint");
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(job.as_bytes());
    for (name, piece) in pieces {
        field(name.as_bytes());
        field(format!("{:?}", piece.shape()).as_bytes());
        field(&piece.data());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint<'static> {
        let weight = Tensor::new(&[[1.0_f32, 0.1], [-0.0, 3.0]], &Device::Cpu);
        let moments = Moments {
            first: vec![0.1; 4],
            second: vec![1e-30; 4],
        };
        Checkpoint {
            record: Record {
                step: 1,
                measured: true,
                metrics: vec![
                    Metric::of("val", 0, "accuracy", 1.0 / 3.0),
                    Metric::of("val", 1, "nll", f64::NAN),
                ],
                curve: vec![Point {
                    loss: 0.1 + 0.2,
                    learning_rate: f64::MIN_POSITIVE,
                    grad_norm: 7.000_000_000_000_001,
                }],
            },
            weights: [(
                "h.0.attn.c_attn.weight".to_owned(),
                weight.expect("a tensor"),
            )]
            .into(),
            moments: [("h.0.attn.c_attn.weight".to_owned(), Cow::Owned(moments))].into(),
            kept: [("matched.safetensors".to_owned(), kept(&[0, 255, 7]))].into(),
        }
    }

    fn kept(bytes: &[u8]) -> Kept {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), bytes).expect("written");
        // Its name may go: the map stays.
        // SAFETY: it is this test's alone.
        unsafe { Kept::file(file.path()) }.expect("read")
    }

    fn key() -> JobKey {
        JobKey::of(b"this job")
    }

    fn read(key: JobKey, path: &Path) -> Result<Checkpoint<'static>, CheckpointError> {
        // SAFETY: it is this test's alone, and not written while one that was read lives.
        unsafe { Checkpoint::read(key, path) }
    }

    fn written() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("checkpoint.safetensors");
        checkpoint().write(key(), &path).expect("written");
        (dir, path)
    }

    #[test]
    fn it_comes_back_bit_by_bit() {
        let (dir, path) = written();
        let (before, after) = (checkpoint(), read(key(), &path).expect("read"));
        // Debug text: NaN is equal to itself there, and -0 is not 0.
        assert_eq!(
            format!("{:?}", before.record),
            format!("{:?}", after.record)
        );
        assert_eq!(before.moments, after.moments);
        let files = |c: &Checkpoint<'_>| -> Vec<_> {
            let kept = c.kept.iter();
            kept.map(|(name, kept)| (name.clone(), kept.bytes().to_vec()))
                .collect()
        };
        assert_eq!(files(&before), files(&after));
        for (name, tensor) in &before.weights {
            let bits = |t: &Tensor| {
                let values = t.flatten_all().and_then(|t| t.to_vec1::<f32>());
                values
                    .expect("values")
                    .iter()
                    .map(|v| v.to_bits())
                    .collect::<Vec<_>>()
            };
            assert_eq!(tensor.dims(), after.weights[name].dims());
            assert_eq!(bits(tensor), bits(&after.weights[name]));
        }
        let names = fs::read_dir(dir.path()).expect("a directory").count();
        assert_eq!(names, 1, "nothing but the checkpoint is left");
    }

    #[test]
    fn a_record_may_be_longer_than_a_header() {
        let (_dir, path) = written();
        let mut checkpoint = checkpoint();
        let metric = Metric {
            slot: Some("motion.incongruent.rel17-50.irr17-50".to_owned()),
            ..Metric::of("val", 1, "vocab_accuracy", 1.0 / 3.0)
        };
        checkpoint.record.metrics = vec![metric; 700_000];
        checkpoint.write(key(), &path).expect("written");
        assert!(fs::metadata(&path).expect("a file").len() > 100_000_000);
        let record = read(key(), &path).expect("whole").record;
        assert!(record == checkpoint.record, "another record");
    }

    #[test]
    fn a_checkpoint_of_another_format_is_refused() {
        let (_dir, path) = written();
        let mut bytes = fs::read(&path).expect("bytes");
        let at = bytes
            .windows(FORMAT.len())
            .position(|w| w == FORMAT.as_bytes());
        let last = at.expect("in the header") + FORMAT.len() - 1;
        for other in [b'1', b'3'] {
            bytes[last] = other;
            fs::write(&path, &bytes).expect("written");
            let error = read(key(), &path).expect_err("another format").to_string();
            assert!(
                error.contains("its format is not \"seedbed checkpoint 2\""),
                "{error}"
            );
        }
    }

    #[test]
    fn the_checkpoint_of_another_job_is_refused() {
        let (_dir, path) = written();
        let error = read(JobKey::of(b"another job"), &path).expect_err("foreign");
        assert!(matches!(error, CheckpointError::Foreign { .. }), "{error}");
    }

    #[test]
    fn a_kept_file_has_no_way_out_of_its_directory() {
        let (_dir, path) = written();
        for name in ["../out", "/out", "a/b", ".."] {
            let mut checkpoint = checkpoint();
            checkpoint.kept = [(name.to_owned(), kept(&[1]))].into();
            checkpoint.write(key(), &path).expect("written");
            let error = read(key(), &path).expect_err("refused");
            assert!(error.to_string().contains("unknown tensor"), "{error}");
        }
    }

    #[test]
    fn any_cut_and_any_changed_byte_is_noticed() {
        let (_dir, path) = written();
        let whole = fs::read(&path).expect("bytes");
        let refused = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).expect("written");
            let result = read(key(), &path);
            assert!(
                matches!(
                    result,
                    Err(CheckpointError::Damaged { .. } | CheckpointError::Foreign { .. })
                ),
                "{what}: {result:?}"
            );
        };
        for cut in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            refused(&whole[..cut], &format!("cut at {cut}"));
        }
        // The last bytes are tensors: only the hash can tell.
        for at in (whole.len() - 60..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            refused(&bytes, &format!("byte {at}"));
        }
        let error = read(key(), Path::new("nowhere")).expect_err("no file");
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    }
}
